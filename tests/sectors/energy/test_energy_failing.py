"""Questions about the grid while one side fails: told of their own state they are themselves, else only that side differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twinforge.records import Dimension
from twinforge.sectors import State
from twinforge.sectors.dimensions import LETTERS
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import questions, retell
from twinforge.sectors.energy.signals import SIGNALS
from twinforge.sectors.failing import TOLD, scaled

Asked = list[tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def asked(states: list[State], rated: Grid) -> Asked:
    """Eight states of eight days, each the fourth of its day."""
    rng = np.random.default_rng(5)
    return [(i, row) for i in range(3, len(states), 8) for row in questions(states[i], rated, "any", rng)]


@pytest.mark.parametrize("dimension", list(LETTERS))
def test_told_of_its_own_state_it_is_itself(
    asked: Asked, states: list[State], rated: Grid, dimension: Dimension
) -> None:
    assert len(asked) > 100
    for i, row in asked:
        told = retell(row, states[i], states[i], dimension, rated)
        assert told is not None
        for name in TOLD:
            np.testing.assert_equal(told[name], row[name])


@pytest.mark.parametrize("dimension", list(LETTERS))
def test_only_the_late_side_of_the_page_differs(
    asked: Asked, states: list[State], rated: Grid, dimension: Dimension
) -> None:
    at, changed, left = list(LETTERS).index(dimension), 0, 0
    sides = {"A": 0, "P": 1, "C": 2}  # their places on the page
    mine = sides[list(LETTERS.values())[at]]
    for i, row in asked:
        told = retell(row, states[i], states[i - 1], dimension, rated)
        if told is None:
            left += 1
            assert dimension == "computational" and row["asked"] == "recommend"
            continue
        before, after = row["context"].split("\n"), told["context"].split("\n")
        changed += before[mine] != after[mine]
        assert before[1] == after[1] or mine != 0  # what is read does not hang on the calendar
        for name in ("truth", "options", "gold", "text", "evidence", "payoff"):
            np.testing.assert_equal(told[name], row[name])
    assert changed > 0.8 * (len(asked) - left) and left < 0.3 * len(asked)


def test_a_lying_estimate_misleads_text_features_and_rule_alike(asked: Asked, states: list[State], rated: Grid) -> None:
    pairs = [(i, row) for i, row in asked if row["template"] == "loading" and row["features"][0][0] > 20]
    assert len(pairs) >= 5
    for i, row in pairs:
        told = retell(row, states[i], scaled(states[i], "computational", SIGNALS), "computational", rated)
        assert told is not None
        estimate, now, difference = told["features"][0][:3]
        assert estimate == pytest.approx(1.3 * row["features"][0][0]) and now == row["features"][0][1]
        assert difference == pytest.approx(estimate - now) and told["rule"] == min(round(estimate), 299)
        assert f"C after {estimate:.0f}" in told["facts"]
