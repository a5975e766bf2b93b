"""Re-rating: as tight as asked for, by a monotone knob."""

import numpy as np
import pytest

from twinforge.errors import UserError
from twinforge.sectors.energy.grid import Grid, Injections, load_grid
from twinforge.sectors.energy.stress import rerate, spurs, tightness


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid(load_scale=3, generation_scale=1.2, reactive_scale=4)


@pytest.fixture(scope="module")
def halves(grid: Grid) -> tuple[Injections, Injections]:
    steps = np.random.default_rng(3).choice(35_136, 120, replace=False)
    return grid.injections(steps[:60]), grid.injections(steps[60:])


def test_ten_to_thirty_percent_of_outages_newly_overload_a_line(
    grid: Grid, halves: tuple[Injections, Injections]
) -> None:
    rated = rerate(grid, halves[0])
    measured = tightness(rated, halves[1])
    assert 0.10 < measured.newly_overloading < 0.30
    assert measured.base_overloaded < 0.25 and measured.states_with_any > 0.5
    assert measured.changed > 0.5 and measured.lines > 40 and measured.unsolved == 0


def test_a_higher_quantile_gives_a_looser_grid(grid: Grid, halves: tuple[Injections, Injections]) -> None:
    tight, loose = (rerate(grid, halves[0], quantile=q).lines["rating_ka"] for q in (0.3, 0.9))
    assert (tight <= loose).all() and (tight < loose).any()
    assert (tight[spurs(grid)] == loose[spurs(grid)]).all()


def test_bad_settings_are_refused(grid: Grid, halves: tuple[Injections, Injections]) -> None:
    with pytest.raises(UserError, match="quantile = 1.5"):
        rerate(grid, halves[0], quantile=1.5)
    with pytest.raises(UserError, match="at least 20 states"):
        rerate(grid, halves[0][:3])
