"""The control room's instruments tell what the readings tell, the same without the outcomes, and nothing where there is nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import recipe
from twinforge.sectors import State, energy
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.instruments import CALLS, calls, tools
from twinforge.sectors.energy.questions import questions
from twinforge.sectors.energy.templates import BY_NAME
from twinforge.sectors.energy.view import View
from twinforge.sectors.tools import call

Told = list[tuple[State, pd.Series, str]]


@pytest.fixture(scope="module")
def told(states: list[State], rated: Grid) -> Told:
    found = []
    for i, state in enumerate(states):
        for row in questions(state, rated, "any", np.random.default_rng(i)):
            (words,) = calls(pd.Series(row))
            found.append((state, pd.Series(row), call(tools(lambda _: rated), state, words)))
    return found


def of(told: Told, *templates: str, answerable: bool = True) -> Told:
    found = [t for t in told if t[1]["template"] in templates and (t[1]["skill"] != "unanswerable") == answerable]
    assert len(found) >= 5
    return found


def test_every_template_has_a_call_that_is_understood(told: Told) -> None:
    assert set(CALLS) == set(BY_NAME) and not [
        text for *_, text in told if "there is no tool" in text or "takes" in text
    ]


def test_estimates_are_the_operators_and_not_the_truth(told: Told) -> None:
    pattern = {"loading": r"gives \S+ (\d+) %", "ahead": r"gives \S+ (\d+) %", "risk": r"gives \S+ (\d+) %"}
    for template, where in pattern.items():
        said = [(int(re.search(where, text)[1]), row) for _, row, text in of(told, template)]  # type: ignore[index]
        for value, row in said:
            assert f" {min(value, 299)}" in row["evidence"] or f" {value} %" in row["evidence"]
        if template != "risk":
            assert np.mean([value == row["rule"] for value, row in said]) > 0.95
            assert np.mean([value != row["truth"] for value, row in said]) > 0.15  # a truth would always agree


def test_the_walk_and_the_clauses_are_the_rules(told: Told) -> None:
    for state, row, text in of(told, "supply"):
        outage = text.split()[1] if text.startswith("without") else ""
        if outage:
            named = set(re.findall(r"\bD\d+", text))
            assert (
                {row["options"][i] for i in row["rule_gold"]}
                <= named
                == View(state, energy.build_grid(energy.Settings(), 0)).cut_off(outage)
            )
    for _, row, text in of(told, "clause"):
        broken = re.findall(r"(C\d) broken", text)
        assert (broken[0] if broken else "none") == row["options"][int(row["rule"])].split()[0]


def test_what_is_not_there_is_said_so(told: Told) -> None:
    for _, row, text in of(told, "risk", "loading", "ahead", "failure", "supply", answerable=False):
        assert re.search(r"no line|no reading|is open|no log|no forecast", text), (row["text"], text)


def test_outcomes_change_nothing(told: Told, states: list[State], rated: Grid) -> None:
    known = tools(lambda _: rated)
    for state, row, text in told[:200]:
        wrong = replace(state, outcomes=state.outcomes.assign(value=state.outcomes["value"] * 3 + 7))
        bare = replace(state, outcomes=state.outcomes.iloc[:0])
        (words,) = calls(row)
        assert call(known, wrong, words) == call(known, bare, words) == text
        tool = next(tool for tool in known if tool.name == words.split()[0])
        if "there is" not in text and "no " not in text and "is open" not in text:
            assert tool.use(wrong, words.split()[1:]) == text  # not even where a tool is handed them


def test_the_sector_offers_them(states: list[State]) -> None:
    offered = energy.tools(recipe())
    assert [tool.name for tool in offered] == ["outage", "forecast", "residuals", "clauses", "walk", "remedies", "log"]
    assert call(offered, states[0], "clauses").startswith("C1 ")
    assert energy.calls(pd.Series({"template": "loading", "text": "Is it raining?"})) == ()
