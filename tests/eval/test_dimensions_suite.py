"""The dimensions suite finds Shapley values that are known by construction; models that read nothing get no credit."""

from __future__ import annotations

from collections.abc import Callable, Set
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence, Result
from eval.probes import PROBE
from eval.probes.dimensions import ALL, ask, under
from eval.suites import SUITES
from tests.eval.states import states
from tests.eval.test_robustness_suite import answers, right, sure, wrong
from twinforge.errors import UserError
from twinforge.records import Dimension, space_of
from twinforge.sectors.dimensions import BLIND, Source, keep_marked, letters

Model = Callable[[pd.Series, np.random.Generator], np.ndarray]
SOURCES = {"choice": Source(("P",), "P"), "number": Source((), ""), "entities": Source((), "")}
NEEDS = {
    "what-if": "PC",
    "diagnosis": "A",
    "dependency": "",
    "forecast": "P",
}  # right where all of these are told, by `asked`


def keep(rows: pd.DataFrame, kept: Set[Dimension]) -> pd.DataFrame:
    told = rows.assign(features=[[[0.0]] if kind == "choice" else [] for kind in rows["kind"]])
    return keep_marked(told, kept, SOURCES)


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return states(60, 30).assign(split="test")


@pytest.fixture(scope="module")
def probes(questions: pd.DataFrame) -> pd.DataFrame:
    return ask(questions.drop(columns="split"), keep)


def run(questions: pd.DataFrame, probes: pd.DataFrame, **models: Model) -> Result:
    before = {name: answers(questions.assign(probe=ALL), model) for name, model in models.items()}
    after = {name: answers(probes, model, seed=1) for name, model in models.items()}
    return SUITES["dimensions"](Evidence(questions, before, {}, 0.1, 400, 17, probes, after))


def reader(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    return right(row) if set(NEEDS[row["asked"]]) <= set(row["probe"].replace("none", "")) else wrong(row)


def refuser(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    return sure(row, space_of(row).size - 1)


def parrot(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    return sure(row, 0)


@pytest.fixture(scope="module")
def result(questions: pd.DataFrame, probes: pd.DataFrame) -> Result:
    return run(questions, probes, llm=reader, refuser=refuser, parrot=parrot)


def test_every_question_is_asked_under_every_proper_subset(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    assert list(probes[PROBE.names]) == PROBE.names and probes["id"].is_unique
    asked = probes.groupby("original")["probe"].agg(set)
    names = {"none", *("".join(some) for count in (1, 2) for some in combinations("PAC", count))}
    assert set(asked.index) == set(questions["id"]) and all(found == names for found in asked)
    assert [letters(kept) for kept in BLIND] == ["C", "PC", "AC"]
    assert all(set(under(probes, kept)["probe"]) == {letters(kept)} for kept in BLIND)


def credits(result: Result, skill: str, model: str, value: str = "accuracy") -> list[dict[str, Any]]:
    cell = result.measures["test"][skill]
    return [cell[f"{value}_credit_{name}"][model] for name in ("physical", "abstract", "computational")]


def test_credits_are_those_of_the_game_that_was_played(result: Result) -> None:
    told = {
        "what-if": [0.5, 0, 0.5],
        "diagnosis": [0, 1, 0],
        "dependency": [0, 0, 0],
        "forecast": [1, 0, 0],
        "unanswerable": [1, 0, 0],
    }
    for skill, expected in told.items():
        found = credits(result, skill, "llm")
        assert [entry["value"] for entry in found] == pytest.approx(expected)
        assert all(entry["low"] <= entry["value"] <= entry["high"] <= entry["low"] + 0.15 for entry in found)
    whole = [entry["value"] for entry in credits(result, "all", "llm")]
    assert whole == pytest.approx([0.5 / 5 + 2 / 5, 1 / 5, 0.5 / 5])


def test_credits_sum_to_what_all_add_to_none(result: Result) -> None:
    for model in ("llm", "refuser", "parrot"):
        for value in ("accuracy", "log_score"):
            full, none = (result.measures[f"test|{kept}"]["all"][value][model]["value"] for kept in (ALL, "none"))
            assert sum(e["value"] for e in credits(result, "all", model, value)) == pytest.approx(full - none)


def test_who_reads_nothing_gets_no_credit(result: Result) -> None:
    for model in ("refuser", "parrot"):
        for entry in credits(result, "all", model):
            assert entry["value"] == 0 and -0.05 < entry["low"] < 0 < entry["high"] < 0.05
    assert result.measures["test|none"]["all"]["accuracy"]["refuser"]["value"] == pytest.approx(0.2)


def test_what_a_dead_dimension_costs(result: Result) -> None:
    lost = {
        kept: result.measures[f"test|{kept}"]["all"]["accuracy_lost"]["llm"]["value"] for kept in ("AC", "PC", "PA")
    }
    assert lost == pytest.approx({"AC": 3 / 5, "PC": 1 / 5, "PA": 1 / 5})
    assert result.measures[f"test|{ALL}"]["all"]["accuracy"]["llm"]["value"] == 1
    assert "accuracy_lost" not in result.measures[f"test|{ALL}"]["all"]


def test_a_missing_answer_is_named(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"'llm': 1 question\(s\) not answered once under each of the 8 subsets"):
        run(questions, probes.drop(index=3), llm=reader)


def test_nothing_asked_nothing_measured(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    assert not run(questions, probes[:0], llm=reader).measures
