"""The other grids: a low-voltage tree, and the 110 kV grid with a medium-voltage one below it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sectors.energy.world import recipe, states_of
from twinforge.errors import UserError
from twinforge.sectors import State, energy
from twinforge.sectors.energy import plan
from twinforge.sectors.energy.crosscheck import crosscheck
from twinforge.sectors.energy.grid import Grid, load_grid, lost_buses, single_outages
from twinforge.sectors.energy.questions import questions
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.stress import spurs

TREE, LARGE = "1-LV-rural1--0-sw", "1-HVMV-urban-2.203-0-sw"


@pytest.fixture(scope="module")
def tree() -> Grid:
    return energy.build_grid(Settings(network=TREE), 0)


@pytest.fixture(scope="module")
def states() -> list[State]:
    slice_ = recipe(2, system={"network": TREE}, days=3, shift_days=0)
    return [state for episode in energy.episodes(slice_) for state in states_of(episode)]


def test_a_tree_is_read_whole_and_speaks_of_kilowatts(tree: Grid) -> None:
    assert (len(tree.buses), len(tree.lines), len(tree.transformers)) == (15, 13, 1)
    assert spurs(tree).all() and not lost_buses(tree, tree.mask()).any()
    assert tree.unit == ("kW", 1000.0) and tree.unit_mw == pytest.approx(0.4 / 110)
    report = crosscheck(tree, tree.injections(np.arange(0, 35_000, 3_500)), 8)
    assert (report.base, report.outages) == (3, 0) and report.islanding == 3
    assert report.worst_loading < 1e-6 and report.worst_voltage < 1e-6


def test_a_tree_has_no_list_no_work_and_no_remedy_and_the_other_skills(tree: Grid, states: list[State]) -> None:
    assert len(states) == 6
    for state in states:
        rows = questions(state, tree, "any", np.random.default_rng(1))
        assert {row["asked"] for row in rows} >= {"what-if", "forecast", "diagnosis", "standard", "dependency"}
        assert (
            not [row for row in rows if row["asked"] == "recommend"]
            and not state.column("listed")
            and not state.column("planned_from")
        )
        power = next(row["context"] for row in rows).partition("kW demand ")[2]
        assert 1 < float(power.split()[0]) < 500
        gap = [state.get(line, "loading") - state.get(line, "residual") for line in state.column("residual")]
        assert np.isfinite(gap).all()


def test_noise_and_worth_go_by_the_voltage(tree: Grid, states: list[State]) -> None:
    for state in states:
        estimated = [
            abs(v)
            for line, v in state.column("residual").items()
            if state.get(line, "loading") == state.get(line, "loading")
        ]
        assert np.median(estimated) < 2  # a floor of a megawatt would drown flows of kilowatts
        flows = np.array([abs(v) for v in state.column("flow").values()])
        assert 0 < flows.max() < 1


def test_a_lower_busbar_has_its_own_voltage_limit(states: list[State]) -> None:
    nominal = states[0].column("nominal")
    assert set(nominal.values()) == {0.4, 20.0} and len(nominal) == 15
    broken = {}
    for volts in (1.09, 1.11):
        values = {**states[0].values, **{(bus, "voltage"): volts for bus in nominal}}
        broken[volts] = energy.CLAUSES[0].predicate(replace(states[0], values=values))
        high = {key: value for key, value in values.items() if key[1] != "nominal"}
        assert not energy.CLAUSES[0].predicate(replace(states[0], values=high))  # at 110 kV both are within the limits
    assert broken == {1.09: False, 1.11: True}


def test_a_tree_refuses_a_regime_in_which_something_is_rebuilt() -> None:
    with pytest.raises(UserError, match="has no mesh.*lake.shift_days: 0"):
        list(energy.episodes(recipe(1, system={"network": TREE}, days=1, shift_days=4)))


def test_the_large_grid_holds_the_middle_one_and_agrees_with_pandapower() -> None:
    large, middle = load_grid(LARGE, 3, 1.2, 4), load_grid(load_scale=3, generation_scale=1.2, reactive_scale=4)
    assert (len(large.buses), len(large.lines), len(large.transformers)) == (196, 226, 5)
    assert set(large.sgens["kind"]) == {"wind", "PV", "other"} and set(large.buses["vn_kv"]) == {20.0, 110.0, 220.0}
    assert (~spurs(large)).sum() == (~spurs(middle)).sum() == 77  # the mesh is the same; what is below runs open
    assert large.unit == ("MW", 1.0) and 0.1 < large.unit_mw < 1 == middle.unit_mw
    report = crosscheck(large, large.injections(np.arange(0, 35_000, 3_500)), 6)
    assert report.base == report.outages == report.islanding == 2 and report.worst_loading < 1e-6


def test_a_mesh_keeps_its_list_and_its_work() -> None:
    grid = load_grid(LARGE)
    days = plan.plan_days(recipe(1, days=8, shift_days=0), Settings(network=LARGE), {plan.CALM: grid})
    assert all(len(day.listed) == 3 and set(day.listed) <= set(plan.meshed_lines(grid)) for day in days)
    assert single_outages(grid).shape == (226, 231)
