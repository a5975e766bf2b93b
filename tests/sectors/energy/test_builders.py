"""Builders: truths and rules on states made by hand, and on simulated ones where a switch lies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import Fresh
from twinforge.records import OUTCOME, AnswerSpace
from twinforge.sectors import State
from twinforge.sectors.energy import builders
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.view import View


def outcome(kind: str, cause: str, asset: str, quantity: str, value: float, hours: float = 0.0) -> dict[str, object]:
    row = {"kind": kind, "cause": cause, "horizon_h": hours, "asset": asset, "quantity": quantity, "value": value}
    return {**row, "episode": "e", "time": pd.Timestamp(0), "status": "solved"}


def by_hand(grid: Grid, values: dict[tuple[str, str], float], *outcomes: dict[str, object]) -> View:
    return View(State("e", pd.Timestamp(0), values, pd.DataFrame(list(outcomes), columns=OUTCOME.names)), grid)


def pick(space: AnswerSpace, index: float) -> str:
    return space.options[int(index)]


@pytest.mark.parametrize(
    ("loading", "index"), [(0, 0), (79.9, 0), (80, 1), (99.9, 1), (100, 2), (119.9, 2), (120, 3), (299, 3)]
)
def test_bands_by_their_edges(loading: float, index: int) -> None:
    assert builders.band(loading) == index and math.isnan(builders.band(math.nan))


READ = {
    ("L1", "loading"): 40.0, ("L2", "loading"): 62.4, ("L1>L2", "estimate"): 104.6, ("L1", "switch"): 1.0, ("L2", "switch"): 1.0,
    ("L2", "forecast_4h"): 70.2, ("L2", "forecast_1h"): 66.0,
}  # fmt: skip
AFTER = outcome("outage", "L1", "L2", "loading", 97.6)


def test_loading_and_risk_of_an_outage(rated: Grid) -> None:
    view, slots = by_hand(rated, READ, AFTER), {"outage": "L1", "line": "L2"}
    number, band = builders.loading(view, slots), builders.risk(view, slots)
    assert (number.truth, number.rule, number.copy) == (98, 105, 62)
    assert (band.truth, band.rule, band.copy) == (1, 2, 0) and math.isnan(band.persistence)
    assert number.evidence == "estimate L1>L2 105 %, L2 now 62 %"
    assert number.features == band.features and number.features[0][:3] == [104.6, 62.4, pytest.approx(42.2)]


@pytest.mark.parametrize("gone", [("L1", "loading"), ("L2", "loading"), ("L1>L2", "estimate")])
def test_a_missing_reading_is_refused_though_the_truth_is_known(rated: Grid, gone: tuple[str, str]) -> None:
    view = by_hand(rated, {k: v for k, v in READ.items() if k != gone}, AFTER)
    draft = builders.loading(view, {"outage": "L1", "line": "L2"})
    assert math.isnan(draft.truth) and math.isnan(draft.rule) and "nan" not in draft.evidence
    assert draft.evidence.count("? %") == (gone != ("L1", "loading"))
    assert len(draft.features[0]) == len(
        builders.loading(by_hand(rated, READ), {"outage": "L1", "line": "L2"}).features[0]
    )


def test_an_open_line_has_no_loading_to_ask_for(rated: Grid) -> None:
    view = by_hand(rated, {**READ, ("L2", "switch"): 0.0}, AFTER)
    assert math.isnan(builders.loading(view, {"outage": "L1", "line": "L2"}).truth)


@pytest.mark.parametrize(
    ("line", "hours", "truth"),
    [("L2", "4", 81.0), ("L2", "1", 64.0), ("L2", "72", None), ("L1", "4", None), ("L9", "4", None)],
)
def test_ahead_by_line_and_hours(rated: Grid, line: str, hours: str, truth: float | None) -> None:
    later = [outcome("later", "", "L2", "loading", v, h) for v, h in ((80.6, 4.0), (64.4, 1.0))]
    draft = builders.ahead(by_hand(rated, READ, *later), {"line": line, "hours": hours})
    if truth is None:
        assert math.isnan(draft.truth) and math.isnan(draft.rule) and "nan" not in draft.evidence
    else:
        assert draft.truth == truth and draft.persistence == draft.copy == 62
        assert draft.rule == {"4": 70, "1": 66}[hours]


@pytest.mark.parametrize("gone", [("L2", "loading"), ("L2", "forecast_4h")])
def test_no_forecast_without_a_reading_though_the_truth_is_known(rated: Grid, gone: tuple[str, str]) -> None:
    values = {k: v for k, v in READ.items() if k != gone}
    view = by_hand(rated, values, outcome("later", "", "L2", "loading", 80.6, 4.0))
    draft = builders.ahead(view, {"line": "L2", "hours": "4"})
    assert math.isnan(draft.truth) and math.isnan(draft.rule) and "? %" in draft.evidence


@pytest.mark.parametrize(("age", "finding", "rule"), [(60, 0, 1), (40, 0, 0), (40, 2, 0), (40, 3, 1)])
def test_failure_by_age_or_a_severe_finding(rated: Grid, age: float, finding: float, rule: float) -> None:
    values = {("T1", "age"): age, ("T1", "expected_life"): 50.0, ("T1", "length"): 1.0}
    values |= {("T1", "finding moisture"): finding} if finding else {}
    draft = builders.failure(
        by_hand(rated, values, outcome("failure", "T1", "T1", "failed", 1.0, 8760.0)), {"asset": "T1"}
    )
    assert draft.rule == rule and draft.truth == 1.0
    unknown = builders.failure(by_hand(rated, values), {"asset": "T2"})
    assert math.isnan(unknown.truth) and math.isnan(unknown.rule) and unknown.evidence.startswith("? years old")


def signals(residual: dict[str, float], **readings: float) -> dict[tuple[str, str], float]:
    values = {(n, "residual"): v for n, v in residual.items()}
    values |= {(n, "loading"): 50.0 for n in residual} | {(n, "loading_before"): 55.0 for n in residual}
    return values | {(n.partition("_")[0], n.partition("_")[2]): v for n, v in readings.items()}


@pytest.mark.parametrize(
    ("residual", "readings", "rule"),
    [
        ({"L1": 3.0, "L2": -1.0, "L3": 0.5}, {}, 0),
        ({"L1": 14.0, "L2": -1.0, "L3": 0.5}, {}, 1),
        ({"L1": 14.0, "L2": -1.0, "L3": 0.5}, {"L1_loading_before": 50.0}, 2),
        ({"L1": -40.0, "L2": 20.0, "L3": 0.5}, {"L1_loading": 0.02}, 3),
        ({"L1": 14.0}, {}, 1),
        ({}, {}, 0),
    ],
)
def test_the_rule_of_diagnosis(
    rated: Grid, residual: dict[str, float], readings: dict[str, float], rule: float
) -> None:
    view = by_hand(rated, signals(residual, **readings), outcome("fault", "kind", "grid", "fault", 2.0))
    draft = builders.fault(view, {})
    assert (draft.rule, draft.truth) == (rule, 2.0) and len(draft.features[0]) == 19 and "nan" not in draft.evidence


def test_suspect_names_the_faulty_line_or_none_of_these(rated: Grid) -> None:
    values = signals({"L1": 3.0, "L2": -14.0, "L3": 0.5, "L4": 1.0})
    lines = ("L1", "L2", "L3", "L4")
    kinds = outcome("fault", "kind", "grid", "fault", 1.0)
    for faulty, truth in (("L3", "L3"), ("L77", builders.NONE)):
        draft = builders.suspect(
            by_hand(rated, values, kinds, outcome("fault", "kind", faulty, "fault", 1.0)), {}, lines
        )
        assert pick(draft.space, draft.truth) == truth and pick(draft.space, draft.rule) == "L2"
    sound = by_hand(rated, signals(dict.fromkeys(lines, 2.0)), outcome("fault", "kind", "grid", "fault", 0.0))
    draft = builders.suspect(sound, {}, lines)
    assert pick(draft.space, draft.truth) == pick(draft.space, draft.rule) == builders.NONE
    assert {len(row) for row in draft.features} == {7} and len(draft.features) == 5


def test_clause_truth_is_the_first_breach_and_unknown_without_a_solution(rated: Grid) -> None:
    for broken, truth in (([0, 1, 1, 0], 1.0), ([0, 0, 0, 0], 4.0), ([0, 0, 0, 1], 3.0), ([math.nan] * 4, math.nan)):
        rows = [outcome("breach", f"C{i + 1}", "grid", "broken", float(v)) for i, v in enumerate(broken)]
        draft = builders.clause(by_hand(rated, READ, *rows), {})
        assert draft.truth == truth or (math.isnan(draft.truth) and math.isnan(truth))
        assert draft.rule == 4 and draft.evidence == "voltage ? to ? pu, highest loading 62 %, worst listed outage ? %"


def test_action_pays_for_loading_cost_and_demand_cut_off(rated: Grid) -> None:
    effects = {
        "curtail W1": (90.0, 0.0),
        "open L5": (88.0, 12.0),
        "halve demand D3": (91.5, 0.0),
        "do nothing": (110.0, 0.0),
    }
    values = {(f"L1|{a}", "estimate"): v for a, (v, _) in effects.items()}
    rows = [
        outcome("action", f"L1|{a}", "grid", name, v)
        for a, pair in effects.items()
        for name, v in zip(("worst_loading", "lost_mw"), pair, strict=True)
    ]
    draft = builders.action(by_hand(rated, values, *rows), {"outage": "L1"})
    payoff = dict(zip(draft.space.options, draft.payoff, strict=True))
    assert payoff == {"curtail W1": -93, "halve demand D3": -99.5, "open L5": -101, "do nothing": -110}
    assert pick(draft.space, draft.truth) == "curtail W1" and pick(draft.space, draft.rule) == "open L5"
    unsolved = builders.action(by_hand(rated, values, *rows[:-1]), {"outage": "L1"})
    assert math.isnan(unsolved.truth) and unsolved.payoff == ()


def test_supply_by_the_graph(rated: Grid, fresh: list[Fresh]) -> None:
    view = View(fresh[0].state, rated)
    outage = view.cutting[0]
    dark = sorted(view.cut_off(outage))[0]
    lit = [str(n) for n in rated.loads["name"] if n not in view.cut_off(outage)][:3]
    whole = len(view.cut_off(outage))
    draft = builders.supply(view, {"outage": outage}, (*lit, dark))
    assert draft.gold == draft.rule_gold == (3,) and draft.truth == whole and dark in draft.evidence
    assert {len(row) for row in draft.features} == {6} and [row[-1] for row in draft.features] == [0, 0, 0, 1]
    draft = builders.supply(view, {"outage": outage}, tuple(lit))
    assert draft.gold == draft.rule_gold == () and (draft.truth, draft.rule) == (whole, 0)
    safe = next(str(n) for n in rated.lines["name"] if n not in view.open_lines and not view.cut_off(str(n)))
    assert builders.supply(view, {"outage": safe}, (*lit, dark)).truth == 0
    for line in ("L999", *view.open_lines):
        refused = builders.supply(view, {"outage": line}, (*lit, dark))
        assert math.isnan(refused.truth) and math.isnan(refused.rule) and refused.gold == refused.rule_gold == ()


def test_the_graph_walk_is_wrong_where_a_switch_lies(rated: Grid, solver: Solver, fresh: list[Fresh]) -> None:
    """One of a busbar's two lines is open unreported: on paper the other's outage cuts no one off, in truth it does."""
    view = next(View(f.state, rated) for f in fresh if not f.day.out(f.step / 4))
    hidden, outage, demand = _pair_of_feeders(rated, view)
    truth = solver.solve(fresh[0].injections(), {hidden, outage})
    dark = [str(n) for n in rated.loads["name"][truth.lost[rated.loads["at"]]]]
    assert demand in dark
    rows = [outcome("outage", outage, n, "dark", 1.0) for n in dark]
    lying = View(replace(view.state, outcomes=pd.DataFrame(rows, columns=OUTCOME.names)), rated)
    others = tuple(str(n) for n in rated.loads["name"] if n not in dark)[:3]
    draft = builders.supply(lying, {"outage": outage}, (demand, *others))
    assert (draft.gold, draft.rule_gold, draft.truth) == ((0,), (), len(dark))
    missed = builders.supply(lying, {"outage": outage}, others)
    assert (missed.gold, missed.truth) == ((), len(dark))


def _pair_of_feeders(grid: Grid, view: View) -> tuple[str, str, str]:
    """Two lines that together, but neither alone, feed a demand."""
    ends = pd.concat([grid.lines["from"], grid.lines["to"]])
    for row in grid.loads.itertuples():
        lines = grid.lines["name"][ends.index[ends == row.at]].tolist()
        at_transformer = (grid.transformers[["hv", "lv"]] == row.at).any(axis=None)
        if len(lines) == 2 and not at_transformer and not set(lines) & set(view.cutting):
            return str(lines[0]), str(lines[1]), str(row.name)
    raise AssertionError("no demand hangs on two lines")


def test_what_if_with_a_misreported_line_is_what_the_simulator_says(rated: Grid, fresh: list[Fresh]) -> None:
    """Asked of the open line, its loading is 0 whatever else trips; asked of its outage, nothing changes."""
    asked = 0
    for f in (f for f in fresh if f.fault[0] == 3):
        view, line = View(f.state, rated), f.fault[1]
        now = f.of("now").set_index("asset")["value"]
        for outage, other in view.estimates:
            draft = builders.loading(view, {"outage": outage, "line": other})
            if outage == line and other in view.loading:
                assert abs(draft.truth - now[other]) <= 0.5
                asked += 1
            if other == line and outage in view.loading:
                assert draft.truth == 0
                asked += 1
    assert asked > 10


def test_hops_count_branches(rated: Grid, fresh: list[Fresh]) -> None:
    view = View(fresh[0].state, rated)
    row = rated.lines.iloc[4]
    hops = view.hops(row["name"])
    assert hops[row["from"]] == hops[row["to"]] == 0 and np.isfinite(hops).all() and hops.max() > 3
