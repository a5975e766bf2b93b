"""What is watched on the grid: expected in calm, and off by what each change does to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sectors.energy.world import recipe
from twinforge.sectors import Streams
from twinforge.sectors.energy import plan, watch
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.watch import Year

HOURS = 72


@pytest.fixture(scope="module")
def year(rated: Grid, settings: Settings) -> Year:
    return Year(rated, settings, recipe())


def off(year: Year, first: int = 240, **changes: object) -> np.ndarray:
    """Readings of the loadings relative to what is expected of them, (hours, n_line), as the noise is."""
    truth = replace(year.truth(first, first + HOURS), **changes)
    raw, expected = year.read(truth, np.random.default_rng(0))
    return (raw[:, : len(year.grid.lines)] - expected) / (expected + watch.FLOOR)


def loaded(year: Year) -> list[int]:
    """Meshed lines by their mean loading, highest first."""
    raw, _ = year.read(year.truth(240, 240 + HOURS), np.random.default_rng(0))
    mean = np.nan_to_num(np.nanmean(raw[:, : len(year.grid.lines)], axis=0))
    meshed = np.isin(year.grid.lines["name"], plan.meshed_lines(year.grid))
    return [int(row) for row in np.argsort(-mean) if meshed[row]]


def test_in_calm_the_estimator_is_off_by_the_noise_alone(year: Year) -> None:
    calm = off(year)
    known = calm[np.isfinite(calm)]
    assert abs(known.mean()) < 0.002 and 0.008 < known.std() < 0.04  # noise of 1 %, and that of the injections
    assert 0.005 < np.isnan(calm).mean() < 0.1  # gaps and planned work


def test_a_bias_shows_on_its_line_alone(year: Year) -> None:
    row = loaded(year)[3]
    moved = off(year, biased=(row, np.full(HOURS, 0.9))) - off(year)
    assert -0.1 < np.nanmean(moved[:, row]) < -0.07  # a tenth of the reading, over the reading and its floor
    assert np.nanmax(np.abs(np.nanmean(np.delete(moved, row, axis=1), axis=0))) < 0.01


def test_a_rebuilt_line_shows_and_its_twin_model_does_not_know(year: Year) -> None:
    row = loaded(year)[3]
    rebuilt = watch._rebuilt(year.grid, row)
    assert rebuilt.lines["rating_ka"][row] == pytest.approx(watch.RATING * year.grid.lines["rating_ka"][row])
    assert (
        year.grid.net.line["x_ohm_per_km"][row] > rebuilt.net.line["x_ohm_per_km"][row]
    )  # the twin's own is untouched
    moved = np.abs(np.nanmean(off(year, solver=Solver(rebuilt)) - off(year), axis=0))
    assert moved.max() > 0.02 and np.median(moved) < 0.01


def test_a_demand_that_takes_more_moves_no_line_from_what_is_expected(year: Year) -> None:
    truth = year.truth(240, 240 + HOURS)
    moved = off(year, injections=watch._anew(truth, 5)) - off(year)
    assert np.nanmax(np.abs(np.nanmean(moved, axis=0))) < 0.01  # the estimator sees the demand too
    more = watch._anew(truth, 5).p_load[:, 5] / truth.injections.p_load[:, 5]
    assert set(np.round(more, 6)) == {1.0, 1.3} and (more > 1).sum() == 3 * 5


def test_every_change_is_ready_to_be_watched(rated: Grid, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"QUARTER": 4, "BEFORE": 20, "AFTER": 10, "RUNS": 2}.items():
        monkeypatch.setattr(watch, name, value)
    made: Streams = watch.watched(rated, settings, recipe())
    width = len(made.names)
    assert made.calm.raw.shape == made.calm.residual.shape == made.held.raw.shape == (96, width)
    assert {name[2] for name in made.names} == {"physical", "abstract"} and len(set(made.names)) == width
    scenarios = [change.scenario for change in made.changes]
    assert scenarios == [
        *["bias, sudden"] * 2, *["bias, slow"] * 2, *["line rebuilt"] * 2, *["demand anew"] * 2, *["nothing"] * 2, *["season"] * 2,
    ]  # fmt: skip
    for change in made.changes:
        assert change.before.raw.shape == (20, width) and change.after.residual.shape == (10, width)
        assert (change.asset, change.quantity) in {name[:2] for name in made.names}
        assert (change.dimension == "") == (change.scenario == "nothing")
    again = watch.watched(rated, settings, recipe())
    np.testing.assert_array_equal(made.changes[0].after.raw, again.changes[0].after.raw)
