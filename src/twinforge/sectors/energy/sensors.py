"""What the sensors say: the truth with noise, gaps and one injected fault at most. Everything later sees only this."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twinforge.sectors.energy.contingency import Flow
from twinforge.sectors.energy.grid import Grid, Injections

NO_FAULT, BIASED, STUCK, MISREPORTED = 0, 1, 2, 3  # order of `templates.FAULTS`
LEAST_LOADING = 15.0  # percent; a fault on an idle line can't be seen by anyone
LEAST_CHANGE = 4.0  # percent in an hour, for a stuck sensor to be wrong


@dataclass(frozen=True)
class Fault:
    """The one injected fault of a state: its kind, the line (row number, -1 for none) and the factor of a bias."""

    kind: int = NO_FAULT
    line: int = -1
    factor: float = 1.0


@dataclass(frozen=True)
class Readings:
    """Measured values, in the units of `contingency.Flow`; NaN is a missing reading.

    loading, before, p_mw, q_mvar : (n_line,), `before` an hour ago. closed : (n_line,) bool, the reported switches.
    voltage : (n_bus,). injections : measured ones.
    """

    loading: np.ndarray
    before: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    closed: np.ndarray
    voltage: np.ndarray
    injections: Injections


def draw_fault(before: Flow, now: Flow, tripable: np.ndarray, lake: Any, rng: np.random.Generator) -> Fault:
    """Draw the fault of one state by the recipe's rates.

    before, now : true flows an hour ago and now. tripable : (n_line,) bool, lines whose unreported opening islands no one.
    """
    loaded = now.loading_pct > LEAST_LOADING
    changed = loaded & (np.abs(now.loading_pct - before.loading_pct) > LEAST_CHANGE)
    kind = int(rng.choice(4, p=_rates(lake)))
    able = {NO_FAULT: loaded, BIASED: loaded, STUCK: changed, MISREPORTED: loaded & tripable}[kind]
    if kind == NO_FAULT or not able.any():
        return Fault()
    factor = 1.0 + rng.choice((-1.0, 1.0)) * rng.uniform(0.15, 0.4)
    return Fault(kind, int(rng.choice(np.flatnonzero(able))), float(factor) if kind == BIASED else 1.0)


def _rates(lake: Any) -> list[float]:
    rates = [lake.bias_rate, lake.stuck_rate, lake.misreport_rate]
    return [1.0 - sum(rates), *rates]


def measure(
    before: Flow, now: Flow, injections: Injections, open_lines: np.ndarray, fault: Fault, lake: Any, rng: np.random.Generator,
    offset: float = 0.0,
) -> Readings:  # fmt: skip
    """Read the sensors.

    before, now : true flows; `now` already without a line that is open but reported closed.
    open_lines : (n_line,) bool, lines open on purpose, which is what the switches report.
    offset : share by which every loading sensor reads low (a drift of the whole fleet of sensors).
    """

    def noisy(values: np.ndarray, floor: float) -> np.ndarray:
        return values + rng.normal(0, lake.noise, values.shape) * (np.abs(values) + floor)

    scale = np.full(len(now.loading_pct), 1.0 - offset)
    if fault.kind == BIASED:
        scale[fault.line] *= fault.factor
    past = noisy(before.loading_pct, 5.0) * (1.0 - offset)
    readings = Readings(
        loading=np.abs(noisy(now.loading_pct, 5.0)) * scale, before=np.abs(past),
        p_mw=noisy(now.p_from_mw, 1.0) * scale, q_mvar=noisy(now.q_from_mvar, 1.0) * scale,
        closed=~open_lines, voltage=now.vm_pu + rng.normal(0, 0.001, now.vm_pu.shape),
        injections=Injections(
            noisy(injections.p_load, 0.1), noisy(injections.q_load, 0.1), np.maximum(noisy(injections.p_sgen, 0.0), 0.0),
            injections.slack_vm_pu,
        ),
    )  # fmt: skip
    if fault.kind == STUCK:
        readings = _stuck(readings, before, fault.line)
    return _gaps(readings, open_lines, fault, lake.gap_rate, rng)


def line_voltage(grid: Grid, readings: Readings) -> np.ndarray:
    """Measured voltage at every line's from end, (n_line,) pu; the mean where there is none."""
    volts = readings.voltage[grid.lines["from"].to_numpy()]
    return np.where(np.isnan(volts), np.nanmean(readings.voltage), volts)


def _stuck(readings: Readings, before: Flow, line: int) -> Readings:
    """The line's sensor repeats its reading of an hour ago, to the last digit."""
    loading, p, q = readings.loading.copy(), readings.p_mw.copy(), readings.q_mvar.copy()
    loading[line] = readings.before[line]
    p[line], q[line] = before.p_from_mw[line], before.q_from_mvar[line]
    return replace(readings, loading=loading, p_mw=p, q_mvar=q)


def _gaps(readings: Readings, open_lines: np.ndarray, fault: Fault, rate: float, rng: np.random.Generator) -> Readings:
    """Some closed lines' readings are missing altogether; never that of the faulty one, which would hide the fault."""
    gone = (rng.random(len(open_lines)) < rate) & ~open_lines
    if fault.line >= 0:
        gone[fault.line] = False
    blank = {name: np.where(gone | open_lines, np.nan, getattr(readings, name)) for name in ("loading", "before", "p_mw", "q_mvar")}
    return replace(readings, **blank)
