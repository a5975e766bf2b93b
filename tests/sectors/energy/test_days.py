"""A day: every truth solved again from scratch, every fault what it says, and nothing of the truth in what is observed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import Fresh, rating, recipe, states_of
from twinforge.records import OBSERVATION, OUTCOME
from twinforge.sectors import Episode
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.days import simulate
from twinforge.sectors.energy.grid import Grid, Injections
from twinforge.sectors.energy.plan import BIASED, Day
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.tables import Table

NO_FAULT, MISREPORTED, STUCK = 0, 3, 2


def faulty(fresh: list[Fresh], kind: int) -> list[Fresh]:
    found = [f for f in fresh if f.fault[0] == kind]
    assert len(found) >= 4
    return found


def factor(f: Fresh, settings: Settings, hours: float = 0) -> float:
    """Rating in force, from the profiles and the settings."""
    wind = f.solver.grid.sgens["kind"] == "wind"
    share = f.injections(hours).p_sgen[wind].sum() / f.solver.grid.sgens["rating_mw"][wind].sum()
    return rating(settings, f.day.start.month, f.step / 4 + hours, float(share))


def test_frames_have_the_columns_of_the_lake(simulated: list[tuple[Day, Episode]]) -> None:
    for day, episode in simulated:
        assert list(episode.observations) == OBSERVATION.names and list(episode.outcomes) == OUTCOME.names
        assert episode.row["start"] == day.start and episode.row["end"] == day.start + pd.Timedelta(days=1)
        assert not episode.observations.duplicated(["time", "asset", "quantity"]).any()
        assert not episode.outcomes.duplicated(["time", "kind", "cause", "horizon_h", "asset", "quantity"]).any()
        assert set(episode.outcomes["status"]) <= {"solved", "islanded"}


def test_loadings_now_and_later_are_those_of_a_fresh_solve(fresh: list[Fresh], settings: Settings) -> None:
    changed = 0
    for f in [*fresh[::5], *faulty(fresh, MISREPORTED)[:3]]:
        for kind, hours in (("now", 0), ("later", 1), ("later", 4)):
            rows = f.of(kind)
            rows = rows[rows["horizon_h"] == hours]
            again = f.solve(hours).loading_pct / factor(f, settings, hours)
            np.testing.assert_allclose(rows["value"], again, rtol=1e-6, atol=1e-6)
            changed += f.out(hours) != f.out(0)
    assert changed >= 3  # work began or ended in between


def test_outages_are_those_of_a_fresh_solve(fresh: list[Fresh], settings: Settings) -> None:
    lines, checked = fresh[0].solver.grid.lines["name"].tolist(), 0
    for f in [*fresh[1::12], *faulty(fresh, MISREPORTED)[:2]]:
        rows = f.of("outage")
        rows = rows[rows["quantity"] == "loading"]
        kind, line = f.fault
        outages = [*rows["cause"].unique()[::25], *f.day.listed[:1], *([line] if kind == MISREPORTED else [])]
        for outage in dict.fromkeys(outages):
            flow = f.solve(outage=outage)
            for row in rows[rows["cause"] == outage].itertuples():
                again = flow.loading_pct[lines.index(row.asset)] / factor(f, settings)
                assert row.value == pytest.approx(again, rel=1e-6, abs=1e-6) and row.status == flow.status
                checked += 1
    assert checked > 60


def test_the_outage_of_a_line_that_is_open_already_changes_nothing(fresh: list[Fresh]) -> None:
    for f in faulty(fresh, MISREPORTED):
        line = f.fault[1]
        now = f.of("now").set_index("asset")["value"]
        rows = f.of("outage")
        rows = rows[(rows["cause"] == line) & (rows["quantity"] == "loading")]
        assert len(rows) and np.allclose(rows["value"], now[rows["asset"]], rtol=1e-7)
        assert now[line] == 0.0
        assert (f.of("outage").query("asset == @line and quantity == 'loading'")["value"] == 0.0).all()


def test_who_goes_dark_is_who_hangs_on_a_lost_bus(fresh: list[Fresh]) -> None:
    loads = fresh[0].solver.grid.loads
    for f in fresh[2::20]:
        dark = f.of("outage").query("quantity == 'dark'")
        lost = f.of("outage").query("quantity == 'lost_mw'").set_index("cause")["value"]
        assert dark["cause"].nunique() > 3
        for outage in [*dark["cause"].unique()[:3], *f.day.listed]:
            flow = f.solve(outage=outage)
            assert set(dark.loc[dark["cause"] == outage, "asset"]) == set(loads["name"][flow.lost[loads["at"]]])
            assert lost[outage] == pytest.approx(float(flow.lost_mw))


def test_actions_are_what_they_say(fresh: list[Fresh], settings: Settings) -> None:
    verbs = set()
    for f in [*fresh[::7], *faulty(fresh, MISREPORTED)[:2], *[f for f in fresh if f.day.out(f.step / 4)][:3]]:
        rows = f.of("action")
        for key, rest in rows.groupby("cause"):
            outage, _, action = str(key).partition("|")
            verb, _, target = action.rpartition(" ")
            verbs.add(verb)
            flow = f.solver.solve(_after(f, target), _topology(f, outage, verb, target))
            value = rest.set_index("quantity")["value"]
            assert value["worst_loading"] == pytest.approx(flow.loading_pct.max() / factor(f, settings), rel=1e-6)
            assert value["lost_mw"] == pytest.approx(float(flow.lost_mw), abs=1e-9)
    assert verbs == {"curtail", "halve demand", "open", "close", "do"}


def _after(f: Fresh, target: str) -> Injections:
    s, grid = f.injections(), f.solver.grid
    load, sgen = np.ones(len(grid.loads)), np.ones(len(grid.sgens))
    load[grid.loads["name"] == target] = 0.5
    sgen[grid.sgens["name"] == target] = 0.5
    return Injections(s.p_load * load, s.q_load * load, s.p_sgen * sgen, s.slack_vm_pu)


def _topology(f: Fresh, outage: str, verb: str, target: str) -> frozenset[str]:
    out = f.out() | {outage}
    return out | {target} if verb == "open" else out - {target} if verb == "close" else out


def test_breaches_are_the_clauses_on_the_true_state(fresh: list[Fresh], settings: Settings) -> None:
    found = []
    for f in fresh[::4]:
        flow, rate = f.solve(), factor(f, settings)
        loading = flow.loading_pct / rate
        volts = flow.vm_pu[~np.isnan(flow.vm_pu)]
        wind = f.state.get("grid", "wind_regime")
        worst = max((f.solve(outage=line).loading_pct / rate).max() for line in f.day.listed)
        by_hand = [
            volts.min() < 0.9 or volts.max() > 1.118,
            loading.max() > 100,
            worst > 100 and not f.day.relief,
            bool(f.day.out(f.step / 4)) and (wind == 2 or loading.max() > 75),
        ]
        assert f.of("breach")["value"].tolist() == by_hand and f.of("breach")["cause"].tolist() == [
            "C1",
            "C2",
            "C3",
            "C4",
        ]
        found.append(by_hand)
    assert (np.sum(found, axis=0)[1:] > 0).all() and np.mean(found) < 0.6


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


def test_a_day_without_a_single_reading_still_has_its_truth(
    simulated: list[tuple[Day, Episode]], solver: Solver
) -> None:
    """Every loading sensor silent: no estimates, no remedies' pairs, but outcomes."""
    day = replace(simulated[6][0], steps=simulated[6][0].steps[:1])
    episode = simulate(
        day, solver, recipe(gap_rate=0.9999, bias_rate=0.0, stuck_rate=0.0, misreport_rate=0.0), Settings()
    )
    (state,) = states_of(episode)
    assert not state.column("loading") and len(state.outcomes.query("kind == 'now'")) == 113


def test_a_table_gives_one_row_an_asset() -> None:
    table = Table()
    table.add(["a", "b"], [1.0, np.nan], kind="x", status=["s", "t"], time=pd.Timestamp(2016, 1, 2))
    table.add([], [], kind="never", status="none", time=pd.Timestamp(0))
    table.add(["c"], [3.0], kind="y", status="u", time=pd.Timestamp(2016, 1, 3))
    frame = table.frame("e", ["episode", "time", "asset", "kind", "status", "value"])
    assert frame["asset"].tolist() == ["a", "b", "c"] and frame["status"].tolist() == ["s", "t", "u"]
    assert frame["kind"].tolist() == ["x", "x", "y"] and set(frame["episode"]) == {"e"}
    assert frame["time"].dtype == "datetime64[ms]"
