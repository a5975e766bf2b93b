"""The toy sector keeps its promises to the tests that lean on it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import toy, toy_water
from tests.toy_recipe import toy_slice
from twinforge.records import SKILLS
from twinforge.sectors import Episode, State, load_sector


def state_of(episode: Episode, hour: int = 0) -> State:
    time = episode.outcomes["time"].unique()[hour]
    now = episode.observations[episode.observations["time"] == time].dropna(subset="value")
    values = dict(zip(zip(now["asset"], now["quantity"], strict=True), now["value"], strict=True))
    return State(episode.row["episode"], pd.Timestamp(time), values, episode.outcomes[episode.outcomes["time"] == time])


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    recipe = toy_slice(tmp_path_factory.mktemp("toy"), "lake", lake={"gap_rate": 0.0})
    return next(toy.episodes(recipe))


def test_it_is_a_sector() -> None:
    assert load_sector("tests.toy").NAME == "toy"
    assert {template.skill for template in toy.TEMPLATES} == set(SKILLS) - {"unanswerable"}


def test_an_episode_depends_on_its_seed_and_day_alone(tmp_path: Path) -> None:
    long, short = (list(toy.episodes(toy_slice(tmp_path, "lake", lake={"days": n, "shift_days": 0}))) for n in (12, 10))
    pd.testing.assert_frame_equal(long[9].observations, short[9].observations)
    pd.testing.assert_frame_equal(long[9].outcomes, short[9].outcomes)


def test_a_draining_tank_follows_torricelli() -> None:
    drained = toy.check(None)["drain"]
    assert 0 < drained["error_m"] < 0.01 * drained["exact_m"]


def test_water_is_neither_made_nor_lost() -> None:
    one = np.ones(1)
    before = toy_water.Runs(np.array([[2.0, 2.0]]), np.array([[1.0, 0.0]]), one, one, 0 * one, 0 * one)
    after = toy_water.advance(before, 0, 1)
    stored = ((after.level - before.level) * toy_water.AREA).sum()
    assert stored == pytest.approx(
        toy_water.PUMPS[0], rel=1e-9
    )  # no draw, below the weir: all that is pumped in an hour


def test_asking_about_a_missing_reading_or_asset_has_no_answer(day: Episode) -> None:
    state = state_of(day)
    known = toy.ask(state, "later-level", {"tank": "tank B", "hours": "1"}, "asked", None)
    assert known["skill"] == "forecast" and 0 <= known["truth"] <= 5
    values = {key: value for key, value in state.values.items() if key != ("tank B", "level")}
    blind = toy.ask(
        State(state.episode, state.time, values, state.outcomes),
        "later-level",
        {"tank": "tank B", "hours": "1"},
        "asked",
        None,
    )
    strange = toy.ask(state, "later-level", {"tank": "tank C", "hours": "1"}, "asked", None)
    for row in (blind, strange):
        assert row["skill"] == "unanswerable" and row["asked"] == "forecast" and math.isnan(row["truth"])


def test_the_best_action_is_the_one_that_lands_nearest(day: Episode) -> None:
    row = toy.ask(state_of(day), "act", {"target": "2"}, "asked", None)
    assert len(row["payoff"]) == len(row["options"]) == len(row["features"]) == 4
    assert row["payoff"][int(row["truth"])] == max(row["payoff"]) <= 0
