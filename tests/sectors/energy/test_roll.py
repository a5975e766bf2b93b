"""Rolled hours: fresh states are the lake's, later ones know nothing of what happened since, and answers stand where readings would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sectors.energy.world import recipe
from twinforge.sectors.energy import plan
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.roll import Stretch, stretches
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.watch import Year

STEPS, LAST = 30, 340


@pytest.fixture(scope="module")
def year(rated: Grid, settings: Settings) -> Year:
    return Year(rated, settings, recipe())


@pytest.fixture(scope="module")
def made(year: Year) -> list[Stretch]:
    return stretches(year, LAST, 3, STEPS)


def test_they_lie_behind_the_lake_and_apart(made: list[Stretch]) -> None:
    ends = [one.first + STEPS for one in made]
    assert len(made) == 3 and made[0].first >= LAST * 24 and ends[-1] < plan.YEAR * 24
    assert all(one.first > end + 24 for one, end in zip(made[1:], ends[:-1], strict=True))
    assert len({one.first % 24 for one in made}) > 1
    for one in made:
        assert one.truth.shape == (STEPS + 1, len(one.assets)) and np.isfinite(one.truth).all()
        assert len(set(one.assets)) == len(one.assets) and one.truth.min() > 0


def test_no_day_is_left_no_stretch(year: Year) -> None:
    assert stretches(year, plan.YEAR - 2, 3, STEPS) == [] and len(stretches(year, plan.YEAR - 4, 9, STEPS)) == 1


def test_a_reading_is_the_truth_with_its_noise(made: list[Stretch]) -> None:
    for one in made:
        now, before = one.read(5)
        np.testing.assert_allclose(now, one.truth[5], rtol=0.06, atol=1.5)
        np.testing.assert_allclose(before, one.truth[4], rtol=0.25, atol=6)
        assert (now != one.truth[5]).all()


def test_fresh_questions_are_told_what_the_sensors_say(made: list[Stretch]) -> None:
    one = made[0]
    now, before = one.read(0)
    rows = one.ask(0, 0, now, before)
    assert [row["text"] for row in rows] == [
        f"What will the loading of line {n} be in 1 h, in percent?" for n in one.assets
    ]
    for row, value in zip(rows, now, strict=True):
        assert f"P now {value:.0f}," in row["facts"] and row["persistence"] == round(value)
        assert np.isnan(row["truth"]) and np.isfinite(row["rule"])  # the future is told to no one
        assert row["context"].startswith("A: ") and "?" not in row["context"]


def test_nothing_that_happened_since_is_in_a_rolled_state(made: list[Stretch]) -> None:
    """With another future in place of the true one, every word and number stays."""
    one = made[1]
    other = replace(
        one,
        truth=one.truth * 3,
        measured=(*one.measured[:1], *reversed(one.measured[1:])),
        winds=(one.winds[0], *(2 - w for w in one.winds[1:])),
        _scenes={},
    )
    for step in (1, 7, 25):
        told = [
            each.ask(step, 0, np.full(len(one.assets), 50.0), np.full(len(one.assets), 48.0)) for each in (one, other)
        ]
        assert str(told[0]) == str(told[1])
    assert str(one.ask(3, 3, *one.read(3))) != str(other.ask(3, 3, *other.read(3)))  # but the readings differ


@pytest.mark.parametrize("simulated", [True, False])
def test_answers_stand_where_readings_would(made: list[Stretch], simulated: bool) -> None:
    one = made[2]
    k = len(one.assets)
    low, high = (one.ask(6, 0, np.full(k, v), np.full(k, v), simulated) for v in (40.0, 60.0))
    for a, b in zip(low, high, strict=True):
        assert "P now 40," in a["facts"] and "P now 60," in b["facts"]
        moved = b["rule"] - a["rule"]  # the forecast
        assert moved == (0 if simulated else pytest.approx(20, abs=1))
    view = one.state(6, 0, np.full(k, 60.0), np.full(k, 60.0), simulated)
    residuals = [view.get(line, "residual") for line in one.assets]
    assert any(abs(r) > 1 for r in residuals) if simulated else residuals == [0.0] * k


def test_the_calendar_and_the_work_are_planned(made: list[Stretch]) -> None:
    one = made[0]
    now, before = one.read(0)
    state = one.state(26, 0, now, before)
    day = one.year.days[(one.first + 26) // 24]
    assert state.get("grid", "hour") == (one.first + 26) % 24 and state.time == one.start + np.timedelta64(26, "h")
    assert set(state.column("planned_from")) == set(day.work)
    assert not set(one.assets) & set(day.work)
