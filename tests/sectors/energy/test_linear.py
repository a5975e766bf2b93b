"""The operator's rule: outage factors against lightsim2grid's, and its estimate against the solved truth."""

import numpy as np
import pytest

from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.grid import Grid, load_grid, lost_buses, single_outages
from twinforge.sectors.energy.linear import linear_contingency, lodf, ptdf


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid(load_scale=3)


def test_outage_factors_equal_lightsim2grids_on_the_mesh(grid: Grid) -> None:
    solver = Solver(grid)
    solver._model.dc_pf(solver._start, 10, 1e-8)
    theirs = solver._model.get_lodf()[:113, :113]
    mesh = ~lost_buses(grid, single_outages(grid)).any(1)
    assert mesh.sum() == 77 and np.abs(lodf(grid) - theirs)[:, mesh].max() < 1e-9


def test_factors_with_a_planned_outage_are_those_of_the_smaller_grid(grid: Grid) -> None:
    factors = lodf(grid, {"L2"})
    assert (factors[:, 1] == 0).all() and (factors[1] == 0).all()
    flow = ptdf(grid, {"L2"}) @ np.random.default_rng(0).normal(size=82)
    mesh = np.flatnonzero(~lost_buses(grid, single_outages(grid, {"L2"})).any(1))
    k = int(mesh[4])
    after = flow[:113] + factors[:, k] * flow[k]
    assert after[k] == pytest.approx(0, abs=1e-9)


def test_a_spur_takes_its_power_with_it(grid: Grid) -> None:
    """In the DC grid the estimate for an outage that cuts a part off is exact."""
    spur = int(np.flatnonzero(lost_buses(grid, single_outages(grid)).any(1))[0])
    injected = np.random.default_rng(1).normal(size=82)
    flow = (ptdf(grid) @ injected)[:113]
    name = f"L{spur + 1}"
    alone = np.where(lost_buses(grid, grid.mask({name})), 0.0, injected)
    expected = (ptdf(grid, {name}) @ alone)[:113]
    estimate = linear_contingency(grid, flow, which="p")[spur]
    rating = grid.lines["rating_ka"].to_numpy()
    kv = grid.buses["vn_kv"].to_numpy()[grid.lines["from"]]
    assert np.allclose(estimate, 100 * np.abs(expected) / (np.sqrt(3) * kv * rating), atol=1e-9)


def test_complex_estimate_beats_active_power_alone_and_copying(grid: Grid) -> None:
    solver, error = Solver(grid), {"p": [], "complex": [], "copy": []}
    factors = lodf(grid)
    for step in (3_000, 14_000, 25_000):
        state = grid.injections(step)
        base, truth = solver.solve(state), solver.contingencies(state).loading_pct
        moved = np.abs(truth - base.loading_pct) > 1
        for which in ("p", "complex"):
            guess = linear_contingency(grid, base.p_from_mw, base.q_from_mvar, which=which, vm_pu=1.04, factors=factors)
            error[which].append(np.abs(guess - truth)[moved].mean())
        error["copy"].append(np.abs(base.loading_pct - truth)[moved].mean())
    mean = {k: np.mean(v) for k, v in error.items()}
    assert mean["complex"] < mean["p"] < mean["copy"] and mean["complex"] < 0.5 * mean["copy"]


def test_a_missing_measurement_leaves_only_what_needs_it_unknown(grid: Grid) -> None:
    base = Solver(grid).solve(grid.injections(100))
    p = base.p_from_mw.copy()
    p[20] = np.nan
    estimate = linear_contingency(grid, p, base.q_from_mvar)
    assert np.isnan(estimate[:, 20]).sum() >= 112 - 40 and np.isfinite(estimate).mean() > 0.9
