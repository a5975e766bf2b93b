"""Answers read off a tree equal those scored one by one, and do not depend on what else is in the batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tiny import questions, tiny_model, tokenizer
from twinforge.errors import UserError
from twinforge.model import answers as answers_module
from twinforge.model.answers import answer, number_mass, plan, question_branch
from twinforge.model.digits import trie_of
from twinforge.model.few_shot import answer_ids, pick_shots, plan_few_shot, prior_corrected
from twinforge.model.prompt import END, REFUSED, Prompt, space_texts
from twinforge.records import ANSWER, AnswerSpace, space_of

PROMPT = Prompt.of(tokenizer())
MODEL = tiny_model(vocabulary=len(tokenizer()))


def asked(frame: pd.DataFrame, batch: int = 3) -> pd.DataFrame:
    return answer(MODEL, PROMPT, plan(PROMPT, frame), frame["id"].tolist(), batch)


def scored_alone(row: pd.Series, lead: list[int]) -> np.ndarray:
    """Each value's answer tokens, or each candidate's letter, scored in a sequence of its own, each token among those that may
    stand there."""
    space = space_of(row)
    start = [*lead, *PROMPT.context_ids(row["context"]), *PROMPT.question_ids(row)]
    with torch.no_grad():
        if space.kind == "choice":
            logits = MODEL(input_ids=torch.tensor([start])).logits[0, -1]
            return logits[PROMPT.label_ids(space.size)].double().softmax(-1).numpy()
        if space.kind == "entities":
            verdicts = np.stack([_verdict([*start, *ids]) for ids in PROMPT.candidate_ids(row)])
            return np.append(verdicts[:, 1] / verdicts[:, :2].sum(1), verdicts[:, 2].mean())
        texts = space_texts(space)
        return np.array([*(_value(start, text, texts) for text in texts), _value(start, REFUSED, texts)])


def _verdict(ids: list[int]) -> np.ndarray:
    logits = MODEL(input_ids=torch.tensor([ids])).logits[0, -1, PROMPT.label_ids(3)]
    return logits.double().softmax(-1).numpy()


def _value(start: list[int], text: str, texts: tuple[str, ...]) -> float:
    p = 1.0
    for depth, character in enumerate(text):
        ids = [*start, *(PROMPT.character_ids[c] for c in text[:depth])]
        may = sorted({t[depth] for t in texts if t.startswith(text[:depth])} | ({REFUSED} if depth == 0 else set()))
        logits = MODEL(input_ids=torch.tensor([ids])).logits[0, -1, [PROMPT.character_ids[c] for c in may]]
        p *= float(logits.double().softmax(-1)[may.index(character)])
    return p


def test_equals_scoring_every_answer_alone() -> None:
    frame = questions(2)
    answers = asked(frame)
    assert list(answers.columns) == ANSWER.names and answers["question"].tolist() == frame["id"].tolist()
    for p, (_, row) in zip(answers["p"], frame.iterrows(), strict=True):
        assert len(p) == space_of(row).size and (p.sum() == pytest.approx(1, abs=1e-12)) != (row["kind"] == "entities")
        np.testing.assert_allclose(p, scored_alone(row, []), atol=1e-5)


def test_does_not_depend_on_the_batch() -> None:
    frame = questions(7, seed=3)
    together, shuffled = asked(frame, 4), frame.sample(frac=1, random_state=0)
    apart = asked(shuffled, 1).set_index("question").loc[frame["id"]]
    for p, q in zip(together["p"], apart["p"], strict=True):
        np.testing.assert_allclose(p, q, atol=1e-5)
    assert (together["tokens"] > 0).all() and (together["seconds"] > 0).all()


def test_goes_on_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "KEPT_BATCHES", 1)
    frame, ran = questions(6, seed=5), []
    batch = answers_module._Reader.batch

    def counted(*arguments: Any) -> Any:
        if len(ran) == 2:
            raise InterruptedError
        ran.append(1)
        return batch(*arguments)

    monkeypatch.setattr(answers_module._Reader, "batch", counted)
    trees = plan(PROMPT, frame)
    with pytest.raises(InterruptedError):
        answer(MODEL, PROMPT, trees, frame["id"].tolist(), 2, keep=tmp_path)
    ran.clear()
    resumed = answer(MODEL, PROMPT, trees, frame["id"].tolist(), 2, keep=tmp_path)
    monkeypatch.undo()
    assert len(ran) == 1 and resumed["question"].tolist() == frame["id"].tolist()
    for p, q in zip(resumed["p"], asked(frame)["p"], strict=True):
        np.testing.assert_allclose(p, q, atol=1e-5)


def test_the_head_is_put_back() -> None:
    before = MODEL.get_output_embeddings()
    asked(questions(1))
    assert MODEL.get_output_embeddings() is before


def test_few_shot_sees_its_examples() -> None:
    train, frame = questions(8, seed=1), questions(2, seed=2)
    shots = pick_shots(train, train["asked"] + "/" + train["kind"], 3, seed=0)
    groups = frame["asked"] + "/" + frame["kind"]
    answers = answer(MODEL, PROMPT, plan_few_shot(PROMPT, frame, groups, shots), frame["id"].tolist(), 2)
    for row in (0, 3, 5):
        lead: list[int] = []
        for place, (_, shot) in enumerate(shots[groups[row]].iterrows()):
            lead += [*PROMPT.context_ids(shot["context"]), *PROMPT.question_ids(shot)]
            answer_of = answer_ids(PROMPT, shot)
            if shot["kind"] == "entities":  # one candidate is shown: a member in every other example, if it has one
                one = next((i for i in range(3) if (i in shot["gold"]) == (place % 2 == 0)), 0)
                lead += PROMPT.candidate_ids(shot)[one]
                answer_of = [PROMPT.label_ids(2)[int(one in shot["gold"])]]
            lead += [*answer_of, *PROMPT.end_ids()]
        np.testing.assert_allclose(answers["p"][row], scored_alone(frame.loc[row], lead), atol=1e-5)
    assert shots["standard/choice"]["truth"].nunique() == 2


def test_prior_correction_undoes_a_constant_liking() -> None:
    honest = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]])
    liking = np.array([5.0, 1.0, 0.2])
    biased = honest * liking / (honest * liking).sum(1, keepdims=True)
    answers = pd.DataFrame({"question": list("abc"), "p": list(biased)})
    group = pd.Series(["g"] * 3)
    choice = pd.Series(["choice"] * 3)
    corrected = np.stack(prior_corrected(answers, group, choice, answers, group)["p"])
    assert (corrected.argmax(1) == honest.argmax(1)).all() and not (biased.argmax(1) == honest.argmax(1)).all()
    other = prior_corrected(answers, pd.Series(["h"] * 3), choice, answers, group)
    np.testing.assert_allclose(np.stack(other["p"]), biased)


def test_prior_correction_of_sets_goes_entry_by_entry() -> None:
    answers = pd.DataFrame({"question": list("ab"), "p": [np.array([0.9, 0.8, 0.01]), np.array([0.7, 0.8, 0.01])]})
    group, kind = pd.Series(["g"] * 2), pd.Series(["entities"] * 2)
    (first, second) = prior_corrected(answers, group, kind, answers, group)["p"]
    assert first[0] > 0.5 > second[0] and first[1] == second[1] == pytest.approx(0.5)
    np.testing.assert_allclose(first[0], (0.9 / 0.8) / (0.9 / 0.8 + 0.1 / 0.2))


def test_a_sets_candidates_fan_out_behind_one_question() -> None:
    """Said once: the state, the question and the labels; each candidate is read at its own end."""
    row = questions(1).iloc[5]
    branch, space = question_branch(PROMPT, row)
    shared, tails = PROMPT.question_ids(row), PROMPT.candidate_ids(row)
    assert tokenizer().decode(shared) == "Who is more than half full?\nFor each: A. no B. yes C. unknown\n"
    assert [tokenizer().decode(tail).partition("<")[0] for tail in tails] == [
        "line 7: in %\n",
        "tank A: in m\n",
        "tank B\n",
    ]
    assert len(branch.ids) == len(shared) + sum(map(len, tails)) and space.options == tuple(row["options"])
    assert len(branch.reads) == 3 and (branch.depths[branch.reads] == [len(shared) + len(t) - 1 for t in tails]).all()


def test_a_context_longer_than_the_model_reads() -> None:
    frame = questions(1).assign(context="tank " * 3000)
    with pytest.raises(UserError, match="shorten the contexts"):
        asked(frame)


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(0, 30),
    count=st.integers(2, 300),
    step=st.sampled_from([1.0, 5.0, 0.1, 0.25, 10.0]),
    seed=st.integers(0, 1000),
)
def test_trie_mass_equals_enumeration(low: int, count: int, step: float, seed: int) -> None:
    space = AnswerSpace("number", (), "", low * step, low * step + (count - 1) * step, step, 0)
    trie, texts = trie_of(space), space_texts(space)
    assert len(set(texts)) == count and len({text.endswith(END) for text in texts}) == 1
    assert not any(longer.startswith(text) for text in texts[:40] for longer in texts if longer != text)
    np.testing.assert_allclose([float(text.removesuffix(END)) for text in texts], space.values, atol=1e-9)
    columns = {c: i for i, c in enumerate("0123456789." + REFUSED + END)}
    logits = np.random.default_rng(seed).normal(0, 3, (len(trie.reads), len(columns)))
    p = np.exp(number_mass(trie, logits, columns))
    assert p.sum() == pytest.approx(1, abs=1e-9)
    prefixes = _prefixes(trie)
    for i in {0, count // 2, count - 1}:
        expected = 1.0
        for depth, character in enumerate(texts[i]):
            may = {t[depth] for t in texts if t.startswith(texts[i][:depth])} | ({REFUSED} if depth == 0 else set())
            if len(may) > 1:
                row = logits[prefixes.index(texts[i][:depth])]
                z = {c: np.exp(row[columns[c]]) for c in may}
                expected *= z[character] / sum(z.values())
        assert p[i] == pytest.approx(expected, rel=1e-9)


def _prefixes(trie) -> list[str]:
    def text(node: int) -> str:
        return "" if node < 0 else text(int(trie.parents[node])) + trie.characters[node]

    return [text(int(node)) for node in trie.reads]


def test_trie_size_and_limit() -> None:
    assert len(trie_of(AnswerSpace("number", (), "%", 0, 199, 1, 0)).characters) == 9 + 10  # 1 to 9; 10 to 19
    with pytest.raises(UserError, match="larger step"):
        trie_of(AnswerSpace("number", (), "", 0, 99999, 1, 0))


def test_bf16_leaves_no_ties() -> None:
    model = tiny_model(vocabulary=len(tokenizer()), seed=2).to(torch.bfloat16)
    frame = questions(12, seed=5)
    frame = frame[frame["kind"] == "choice"].reset_index(drop=True)
    told = answer(model, PROMPT, plan(PROMPT, frame), frame["id"].tolist(), 3)
    same = tiny_model(vocabulary=len(tokenizer()), seed=2)
    exact = answer(same, PROMPT, plan(PROMPT, frame), frame["id"].tolist(), 3)
    for p, q in zip(told["p"], exact["p"], strict=True):
        assert len(set(p.tolist())) == len(p)
        np.testing.assert_allclose(p, q, atol=0.05)
