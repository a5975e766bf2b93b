"""Clauses: decided at their edges, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from twinforge.sectors import State
from twinforge.sectors.energy.standards import CLAUSES, at_work, first_broken

SOUND = {
    ("B1", "voltage"): 1.0, ("L1", "loading"): 60.0, ("L2", "loading"): 70.0, ("grid", "hour"): 10.0, ("grid", "wind_regime"): 1.0,
    ("grid", "relief"): 0.0, ("L1", "listed"): 1.0, ("L1>L2", "estimate"): 99.0,
}  # fmt: skip
WORK = {("L3", "planned_from"): 8.0, ("L3", "planned_to"): 12.0}


def state(**changes: float) -> State:
    """SOUND with readings changed: `B1_voltage=1.2`, the first "_" parting asset and quantity."""
    values = {(a, q): v for name, v in changes.items() for a, _, q in [name.partition("_")]}
    return State("e", pd.Timestamp(2016, 1, 1), {**SOUND, **values}, pd.DataFrame())


def broken(s: State) -> list[str]:
    return [clause.clause for clause in CLAUSES if clause.predicate(s)]


def test_a_sound_state_breaks_nothing() -> None:
    assert broken(state()) == [] and first_broken(state()) == len(CLAUSES) == 4
    assert broken(State("e", pd.Timestamp(0), {}, pd.DataFrame())) == []


@pytest.mark.parametrize(("volts", "bad"), [(0.899, True), (0.9, False), (1.118, False), (1.119, True)])
def test_voltage_range_of_annex_two(volts: float, bad: bool) -> None:
    assert broken(state(B2_voltage=volts)) == (["C1"] if bad else [])


@pytest.mark.parametrize(("loading", "bad"), [(100.0, False), (100.1, True)])
def test_thermal_limit(loading: float, bad: bool) -> None:
    assert broken(state(L9_loading=loading)) == (["C2"] if bad else [])


def test_listed_outages_must_be_survived_unless_relieved() -> None:
    over = {**SOUND, ("L1>L2", "estimate"): 100.5}
    assert broken(State("e", pd.Timestamp(0), over, pd.DataFrame())) == ["C3"]
    assert broken(State("e", pd.Timestamp(0), {**over, ("grid", "relief"): 1.0}, pd.DataFrame())) == []
    unlisted = {**SOUND, ("L7>L2", "estimate"): 150.0, ("L1|open L4", "estimate"): 150.0}
    assert broken(State("e", pd.Timestamp(0), unlisted, pd.DataFrame())) == []


@pytest.mark.parametrize(
    ("hour", "wind", "loading", "bad"),
    [
        (7.75, 2, 90, False), (8, 2, 60, True), (11.75, 2, 60, True), (12, 2, 90, False), (10, 1, 75, False), (10, 1, 75.1, True),
        (10, 0, 99, True),
    ],
)  # fmt: skip
def test_work_needs_calm_and_room(hour: float, wind: float, loading: float, bad: bool) -> None:
    s = state(grid_hour=hour, grid_wind_regime=wind, L2_loading=loading)
    s = State(s.episode, s.time, {**s.values, **WORK}, s.outcomes)
    assert broken(s) == (["C4"] if bad else [])
    assert at_work(s) == (["L3"] if 8 <= hour < 12 else [])


def test_the_first_of_several_counts() -> None:
    everything = {("B2", "voltage"): 1.2, ("L9", "loading"): 130.0, ("L1>L9", "estimate"): 140.0, **WORK}
    s = State("e", pd.Timestamp(0), {**SOUND, **everything}, pd.DataFrame())
    assert broken(s) == ["C1", "C2", "C3", "C4"] and first_broken(s) == 0


def test_clauses_state_their_numbers_and_sources() -> None:
    for clause, numbers in zip(CLAUSES, (("0.90", "1.118"), (), (), ("75 %",)), strict=True):
        assert all(number in clause.text for number in numbers) and clause.predicate.__doc__
        assert "2017/1485" in clause.source
