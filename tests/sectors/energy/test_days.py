"""A day: every truth solved again from scratch, every fault what it says, and nothing of the truth in what is observed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import MISREPORTED, Fresh, factor, faulty, recipe, states_of
from twinforge.records import OBSERVATION, OUTCOME
from twinforge.sectors import Episode
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.days import simulate
from twinforge.sectors.energy.grid import Injections
from twinforge.sectors.energy.plan import Day
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.tables import Table


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
