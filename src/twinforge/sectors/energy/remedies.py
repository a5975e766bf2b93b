"""Candidate remedial actions after an outage: their linear estimate from measured signals, and what they change in truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from twinforge.sectors.energy.grid import Grid, Injections, lost_buses, single_outages
from twinforge.sectors.energy.linear import lodf, ptdf
from twinforge.sectors.energy.sensors import Readings, line_voltage

NOTHING = "do nothing"
Worst = Callable[[np.ndarray], float]  # complex flows in MVA, (n_line,) -> highest loading in percent
LEAST_MW = 3.0  # of a 110 kV grid (`Grid.unit_mw`): an injection below this is not worth touching


@dataclass(frozen=True)
class Remedy:
    """One action: the injection it halves, or the line it opens or closes again. Its name is what an operator would say.

    estimate : highest loading in percent after the outage and the action, by linear factors from measured flows.
    """

    name: str
    halved: str = ""
    opened: str = ""
    closed: str = ""
    estimate: float = float("nan")

    def inject(self, grid: Grid, state: Injections) -> Injections:
        """One state's injections after the action."""
        loads, sgens = (grid.loads["name"] == self.halved).to_numpy(), (grid.sgens["name"] == self.halved).to_numpy()
        load, sgen = np.where(loads, 0.5, 1.0), np.where(sgens, 0.5, 1.0)
        return Injections(state.p_load * load, state.q_load * load, state.p_sgen * sgen, state.slack_vm_pu)

    def out(self, open_lines: frozenset[str]) -> frozenset[str]:
        """Open lines after the action."""
        return (open_lines | ({self.opened} if self.opened else set())) - {self.closed}


def candidates(
    grid: Grid, readings: Readings, outage: str, open_lines: frozenset[str], work: Mapping[str, object], factor: float,
    rng: np.random.Generator,
) -> list[Remedy]:  # fmt: skip
    """Up to five actions after `outage`: two injections to halve, one or two lines to open, a line in work to close, or none.

    One of each sort is the best by its estimate, the other one drawn at random, so that choosing needs the numbers.
    open_lines : reported ones. factor : rating in force over the nominal one.
    """
    out = open_lines | {outage}
    k = grid.lines.index[grid.lines["name"] == outage][0]
    s = np.nan_to_num(readings.p_mw) + 1j * np.nan_to_num(readings.q_mvar)
    after = s + lodf(grid, open_lines)[:, k] * s[k]
    kv = grid.buses["vn_kv"].to_numpy()[grid.lines["from"]] * line_voltage(grid, readings)
    per_mw = 100 / (np.sqrt(3) * kv * grid.lines["rating_ka"].to_numpy() * factor)

    def worst(flow: np.ndarray) -> float:
        return float(np.fmax.reduce(readings.loading + (np.abs(flow) - np.abs(s)) * per_mw))  # skips NaN

    transfer = ptdf(grid, out)[: len(grid.lines)]
    halved = _two(_injections(grid, readings, after, transfer, worst), rng)
    opened = _two(_openings(grid, after, out, worst), rng)
    closed = [_closing(grid, readings, after, out, transfer, line, worst) for line in work if line in open_lines]
    return [*halved, *opened[: 1 if closed else 2], *closed, Remedy(NOTHING, estimate=worst(after))]


def _two(found: list[Remedy], rng: np.random.Generator) -> list[Remedy]:
    ranked = sorted(found, key=lambda r: r.estimate)
    return ranked[:1] + ([ranked[1 + int(rng.integers(len(ranked) - 1))]] if len(ranked) > 1 else [])


def _injections(grid: Grid, readings: Readings, after: np.ndarray, transfer: np.ndarray, worst: Worst) -> list[Remedy]:
    found = []
    for table, power, sign in (
        (grid.sgens, readings.injections.p_sgen, -0.5),
        (grid.loads, readings.injections.p_load, 0.5),
    ):
        for row, (name, at) in enumerate(zip(table["name"], table["at"], strict=True)):
            if power[row] > LEAST_MW * grid.unit_mw:
                verb = "curtail" if sign < 0 else "halve demand"
                found.append(
                    Remedy(f"{verb} {name}", halved=name, estimate=worst(after + transfer[:, at] * sign * power[row]))
                )
    return found


def _openings(grid: Grid, after: np.ndarray, out: frozenset[str], worst: Worst) -> list[Remedy]:
    factors, names = lodf(grid, out), grid.lines["name"].to_numpy()
    dark = lost_buses(grid, single_outages(grid, out)).sum(1)
    fullest = np.argsort(-np.abs(after))[:25]
    harmless = (row for row in fullest if names[row] not in out and dark[row] == dark.min())
    return [
        Remedy(f"open {names[row]}", opened=str(names[row]), estimate=worst(after + factors[:, row] * after[row]))
        for row in harmless
    ]


def _closing(
    grid: Grid, readings: Readings, after: np.ndarray, out: frozenset[str], transfer: np.ndarray, line: str,
    worst: Worst,
) -> Remedy:  # fmt: skip
    """Closing again shifts the flows by the difference of the two topologies' transfer factors."""
    net = np.zeros(len(grid.buses))
    np.add.at(net, grid.sgens["at"], readings.injections.p_sgen)
    np.add.at(net, grid.loads["at"], -readings.injections.p_load)
    shift = (ptdf(grid, out - {line})[: len(grid.lines)] - transfer) @ net
    return Remedy(f"close {line}", closed=line, estimate=worst(after + shift))
