"""Asked again: what is corrected and what is spoilt is known by construction, and neither refusing nor repeating looks good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from eval import blocks, pages
from eval.evidence import Evidence
from eval.measures import Cell
from eval.retries import asked_again
from eval.rolling import ROLL
from eval.suites.propagation import run
from tests.eval import synthetic
from twinforge.errors import UserError

QUESTIONS = synthetic.questions(30, 8)
FIRST = synthetic.answers(QUESTIONS, 0.5, seed=3)
ALWAYS = synthetic.answers(QUESTIONS, 1.0, seed=4)
NEVER = synthetic.answers(QUESTIONS, 0.0, seed=5)


def evidence(thoughts: Mapping[str, pd.DataFrame], first: pd.DataFrame = FIRST) -> Evidence:
    nothing = pd.DataFrame(columns=ROLL.names)
    return Evidence(QUESTIONS, {"llm": first}, {}, 0.1, 400, 1, rolled=nothing, thoughts=thoughts)


def measured(way: str, then: pd.DataFrame, **more: pd.DataFrame) -> Cell:
    others = {f"llm-{name}": rows for name, rows in more.items()}
    return asked_again(evidence({f"llm-{way}": then, **others}))[way]


def mixed(set_right: float, set_wrong: float) -> pd.DataFrame:
    """The first answers, a share of the wrong ones corrected and a share of the right ones spoilt."""
    rng = np.random.default_rng(2)
    right = np.array([p.argmax() == q.argmax() for p, q in zip(FIRST["p"], ALWAYS["p"], strict=True)])
    draw = rng.random(len(FIRST))
    chosen = np.where(
        right, np.where(draw < set_wrong, "never", "first"), np.where(draw < set_right, "always", "first")
    )
    of = {"first": FIRST["p"], "always": ALWAYS["p"], "never": NEVER["p"]}
    return FIRST.assign(p=[of[name][i] for i, name in enumerate(chosen)], tokens=150)


def test_flips_are_found_at_their_rates_each_on_its_own_count() -> None:
    cell = measured("reflected", mixed(0.4, 0.1))
    first, then = (cell[name]["llm"]["value"] for name in ("right_first", "right_then"))
    for name, rate in (("set_right", 0.4), ("set_wrong", 0.1), ("retry_gain", (1 - first) * 0.4 - first * 0.1)):
        found = cell[name]["llm"]
        assert found["low"] < rate < found["high"] and found["high"] - found["low"] < 0.15
    assert (
        cell["set_right"]["llm"]["n"] + cell["set_wrong"]["llm"]["n"]
        == cell["retry_gain"]["llm"]["n"]
        == len(QUESTIONS)
    )
    assert then - first == pytest.approx(cell["retry_gain"]["llm"]["value"]) and cell["retry_gain"]["llm"]["low"] > 0
    assert cell["tokens"]["llm"]["value"] == 150 and "retry_lead" not in cell


def test_one_who_only_repeats_gains_and_flips_nothing() -> None:
    cell = measured("reflected", FIRST)
    assert [cell[name]["llm"]["value"] for name in ("retry_gain", "set_right", "set_wrong")] == [0, 0, 0]
    assert cell["retry_gain"]["llm"]["low"] < 0 < cell["retry_gain"]["llm"]["high"]


def test_one_who_refuses_on_second_thoughts_loses() -> None:
    cell = measured("reflected", synthetic.always(QUESTIONS, -1))
    assert cell["retry_gain"]["llm"]["high"] < -0.2 and cell["set_wrong"]["llm"]["value"] > 0.8
    copying = measured("checked", synthetic.pointing(QUESTIONS, "copy"))
    assert copying["retry_gain"]["llm"]["high"] < -0.2


def test_evidence_has_to_beat_what_its_tokens_buy_alone() -> None:
    same = measured("checked", mixed(0.4, 0.1), again=mixed(0.4, 0.1))
    assert same["retry_lead"]["llm"]["value"] == 0 < same["retry_gain"]["llm"]["low"]
    better = measured("checked", mixed(0.6, 0.05), again=mixed(0.1, 0.1))
    assert better["retry_lead"]["llm"]["low"] > 0.1


def test_the_suite_shows_them_without_a_rollout_and_names_what_is_missing() -> None:
    result = run(evidence({"llm-checked": mixed(0.5, 0.0), "llm-again": mixed(0.1, 0.1), "llm-cot": FIRST}))
    assert set(result.measures["test"]) == {"checked", "again"} and not len(result.table)
    titles = [block.title for block in blocks.rolled(result.measures)]
    assert titles == ["Asked again: checked", "Asked again: again"]
    told = pages.retries(result.measures["test"])
    assert told.count("| checked |") == 7 and told.count("| again |") == 6
    with pytest.raises(UserError, match="llm-checked: 5 questions had no first answer"):
        asked_again(evidence({"llm-checked": FIRST}, FIRST.iloc[5:]))
