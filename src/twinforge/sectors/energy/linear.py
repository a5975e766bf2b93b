"""The operator's rule: what an outage does to the flows, from measured flows and linear outage factors."""

from __future__ import annotations

from typing import Literal

import numpy as np

from twinforge.sectors.energy.grid import Grid, lost_buses, single_outages


def ptdf(grid: Grid, out: frozenset[str] | set[str] = frozenset()) -> np.ndarray:
    """Power transfer distribution factors, (n_branch, n_bus): the share of 1 MW fed in at a bus and taken out at the slack
    that flows over a branch, in its from-to direction. Zero on branches that are out and for buses that are lost.

    Reactances alone count (the DC approximation).
    """
    mask, (start, end) = grid.mask(out), grid.ends
    n, lost = len(grid.buses), lost_buses(grid, mask)
    susceptance = np.where(mask | lost[start] | lost[end], 0.0, 1 / _reactance(grid))
    incidence = np.zeros((len(start), n))
    incidence[np.arange(len(start)), start], incidence[np.arange(len(start)), end] = 1.0, -1.0
    weighted = susceptance[:, None] * incidence
    keep = ~lost
    keep[grid.slack] = False
    factors = np.zeros_like(weighted)
    factors[:, keep] = weighted[:, keep] @ np.linalg.inv((incidence.T @ weighted)[np.ix_(keep, keep)])
    return factors


def lodf(grid: Grid, out: frozenset[str] | set[str] = frozenset()) -> np.ndarray:
    """Line outage distribution factors, (n_line, n_line): column k is what each line takes over of line k's flow.

    Flow after the outage of k = flow + lodf[:, k] * flow[k], so the diagonal is -1. Columns of lines that are out already are
    zero. Where k alone feeds a part, that part's power is gone: on the fed side the column holds what the loss of k's flow
    changes, balanced by the grid above; lines of the lost part have to be set to zero (`linear_contingency` does).

    References
    ----------
    Wood, Wollenberg and Sheble, Power Generation, Operation, and Control, 3rd ed., chapter 7.
    """
    n, (start, end) = len(grid.lines), grid.ends
    mask = grid.mask(out)
    factors = ptdf(grid, out)
    transfer = factors[:n, start[:n]] - factors[:n, end[:n]]
    own = np.diag(transfer)
    bridge = np.isclose(own, 1.0, atol=1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(bridge | (own == 0), 0.0, transfer / (1 - own))
    lost = lost_buses(grid, single_outages(grid, out))
    for k in np.flatnonzero(bridge & ~mask[:n]):
        result[:, k] = -factors[:n, end[k]] if lost[k, start[k]] else factors[:n, start[k]]
    result[np.arange(n), np.arange(n)] = np.where(mask[:n], 0.0, -1.0)
    return result


def linear_contingency(
    grid: Grid, p_mw: np.ndarray, q_mvar: np.ndarray | None = None, out: frozenset[str] | set[str] = frozenset(),
    which: Literal["p", "complex"] = "complex", vm_pu: float | np.ndarray = 1.0, factors: np.ndarray | None = None,
    loading_pct: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Loading in percent after every single line outage, estimated from measured flows: row k has line k out.

    Parameters
    ----------
    p_mw, q_mvar : (n_line,) measured at the lines' from ends; a NaN leaves the estimates that need it NaN.
    out : the reported outages.
    which : "p" redistributes active power and ignores the rest; "complex" redistributes S = P + jQ.
    vm_pu : voltage at which power is read as current, one or (n_line,).
    factors : `lodf(grid, out)`, when at hand.
    loading_pct : (n_line,) measured loading now. When given, the estimate is it plus what the flows add: a long cable's charging
        current makes the end that is not measured the fuller one.

    Returns
    -------
    (n_line, n_line); 0 for lines that are out or in the part that the outage cuts off.
    """
    factors = lodf(grid, out) if factors is None else factors
    n, (start, end) = len(grid.lines), grid.ends
    s = np.asarray(p_mw, float) + (1j * np.asarray(q_mvar, float) if which == "complex" and q_mvar is not None else 0j)
    after = np.where(factors.T == 0, 0, factors.T * s[:, None]) + s[None, :]
    kv = grid.buses["vn_kv"].to_numpy()[start[:n]] * vm_pu
    per_mva = 100 / (np.sqrt(3) * kv * grid.lines["rating_ka"].to_numpy())
    loading = np.abs(after) * per_mva
    if loading_pct is not None:
        loading = np.maximum(loading + loading_pct - np.abs(s) * per_mva, 0.0)
    rows = single_outages(grid, out)
    lost = lost_buses(grid, rows)
    loading[rows[:, :n] | lost[:, start[:n]] | lost[:, end[:n]]] = 0.0
    return loading


def _reactance(grid: Grid) -> np.ndarray:
    """Per-unit reactance of every branch on 1 MVA."""
    kv = grid.buses["vn_kv"].to_numpy()
    line = grid.lines["x_ohm"].to_numpy() / kv[grid.lines["from"]] ** 2
    trafo = grid.net.trafo
    vk, vkr = trafo["vk_percent"].to_numpy(), trafo["vkr_percent"].to_numpy()
    x = np.sqrt(vk**2 - vkr**2) / 100 / (trafo["sn_mva"] * trafo["parallel"]).to_numpy()
    return np.concatenate([line, x])
