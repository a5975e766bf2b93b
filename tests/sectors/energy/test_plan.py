"""Plans of days: from (seed, day) alone, within the rules they state, regimes and change points where the recipe puts them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sectors.energy.world import recipe
from twinforge.errors import UserError
from twinforge.sectors.energy.grid import Grid, islands
from twinforge.sectors.energy.plan import (
    CALM,
    FUTURE,
    REBUILT,
    SHIFTS,
    Day,
    meshed_lines,
    plan_days,
    rating_factor,
    regimes,
    wind_regime,
)
from twinforge.sectors.energy.settings import Settings


@given(st.integers(1, 200), st.integers(0, 100), st.integers(0, 66))
def test_regimes_follow_each_other_and_change_on_their_first_day(days: int, shift_days: int, first: int) -> None:
    found = regimes(days, shift_days, first)
    assert [day for day, _, _ in found] == list(range(first, first + days + shift_days))
    assert [name for _, name, _ in found[:days]] == [CALM] * days
    shifted = [name for _, name, _ in found[days:]]
    assert shifted == sorted(shifted, key=SHIFTS.index)
    sizes = [shifted.count(name) for name in SHIFTS]
    assert max(sizes) - min(sizes) <= 1
    for day, name, change in found:
        assert change == (-1 if name == CALM else min(d for d, n, _ in found if n == name)) and change <= day


@pytest.mark.parametrize(("days", "shift_days", "first"), [(300, 67, 0), (1, 0, 366), (10, 0, -1)])
def test_a_stretch_beyond_the_profiles_is_refused(days: int, shift_days: int, first: int) -> None:
    with pytest.raises(UserError, match="lake.start, lake.days and lake.shift_days"):
        regimes(days, shift_days, first)


def plans(grid: Grid, **lake: object) -> list[Day]:
    return list(plan_days(recipe(**lake), Settings(), dict.fromkeys((CALM, *SHIFTS), grid)))  # type: ignore[arg-type]


def test_a_day_depends_on_the_seed_and_itself_alone(rated: Grid) -> None:
    long, short = plans(rated, days=40, shift_days=0), plans(rated, days=20, shift_days=0)
    assert long[:20] == short
    assert plans(rated, days=5, shift_days=0, start=date(2016, 1, 11)) == long[10:15]
    other = recipe(days=20, shift_days=0)
    other.seed = 18
    assert not set(day.slack_vm_pu for day in plan_days(other, Settings(), {CALM: rated})) & {d.slack_vm_pu for d in short}  # fmt: skip


def test_days_are_named_and_dated_as_the_profiles(planned: list[Day]) -> None:
    assert len(planned) == 366
    assert planned[59].name == "2016-02-29" and planned[59].start == pd.Timestamp(2016, 2, 29)
    assert [d.name for d in planned if d.change == d.start] == ["2016-11-16", "2016-11-28", "2016-12-10", "2016-12-21"]


def test_states_leave_room_for_an_hour_before_and_four_after(planned: list[Day]) -> None:
    for day in planned:
        assert list(day.steps) == sorted(set(day.steps)) and len(day.steps) == 8
        assert day.steps[0] >= 4 and day.steps[-1] + 16 < 96
    hours = np.array([day.steps for day in planned]) / 4
    assert hours.min() < 1.5 and hours.max() > 19 and 9.5 < hours.mean() < 11.5


def test_work_and_listed_outages_are_meshed_lines_apart(planned: list[Day], rated: Grid, settings: Settings) -> None:
    meshed = set(meshed_lines(rated))
    for day in planned:
        assert len(set(day.listed)) == settings.listed and set(day.listed) <= meshed - set(day.closed_for_good)
        assert set(day.work) <= meshed - set(day.listed) - set(day.closed_for_good)
        assert all(start >= 6 and start + 5 <= end <= 22 for start, end in day.work.values())
    share = np.mean([bool(day.work) for day in planned])
    assert abs(share - settings.work_rate) < 4 * np.sqrt(0.25 / 366)
    assert abs(np.mean([day.relief for day in planned]) - settings.relief_rate) < 4 * np.sqrt(0.25 / 366)


def test_the_day_tells_which_lines_are_out(planned: list[Day]) -> None:
    day = next(day for day in planned if day.work)
    ((line, (start, end)),) = day.work.items()
    assert [day.out(h) for h in (start - 0.25, start, end - 0.25, end)] == [set(), {line}, {line}, set()]


def test_a_rebuilt_grid_lacks_two_lines_and_feeds_everyone(planned: list[Day], rated: Grid) -> None:
    gone = {day.closed_for_good for day in planned if day.regime == REBUILT}
    assert len(gone) == 1 and len(next(iter(gone))) == 2
    assert {day.closed_for_good for day in planned if day.regime != REBUILT} == {()}
    for day in planned:
        assert not islands(rated, frozenset((*day.closed_for_good, *day.work)))


def test_voltage_sags_on_some_days(planned: list[Day], settings: Settings) -> None:
    slack = np.array([day.slack_vm_pu for day in planned])
    low = slack < (settings.slack_mean + settings.sag_mean) / 2
    assert 0.02 < low.mean() < 0.12
    assert slack[~low].mean() == pytest.approx(settings.slack_mean, abs=0.004)
    assert slack[~low].std() == pytest.approx(settings.slack_spread, rel=0.2)


@pytest.mark.parametrize(
    ("month", "hour", "wind", "factor"),
    [
        (4, 12, 0, 1.0), (4, 12, 2, 1.08), (7, 12, 1, 0.95), (7, 20, 0, 0.95 * 1.04), (7, 5.75, 0, 0.95 * 1.04), (1, 6, 0, 1.08),
        (12, 23, 2, 1.08 * 1.04 * 1.08),
    ],
)  # fmt: skip
def test_ratings_follow_season_night_and_strong_wind(month: int, hour: float, wind: int, factor: float) -> None:
    assert rating_factor(Settings(), month, hour, wind) == pytest.approx(factor)


def test_wind_regimes_by_share_of_the_installed_power() -> None:
    assert [wind_regime(p, 100) for p in (0, 14.9, 15.1, 49.9, 50.1, 100)] == [0, 0, 1, 1, 2, 2]
    assert wind_regime(0, 0) == 0


def test_future_days_come_last(planned: list[Day]) -> None:
    assert planned[-1].regime == FUTURE and planned[0].regime == CALM
