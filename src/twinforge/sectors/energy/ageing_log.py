"""A day's excerpt of the maintenance log: some assets, what inspections found, and which of them fail within a year.

Every episode draws the life of its fleet anew, so no asset's fate reaches from one episode into another's split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.sectors.energy import ageing
from twinforge.sectors.energy.ageing import FINDINGS, Event, Fleet
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.settings import Settings

ASSETS = 12
YEAR_DAYS = 366


@dataclass(frozen=True)
class Excerpt:
    """Assets of one episode with their log up to day 0, and the truth of the year after it."""

    fleet: Fleet
    events: tuple[Event, ...]

    def text(self, day: pd.Timestamp) -> list[str]:
        """The log in words, up to the episode's day."""
        return ageing.log_text((e for e in self.events if e.day <= 0), self.fleet, day.date())


def draw(grid: Grid, settings: Settings, rng: np.random.Generator) -> Excerpt:
    """Every transformer and some lines, the long ones more often, with a life simulated for a year."""
    fleet = ageing.draw_fleet(grid, rng)
    n, lines = len(fleet), len(grid.lines)
    weight = grid.lines["length_km"].to_numpy() / grid.lines["length_km"].sum()
    chosen = np.concatenate([rng.choice(lines, ASSETS - (n - lines), replace=False, p=weight), np.arange(lines, n)])
    part = Fleet(
        tuple(fleet.names[i] for i in chosen), tuple(fleet.kinds[i] for i in chosen), fleet.age[chosen], fleet.expected_life[chosen],
        fleet.length_km[chosen], fleet.condition[chosen],
    )  # fmt: skip
    return Excerpt(part, ageing.simulate(part, YEAR_DAYS, rng, settings.stress))


def write(excerpt: Excerpt, observe: Callable[..., None], follow: Callable[..., None]) -> None:
    """Hand the log's figures to `observe(assets, quantity, values, unit, dimension)`, the year's failures to `follow(...)`."""
    fleet = excerpt.fleet
    observe(fleet.names, "age", fleet.age, "y", "abstract")
    observe(fleet.names, "expected_life", np.round(fleet.expected_life), "y", "abstract")
    observe(fleet.names, "length", fleet.length_km, "km", "abstract")
    for (asset, finding), severity in ageing.findings(excerpt.events, 0).items():
        observe([asset], f"finding {finding}", [severity], "1", "abstract")
    failed = ageing.failed(excerpt.events, 0)
    truth: list[Any] = [float(name in failed) for name in fleet.names]
    follow("failure", np.array(fleet.names, object), fleet.names, "failed", truth, hours=8760.0)


__all__ = ["FINDINGS", "Excerpt", "draw", "write"]
