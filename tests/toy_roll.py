"""The toy sector's rollouts: hours of the days behind the lake's last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tests.toy_days import Day
from tests.toy_questions import ask
from tests.toy_terms import BY_NAME, TANKS
from twinforge.records import OUTCOME
from twinforge.sectors import State

FIRST, LONGEST = 6, 14  # hour of the day at step 0, and hours that are left behind it


@dataclass(frozen=True)
class Stretch:
    """A day's hours (see `twinforge.sectors.Rollout`); values : what is read at each step."""

    name: str
    start: pd.Timestamp
    truth: np.ndarray
    values: tuple[Mapping[tuple[str, str], float], ...]
    assets: tuple[str, ...] = TANKS

    def read(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        now, change = (np.array([self.values[step][tank, name] for tank in TANKS]) for name in ("level", "change"))
        return now, now - change

    def ask(
        self, step: int, seen: int, now: np.ndarray, before: np.ndarray, simulated: bool = False
    ) -> list[dict[str, Any]]:
        """The levels an hour on; flows stay as they were read last."""
        values = dict(self.values[seen]) | {("clock", "hour"): float(FIRST + step)}
        for i, tank in enumerate(TANKS):
            rise = values[tank, "1 h forecast"] - values[tank, "level"]
            level = values[tank, "level"] + rise * (step - seen) if simulated else now[i]
            values |= {(tank, "level"): now[i], (tank, "change"): now[i] - before[i]}
            values |= {(tank, f"{hours} h forecast"): level + hours * rise for hours in (1, 3)}
        state = State(self.name, self.start + pd.Timedelta(hours=step), values, pd.DataFrame(columns=OUTCOME.names))
        wording = BY_NAME["later-level"].phrasings[0]
        slots = [{"tank": tank, "hours": "1"} for tank in TANKS]
        return [ask(state, "later-level", each, wording.format(**each), None) for each in slots]


def rollouts(recipe: Any, count: int, steps: int) -> list[Stretch]:
    """One stretch a day behind the lake's last; none that is longer than a day."""
    first = recipe.lake.days + recipe.lake.shift_days
    return [_stretch(recipe, first + i, steps) for i in range(count)] if steps <= LONGEST else []


def _stretch(recipe: Any, number: int, steps: int) -> Stretch:
    day = Day(recipe, number)
    runs = day.runs()
    rows = day.observations(runs)
    rows["value"] = rows.groupby(["asset", "quantity"])["value"].transform(lambda values: values.ffill().bfill())
    start, values = day.start + pd.Timedelta(hours=FIRST), []
    for step in range(steps + 1):
        now = rows[rows["time"] == start + pd.Timedelta(hours=step)]
        values.append(dict(zip(zip(now["asset"], now["quantity"], strict=True), now["value"], strict=True)))
    return Stretch(day.name, start, np.stack([runs[FIRST + step].level[0] for step in range(steps + 1)]), tuple(values))
