"""What is watched for drift on the grid, hour by hour over SimBench's year: sensors beside what the twin expects of them.

Physical: a line's loading beside the estimator's, which solves the flow from the measured injections and the reported
switches. Abstract: a demand, or the wind, beside its calm mean at that hour of a working day or weekend. Calm is the first
quarter of the year, held-out calm the last; every known change is simulated anew from its first hour on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from twinforge.sectors import Change, Readings, Streams
from twinforge.sectors.energy import plan, sensors
from twinforge.sectors.energy.contingency import Flow, Solver
from twinforge.sectors.energy.grid import Grid, Injections
from twinforge.sectors.energy.moments import HOUR
from twinforge.sectors.energy.settings import Settings

QUARTER = 91  # days
BEFORE, AFTER = 272, 336  # hours of a change: what goes before, and what is watched after it
RUNS = 30  # assets that go through each change
FLOOR = 5.0  # percent: what a loading sensor's noise is relative to, beside the reading
BIAS, GROWTH = 0.1, 240  # a sensor's bias, and the hours in which the slow one grows to it
IMPEDANCE, RATING = 0.75, 1.25  # of a rebuilt line, over what it was
EVENING, MORE = (17, 22), 0.3  # a demand that behaves anew: hours in which it takes so much more


@dataclass(frozen=True)
class Truth:
    """What holds at some hours, steps (n,) being quarter hours of the year: who feeds the grid, and what its sensors do.

    biased : line (row number) and the factor of its readings at every hour, (n,).
    """

    steps: np.ndarray
    solver: Solver
    injections: Injections
    biased: tuple[int, np.ndarray] = (-1, np.ones(0))


@dataclass(frozen=True)
class Year:
    """The grid as the twin knows it, and each day's plan (work, voltage of the grid above)."""

    grid: Grid
    settings: Settings
    recipe: Any

    @cached_property
    def solver(self) -> Solver:
        return Solver(self.grid)

    @cached_property
    def days(self) -> list[plan.Day]:
        lake = SimpleNamespace(start=None, days=plan.YEAR, shift_days=0)
        whole = SimpleNamespace(seed=self.recipe.seed, lake=lake, budget=SimpleNamespace(states_per_day=8))
        return list(plan.plan_days(whole, self.settings, {plan.CALM: self.grid}))

    def truth(self, first: int, last: int) -> Truth:
        """Nothing but the profiles, at the hours from one to before another (counted from the year's start)."""
        steps = np.arange(first, last) * HOUR
        slack = np.array([self.days[step // plan.STEPS].slack_vm_pu for step in steps])
        return Truth(steps, self.solver, replace(self.grid.injections(steps), slack_vm_pu=slack))

    def read(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Readings (n, k) and what is expected of the loadings (n, n_line), in the order of `names`; NaN where missing."""
        opened = [self.days[step // plan.STEPS].out(step % plan.STEPS / HOUR) for step in truth.steps]
        out = np.stack([self.grid.mask(names) for names in opened])
        factor = self.ratings(truth)[:, None]
        flow = truth.solver.solve_rows(truth.injections, out)
        flow = replace(flow, loading_pct=flow.loading_pct / factor)
        seen = [self._measure(flow[i], truth, i, out[i], rng) for i in range(len(out))]
        loads, reactive, fed = (
            np.stack([getattr(r.injections, name) for r in seen]) for name in ("p_load", "q_load", "p_sgen")
        )
        measured = Injections(loads, reactive, fed, truth.injections.slack_vm_pu)
        expected = self.solver.solve_rows(measured, out).loading_pct / factor
        wind = fed[:, self._wind].sum(1, keepdims=True)
        return np.hstack([np.stack([r.loading for r in seen]), loads, wind]), expected

    def _measure(self, flow: Flow, truth: Truth, i: int, out: np.ndarray, rng: np.random.Generator) -> sensors.Readings:
        line, factors = truth.biased
        fault = sensors.Fault(sensors.BIASED, line, float(factors[i])) if line >= 0 else sensors.Fault()
        opened = out[: len(self.grid.lines)]
        return sensors.measure(
            flow, flow, truth.injections[i], opened, fault, self.recipe.lake, rng, unit_mw=self.grid.unit_mw
        )

    def ratings(self, truth: Truth) -> np.ndarray:
        """The rating in force over the nominal one at every hour, (n,)."""
        times = plan.FIRST + pd.to_timedelta(truth.steps * 15, unit="min")
        return np.array([
            plan.rating_factor(self.settings, time.month, time.hour, self.wind_class(truth.injections[i]))
            for i, time in enumerate(times)
        ])  # fmt: skip

    def wind_class(self, injections: Injections) -> int:
        """0 weak, 1 fresh, 2 strong, of one state."""
        return plan.wind_regime(injections.p_sgen[self._wind].sum(), self.grid.sgens["rating_mw"][self._wind].sum())

    @cached_property
    def _wind(self) -> np.ndarray:
        return (self.grid.sgens["kind"] == "wind").to_numpy()

    @property
    def names(self) -> tuple[tuple[str, str, str], ...]:
        """(asset, quantity, dimension) of every stream."""
        lines = [(str(name), "loading", "physical") for name in self.grid.lines["name"]]
        demands = [(str(name), "demand", "abstract") for name in self.grid.loads["name"]]
        return (*lines, *demands, ("grid", "wind", "abstract"))


def watched(grid: Grid, settings: Settings, recipe: Any) -> Streams:
    """Calm, held-out calm and the known changes of a grid (see `twinforge.sectors.Streams`)."""
    year = Year(grid, settings, recipe)
    rng = np.random.default_rng((recipe.seed, 2 * 10**6))
    quarter, end = QUARTER * 24, plan.YEAR * 24
    calm, expected = year.read(year.truth(0, quarter), rng)
    usual = _usual(calm[:, len(grid.lines) :], np.arange(quarter))

    def against(readings: tuple[np.ndarray, np.ndarray], first: int) -> Readings:
        """Loadings relative to what is expected of them, as their noise is; demands in MW."""
        raw, foreseen = readings
        n = len(grid.lines)
        lines = (raw[:, :n] - foreseen) / (foreseen + FLOOR)
        return Readings(raw, np.hstack([lines, raw[:, n:] - usual[_hours(np.arange(first, first + len(raw)))]]))

    known = against((calm, expected), 0)
    held_from = end - quarter
    held = against(year.read(year.truth(held_from, end), rng), held_from)
    changes = []
    for scenario, asset, at, truth in tqdm(list(_changes(year, calm, held_from, end)), desc="changes", unit="change"):
        after = against(year.read(truth, rng), at)
        past, first = (known, 0) if scenario == "season" else (held, held_from)
        before = past[at - first - BEFORE : at - first]
        _, quantity, dimension = next(name for name in year.names if name[0] == asset)
        changed = "" if scenario == "nothing" else dimension
        changes.append(Change(scenario, asset, quantity, changed, before, after, scenario not in ("season", "nothing")))
    return Streams(year.names, known, held, tuple(changes))


def _changes(year: Year, calm: np.ndarray, first: int, last: int) -> Iterator[tuple[str, str, int, Truth]]:
    """Scenario, asset, hour and truth from it on. Assets and hours are drawn; idle lines, on which no one sees a bias, are not."""
    rng = np.random.default_rng((year.recipe.seed, 2 * 10**6 + 1))
    grid = year.grid
    lines, demands = grid.lines["name"].to_numpy(), grid.loads["name"].to_numpy()
    loaded = np.nanmean(calm[:, : len(lines)], axis=0) > sensors.LEAST_LOADING
    meshed = loaded & np.isin(lines, plan.meshed_lines(grid))
    ramp = np.minimum(np.arange(AFTER) / GROWTH, 1.0)

    def drawn(n: int, able: np.ndarray) -> Iterator[tuple[int, int, Truth]]:
        for row in rng.choice(np.flatnonzero(able), min(n, int(able.sum())), replace=False):
            at = int(rng.integers(first + BEFORE, last - AFTER))
            yield int(row), at, year.truth(at, at + AFTER)

    for scenario, growth in (("bias, sudden", np.ones(AFTER)), ("bias, slow", ramp)):
        for row, at, truth in drawn(RUNS, loaded):
            sign = float(rng.choice((-1.0, 1.0)))
            yield scenario, lines[row], at, replace(truth, biased=(row, 1 + sign * BIAS * growth))
    for row, at, truth in drawn(RUNS, meshed):
        yield "line rebuilt", lines[row], at, replace(truth, solver=Solver(_rebuilt(grid, row)))
    everything = np.ones(len(demands), bool)
    for row, at, truth in drawn(RUNS, everything):
        yield "demand anew", demands[row], at, replace(truth, injections=_anew(truth, row))
    for row, at, truth in drawn(RUNS // 2, loaded):
        yield "nothing", lines[row], at, truth
    for row, at, truth in drawn(RUNS // 2, everything):
        yield "nothing", demands[row], at, truth
    spring = year.truth(QUARTER * 24, QUARTER * 24 + AFTER)
    for asset in ("grid", *rng.choice(demands, RUNS - 1, replace=False)):
        yield "season", str(asset), QUARTER * 24, spring


def _rebuilt(grid: Grid, row: int) -> Grid:
    """The grid with one line of lower impedance and higher rating, of which its model in the twin knows nothing."""
    net = copy.deepcopy(grid.net)
    net.line.loc[row, ["r_ohm_per_km", "x_ohm_per_km"]] *= IMPEDANCE
    rating = grid.lines["rating_ka"].to_numpy(copy=True)
    rating[row] *= RATING
    return replace(grid.rated(rating), net=net)


def _anew(truth: Truth, row: int) -> Injections:
    """The injections with one demand, active and reactive, that takes more in the evening."""
    hour = truth.steps % plan.STEPS / HOUR
    more = np.where((hour >= EVENING[0]) & (hour < EVENING[1]), 1 + MORE, 1.0)
    p, q = truth.injections.p_load.copy(), truth.injections.q_load.copy()
    p[:, row], q[:, row] = p[:, row] * more, q[:, row] * more
    return replace(truth.injections, p_load=p, q_load=q)


def _hours(hours: np.ndarray) -> np.ndarray:
    """Row of the calendar's table of each hour of the year: 0-23 of a working day, 24-47 of a weekend."""
    times = plan.FIRST + pd.to_timedelta(hours, unit="h")
    return np.asarray(times.hour + 24 * (times.dayofweek >= 5))


def _usual(readings: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Mean of every stream at each of `_hours`' rows, (48, k)."""
    rows = _hours(hours)
    return np.stack([np.nanmean(readings[rows == row], axis=0) for row in range(48)])
