"""Replies in a chat model's words become the answer vectors that a tuned model would give."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.replies import Reply, read
from tests.synthetic import question
from twinforge.records import space_of

CHOICE = pd.Series(question(0, "day", "what-if", options=["<80 %", "80-100 %", "L7", "none"]))
NUMBER = pd.Series(question(1, "day", "forecast", kind="number", unit="%", high=200.0))
ENTITIES = pd.Series(question(2, "day", "dependency", kind="entities", options=["D1", "D2", "D3"]))


def reply(text: str, **first: float) -> Reply:
    return Reply(text, {token: math.log(p) for token, p in first.items()}, 0, 0.0)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", 1), (" B.", 1), ("B. 80-100 %", 1), ("(C)", 2), ("**C**", 2), ("The answer is B because L7", 1), ("Answer: D", 3), ("L7", 2),
        ("none", 3), ("unknown", 4), ("E", 4), ("?", 4), ("<80 %", 0), ("80-100 % it is", 1), ("A line. I would say: C.", 2),
    ],
)  # fmt: skip
def test_letters_and_names_are_read(text: str, label: int) -> None:
    found = read(CHOICE, [reply(text)])
    assert found.said and not found.lost and found.p.tolist() == np.eye(5)[label].tolist()


@pytest.mark.parametrize(
    ("text", "value"),
    [("97", 97), ("97 %", 97), ("about 96.6%", 97), ("It is 1,200", 200), ("?", None), ("Unknown.", None), ("0", 0)],
)
def test_numbers_are_read(text: str, value: float | None) -> None:
    found = read(NUMBER, [reply(text)])
    said = space_of(NUMBER).decide(found.p)
    assert found.said and not found.lost and (np.isnan(said) if value is None else said == value)


@pytest.mark.parametrize("text", ["", "As I said, it depends", "Z", "zzz"])
def test_what_cannot_be_read_knows_nothing(text: str) -> None:
    for asked in (CHOICE, NUMBER):
        found = read(asked, [reply(text)])
        assert found.lost == 1 and np.ptp(found.p) < 1e-5 and found.p.sum() == pytest.approx(1)
    found = read(ENTITIES, [reply(text)] * 3)
    assert found.lost == 3 and found.p[-1] < 0.5 and np.allclose(found.p[:-1], 0.5, atol=1e-4)


def test_first_tokens_give_a_distribution() -> None:
    found = read(CHOICE, [reply("A", A=0.5, **{" B": 0.2, "B": 0.1, "The": 0.1})])
    np.testing.assert_allclose(found.p, [0.625, 0.375, 0, 0, 0])
    assert not found.said
    chatty = read(CHOICE, [reply("The answer is B", The=0.9, A=0.01)])
    assert chatty.said and chatty.p[1] == 1


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1)), min_size=3, max_size=3))
def test_candidates_are_read_as_the_tuned_model_is(each: list[tuple[float, float, float]]) -> None:
    shares = [np.array(p) / sum(p) for p in each]
    found = read(ENTITIES, [reply("A", **dict(zip("ABC", p, strict=True))) for p in shares])
    for i, (no, yes, _) in enumerate(shares):
        assert found.p[i] == pytest.approx(yes / (no + yes))
    assert found.p[-1] == pytest.approx(np.mean([p[2] for p in shares]))


def test_a_set_in_words() -> None:
    found = read(ENTITIES, [reply("yes"), reply("A"), reply("B. yes")])
    assert space_of(ENTITIES).decide_set(found.p) == (0, 2)
    refused = read(ENTITIES, [reply("?"), reply("C"), reply("unknown")])
    assert np.isnan(space_of(ENTITIES).decide(refused.p))
