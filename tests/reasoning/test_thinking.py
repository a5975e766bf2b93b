"""A thought is read where a question's facts stand, several are averaged, and a run that was cut off goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.model.tiny import questions, tiny_model, tokenizer
from twinforge.model.answers import answer, plan
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style, write
from twinforge.reasoning import thinking
from twinforge.reasoning.thinking import THOUGHT, Request, pooled, read_each, think, wording

PROMPT = Prompt.of(tokenizer())
MODEL = tiny_model(vocabulary=len(tokenizer()))
ASKED = questions(2)
REQUESTS = [Request(row["id"], row["context"], wording(row)) for _, row in ASKED.iterrows()]


def test_a_greedy_thought_is_what_the_whole_prompt_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinking, "MOST", 6)
    monkeypatch.setattr(thinking, "ROWS", 5)  # so that a state's rows stand in two batches
    made = think(MODEL, PROMPT, REQUESTS, Style(6))
    ids = [[*PROMPT.context_ids(r.context), *PROMPT.text_ids(r.text)] for r in REQUESTS]
    alone = write(MODEL, PROMPT, ids, Style(6), 4)
    assert made["question"].tolist() == ASKED["id"].tolist() and made["text"].tolist() == alone["text"].tolist()
    assert (made["tokens"] <= alone["tokens"]).all()  # what a state's questions share is read once a batch
    once = sum(len(PROMPT.context_ids(REQUESTS[i].context)) for i in (0, 6, 6))
    every = sum(len(PROMPT.context_ids(r.context)) for r in REQUESTS)
    assert alone["tokens"].sum() - made["tokens"].sum() > 0.5 * (every - 2 * once)


def test_what_is_asked_shows_every_option_and_candidate() -> None:
    words = {row["kind"]: wording(row) for _, row in ASKED.iterrows()}
    assert "C. unknown" in words["choice"] and words["number"].endswith(" %")
    assert words["entities"].splitlines()[1:] == ["line 7: in %", "tank A: in m", "tank B"]


def test_an_answer_is_read_with_its_thought_before_the_facts() -> None:
    rows = ASKED.assign(facts="now 7")
    thoughts = pd.DataFrame(
        {"question": rows["id"], "sample": 0, "text": "It is\n full.", "tokens": 10.0, "seconds": 1.0}
    )
    told = read_each(MODEL, PROMPT, rows, thoughts, 2)
    same = rows.assign(facts="It is full.\nnow 7")
    alone = answer(MODEL, PROMPT, plan(PROMPT, same), same["id"].tolist(), 2)
    for p, q in zip(told["p"], alone["p"], strict=True):
        np.testing.assert_allclose(p, q, atol=1e-5)
    assert (told["tokens"] == alone["tokens"] + 10).all() and (told["seconds"] > 1).all()


def test_several_thoughts_are_averaged_at_what_they_cost_together() -> None:
    rows = [("a", 0, [0.8, 0.2, 0.0], 5, 1.0), ("b", 0, [0.0, 0.0, 1.0], 7, 0.5), ("a", 1, [0.2, 0.6, 0.2], 6, 2.0)]
    found = pooled(pd.DataFrame(rows, columns=["question", "sample", "p", "tokens", "seconds"])).set_index("question")
    np.testing.assert_allclose(found.loc["a", "p"], [0.5, 0.4, 0.1])
    assert found.loc["a", ["tokens", "seconds"]].tolist() == [11, 3.0] and found.loc["b", "tokens"] == 7


def test_goes_on_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinking, "MOST", 4)
    style = Style(4, 3, 1.0, 5)
    first = think(MODEL, PROMPT, REQUESTS, style, keep=tmp_path)
    assert list(first.columns) == THOUGHT.names and first["sample"].tolist() == [0, 1, 2] * len(ASKED)
    monkeypatch.setattr(thinking, "_part", lambda *_: pytest.fail("thought again"))
    pd.testing.assert_frame_equal(first, think(MODEL, PROMPT, REQUESTS, style, keep=tmp_path))
    assert not len(think(MODEL, PROMPT, [], style))
