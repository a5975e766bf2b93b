"""Solved flows: equal to pandapower, honest about what is lost or unsolved, fast."""

import importlib
import pickle
import time

import numpy as np
import pytest

from twinforge.errors import UserError
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.crosscheck import crosscheck
from twinforge.sectors.energy.grid import CODES, Grid, Injections, load_grid, lost_buses, single_outages


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid(load_scale=3, generation_scale=1.2, reactive_scale=4)


@pytest.fixture(scope="module")
def states(grid: Grid) -> Injections:
    s = grid.injections(np.linspace(0, 35_135, 60).astype(int))
    return Injections(s.p_load, s.q_load, s.p_sgen, np.linspace(0.95, 1.1, 60))


@pytest.fixture(scope="module")
def solver(grid: Grid) -> Solver:
    return Solver(grid)


@pytest.mark.parametrize("code", CODES[:2])
def test_agrees_with_pandapower_on_the_unfused_network(code: str) -> None:
    grid = load_grid(code, 2.0)
    steps = grid.injections(np.arange(0, 35_136, 2_000))
    report = crosscheck(grid, Injections(steps.p_load, steps.q_load, steps.p_sgen, 1.02), 12)
    assert report.worst_loading < 1e-6 and report.worst_voltage < 1e-6
    assert report.base == report.outages == report.islanding == 4


def test_crosscheck_names_state_outage_and_line(
    grid: Grid, states: Injections, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("twinforge.sectors.energy.crosscheck")
    original = module._original

    def longer(g: Grid) -> object:
        net = original(g)
        net.line.loc[11, "length_km"] *= 1.001  # type: ignore[attr-defined]
        return net

    monkeypatch.setattr(module, "_original", longer)
    with pytest.raises(UserError, match=r"state \d+, outage .*line L"):
        crosscheck(grid, states, 6)


def test_contingencies_equal_single_solves(solver: Solver, states: Injections) -> None:
    rows = solver.contingencies(states[5])
    for k in (0, 33, 112):
        one = solver.solve(states[5], {f"L{k + 1}"})
        assert np.allclose(rows.loading_pct[k], one.loading_pct, rtol=1e-9, equal_nan=True)
        assert rows.status[k] == one.status and rows.lost_mw[k] == pytest.approx(float(one.lost_mw))


def test_an_islanding_outage_loses_its_part_and_solves_the_rest(grid: Grid, solver: Solver, states: Injections) -> None:
    flow = solver.contingencies(states[9])
    cut = lost_buses(grid, single_outages(grid)).any(1)
    assert ((flow.status == "islanded") == cut).all() and flow.converged.all()
    k = int(np.flatnonzero(cut)[np.argmax(flow.lost_mw[cut])])
    assert flow.lost_mw[k] > 0 and np.isnan(flow.vm_pu[k][flow.lost[k]]).all()
    demand, made = states[9].p_load.sum() - flow.lost_mw[k], states[9].p_sgen.sum() - flow.lost_generation_mw[k]
    losses = flow.slack_mw[k] + made - demand
    assert 0 < losses < 0.1 * (demand + made)
    assert (flow.lost_mw[~cut] == 0).all()


def test_power_balances_in_every_base_case(solver: Solver, states: Injections) -> None:
    flow = solver.solve_many(states)
    losses = flow.slack_mw + states.p_sgen.sum(1) - states.p_load.sum(1)
    assert (losses > 0).all() and (losses < 0.1 * states.p_load.sum(1)).all()


def test_a_part_larger_than_the_fed_one_is_lost_too(solver: Solver, states: Injections) -> None:
    flow = solver.solve(states[0], {"T1", "T2", "T3"})
    assert flow.status == "islanded" and flow.lost.sum() == 81
    assert flow.lost_mw == pytest.approx(states[0].p_load.sum())
    assert (flow.loading_pct == 0).all()


def test_unsolvable_is_named_never_no_overload(solver: Solver, states: Injections) -> None:
    state = states[0]
    flow = solver.solve(Injections(state.p_load * 40, state.q_load * 40, state.p_sgen))
    assert flow.status == "unsolved" and not flow.converged
    assert np.isnan(flow.loading_pct).all() and np.isnan(flow.vm_pu).all()


def test_variants_mix_states_and_outages(solver: Solver, states: Injections) -> None:
    variants = [(states[3], frozenset({"L2"})), (states[7], frozenset()), (states[3], frozenset({"L2", "L30", "T1"}))]
    many = solver.solve_variants(variants)
    for i, (state, out) in enumerate(variants):
        assert np.allclose(many.loading_pct[i], solver.solve(state, out).loading_pct, rtol=1e-8)


def test_slack_voltage_is_obeyed(grid: Grid, solver: Solver, states: Injections) -> None:
    flow = solver.solve_many(states)
    assert np.allclose(flow.vm_pu[:, grid.slack], states.slack_vm_pu)


def test_bad_injections_are_refused(solver: Solver, states: Injections) -> None:
    with pytest.raises(UserError, match="p_load has shape"):
        solver.solve(Injections(states[0].p_load[:-1], states[0].q_load, states[0].p_sgen))
    with pytest.raises(UserError, match="not finite"):
        solver.solve(Injections(states[0].p_load * np.nan, states[0].q_load, states[0].p_sgen))
    assert solver.estimate(Injections(states[0].p_load * np.nan, states[0].q_load, states[0].p_sgen)).converged


def test_solver_pickles_and_solves_at_least_1000_flows_a_second(solver: Solver, states: Injections) -> None:
    again = pickle.loads(pickle.dumps(solver))
    again.contingencies(states[0])
    rates = []
    for i in range(10):
        start = time.process_time()
        again.contingencies(states[i])
        rates.append(113 / (time.process_time() - start))
    assert max(rates) > 1_000, f"{max(rates):.0f} flows/s"
