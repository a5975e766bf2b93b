"""The states of one day: solved in truth, read by faulty sensors, estimated from what those say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from twinforge.sectors.energy import plan, sensors
from twinforge.sectors.energy.contingency import Flow, Solver
from twinforge.sectors.energy.grid import Grid, Injections, lost_buses, single_outages
from twinforge.sectors.energy.linear import linear_contingency
from twinforge.sectors.energy.plan import Day
from twinforge.sectors.energy.sensors import Readings
from twinforge.sectors.energy.settings import Settings

HOUR = 4  # quarter hours
HORIZONS = (1, 4)  # hours


@dataclass(frozen=True)
class Moment:
    """One state in the making. All loadings are in percent of the rating in force at their time.

    factor : the rating in force over the nominal one. wind : regime. open_lines : as reported; true_out : in truth.
    injections, now, later, outages : the truth at the state, at `HORIZONS` after it, and after every single line outage.
    readings : what the sensors say. residual, forecast, estimate : computed from those and from the past alone.
    """

    step: int
    time: pd.Timestamp
    factor: float
    wind: int
    fault: sensors.Fault
    open_lines: frozenset[str]
    true_out: frozenset[str]
    injections: Injections
    now: Flow
    later: tuple[Flow, ...]
    outages: Flow
    readings: Readings
    residual: np.ndarray
    forecast: tuple[np.ndarray, ...]
    estimate: np.ndarray


def moments(day: Day, solver: Solver, recipe: Any, settings: Settings, rng: np.random.Generator) -> list[Moment]:
    """All states of a day. A misreported line is open now and stays so; no one knows."""
    course = _Course(day, solver, settings)
    grid, lake, now = solver.grid, recipe.lake, course.at(0)
    none = [frozenset[str]()] * len(day.steps)
    before, sound = course.solve(-HOUR, none), course.solve(0, none)
    faults = [
        sensors.draw_fault(before[i], sound[i], _tripable(grid, out), lake, rng) for i, out in enumerate(now.opened)
    ]
    tripped = [_tripped(grid, fault) for fault in faults]
    true_now, later = course.solve(0, tripped), [course.solve(h * HOUR, tripped) for h in HORIZONS]
    found = []
    for i, step in enumerate(day.steps):
        injections, out, rate = now.injections[i], now.opened[i], now.rating[i]
        closed = ~grid.mask(out)[: len(grid.lines)]
        offset = settings.drift_bias if day.regime == plan.BIASED else 0.0
        readings = sensors.measure(
            before[i], true_now[i], injections, ~closed, faults[i], lake, rng, offset, grid.unit_mw
        )
        expected = derate(solver.estimate(readings.injections, out), rate).loading_pct
        ahead = (seasonal(grid, readings.injections, day.number * plan.STEPS + step, h) for h in HORIZONS)
        true_out = out | tripped[i]
        found.append(Moment(
            step=step, time=day.start + pd.Timedelta(minutes=15 * step), factor=float(rate), wind=now.wind[i], fault=faults[i],
            open_lines=out, true_out=true_out, injections=injections, now=true_now[i], later=tuple(flow[i] for flow in later),
            outages=derate(solver.contingencies(injections, true_out), rate), readings=readings,
            residual=readings.loading - expected,
            forecast=tuple(derate(solver.estimate(a, out), rate).loading_pct for a in ahead),
            estimate=outage_estimate(grid, readings, out, rate),
        ))  # fmt: skip
    return found


@dataclass(frozen=True)
class _Hour:
    """What holds in truth at all states of a day, or some time before or after them; one entry a state."""

    injections: Injections
    opened: list[frozenset[str]]
    wind: list[int]
    rating: np.ndarray


@dataclass(frozen=True)
class _Course:
    """A day as it really goes."""

    day: Day
    solver: Solver
    settings: Settings

    def at(self, offset: int) -> _Hour:
        """`offset` quarter hours after the states."""
        day, grid = self.day, self.solver.grid
        steps = np.array(day.steps) + offset
        state = replace(
            grid.injections(day.number * plan.STEPS + steps), slack_vm_pu=np.full(len(steps), day.slack_vm_pu)
        )
        is_wind = (grid.sgens["kind"] == "wind").to_numpy()
        installed = grid.sgens["rating_mw"].to_numpy()[is_wind].sum()
        winds = [plan.wind_regime(p[is_wind].sum(), installed) for p in state.p_sgen]
        rating = [
            plan.rating_factor(self.settings, day.start.month, step / HOUR, wind)
            for step, wind in zip(steps, winds, strict=True)
        ]
        return _Hour(state, [day.out(step / HOUR) for step in steps], winds, np.array(rating))

    def solve(self, offset: int, tripped: list[frozenset[str]]) -> Flow:
        """Flows `offset` quarter hours after the states, with the work of that hour and the lines that tripped."""
        hour, grid = self.at(offset), self.solver.grid
        out = np.stack([grid.mask(a | b) for a, b in zip(hour.opened, tripped, strict=True)])
        return derate(self.solver.solve_rows(hour.injections, out), hour.rating[:, None])


def _tripable(grid: Grid, out: frozenset[str]) -> np.ndarray:
    """Lines in service that no busbar hangs on, (n_line,) bool."""
    lost = lost_buses(grid, single_outages(grid, out)).sum(1)
    return (lost == lost_buses(grid, grid.mask(out)).sum()) & ~grid.mask(out)[: len(lost)]


def _tripped(grid: Grid, fault: sensors.Fault) -> frozenset[str]:
    return frozenset({str(grid.lines["name"].iloc[fault.line])} if fault.kind == sensors.MISREPORTED else ())


def derate(flow: Flow, factor: float | np.ndarray) -> Flow:
    """Loadings in percent of the rating in force."""
    return replace(flow, loading_pct=flow.loading_pct / factor)


def outage_estimate(grid: Grid, readings: Readings, out: frozenset[str], factor: float) -> np.ndarray:
    """Linear estimate of all loadings after every outage, (n_line, n_line), percent of the rating in force."""
    volts = sensors.line_voltage(grid, readings)
    nominal = linear_contingency(
        grid, readings.p_mw, readings.q_mvar, out, vm_pu=volts, loading_pct=readings.loading * factor
    )
    return nominal / factor


def seasonal(grid: Grid, measured: Injections, at: int, hours: int) -> Injections:
    """Measured injections moved by the mean change of the seven days before `at` between the same two times of day."""
    days = at - plan.STEPS * np.arange(1, 8)
    now, then = grid.injections(days % len(grid.p_load)), grid.injections((days + hours % 24 * HOUR) % len(grid.p_load))
    p_load, q_load, p_sgen = (
        getattr(measured, n) + (getattr(then, n) - getattr(now, n)).mean(0) for n in ("p_load", "q_load", "p_sgen")
    )
    return Injections(p_load, q_load, np.maximum(p_sgen, 0.0), measured.slack_vm_pu)
