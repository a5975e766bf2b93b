"""Making an ample grid tight: line ratings from what its lines carry, and how tight the result is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from twinforge.errors import UserError
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.grid import Grid, Injections, lost_buses, single_outages
from twinforge.sectors.energy.linear import lodf


@dataclass(frozen=True)
class Tightness:
    """Measured over states: shares between 0 and 1.

    newly_overloading : of single outages, those that take a line from at most 100 % to above.
    states_with_any : of states, those with such an outage.
    base_overloaded : of states, those overloaded with nothing out.
    unsolved : of outages, those without a solution; they are left out of the others.
    changed : of pairs of an outage and a line that takes over 15 % or more of its flow, those whose loading moves by over
        5 points: where copying today's loading fails.
    lines : lines that some outage newly overloads.
    """

    newly_overloading: float
    states_with_any: float
    base_overloaded: float
    unsolved: float
    changed: float
    lines: int


def spurs(grid: Grid) -> np.ndarray:
    """Lines whose outage cuts a part off, (n_line,) bool; the others form the mesh."""
    return np.asarray(lost_buses(grid, single_outages(grid)).any(1))


def rerate(
    grid: Grid, states: Injections, quantile: float = 0.5, base_quantile: float = 0.99, spur_margin: float = 1.3
) -> Grid:
    """The grid with line ratings set by what its lines carry in typical states.

    A mesh line is rated at the given quantile, over states, of its largest current after any single outage, but not below
    `base_quantile` of its current with nothing out; a spur at `spur_margin` times its largest current. Lower quantiles make
    more outages overload a line. Ratings are whole amperes, 30 A at least.

    Raises
    ------
    UserError
        A quantile outside (0, 1), or fewer than 20 states.
    """
    for name, value in (("quantile", quantile), ("base_quantile", base_quantile)):
        if not 0 < value < 1:
            raise UserError(f"rating {name} = {value}: must lie between 0 and 1")
    if len(states) < 20:
        raise UserError(f"re-rating needs at least 20 states, got {len(states)}")
    base, after = _currents(grid, states)
    worst = np.nanmax(after, axis=1)
    mesh = np.maximum(np.quantile(worst, quantile, axis=0), np.quantile(base, base_quantile, axis=0))
    rating = np.where(spurs(grid), base.max(0) * spur_margin, mesh)
    return grid.rated(np.maximum(np.ceil(1000 * rating), 30.0) / 1000)


def tightness(grid: Grid, states: Injections) -> Tightness:
    """How often single outages overload a line, and how often nothing has to be out for that."""
    base, after = _currents(grid, states)
    rating = grid.lines["rating_ka"].to_numpy()
    before, loading = 100 * base / rating, 100 * after / rating
    new = (loading > 100) & (before[:, None] <= 100)  # (states, outages, lines)
    solved = ~np.isnan(loading).any(2)
    pairs = (np.abs(lodf(grid)).T > 0.15) & ~np.eye(len(rating), dtype=bool) & ~spurs(grid)[:, None]
    moved = np.abs(loading - before[:, None])[:, pairs] > 5
    return Tightness(
        newly_overloading=float(new.any(2)[solved].mean()), states_with_any=float(new.any((1, 2)).mean()),
        base_overloaded=float((before > 100).any(1).mean()), unsolved=float(1 - solved.mean()),
        changed=float(moved.mean()), lines=int(new.any((0, 1)).sum()),
    )  # fmt: skip


def _currents(grid: Grid, states: Injections) -> tuple[np.ndarray, np.ndarray]:
    """Currents in kA with nothing out, (states, n_line), and after every outage, (states, n_line, n_line)."""
    solver = Solver(grid)
    base = solver.solve_many(states)
    if not base.converged.all():
        raise UserError(
            f"grid {grid.code}: {int((~base.converged).sum())} of {len(states)} states have no power flow; lower the load"
        )
    todo = tqdm(range(len(states)), desc="outages", leave=False, disable=True if len(states) < 100 else None)
    return base.i_ka, np.stack([solver.contingencies(states[i]).i_ka for i in todo])
