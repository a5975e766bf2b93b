"""A second opinion says how likely a statement is by the answer to the question that it is about."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinforge.backing import BACKING, chance, chances, tables_of
from twinforge.claims import Claim
from twinforge.records import AnswerSpace

MOMENT = pd.Timestamp("2024-01-01")
LEVEL = AnswerSpace("number", unit="m", low=0, high=4, step=1, tolerance=1)
ASKED = {"asked": "forecast", "template": "later", "kind": "number", "options": [], "unit": "m", "low": 0.0, "high": 4.0,
         "step": 1.0, "tolerance": 1.0}  # fmt: skip


def report(name: str, **about: Any) -> dict[str, Any]:
    link = {"asset": "tank A", "quantity": "level", "hours": 1.0, "given": "", "holds": [], **about}
    return {"id": name, "episode": name, "time": MOMENT, "validation": False,
            "backing": [{**link, "question": {**ASKED, "text": "How high?"}}]}  # fmt: skip


def claim(name: str, value: float, **other: Any) -> dict[str, Any]:
    said = Claim("tank A", "level", value, "m", 1.0, "", 0, 1)
    return {"report": name, **asdict(said), **other}


def test_a_value_is_as_likely_as_what_lies_within_the_tolerance() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.15, 0.05, 0.2])
    assert chance(2.0, "m", LEVEL, p, []) == pytest.approx(0.65)
    assert chance(4.0, "m", LEVEL, p, []) == pytest.approx(0.2)
    assert chance(9.0, "m", LEVEL, p, []) == chance(2.0, "cm", LEVEL, p, []) == 0.0


def test_of_yes_and_no_one_is_so_and_a_refusal_speaks_against_both() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.15, 0.05, 0.2])
    assert chance(1.0, "", LEVEL, p, [3, 4]) == pytest.approx(0.2)
    assert chance(0.0, "", LEVEL, p, [3, 4]) == pytest.approx(0.6)
    assert chance(0.5, "", LEVEL, p, [3, 4]) == chance(np.nan, "", LEVEL, p, [3, 4]) == 0.0


def test_each_claim_is_held_against_the_question_about_its_own_report() -> None:
    links, questions = tables_of([report("one"), report("two")])
    assert links.columns.tolist() == BACKING.names and links["question"].nunique() == len(questions) == 2
    of = dict(zip(links["report"], links["question"], strict=True))
    answers = {of["one"]: np.array([1.0, 0, 0, 0, 0, 0]), of["two"]: np.array([0, 0, 0, 0, 1.0, 0])}
    claims = [claim("one", 0), claim("one", 4), claim("two", 4), claim("two", 4, hours=0.0), claim("one", 0, asset="L")]
    found = chances(pd.DataFrame(claims), links, questions, answers)
    np.testing.assert_array_equal(found, [1, 0, 1, np.nan, np.nan])
    assert np.isnan(chances(pd.DataFrame(claims), links, questions, {})).all()


def test_a_question_that_backs_two_statements_is_asked_once() -> None:
    row = report("one")
    row["backing"] += report("one", quantity="full", holds=[4])["backing"]
    links, questions = tables_of([row])
    assert len(links) == 2 and len(questions) == 1


def test_nothing_is_backed_where_nothing_is_said() -> None:
    links, questions = tables_of([])
    assert links.columns.tolist() == BACKING.names and not len(questions)
    assert np.isnan(chances(pd.DataFrame([claim("one", 0)]), links, questions, {})).all()
