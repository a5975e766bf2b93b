"""The grid as data: what is fused, what stays named, what cuts a part off."""

import pickle

import networkx as nx
import numpy as np
import pytest

from twinforge.errors import UserError
from twinforge.sectors.energy.grid import CODES, Grid, islands, load_grid, lost_buses, single_outages


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid()


def test_fused_grid_has_the_published_size(grid: Grid) -> None:
    assert (len(grid.buses), len(grid.lines), len(grid.transformers)) == (82, 113, 3)
    assert (len(grid.loads), len(grid.sgens), len(grid.times)) == (79, 98, 35_136)
    assert grid.p_load.shape == (35_136, 79) and np.isfinite(grid.p_sgen).all()
    assert grid.buses["vn_kv"].isin([110.0, 220.0]).all() and (grid.lines["rating_ka"] > 0).all()
    assert grid.branches[0] == "L1" and grid.branches[-1] == "T3"
    assert set(grid.sgens["name"].str[0]) == {"W", "V"} and grid.sgens["name"].is_unique


def test_scenarios_share_names_and_ends(grid: Grid) -> None:
    later = load_grid(CODES[1])
    assert len(later.lines) == 131
    columns = ["name", "from_bus", "to_bus", "length_km"]
    assert later.lines[columns].iloc[:113].equals(grid.lines[columns])
    assert later.sgens["name"].iloc[:98].tolist() == grid.sgens["name"].tolist()
    assert later.loads["name"].iloc[-1].startswith("S")


def test_scaling_multiplies_profiles_and_leaves_the_original(grid: Grid) -> None:
    scaled = grid.scaled(load=3, generation=0.5, reactive=4)
    assert np.allclose(scaled.p_load, 3 * grid.p_load) and np.allclose(scaled.q_load, 4 * grid.q_load)
    assert np.allclose(scaled.p_sgen, 0.5 * grid.p_sgen)
    assert scaled.sgens["rating_mw"].sum() == pytest.approx(0.5 * grid.sgens["rating_mw"].sum())


def test_lost_buses_agree_with_networkx_on_every_single_outage(grid: Grid) -> None:
    rows = single_outages(grid)
    lost = lost_buses(grid, rows)
    start, end = grid.ends
    for row, ours in zip(rows, lost, strict=True):
        graph = nx.MultiGraph(zip(start[~row], end[~row], strict=True))
        graph.add_nodes_from(range(len(grid.buses)))
        fed = nx.node_connected_component(graph, grid.slack)
        assert set(np.flatnonzero(~ours)) == fed
    assert 20 < lost.any(1).sum() < 60


def test_islands_by_name_and_all_transformers(grid: Grid) -> None:
    assert islands(grid) == frozenset()
    assert len(islands(grid, {"T1", "T2", "T3"})) == 81


def test_planned_outage_stays_out_in_every_row(grid: Grid) -> None:
    rows = single_outages(grid, {"L7"})
    assert rows[:, 6].all() and rows.sum() == 2 * 113 - 1


def test_grid_travels_by_pickle(grid: Grid) -> None:
    again = pickle.loads(pickle.dumps(grid))
    assert again.lines.equals(grid.lines) and again.branches == grid.branches


def test_unknown_names_are_refused(grid: Grid) -> None:
    with pytest.raises(UserError, match="L999"):
        grid.mask({"L999"})
    with pytest.raises(UserError, match="choose one of"):
        load_grid("1-HV-mixed--0-sw")
