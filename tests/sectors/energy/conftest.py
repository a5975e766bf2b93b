"""The rated grid, one solver and eight simulated days, built once for all tests of the sector."""

from __future__ import annotations

import pytest

from tests.sectors.energy.world import Fresh, recipe, states_of
from twinforge.sectors import Episode, State, energy
from twinforge.sectors.energy import plan
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.days import simulate
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.plan import Day, plan_days
from twinforge.sectors.energy.settings import Settings

Simulated = list[tuple[Day, Episode]]


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def rated(settings: Settings) -> Grid:
    return energy.build_grid(settings, 0)


@pytest.fixture(scope="session")
def solver(rated: Grid) -> Solver:
    return Solver(rated)


@pytest.fixture(scope="session")
def planned(rated: Grid, settings: Settings) -> list[Day]:
    """A plan for the whole year, all regimes on today's grid."""
    return list(plan_days(recipe(), settings, dict.fromkeys((plan.CALM, *plan.SHIFTS), rated)))


@pytest.fixture(scope="session")
def simulated(planned: list[Day], solver: Solver, settings: Settings) -> Simulated:
    """Eight days of eight states, spread over the calm period."""
    return [(day, simulate(day, solver, recipe(), settings)) for day in planned[12:320:40]]


@pytest.fixture(scope="session")
def states(simulated: Simulated) -> list[State]:
    return [state for _, episode in simulated for state in states_of(episode)]


@pytest.fixture(scope="session")
def fresh(simulated: Simulated, solver: Solver) -> list[Fresh]:
    """The same states, each with what is needed to solve its truth again."""
    return [Fresh(day, solver, state) for day, episode in simulated for state in states_of(episode)]
