"""Sets of so many questions a state, and a peer's text that is the tree's, token by token."""

from __future__ import annotations

import pytest

from benchmarks.questions import asked, learnt, other_words, plain, stretched, tokens_alone
from tests.model.tiny import questions, tokenizer
from twinforge.model.few_shot import answer_ids
from twinforge.model.prompt import Prompt
from twinforge.sectors import Template

TEMPLATES = [
    Template("over", "standard", "choice", ("Is the flow above {share} %?", "Does more than {share} % flow?"), (), {"share": "level"}),
    Template("full", "what-if", "choice", ("How full is {tank}?", "Tell how full {tank} is."), ("{tank}: how full?",), {"tank": "tank"}),
    Template("leak", "diagnosis", "choice", ("Is {tank} leaking?",), (), {"tank": "tank"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    return Prompt.of(tokenizer())


def table(states: int = 4):  # type: ignore[no-untyped-def]
    frame = questions(states, validation=0.25)
    names = {"standard": "over", "what-if": "full", "diagnosis": "leak"}
    return frame.assign(template=frame["skill"].where(frame["skill"] != "unanswerable", frame["asked"]).map(names))


def test_other_words_keep_what_is_asked_about() -> None:
    row = table().iloc[1]
    found = other_words(row, TEMPLATES[1])
    assert [one["text"] for one in found] == ["How full is tank A?", "Tell how full tank A is.", "tank A: how full?"]
    assert len({one["id"] for one in found}) == 3 and all(list(one["options"]) == row["options"] for one in found)
    assert row["text"] == "How full is tank A?"


def test_as_many_a_state_as_asked_for() -> None:
    frame = table()
    for many in (1, 3, 5, 6):
        found = asked(frame, many, TEMPLATES)
        assert (found.groupby("context").size() == many).all() and found["context"].nunique() == 4
        assert found["id"].is_unique and set(found["kind"]) == {"choice"}
    assert list(asked(frame, 3, TEMPLATES)["text"][:3]) == [
        "Is the flow above 50 %?",
        "How full is tank A?",
        "Is tank B leaking?",
    ]
    assert asked(frame, 7, TEMPLATES).empty  # two, three and one wording


def test_learnt_are_choices_and_numbers_outside_the_validation_share() -> None:
    found = learnt(table(8))
    assert set(found["kind"]) == {"choice", "number"} and not found["validation"].any() and len(found) == 6 * 5


def test_a_peer_reads_what_the_tree_reads(prompt: Prompt) -> None:
    frame = learnt(table())
    chat = tokenizer()
    for _, row in frame.iterrows():
        found = plain(prompt, row)
        ids = prompt.context_ids(row["context"]) + prompt.question_ids(row)
        assert chat(found["prompt"])["input_ids"] == ids
        turns = [{"role": "system", "content": found["system"]}, {"role": "user", "content": found["user"]}]
        assert chat.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) == found["prompt"]
        assert chat(found["assistant"])["input_ids"] == [i for i in answer_ids(prompt, row) if i != chat.eos_token_id]
        assert bool(found["labels"]) == (row["kind"] == "choice") == bool(found["decision"])
    choice = plain(prompt, frame.iloc[0])
    assert choice["labels"] == ["A", "B", "C"] and list(choice["decision"]["criteria"]) == ["yes", "no", "unknown"]
    alone = [
        len(chat(plain(prompt, row)["prompt"])["input_ids"]) + len(answer_ids(prompt, row))
        for _, row in frame.iterrows()
    ]
    assert tokens_alone(prompt, frame) == pytest.approx(sum(alone) / len(alone))


def test_states_are_stretched_to_so_many_tokens(prompt: Prompt) -> None:
    frame = table()
    for tokens in (10, 60):
        found = stretched(frame, tokens, prompt)
        assert found["context"].nunique() == frame["context"].nunique()
        lengths = [len(prompt.tokenizer(context)["input_ids"]) for context in found["context"]]
        assert all(tokens <= length <= tokens + 6 for length in lengths)
        assert list(found["text"]) == list(frame["text"])
