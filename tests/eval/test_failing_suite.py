"""The suite failing finds what models lose by construction when a side is dead, late or lying, and who stays sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence, Result
from eval.probes import FAILING, PROBE
from eval.probes.failing import World, ask, before
from eval.scores import SETS
from eval.suites import SUITES
from eval.suites.failing import FAILURES, asked_of
from tests.eval.states import states
from tests.eval.test_robustness_suite import answers, right, wrong
from twinforge.errors import UserError
from twinforge.lake.states import Key
from twinforge.records import Signal
from twinforge.sectors import State

LOST = {"dead P": 0.2, "late P": 0.1, "lying P": 0.5, "lying C": 1.0}  # share that a believer gets wrong
SIGNALS = (Signal("load", "%", 0, 400, "physical"), Signal("guess", "%", 0, 400, "computational"))
DEAD = {"AC": "dead P", "PC": "dead A", "PA": "dead C"}


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return states(40, 20)


@pytest.fixture(scope="module")
def probes(questions: pd.DataFrame) -> pd.DataFrame:
    none = pd.Series([[]] * len(questions), dtype=object)
    parts = [
        questions.assign(suite=suite, probe=name, original=questions["id"], id=questions["id"] + f"-{name}", order=none)
        for suite, names in (("failing", FAILURES[1:3] + FAILURES[4:6] + FAILURES[7:]), ("dimensions", DEAD))
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


def believer(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    failure = DEAD.get(row.get("probe", ""), row.get("probe", ""))
    return wrong(row) if rng.random() < LOST.get(failure, 0.0) else right(row)


def immune(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    return right(row)


def sets(rows: pd.DataFrame, sure: bool | pd.Series) -> pd.DataFrame:
    blank = dict.fromkeys(SETS, 0.0)
    return pd.DataFrame({**blank, "question": rows["id"].to_numpy(), "sure": sure})


def run(questions: pd.DataFrame, probes: pd.DataFrame, sure: Mapping[str, Any]) -> Result:
    models = {"twin": believer, "careful": believer, "boost": immune}
    known = {name: answers(questions, model) for name, model in models.items()}
    told = {name: answers(probes, model, seed=1) for name, model in models.items()}
    named = questions.assign(split="test")
    whole = {name: sets(questions, True) for name in sure}
    weak = {name: sets(probes, each) for name, each in sure.items()}
    return SUITES["failing"](Evidence(named, known, whole, 0.1, 400, 17, probes, told, failing=told, failing_sets=weak))


@pytest.fixture(scope="module")
def cells(questions: pd.DataFrame, probes: pd.DataFrame) -> dict[str, Any]:
    lying = probes["probe"].str.startswith("lying").to_numpy()
    return run(questions, probes, {"twin": True, "careful": ~lying}).measures["test"]


def test_what_is_lost_is_what_was_put_in(cells: dict[str, Any]) -> None:
    assert list(cells) == list(FAILURES)
    for name, cell in cells.items():
        found, expected = cell["accuracy_lost"]["twin"], LOST.get(name, 0.0)
        assert (
            found["value"] == pytest.approx(expected, abs=0.1)
            and found["low"] - 0.03 <= expected <= found["high"] + 0.03
        )
        assert cell["accuracy_lost"]["boost"]["value"] == 0 and cell["accuracy"]["boost"]["value"] == 1
        assert cell["accuracy_original"]["twin"]["value"] == 1 and found["n"] == 200


def test_one_who_stays_sure_is_sure_and_wrong_and_one_who_doubts_is_not(cells: dict[str, Any]) -> None:
    """One question in five can't be answered: to refuse it is no answer, so a twin that is misled answers more."""
    lie, near = cells["lying C"], pytest.approx
    assert lie["answered"]["twin"]["value"] == 1 and lie["answered_lost"]["twin"]["value"] == near(-0.2)
    assert lie["wrong_gained"]["twin"]["value"] == lie["answered_wrong"]["twin"]["value"] == 1
    assert lie["answered"]["careful"]["value"] == 0 and lie["wrong_gained"]["careful"]["value"] == 0
    assert (
        lie["answered_lost"]["careful"]["value"] == cells["lying A"]["answered_lost"]["careful"]["value"] == near(0.8)
    )
    assert cells["late A"]["answered_lost"]["careful"]["value"] == 0 == cells["late A"]["wrong_gained"]["twin"]["value"]
    assert "boost" not in lie["answered"]


def test_an_answer_without_the_question_as_it_stood_is_named(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    told = {"odd": answers(probes, immune)}
    evidence = Evidence(questions.assign(split="test"), {}, {}, 0.1, 400, 17, probes, told, failing=told)
    with pytest.raises(UserError, match=r"'odd': 200 question\(s\) of the failing sides without an answer"):
        SUITES["failing"](evidence)


def test_nothing_asked_nothing_measured(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    assert not run(questions, probes[:0], {}).measures
    assert not len(asked_of(pd.DataFrame())) and asked_of(probes)["failure"].isin(FAILURES).all()


def test_the_state_before_is_of_the_last_day() -> None:
    def key(name: str, hour: int) -> Key:
        return Key(name, pd.Timestamp("2026-01-01") + pd.Timedelta(hours=hour))

    every = [key("a", 0), key("a", 9), key("b", 30), key("c", 80)]
    assert before(every, every) == {every[1]: every[0], every[2]: every[1]}


def test_each_side_is_told_late_and_falsely_where_it_can_be() -> None:
    questions = states(3, 3)[["id", "episode", "time", "template", "context"]]
    keys = [Key(str(e), t) for e, t in questions[["episode", "time"]].drop_duplicates().itertuples(index=False)]
    made = {
        key: State(key.episode, key.time, {("L1", "load"): 10.0 + i, ("L1", "guess"): 50.0}, pd.DataFrame())
        for i, key in enumerate(keys)
    }

    def retell(row: Any, state: State, other: State, dimension: str, recipe: Any) -> dict[str, Any] | None:
        told = f"{other.episode} {other.get('L1', 'load'):g} {other.get('L1', 'guess'):g}"
        return None if dimension == "abstract" and other.episode == keys[0].episode else {**row, "context": told}

    rows = ask(questions, World(made, {keys[1]: made[keys[0]]}, SIGNALS, retell, None), 3)
    assert {"suite", "probe", "original", "order"} < set(rows.columns) and set(PROBE.names) >= {"suite", "probe"}
    assert rows["id"].is_unique and set(rows["suite"]) == {FAILING}
    first = rows[rows["original"].isin(questions.loc[questions["episode"] == keys[0].episode, "id"])]
    assert set(first["probe"]) == {"lying P", "lying A", "lying C"}  # nothing came before it
    assert set(first.loc[first["probe"] == "lying P", "context"]) == {"day-00 13 50"}
    assert set(first.loc[first["probe"] == "lying C", "context"]) == {"day-00 10 65"}
    assert not first.loc[first["probe"] == "lying A", "context"].str.startswith("day-00").any()
    second = rows[rows["original"].isin(questions.loc[questions["episode"] == keys[1].episode, "id"])]
    assert {"late P", "late C"} < set(second["probe"]) and "late A" not in set(second["probe"])  # it could not be told
    pd.testing.assert_frame_equal(rows, ask(questions, World(made, {keys[1]: made[keys[0]]}, SIGNALS, retell, None), 3))
