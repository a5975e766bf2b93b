"""Solved flows: AC power flows of many states and topologies by lightsim2grid, every outage that islands a part included."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinforge.errors import UserError
from twinforge.sectors.energy.grid import Grid, Injections, lost_buses, single_outages

SOLVED, ISLANDED, UNSOLVED = "solved", "islanded", "unsolved"
ROWS = 4096  # rows solved in one batch: bounds memory
ITERATIONS, TOLERANCE = 25, 1e-9


@dataclass(frozen=True)
class Flow:
    """One solved flow, or many (then every array has a first axis of rows, and `flow[i]` is one).

    Attributes
    ----------
    loading_pct : (n_line,) the larger of both ends' current over the rating (pandapower's definition); 0 on a line that is out
        or lost, NaN where unsolved.
    i_ka : (n_line,) that current. p_from_mw, q_from_mvar : (n_line,) power that enters at the line's `from` end.
    p_to_mw : (n_line,) power that enters at its `to` end.
    transformer_pct : (n_transformer,) likewise. slack_mw : power drawn from the grid above through the transformers.
    vm_pu : (n_bus,) voltage; NaN at lost buses and where unsolved.
    status : "solved", "islanded" (a part is lost, the rest is solved) or "unsolved" (never to be read as "no overload").
    lost : (n_bus,) bool, buses without supply. lost_mw, lost_generation_mw : demand and generation on them.
    """

    loading_pct: np.ndarray
    i_ka: np.ndarray
    p_from_mw: np.ndarray
    q_from_mvar: np.ndarray
    p_to_mw: np.ndarray
    transformer_pct: np.ndarray
    slack_mw: np.ndarray
    vm_pu: np.ndarray
    status: np.ndarray
    lost: np.ndarray
    lost_mw: np.ndarray
    lost_generation_mw: np.ndarray

    @property
    def converged(self) -> np.ndarray:
        """Whether solved, the lost part apart: a bool or (rows,) bool."""
        return np.asarray(self.status) != UNSOLVED

    def __len__(self) -> int:
        return len(np.atleast_1d(self.status))

    def __getitem__(self, index: int | slice | np.ndarray) -> Flow:
        return Flow(*(value[index] for value in vars(self).values()))


class Solver:
    """Solves flows on one grid. Not thread-safe; pickles as its grid.

    Outages are names ("L5", "T2"). A part that an outage cuts off from the grid above is lost: its loads and generators are
    off, and the rest is solved.

    Raises
    ------
    UserError
        The grid has no solution in its own nominal state.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        net = _network(grid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from lightsim2grid.network import init_from_pandapower

            # "pandapower_v3" converts the transformers' no-load losses otherwise: voltages 2e-5 off pandapower 3.5's
            self._model = init_from_pandapower(net, pp_orig_file="pandapower_v2")
        self._start = self._model.ac_pf(np.full(len(grid.buses), grid.slack_vm_pu, complex), ITERATIONS, TOLERANCE)
        if not len(self._start):
            raise UserError(
                f"grid {grid.code}: no power flow in its nominal state; lower lake.system's load or generation"
            )

    def __reduce__(self) -> tuple[type[Solver], tuple[Grid]]:
        return Solver, (self.grid,)

    def solve(self, injections: Injections, out: frozenset[str] | set[str] = frozenset()) -> Flow:
        """One state, with the named lines and transformers out."""
        return self.solve_rows(injections.repeat(1), self.grid.mask(out)[None])[0]

    def solve_many(self, injections: Injections, out: frozenset[str] | set[str] = frozenset()) -> Flow:
        """Many states on one topology: rows are states."""
        return self.solve_rows(injections, np.tile(self.grid.mask(out), (len(injections), 1)))

    def solve_variants(self, variants: Sequence[tuple[Injections, frozenset[str]]]) -> Flow:
        """Pairs of a state and its outages, solved as one batch: rows are the pairs."""
        states = [v.repeat(1) for v, _ in variants]
        vm = [self.grid.slack_vm_pu if s.slack_vm_pu is None else float(np.ravel(s.slack_vm_pu)[0]) for s in states]
        p, q, g = (np.vstack([getattr(s, name) for s in states]) for name in ("p_load", "q_load", "p_sgen"))
        return self.solve_rows(
            Injections(p, q, g, np.array(vm)), np.stack([self.grid.mask(out) for _, out in variants])
        )

    def contingencies(self, injections: Injections, planned: frozenset[str] | set[str] = frozenset()) -> Flow:
        """Every single line outage on top of the planned ones: row i has line i out.

        `loading_pct` is (n_line, n_line); `status`, `lost_mw` (n_line,); `lost` (n_line, n_bus).
        """
        rows = single_outages(self.grid, planned)
        return self.solve_rows(injections.repeat(len(rows)), rows)

    def estimate(self, measured: Injections, reported: frozenset[str] | set[str] = frozenset()) -> Flow:
        """What the flows should be if the measured injections and the reported topology were true (NaN reads as 0)."""
        p, q, g = (np.nan_to_num(a) for a in (measured.p_load, measured.q_load, measured.p_sgen))
        return self.solve(Injections(p, q, g, measured.slack_vm_pu), reported)

    def solve_rows(self, injections: Injections, out: np.ndarray) -> Flow:
        """Row i of the injections with row i of the outages, (rows, n_branch) bool in the order of `grid.branches`."""
        self._check(injections, out)
        parts = [self._batch(injections[slice(i, i + ROWS)], out[i : i + ROWS]) for i in range(0, len(out), ROWS)]
        if len(parts) == 1:
            return parts[0]
        return Flow(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))

    def _check(self, injections: Injections, out: np.ndarray) -> None:
        g = self.grid
        for name, n in (("p_load", len(g.loads)), ("q_load", len(g.loads)), ("p_sgen", len(g.sgens))):
            value = getattr(injections, name)
            if value.shape != (len(out), n):
                raise UserError(f"{g.code}: {name} has shape {value.shape}, expected {(len(out), n)}")
            if not np.isfinite(value).all():
                raise UserError(
                    f"{g.code}: {name} has a value that is not finite; give the solver true or filled injections"
                )

    def _batch(self, injections: Injections, out: np.ndarray) -> Flow:
        from lightsim2grid.lightsim2grid_cpp import ScenarioSweepCPP

        grid, n_line = self.grid, len(self.grid.lines)
        sweep = ScenarioSweepCPP(self._model)
        sweep.change_algorithm("NRSing_KLU")
        sweep.handle_disconnected_grid = True
        sweep.modify_load_p(_rows(injections.p_load))
        sweep.modify_load_q(_rows(injections.q_load))
        sweep.modify_sgen_p(_rows(injections.p_sgen))
        vm = np.broadcast_to(grid.slack_vm_pu if injections.slack_vm_pu is None else injections.slack_vm_pu, len(out))
        sweep.modify_gen_v(_rows(vm[:, None]))
        sweep.set_contingency_lines(np.ascontiguousarray(out[:, :n_line]))
        sweep.set_contingency_trafos(np.ascontiguousarray(out[:, n_line:]))
        sweep.compute(self._start, ITERATIONS, TOLERANCE)
        power, voltage = sweep.compute_branch_results().copy(), np.abs(sweep.get_voltages())
        solved = np.array(sweep.converged_mask()) & np.isfinite(power).all((1, 2)) & (voltage.max(1) > 0)
        lost = lost_buses(grid, out)
        # lightsim2grid keeps the largest part, not the fed one
        for row in np.flatnonzero(2 * lost.sum(1) >= len(grid.buses)):
            solved[row] = _solve_by_pandapower(grid, injections[int(row)], vm[row], out[row], power[row], voltage[row])
        return _flow(grid, injections, out, power, voltage, solved, lost)


def _rows(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=float)


def _flow(
    grid: Grid,
    injections: Injections,
    out: np.ndarray,
    power: np.ndarray,
    vm: np.ndarray,
    solved: np.ndarray,
    lost: np.ndarray,
) -> Flow:
    start, end = grid.ends
    n_line = len(grid.lines)
    dead = out | lost[:, start] | lost[:, end]
    power[dead] = 0.0
    power[~solved] = np.nan
    vm = np.where(lost | ~solved[:, None], np.nan, vm)
    vn = grid.buses["vn_kv"].to_numpy()
    with np.errstate(invalid="ignore"):
        kv = [np.where(dead, 1.0, np.nan_to_num(vm[:, at] * vn[at], nan=1.0)) for at in (start, end)]
    i_from = np.hypot(power[..., 0], power[..., 1]) / (np.sqrt(3) * kv[0])
    i_to = np.hypot(power[..., 2], power[..., 3]) / (np.sqrt(3) * kv[1])
    i_ka = np.maximum(i_from, i_to)[:, :n_line]
    trafo = grid.transformers
    rated = trafo["rating_mva"].to_numpy() / np.sqrt(3)
    hv, lv = i_from[:, n_line:] * trafo["vn_hv_kv"].to_numpy(), i_to[:, n_line:] * trafo["vn_lv_kv"].to_numpy()
    slack = np.where(start == grid.slack, power[..., 0], 0) + np.where(end == grid.slack, power[..., 2], 0)
    return Flow(
        loading_pct=100 * i_ka / grid.lines["rating_ka"].to_numpy(), i_ka=i_ka,
        p_from_mw=power[:, :n_line, 0], q_from_mvar=power[:, :n_line, 1], p_to_mw=power[:, :n_line, 2],
        transformer_pct=100 * np.maximum(hv, lv) / rated, slack_mw=slack.sum(1), vm_pu=vm,
        status=np.where(~solved, UNSOLVED, np.where(lost.any(1), ISLANDED, SOLVED)), lost=lost,
        lost_mw=(np.maximum(injections.p_load, 0) * lost[:, grid.loads["at"]]).sum(1),
        lost_generation_mw=(injections.p_sgen * lost[:, grid.sgens["at"]]).sum(1),
    )  # fmt: skip


def _network(grid: Grid) -> Any:
    """The fused pandapower network with the grid's ratings."""
    net = copy.deepcopy(grid.net)
    net.line["max_i_ka"] = grid.lines["rating_ka"].to_numpy()
    net.line["df"], net.line["parallel"] = 1.0, 1
    return net


def solve_by_pandapower(net: Any, grid: Grid, injections: Injections, vm: float, out: np.ndarray) -> bool:
    """Set one state on a network with the grid's element order and solve it by pandapower; False when it finds no solution."""
    import pandapower as pp

    n_line = len(grid.lines)
    net.load["p_mw"], net.load["q_mvar"] = injections.p_load[: len(net.load)], injections.q_load[: len(net.load)]
    if len(net.storage):
        net.storage["p_mw"] = injections.p_load[len(net.load) :]
    net.sgen["p_mw"], net.ext_grid["vm_pu"] = injections.p_sgen, vm
    net.line["in_service"], net.trafo["in_service"] = ~out[:n_line], ~out[n_line:]
    try:
        pp.runpp(net, tolerance_mva=1e-9, max_iteration=50, numba=False)
    except pp.LoadflowNotConverged:
        return False
    return True


def _solve_by_pandapower(
    grid: Grid, injections: Injections, vm: float, out: np.ndarray, power: np.ndarray, voltage: np.ndarray
) -> bool:
    """As lightsim2grid's row: fills (n_branch, 4) powers and (n_bus,) voltages in place."""
    net = _network(grid)
    if not solve_by_pandapower(net, grid, injections, vm, out):
        return False
    line = net.res_line[["p_from_mw", "q_from_mvar", "p_to_mw", "q_to_mvar"]].to_numpy()
    trafo = net.res_trafo[["p_hv_mw", "q_hv_mvar", "p_lv_mw", "q_lv_mvar"]].to_numpy()
    power[:] = np.nan_to_num(np.vstack([line, trafo]))
    voltage[:] = net.res_bus["vm_pu"].to_numpy()
    return True
