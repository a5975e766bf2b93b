"""Energy: a 110 kV grid of 82 busbars, its weather, work, rules and ageing (SimBench `1-HV-urban`, a year of quarter hours).

SimBench's grid is ample and exports, so growing its loads alone stresses nothing: the recipe scales demand, wind and sun
apart and rates the meshed lines by what their outages ask of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import KNOWLEDGE, Dimension
from twinforge.sectors import Episode, State, Streams
from twinforge.sectors.energy import instruments, plan, reports
from twinforge.sectors.energy import questions as asking
from twinforge.sectors.energy.claims import claims
from twinforge.sectors.energy.contingency import Solver
from twinforge.sectors.energy.crosscheck import crosscheck as compare
from twinforge.sectors.energy.days import simulate
from twinforge.sectors.energy.dimensions import keep
from twinforge.sectors.energy.grid import Grid, Injections, load_grid
from twinforge.sectors.energy.instruments import calls
from twinforge.sectors.energy.roll import Stretch, stretches
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.signals import SIGNALS
from twinforge.sectors.energy.standards import CLAUSES
from twinforge.sectors.energy.stress import rerate
from twinforge.sectors.energy.templates import TEMPLATES
from twinforge.sectors.energy.watch import Year, watched
from twinforge.sectors.tools import Tool

NAME = "energy"
RATED = 200  # states that lines are rated by
PLANTS = {"wind": "wind park", "PV": "PV plant", "other": "power plant"}
CHECKED = 24  # flows solved by the trusted simulator too, at every build of the lake


def episode_count(recipe: Any) -> int:
    """Calm and shifted days."""
    return int(recipe.lake.days + recipe.lake.shift_days)


def episodes(recipe: Any) -> Iterator[Episode]:
    """Simulate every day in order of time."""
    settings = _settings(recipe)
    today = _scenario(settings)
    regimes = (plan.CALM, *(plan.SHIFTS if recipe.lake.shift_days else ()))
    grids = {regime: build_grid(settings, today + (regime == plan.FUTURE)) for regime in regimes}
    solvers = {grid.code: Solver(grid) for grid in grids.values()}
    for day in plan.plan_days(recipe, settings, grids):
        yield simulate(day, solvers[grids[day.regime].code], recipe, settings)


def check(recipe: Any) -> dict[str, Any]:
    """Hold lightsim2grid against pandapower on a random sample of base cases and outages (1e-6 relative)."""
    grid = _today(recipe)
    return asdict(compare(grid, _typical(grid, RATED), CHECKED, recipe.seed))


def knowledge(recipe: Any) -> pd.DataFrame:
    """The grid as a graph: what each name is, which busbars a line joins, what a busbar feeds, which clause protects what."""
    grid = _today(recipe)
    rows: list[tuple[str, str, str]] = []
    for kind, table in (
        ("line", grid.lines),
        ("transformer", grid.transformers),
        ("bus", grid.buses),
        ("demand", grid.loads),
    ):
        rows += [(name, "is", kind) for name in table["name"]]
    sgens = grid.sgens["name"], grid.sgens["kind"]
    rows += [(str(name), "is", PLANTS[kind]) for name, kind in zip(*sgens, strict=True)]
    for table, ends in ((grid.lines, ("from_bus", "to_bus")), (grid.transformers, ("hv_bus", "lv_bus"))):
        rows += [(name, "joins", bus) for end in ends for name, bus in zip(table["name"], table[end], strict=True)]
    rows += [
        (bus, "in substation", s)
        for bus, s in zip(grid.buses["name"], grid.buses["substation"], strict=True)
        if s not in ("", "nan", "None")
    ]
    rows += [(bus, "feeds", name) for name, bus in zip(grid.loads["name"], grid.loads["bus"], strict=True)]
    rows += [(name, "feeds", bus) for name, bus in zip(grid.sgens["name"], grid.sgens["bus"], strict=True)]
    rows += [(clause.clause, "is", "clause") for clause in CLAUSES]
    rows += [("C1", "protects", name) for name in grid.buses["name"]]
    rows += [(clause, "protects", name) for clause in ("C2", "C3", "C4") for name in grid.lines["name"]]
    return pd.DataFrame(rows, columns=KNOWLEDGE.names).drop_duplicates(ignore_index=True)


def questions(state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> list[dict[str, Any]]:
    """All questions about one state (see `twinforge.sectors.Sector`)."""
    return asking.questions(state, _grid_of(state, recipe), phrasing, rng)


def ask(state: State, template: str, slots: Mapping[str, str], wording: str, recipe: Any) -> dict[str, Any]:
    """One question in an operator's own wording about a state."""
    return asking.ask(state, _grid_of(state, recipe), template, slots, wording)


def retell(
    row: Mapping[str, Any], state: State, other: State, dimension: Dimension, recipe: Any
) -> dict[str, Any] | None:
    """A question about a state as it stood if one dimension's signals were those of another one."""
    return asking.retell(row, state, other, dimension, _grid_of(state, recipe))


def report(state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> dict[str, Any] | None:
    """A request for a situation report on one line (see `twinforge.sectors.Sector`)."""
    return reports.report(state, _grid_of(state, recipe), phrasing, rng)


def request(state: State, wording: str, recipe: Any) -> dict[str, Any] | None:
    """A request for a situation report in an operator's own words."""
    return reports.request(state, _grid_of(state, recipe), wording)


def tools(recipe: Any) -> tuple[Tool, ...]:
    """The control room's instruments (see `instruments`)."""
    return instruments.tools(lambda state: _grid_of(state, recipe))


def streams(recipe: Any) -> Streams:
    """Line loadings beside the estimator's, demands and wind beside the calendar's; known changes of each (see `watch`)."""
    return watched(_today(recipe), _settings(recipe), recipe)


def rollouts(recipe: Any, count: int, steps: int) -> list[Stretch]:
    """Hours behind the lake's last day, on today's grid without faults (see `roll`)."""
    first = 0 if recipe.lake.start is None else (pd.Timestamp(recipe.lake.start) - plan.FIRST).days
    year = Year(_today(recipe), _settings(recipe), recipe)
    return stretches(year, first + episode_count(recipe), count, steps)


def _settings(recipe: Any) -> Settings:
    return Settings.model_validate(recipe.lake.system)


def _scenario(settings: Settings) -> int:
    return int(settings.network[-4])


def _today(recipe: Any) -> Grid:
    settings = _settings(recipe)
    return build_grid(settings, _scenario(settings))


def _grid_of(state: State, recipe: Any) -> Grid:
    settings = _settings(recipe)
    return build_grid(settings, int(state.values.get(("grid", "scenario"), _scenario(settings))))


@lru_cache(maxsize=4)
def build_grid(settings: Settings, scenario: int) -> Grid:
    """The grid of a SimBench scenario, scaled and rated; the future grid is rated on its own."""
    grid = load_grid(
        f"{settings.network[:-4]}{scenario}-sw", settings.load_scale, settings.generation_scale, settings.reactive_scale
    )
    return rerate(grid, _typical(grid, RATED), settings.rating_quantile)


def _typical(grid: Grid, count: int) -> Injections:
    """States spread over the year: the same for everyone."""
    return grid.injections(np.random.default_rng(0).choice(len(grid.times), count, replace=False))


__all__ = [
    "CLAUSES", "NAME", "SIGNALS", "TEMPLATES", "Settings", "ask", "calls", "check", "claims", "episode_count", "episodes", "keep",
    "knowledge", "questions", "report", "request", "retell", "rollouts", "streams", "tools",
]  # fmt: skip
