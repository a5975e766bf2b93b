"""What is decided about a day before it starts: its regime, work, listed outages, reliefs, ratings. All of it is abstract data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.errors import UserError
from twinforge.sectors.energy.grid import Grid, islands
from twinforge.sectors.energy.settings import Settings
from twinforge.sectors.energy.stress import spurs

CALM, LATE, REBUILT, BIASED, FUTURE = "calm", "late", "rebuilt", "biased", "future"
SHIFTS = (LATE, REBUILT, BIASED, FUTURE)  # in order of time, of equal length
FIRST, YEAR = pd.Timestamp(2016, 1, 1), 366  # days of SimBench's profiles, those of 2016
STEPS = 96  # quarter hours a day
WORK_BEGINS, WORK_LASTS = (6, 13), (5, 11)  # hours, the end not included


@dataclass(frozen=True)
class Day:
    """One episode's plan.

    number : day of the profiles' year, 0-365. steps : the quarter hours (0-95) at which questions are asked, ascending.
    work : line -> (from, to), hours. closed_for_good : lines that a rebuilt grid no longer has.
    """

    name: str
    number: int
    regime: str
    change: pd.Timestamp | None
    steps: tuple[int, ...]
    listed: tuple[str, ...]
    work: dict[str, tuple[float, float]]
    relief: bool
    closed_for_good: tuple[str, ...]
    slack_vm_pu: float

    @property
    def start(self) -> pd.Timestamp:
        return FIRST + pd.Timedelta(days=self.number)

    def out(self, hour: float) -> frozenset[str]:
        """Lines that are open on purpose at an hour of this day."""
        return frozenset(self.closed_for_good) | {n for n, (a, b) in self.work.items() if a <= hour < b}


def regimes(days: int, shift_days: int, first: int = 0) -> list[tuple[int, str, int]]:
    """(day of the year, regime, day of its change point) of every episode, in order of time.

    The calm period starts on day `first`. The shifted regimes follow it, `shift_days` in equal parts; the change point is
    the first day of each, -1 in the calm period.

    Raises
    ------
    UserError
        The profiles' year is shorter than that.
    """
    end = first + days + shift_days
    if not 0 <= first < end <= YEAR:
        raise UserError(
            f"lake.start, lake.days and lake.shift_days ask for days {first} to {end - 1} of SimBench's year, which has "
            f"days 0 (2016-01-01) to {YEAR - 1}: start earlier, or simulate fewer days"
        )
    plan = [(day, CALM, -1) for day in range(first, first + days)]
    for part, regime in zip(np.array_split(np.arange(first + days, end), len(SHIFTS)), SHIFTS, strict=True):
        plan += [(int(day), regime, int(part[0])) for day in part]
    return plan


def plan_days(recipe: Any, settings: Settings, grids: dict[str, Grid]) -> Iterator[Day]:
    """Every day's plan, drawn from (seed, day) alone. `grids`: regime -> the grid that it runs on."""
    first = 0 if recipe.lake.start is None else (pd.Timestamp(recipe.lake.start) - FIRST).days
    for number, regime, change in regimes(recipe.lake.days, recipe.lake.shift_days, first):
        rng = np.random.default_rng((recipe.seed, number))
        grid = grids[regime]
        rebuilt = _rebuilt(grid, recipe.seed) if regime == REBUILT else ()
        meshed = [line for line in meshed_lines(grid) if line not in rebuilt]
        count = (
            settings.listed + 1 if len(meshed) > settings.listed else 0
        )  # no mesh: no list, and work would cut someone off
        picked = [str(n) for n in rng.choice(meshed, count, replace=False)]
        begin = float(rng.integers(*WORK_BEGINS))
        work = (
            {picked[-1]: (begin, begin + float(rng.integers(*WORK_LASTS)))}
            if picked and rng.random() < settings.work_rate
            else {}
        )
        if work and rebuilt and islands(grid, frozenset((*rebuilt, *work))):
            work = {}
        yield Day(
            f"{FIRST + pd.Timedelta(days=number):%Y-%m-%d}", number, regime, None if change < 0 else FIRST + pd.Timedelta(days=change),
            _steps(recipe.budget.states_per_day, rng), tuple(sorted(picked[:-1], key=lambda n: int(n[1:]))), work,
            bool(rng.random() < settings.relief_rate), rebuilt, _slack(settings, rng),
        )  # fmt: skip


def meshed_lines(grid: Grid) -> list[str]:
    """Lines whose single outage leaves every busbar supplied."""
    return [str(line) for line in grid.lines["name"][~spurs(grid)]]


def rating_factor(settings: Settings, month: int, hour: float, wind_regime: int) -> float:
    """Rating in force over the nominal one: colder air and wind cool a line."""
    season = settings.summer_rating if month in (6, 7, 8) else settings.winter_rating if month in (12, 1, 2) else 1.0
    night = settings.night_rating if hour >= 20 or hour < 6 else 1.0
    return season * night * (settings.wind_rating if wind_regime == 2 else 1.0)


def wind_regime(wind_mw: float, installed_mw: float) -> int:
    """0 weak, 1 fresh, 2 strong: by the share of the installed wind power that is fed in."""
    return int(np.searchsorted([0.15, 0.5], wind_mw / max(installed_mw, 1e-9)))


def _steps(count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """One quarter hour in each of `count` equal parts of 1:00 to 20:00, so that an hour ago and 4 h on are the same day."""
    edges = np.linspace(4, 80, count + 1).astype(int)
    return tuple(int(rng.integers(a, max(a + 1, b))) for a, b in zip(edges, edges[1:], strict=False))


def _slack(settings: Settings, rng: np.random.Generator) -> float:
    """The voltage that the grid above holds on a day, per unit."""
    mean = settings.sag_mean if rng.random() < settings.sag_rate else settings.slack_mean
    return float(rng.normal(mean, settings.slack_spread))


def _rebuilt(grid: Grid, seed: int) -> tuple[str, ...]:
    """Two meshed lines that the rebuilt grid lacks; the same for the whole regime, and no busbar is left without supply."""
    rng, lines = np.random.default_rng((seed, 10**6)), meshed_lines(grid)
    if len(lines) < 2:
        raise UserError(
            f"grid {grid.code}: has no mesh, so that nothing can be rebuilt in a shifted regime; write lake.shift_days: 0"
        )
    while True:
        pair = tuple(str(n) for n in rng.choice(lines, 2, replace=False))
        if not islands(grid, frozenset(pair)):
            return pair
