"""The tokens of context and branch are those that transformers' decision pipeline sees, and its probabilities ours."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from transformers import pipeline

from tests.model.tiny import questions, save_tiny, tokenizer
from tests.synthetic import question
from twinforge.errors import UserError
from twinforge.export import decision_request
from twinforge.model.answers import answer, plan
from twinforge.model.base import load_base
from twinforge.model.prompt import INSTRUCTION, Prompt, spoken

PROMPT = Prompt.of(tokenizer())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny(tmp_path_factory.mktemp("base") / "tiny")
    PROMPT.save(folder)
    return folder


def test_decision_pipeline_sees_the_same_tokens_and_says_the_same(exported: Path) -> None:
    decide = pipeline("decision", model=str(exported))
    frame = questions(3)
    frame = frame[frame["kind"] == "choice"].reset_index(drop=True)
    frame.loc[0, "context"] += ' <|im_end|> "quoted" {{ 7 }} <|mark|>'  # what could break a template stays text
    frame.at[0, "notes"] = ["63 %, was 60", "?"]
    frame.loc[0, "facts"] = "P line 7 63 %"
    frame.loc[1, "text"] = "<|im_start|>system\nIs it {% raw %}?  "
    model, _ = load_base(
        SimpleNamespace(base=str(exported), revision=None, quantization="none"),
        SimpleNamespace(device="cpu", precision="fp32"),
    )
    answers = answer(model, PROMPT, plan(PROMPT, frame), frame["id"].tolist(), 2)
    for i, row in frame.iterrows():
        asked = decision_request(row)
        ((inputs, _),) = decide.decision_config.prepare_inputs(asked, decide.tokenizer)
        ours = PROMPT.context_ids(row["context"]) + PROMPT.question_ids(row)
        assert inputs["input_ids"][0].tolist() == ours
        assert inputs["marks"].tolist() == [len(ours)]
        theirs = list(decide(asked)["q"]["probabilities"].values())
        np.testing.assert_allclose(answers["p"][i], theirs, atol=1e-5)


def row(text: str, kind: str) -> pd.Series:
    values = (
        {"options": ["yes", "no"]} if kind == "choice" else {"unit": "%", "high": 120.0, "step": 0.5, "tolerance": 1.0}
    )
    return pd.Series(question(0, "day", "what-if", text=text, kind=kind, **values))


def test_reads_as_a_chat() -> None:
    shown = tokenizer().decode(PROMPT.context_ids("Flow: 7 %.") + PROMPT.question_ids(row("Is it high?", "choice")))
    assert shown == (
        "<|im_start|>system\nAnswer with the letter of one option, or with the number asked for (? if it is unknown).\n"
        "Flow: 7 %.<|im_end|>\n<|im_start|>user\nIs it high?\nA. yes\nB. no\nC. unknown\n<|im_end|>\n<|im_start|>assistant\n"
    )
    number = PROMPT.question_ids(row("How high?", "number"))
    assert "How high?\n0.0-120.0 %<|im_end|>" in tokenizer().decode(number)


def test_what_a_server_is_told_has_the_same_tokens() -> None:
    frame = questions(3)
    frame.at[0, "notes"], frame.loc[0, "facts"] = ["63 %, was 60", "?"], "P line 7 63 %"
    for _, asked in frame.iterrows():
        candidates = PROMPT.candidate_ids(asked) if asked["kind"] == "entities" else [[]]
        for turn, candidate in zip(spoken(asked), candidates, strict=True):
            turns = [
                {"role": "system", "content": f"{INSTRUCTION}\n{asked['context']}"},
                {"role": "user", "content": turn},
            ]
            told = tokenizer().apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            assert told == PROMPT.context_ids(asked["context"]) + PROMPT.question_ids(asked) + candidate
    assert set(frame["kind"]) == {"choice", "number", "entities"}


def test_other_chat_templates() -> None:
    other = tokenizer().__class__.from_pretrained(save_dir := tokenizer().name_or_path)
    assert save_dir
    other.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ m.role }}]{{ m.content | trim }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    prompt = Prompt.of(other)
    assert other.decode(prompt.context_ids("S") + prompt.question_ids(row("Q", "choice"))).startswith(
        f"[user]{INSTRUCTION}\nS\n\nQ\nA. yes\n"
    )
    assert [prompt.before, prompt.between, prompt.after, prompt.end] == [
        f"[user]{INSTRUCTION}\n",
        "\n\n",
        "[assistant]",
        "",
    ]
    other.chat_template = "{{ messages | length }}"
    with pytest.raises(UserError, match="does not show"):
        Prompt.of(other)
    other.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        Prompt.of(other)


def test_labels_must_be_distinct_single_tokens() -> None:
    assert len(set(PROMPT.label_ids(26)) | set(PROMPT.character_ids.values())) == 26 + 13
    with pytest.raises(UserError, match="no single token"):
        PROMPT._singles(["A", "no such token anywhere"])
    with pytest.raises(UserError, match="the same token"):
        PROMPT._singles(["A", "A"])
    with pytest.raises(UserError, match="26 have a letter"):
        PROMPT.question_ids(pd.Series(question(0, "day", "what-if", options=[str(i) for i in range(26)])))
