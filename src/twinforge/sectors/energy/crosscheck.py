"""The check at every build of the lake: flows solved here against pandapower on the network as SimBench gives it."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import numpy as np

from twinforge.errors import UserError
from twinforge.sectors.energy.contingency import Flow, Solver, solve_by_pandapower
from twinforge.sectors.energy.grid import Grid, Injections, lost_buses, single_outages
from twinforge.sectors.energy.simbench import original

TOLERANCE = 1e-6
FLOOR = 1e-3  # of a line's rating: currents below it are compared to it, not to themselves


@dataclass(frozen=True)
class Report:
    """How many flows were compared (base cases, outages, outages that island a part) and the worst relative difference."""

    base: int
    outages: int
    islanding: int
    worst_loading: float
    worst_voltage: float


def crosscheck(grid: Grid, states: Injections, n: int = 24, seed: int = 0) -> Report:
    """Compare `n` random flows (a third base cases, a third plain outages, a third islanding ones) with pandapower's.

    pandapower gets the original network, with all its buses and switches, so that the fusing of buses is checked too.

    Raises
    ------
    UserError
        A relative difference above 1e-6; names state, outage and line (or bus).
    """
    rng = np.random.default_rng(seed)
    rows = single_outages(grid)
    cut = lost_buses(grid, rows).any(1)
    none, plain, islanding = grid.mask()[None], rows[~cut], rows[cut]
    third = -(-n // 3)
    drawn = [pool[rng.integers(len(pool), size=third)] for pool in (none, plain, islanding) if len(pool)]
    out = np.vstack(drawn)
    at = rng.integers(len(states), size=len(out))
    flow = Solver(grid).solve_rows(states[at], out)
    net = _original(grid)
    vm = np.broadcast_to(grid.slack_vm_pu if states.slack_vm_pu is None else states.slack_vm_pu, len(states))
    worst = np.array(
        [_compare(grid, net, flow[i], states[int(at[i])], vm[at[i]], out[i], int(at[i])) for i in range(len(out))]
    )
    return Report(third, third * (len(plain) > 0), third * (len(islanding) > 0), *(float(w) for w in worst.max(0)))


def _original(grid: Grid) -> object:
    net = copy.deepcopy(original(grid.code)[0])
    net.line["max_i_ka"] = grid.lines["rating_ka"].to_numpy()
    net.line["df"], net.line["parallel"] = 1.0, 1
    return net


def _compare(
    grid: Grid, net: object, flow: Flow, state: Injections, vm: float, out: np.ndarray, number: int
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solved = solve_by_pandapower(net, grid, state, vm, out)
    name = ", ".join(np.array(grid.branches)[out]) or "none"
    where = f"grid {grid.code}, state {number}, outage {name}"
    if solved != bool(flow.converged):
        raise UserError(
            f"{where}: pandapower {'finds a' if solved else 'finds no'} solution, lightsim2grid the contrary; lower the load"
        )
    if not solved:
        return 0.0, 0.0
    line = _difference(flow.loading_pct, net.res_line["loading_percent"].to_numpy(), 100 * FLOOR)  # type: ignore[attr-defined]
    theirs = net.res_bus["vm_pu"].to_numpy()[net.line["from_bus"]]  # type: ignore[attr-defined]
    bus = _difference(flow.vm_pu[grid.lines["from"]], theirs, 1.0)
    for kind, gap in (("line", line), ("the from end of line", bus)):
        if gap.max() > TOLERANCE:
            raise UserError(
                f"{where}: lightsim2grid and pandapower differ by {gap.max():.1e} (relative) at {kind} "
                f"{grid.lines['name'].iloc[int(gap.argmax())]}, more than {TOLERANCE:g}; this grid can't be used with this lightsim2grid"
            )
    return float(line.max()), float(bus.max())


def _difference(ours: np.ndarray, theirs: np.ndarray, floor: float) -> np.ndarray:
    ours, theirs = np.nan_to_num(ours), np.nan_to_num(theirs)
    return np.abs(ours - theirs) / np.maximum(np.abs(theirs), floor)
