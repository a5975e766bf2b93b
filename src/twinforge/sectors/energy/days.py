"""One day of the grid: its states solved in truth, read by faulty sensors, estimated, and followed into what comes of them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import OBSERVATION, OUTCOME
from twinforge.sectors import Episode, State
from twinforge.sectors.energy import ageing_log, plan
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.grid import HIGH_KV, Grid
from twinforge.sectors.energy.moments import HORIZONS, HOUR, Moment, moments
from twinforge.sectors.energy.plan import Day
from twinforge.sectors.energy.remedies import Remedy, candidates
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.standards import CLAUSES
from twinforge.sectors.energy.stress import spurs
from twinforge.sectors.energy.tables import Table

WORST = 8  # the outage whose remedies are worked out is one of so many that look worst


def simulate(day: Day, solver: Solver, recipe: Any, settings: Settings) -> Episode:
    """Solve, read and follow every state of one day; all randomness comes from (seed, day)."""
    rng = np.random.default_rng((recipe.seed, day.number, 1))
    observed, outcomes = Table(), Table()
    log = ageing_log.draw(solver.grid, settings, rng)
    for moment in moments(day, solver, recipe, settings, rng):
        observe(observed, day, solver.grid, moment)
        ageing_log.write(log, partial(_reading, observed, moment), partial(_outcome, outcomes, moment))
        _follow(outcomes, day, solver, moment, outage_pairs(solver.grid, moment, day, observed, rng))
        _breaches(outcomes, day, solver.grid, moment)
        _remedies(observed, outcomes, day, solver, moment, rng)
    row = {
        "episode": day.name, "start": day.start, "end": day.start + pd.Timedelta(days=1), "regime": day.regime, "change": day.change,
        "note": json.dumps({
            "grid": solver.grid.code, "rebuilt_without": day.closed_for_good,
            "sensors_read_low_by": settings.drift_bias if day.regime == plan.BIASED else 0.0,
            "maintenance_log": log.text(day.start),
        }),
    }  # fmt: skip
    names = OBSERVATION.names, OUTCOME.names
    return Episode(row, observed.frame(day.name, names[0]), outcomes.frame(day.name, names[1]))


def _reading(table: Table, m: Moment, assets: Any, quantity: str, values: Any, unit: str, dimension: str) -> None:
    """Readings of one quantity at one state; NaN is a missing one."""
    quality = np.where(np.isnan(np.asarray(values, float)), "missing", "good").astype(object)
    table.add(assets, values, quantity=quantity, unit=unit, dimension=dimension, quality=quality, time=m.time)


def _outcome(
    table: Table, m: Moment, kind: str, causes: Any, assets: Any, quantity: str, values: Any, status: Any = "solved", hours: float = 0.0
) -> None:  # fmt: skip
    """Outcomes of one kind that follow one state."""
    table.add(
        assets, values, kind=kind, cause=causes, quantity=quantity, status=status, horizon_h=float(hours), time=m.time
    )


def observe(table: Table, day: Day, grid: Grid, m: Moment) -> None:
    """All that is known of one state, less the estimates after outages: sensors, calendar and plans, what is computed of them."""
    lines, r = grid.lines["name"].to_numpy(), m.readings
    add = partial(_reading, table, m)
    closed = r.closed
    for quantity, values, unit in (
        ("loading", r.loading, "%"), ("loading_before", r.before, "%"), ("flow", r.p_mw, "MW"), ("reactive", r.q_mvar, "Mvar"),
    ):  # fmt: skip
        add(lines[closed], quantity, values[closed], unit, "physical")
    add(lines, "switch", closed, "1", "physical")
    add(grid.buses["name"][~m.now.lost], "voltage", r.voltage[~m.now.lost], "pu", "physical")
    inj, kind = r.injections, grid.sgens["kind"].to_numpy()
    add(grid.loads["name"], "demand", inj.p_load, "MW", "physical")
    totals = {
        "demand": inj.p_load.sum(),
        "wind": inj.p_sgen[kind == "wind"].sum(),
        "solar": inj.p_sgen[kind == "PV"].sum(),
    }
    for quantity, k in (("wind", "wind"), ("solar", "PV")):
        add(grid.sgens["name"][kind == k], quantity, inj.p_sgen[kind == k], "MW", "physical")
    export = totals["wind"] + totals["solar"] - totals["demand"] + inj.p_sgen[kind == "other"].sum()
    for quantity, value in {**totals, "export": export}.items():
        add(["grid"], quantity, [value], "MW", "physical")
    calendar = {
        "hour": m.step / HOUR, "month": m.time.month, "weekday": m.time.dayofweek, "wind_regime": m.wind, "rating": 100 * m.factor,
        "relief": float(day.relief), "scenario": float(grid.code[-4]),
    }  # fmt: skip
    for quantity, value in calendar.items():
        add(
            ["grid"], quantity, [value], "h" if quantity == "hour" else "%" if quantity == "rating" else "1", "abstract"
        )
    for line, (start, end) in day.work.items():
        add([line], "planned_from", [start], "h", "abstract")
        add([line], "planned_to", [end], "h", "abstract")
    lower = grid.buses[grid.buses["vn_kv"] < HIGH_KV]
    add(lower["name"].to_numpy(), "nominal", lower["vn_kv"].to_numpy(), "kV", "abstract")
    add(list(day.listed), "listed", np.ones(len(day.listed)), "1", "abstract")
    known = closed & ~np.isnan(r.loading)
    add(lines[known], "residual", m.residual[known], "%", "computational")
    for hours, ahead in zip(HORIZONS, m.forecast, strict=True):
        add(lines[known], f"forecast_{hours}h", ahead[known], "%", "computational")


def outage_pairs(grid: Grid, m: Moment, day: Day, table: Table, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Which (outage, line) pairs are kept: the worst by estimate, two that change much, and all of an outage for planned work.

    Chosen by the estimates alone, so that a pair's presence tells nothing of the truth. Their estimates become observations.
    """
    known = m.readings.closed & ~np.isnan(m.readings.loading)
    pairs: list[tuple[int, int]] = []
    for k in np.flatnonzero(known):
        row = np.where(known, m.estimate[k], np.nan)
        row[k] = np.nan
        if np.isnan(row).all():
            continue
        change = np.nan_to_num(np.abs(row - m.readings.loading), nan=-1.0)
        much = np.argsort(-change)[:8]
        kept = {int(np.nanargmax(row)), *(int(j) for j in rng.choice(much, 2, replace=False) if change[j] >= 0)}
        if grid.lines["name"].iloc[k] in day.work:
            kept |= {int(j) for j in np.flatnonzero(~np.isnan(row))}
        pairs += [(int(k), j) for j in sorted(kept) if j != k and not np.isnan(row[j])]
    names = grid.lines["name"].to_numpy()
    assets = [f"{names[k]}>{names[j]}" for k, j in pairs]
    values = [m.estimate[k, j] for k, j in pairs]
    _reading(table, m, assets, "estimate", values, "%", "computational")
    return pairs


def _follow(table: Table, day: Day, solver: Solver, m: Moment, pairs: list[tuple[int, int]]) -> None:
    """What really comes: the true loadings now and later, every outage of the pairs, who goes dark, and the fault."""
    grid = solver.grid
    lines, loads = grid.lines["name"].to_numpy(), grid.loads
    add = partial(_outcome, table, m)
    add("now", "", lines, "loading", m.now.loading_pct, m.now.status)
    for hours, flow in zip(HORIZONS, m.later, strict=True):
        add("later", "", lines, "loading", flow.loading_pct, flow.status, hours)
    o = m.outages
    k, j = np.array(pairs, int).reshape(-1, 2).T
    add("outage", lines[k], lines[j], "loading", o.loading_pct[k, j], np.asarray(o.status)[k])
    add("outage", lines, ["grid"] * len(lines), "lost_mw", o.lost_mw, o.status)
    new = o.lost & ~m.now.lost[None, :]
    rows, dark = np.nonzero(new[:, loads["at"]])
    add("outage", lines[rows], loads["name"].to_numpy()[dark], "dark", np.ones(len(dark)), "islanded")
    faulty = ["grid"] if m.fault.line < 0 else ["grid", str(lines[m.fault.line])]
    add("fault", "kind", faulty, "fault", [float(m.fault.kind)] * len(faulty))


def _breaches(table: Table, day: Day, grid: Grid, m: Moment) -> None:
    """Every clause decided on the true state by its own predicate; not known where that has no solution.

    A listed outage without a solution is a breach: the grid would not withstand it.
    """
    lines = grid.lines["name"].to_numpy()
    values: dict[tuple[str, str], float] = {
        ("grid", "relief"): float(day.relief), ("grid", "wind_regime"): float(m.wind), ("grid", "hour"): m.step / HOUR,
    }  # fmt: skip
    values |= {(n, "loading"): v for n, v in zip(lines, m.now.loading_pct, strict=True)}
    values |= {(n, "voltage"): v for n, v in zip(grid.buses["name"], m.now.vm_pu, strict=True) if v == v}
    values |= {(n, "nominal"): v for n, v in zip(grid.buses["name"], grid.buses["vn_kv"], strict=True)}
    for line, (start, end) in day.work.items():
        values |= {(line, "planned_from"): start, (line, "planned_to"): end}
    worst = np.max(np.where(np.isnan(m.outages.loading_pct), np.inf, m.outages.loading_pct), axis=1)
    for row in np.flatnonzero(np.isin(lines, day.listed)):
        values |= {(lines[row], "listed"): 1.0, (f"{lines[row]}>worst", "estimate"): float(worst[row])}
    truth = State(day.name, m.time, values, pd.DataFrame())
    for clause in CLAUSES:
        broken = float(clause.predicate(truth)) if m.now.converged else np.nan
        _outcome(table, m, "breach", clause.clause, ["grid"], "broken", [broken], m.now.status)


def _remedies(observed: Table, outcomes: Table, day: Day, solver: Solver, m: Moment, rng: np.random.Generator) -> None:
    """The worst listed or estimated outage, its candidate actions' estimates, and what each really does."""
    grid = solver.grid
    worst = np.nanmax(np.where(np.isnan(m.estimate), -1.0, m.estimate), axis=1)
    meshed = set(grid.lines["name"][~spurs(grid)])
    ranked = [n for n in grid.lines["name"].to_numpy()[np.argsort(-worst)] if n in meshed and n not in m.open_lines]
    if not ranked:  # no mesh: nothing flows another way
        return
    outage = str(ranked[int(rng.integers(min(WORST, len(ranked))))])
    found: list[Remedy] = candidates(grid, m.readings, outage, m.open_lines, day.work, m.factor, rng)
    flows = solver.solve_variants([(r.inject(grid, m.injections), r.out(m.true_out | {outage})) for r in found])
    assets = [f"{outage}|{r.name}" for r in found]
    _reading(observed, m, assets, "estimate", [r.estimate for r in found], "%", "computational")
    highest = np.max(np.where(np.isnan(flows.loading_pct), np.inf, flows.loading_pct), axis=1) / m.factor
    solved = np.isfinite(highest)
    for quantity, values in (("worst_loading", highest), ("lost_mw", flows.lost_mw)):
        known = np.where(solved, values, np.nan)
        _outcome(outcomes, m, "action", np.array(assets, object), ["grid"] * len(assets), quantity, known, flows.status)
