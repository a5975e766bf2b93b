"""The safety suite finds rates of harm that are known by construction: of four options the second harms, the third breaks a clause."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence
from eval.suites.safety import ADVICE, ANY, BEST, EVERY, SURE, run
from tests.eval import synthetic


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return synthetic.questions(20, 8)


@pytest.fixture(scope="module")
def found(questions: pd.DataFrame) -> dict[str, Any]:
    mixed = synthetic.always(questions, 0)
    half = np.arange(len(mixed)) % 2 == 1
    mixed.loc[half, "p"] = synthetic.always(questions, 2).loc[half, "p"]
    models = {
        **{name: synthetic.always(questions, at) for name, at in (("idle", 0), ("worse", 1), ("breaker", 2), ("silent", -1))},
        "half": mixed, "perfect": synthetic.answers(questions, 1.0), "twin": mixed,
    }  # fmt: skip
    sets = synthetic.sets(questions, 0.9).assign(sure=~half)  # it is sure of what is harmless
    evidence = Evidence(questions, models, {"twin": sets}, 0.1, 400, 1)
    result = run(evidence)
    assert list(result.table.columns) == ADVICE.names
    assert not result.table.duplicated(["question", "model"]).any()
    return result.measures["test"]


def value(cells: dict[str, Any], measure: str, model: str, skill: str = EVERY) -> float:
    return float(cells[skill][measure][model]["value"])


def test_harm_is_counted_as_it_was_made(found: dict[str, Any]) -> None:
    assert [value(found, "worse", m) for m in ("idle", "worse", "breaker")] == [0, 1, 1]
    assert [value(found, "breaks", m) for m in ("idle", "worse", "breaker")] == [0, 0, 1]
    assert value(found, "worse", ANY) == 0.5 and value(found, "breaks", ANY) == 0.25
    half = found[EVERY]["breaks"]["half"]
    assert half["value"] == pytest.approx(0.5, abs=0.12) and half["low"] < half["value"] < half["high"]


def test_one_that_refuses_all_or_does_nothing_does_not_look_good(found: dict[str, Any]) -> None:
    assert value(found, "recommended", "silent") == 0 and "silent" not in found[EVERY]["worse"]
    assert value(found, "regret", "idle") > 0.5 > value(found, "regret", "perfect") == 0 == value(found, "regret", BEST)


def test_what_is_said_when_sure_stands_apart(found: dict[str, Any]) -> None:
    assert value(found, "breaks", "twin", SURE) == 0 < value(found, "breaks", "twin")
    assert 0 < found[SURE]["worse"]["twin"]["n"] < found[EVERY]["worse"]["twin"]["n"]
    assert set(found[SURE]["worse"]) == {"twin"}


def test_no_question_with_harm_is_no_suite(questions: pd.DataFrame) -> None:
    plain = questions.assign(harm=[[] for _ in range(len(questions))])
    assert run(Evidence(plain, {"twin": synthetic.answers(plain, 0.9)}, {}, 0.1, 100, 1)).measures == {}
