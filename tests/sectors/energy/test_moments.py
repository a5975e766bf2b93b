"""What the sensors say of a state: faults, gaps, noise, and nothing of what is to come."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import MISREPORTED, NO_FAULT, STUCK, Fresh, faulty, recipe, states_of
from twinforge.sectors import Episode
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.days import simulate
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.plan import BIASED, Day
from twinforge.sectors.energy.settings import Settings


def test_a_misreported_line_is_open_in_truth_and_closed_on_paper(fresh: list[Fresh]) -> None:
    for f in faulty(fresh, MISREPORTED):
        line = f.fault[1]
        assert f.state.get(line, "switch") == 1.0
        assert 0 <= f.state.get(line, "loading") < 1.0 < 15 * 0.5 < f.state.get(line, "loading_before")
        assert f.state.get(line, "residual") < -5
        assert f.of("now").set_index("asset").loc[line, "value"] == 0.0


def test_a_stuck_reading_equals_that_of_an_hour_ago_and_no_other_does(fresh: list[Fresh]) -> None:
    for f in faulty(fresh, STUCK):
        same = [n for n, v in f.state.column("loading").items() if v == f.state.get(n, "loading_before")]
        assert same == [f.fault[1]]
    for f in faulty(fresh, NO_FAULT):
        assert all(v != f.state.get(n, "loading_before") for n, v in f.state.column("loading").items())


def test_readings_follow_the_truth_within_their_noise(fresh: list[Fresh]) -> None:
    errors = []
    for f in faulty(fresh, NO_FAULT):
        true = f.of("now").set_index("asset")["value"]
        errors += [(v - true[n]) / (true[n] + 5) for n, v in f.state.column("loading").items() if true[n] > 5]
    assert np.std(errors) == pytest.approx(0.01, rel=0.1) and abs(np.mean(errors)) < 0.001


def test_gaps_are_marked_missing_at_the_stated_rate(simulated: list[tuple[Day, Episode]]) -> None:
    rows = pd.concat([e.observations for _, e in simulated]).query("quantity == 'loading'")
    gone = rows["value"].isna()
    assert (rows.loc[gone, "quality"] == "missing").all() and (rows.loc[~gone, "quality"] == "good").all()
    assert 0.02 < gone.mean() < 0.04


def test_open_lines_are_switched_open_and_read_nothing(fresh: list[Fresh]) -> None:
    busy = [f for f in fresh if f.day.out(f.step / 4)]
    assert len(busy) > 5
    for f in busy:
        (line,) = f.day.out(f.step / 4)
        assert f.state.get(line, "switch") == 0.0 and np.isnan(f.state.get(line, "loading"))
    assert all(v == 1.0 for f in fresh if f not in busy for v in f.state.column("switch").values())


def test_the_log_tells_the_findings_and_nothing_of_what_comes(simulated: list[tuple[Day, Episode]]) -> None:
    grades = {"slight": 1.0, "clear": 2.0, "severe": 3.0}
    fates = []
    for day, episode in simulated:
        log = json.loads(cast(str, episode.row["note"]))["maintenance_log"]
        known: dict[tuple[str, str], float] = {}
        for entry in log:
            when, asset, words = re.fullmatch(r"(\S+) (\S+) \(\w+\): (.*)", entry).groups()  # type: ignore[union-attr]
            assert pd.Timestamp(when) <= day.start and "failed" not in words
            if words.startswith("repaired"):
                known = {key: v for key, v in known.items() if key[0] != asset}
            elif (grade := words.removeprefix("inspected, ").split()[0]) in grades:
                known[asset, f"finding {words.split(maxsplit=2)[2]}"] = grades[grade]
        for state in states_of(episode):
            assert {k: v for k, v in state.values.items() if k[1].startswith("finding")} == known
            failed = state.outcomes.query("kind == 'failure'")
            assert set(failed["asset"]) == set(state.column("age")) and len(failed) == 12
        assert episode.outcomes.query("kind == 'failure'").groupby("asset")["value"].nunique().eq(1).all()
        fates += failed["value"].tolist()
    assert 0.15 < np.mean(fates) < 0.75


def test_a_day_is_the_same_whatever_was_simulated_before(simulated: list[tuple[Day, Episode]], rated: Grid, settings: Settings) -> None:  # fmt: skip
    solver = Solver(rated)
    for day, episode in (simulated[4], simulated[1]):
        again = simulate(day, solver, recipe(), settings)
        pd.testing.assert_frame_equal(again.observations, episode.observations)
        pd.testing.assert_frame_equal(again.outcomes, episode.outcomes)
        assert again.row == episode.row


def test_what_is_observed_knows_nothing_of_the_future(
    simulated: list[tuple[Day, Episode]], rated: Grid, settings: Settings
) -> None:
    day, episode = simulated[2]
    last = day.number * 96 + day.steps[-1]
    p_load, p_sgen = rated.p_load.copy(), rated.p_sgen.copy()
    p_load[last + 1 :] *= 0.7
    p_sgen[last + 1 :] *= 0.2
    other = simulate(day, Solver(replace(rated, p_load=p_load, p_sgen=p_sgen)), recipe(), settings)
    pd.testing.assert_frame_equal(other.observations, episode.observations)
    differs = other.outcomes["value"] != episode.outcomes["value"]
    assert set(other.outcomes.loc[differs, "kind"]) == {"later"}


def test_what_is_observed_knows_nothing_of_an_assets_fate(
    simulated: list[tuple[Day, Episode]], solver: Solver, settings: Settings
) -> None:
    day, episode = simulated[3]
    other = simulate(day, solver, recipe(), settings.model_copy(update={"stress": 100.0}))
    pd.testing.assert_frame_equal(other.observations, episode.observations)
    assert other.row["note"] == episode.row["note"]
    differs = other.outcomes["value"] != episode.outcomes["value"]
    assert set(other.outcomes.loc[differs, "kind"]) == {"failure"}


def test_which_outages_are_kept_tells_nothing_of_the_truth(
    simulated: list[tuple[Day, Episode]], rated: Grid, settings: Settings
) -> None:
    """Estimates and outcomes stand for the same pairs, and all of a listed outage's worst are among them."""
    for state in states_of(simulated[0][1]):
        pairs = {key for key in state.column("estimate") if ">" in key}
        kept = state.outcomes.query("kind == 'outage' and quantity == 'loading'")
        assert pairs == {f"{a}>{b}" for a, b in zip(kept["cause"], kept["asset"], strict=True)}
        assert 200 < len(pairs) < 600


def test_the_biased_regime_reads_low_by_its_bias(simulated: list[tuple[Day, Episode]], solver: Solver) -> None:
    day = replace(simulated[5][0], regime=BIASED)
    low, sound = (simulate(day, solver, recipe(), Settings(drift_bias=bias)) for bias in (0.06, 0.0))
    for quantity, ratio in (
        ("loading", 0.94),
        ("loading_before", 0.94),
        ("flow", 0.94),
        ("voltage", 1.0),
        ("demand", 1.0),
    ):
        a, b = (e.observations.set_index("quantity").loc[quantity, "value"].to_numpy() for e in (low, sound))
        assert np.nanmin(a / b) == pytest.approx(ratio) and np.nanmax(a / b) == pytest.approx(ratio)
    assert json.loads(cast(str, low.row["note"]))["sensors_read_low_by"] == 0.06
    a, b = (
        e.outcomes[e.outcomes["kind"].isin(["now", "later", "failure"])].reset_index(drop=True) for e in (low, sound)
    )
    pd.testing.assert_frame_equal(a, b)


def test_residuals_are_small_but_for_the_faulty(fresh: list[Fresh]) -> None:
    sound = np.abs([v for f in faulty(fresh, NO_FAULT) for v in f.state.column("residual").values()])
    assert 0.2 < np.median(sound) < 2 and np.quantile(sound, 0.99) < 6
    for f in faulty(fresh, MISREPORTED):
        assert abs(f.state.get(f.fault[1], "residual")) > 5


def test_forecasts_are_better_than_nothing(fresh: list[Fresh]) -> None:
    """Closer to what comes than a forecast of another line would be."""
    for hours in (1, 4):
        pairs = []
        for f in faulty(fresh, NO_FAULT):
            true = f.of("later").query("horizon_h == @hours").set_index("asset")["value"]
            pairs += [(v, true[n]) for n, v in f.state.column(f"forecast_{hours}h").items()]
        forecast, true = np.array(pairs).T
        assert 0.3 < np.median(np.abs(forecast - true)) < 12 and np.corrcoef(forecast, true)[0, 1] > 0.75
