"""What the sensors say: the truth with noise, gaps and one injected fault at most. Everything later sees only this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twinforge.sectors.energy.contingency import Flow
from twinforge.sectors.energy.grid import Grid, Injections

NO_FAULT, BIASED, STUCK, MISREPORTED = 0, 1, 2, 3  # order of `templates.FAULTS`
VOLTAGE_NOISE = 0.001  # per unit
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
    offset: float = 0.0, unit_mw: float = 1.0,
) -> Readings:  # fmt: skip
    """Read the sensors.

    before, now : true flows; `now` already without a line that is open but reported closed.
    open_lines : (n_line,) bool, lines open on purpose, which is what the switches report.
    unit_mw : the grid's (`Grid.unit_mw`): what noise in power is added to, however little flows.
    offset : share by which every loading sensor reads low (a drift of the whole fleet of sensors).
    """

    def noisy(values: np.ndarray, floor: float) -> np.ndarray:
        return values + rng.normal(0, lake.noise, values.shape) * (np.abs(values) + floor)

    def meters(flow: Flow, scale: np.ndarray) -> list[np.ndarray]:
        loading = np.abs(noisy(flow.loading_pct, 5.0))
        return [v * scale for v in (loading, noisy(flow.p_from_mw, unit_mw), noisy(flow.q_from_mvar, unit_mw))]

    low = np.full(len(now.loading_pct), 1.0 - offset)
    bias = np.where(np.arange(len(low)) == fault.line, fault.factor, 1.0)
    past, present = meters(before, low), meters(now, low * bias)
    if fault.kind == STUCK:  # repeats its readings of an hour ago, to the last digit
        for ago, reading in zip(past, present, strict=True):
            reading[fault.line] = ago[fault.line]
    blank = _gaps(open_lines, fault, lake.gap_rate, rng)
    loading, past_loading, p_mw, q_mvar = (np.where(blank, np.nan, v) for v in (present[0], past[0], *present[1:]))
    return Readings(
        loading=loading, before=past_loading, p_mw=p_mw, q_mvar=q_mvar, closed=~open_lines,
        voltage=now.vm_pu + rng.normal(0, VOLTAGE_NOISE, now.vm_pu.shape),
        injections=Injections(
            noisy(injections.p_load, 0.1 * unit_mw), noisy(injections.q_load, 0.1 * unit_mw), np.maximum(noisy(injections.p_sgen, 0.0), 0.0),
            injections.slack_vm_pu,
        ),
    )  # fmt: skip


def line_voltage(grid: Grid, readings: Readings) -> np.ndarray:
    """Measured voltage at every line's from end, (n_line,) pu; the mean where there is none."""
    volts = readings.voltage[grid.lines["from"].to_numpy()]
    return np.where(np.isnan(volts), np.nanmean(readings.voltage), volts)


def _gaps(open_lines: np.ndarray, fault: Fault, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Lines without any reading: open ones, and some others; never the faulty one, which would hide the fault."""
    gone = (rng.random(len(open_lines)) < rate) | open_lines
    if fault.line >= 0:
        gone[fault.line] = False
    return gone
