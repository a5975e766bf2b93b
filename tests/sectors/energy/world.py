"""What the tests of the energy sector share: a recipe slice, states out of an episode, and truth solved again from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace
from typing import Any

import pandas as pd

from twinforge.sectors import Episode, State
from twinforge.sectors.energy.contingency import Flow, Solver
from twinforge.sectors.energy.grid import Injections
from twinforge.sectors.energy.plan import Day
from twinforge.sectors.energy.settings import Settings

NO_FAULT, MISREPORTED, STUCK = 0, 3, 2


def recipe(
    states: int = 8, start: date | None = None, system: dict[str, Any] | None = None, **lake: Any
) -> SimpleNamespace:
    """A slice as the lake's stage gets it, with more faults and gaps than life has."""
    faults = {"bias_rate": 0.25, "stuck_rate": 0.25, "misreport_rate": 0.25, "gap_rate": 0.03, "noise": 0.01}
    section = {"start": start, "days": 320, "shift_days": 46, **faults, "system": system or {}, **lake}
    return SimpleNamespace(seed=17, lake=SimpleNamespace(**section), budget=SimpleNamespace(states_per_day=states))


def states_of(episode: Episode) -> list[State]:
    """The states of an episode as curation makes them: a missing reading is absent."""
    seen = episode.observations.dropna(subset="value")
    found = []
    for time, outcomes in episode.outcomes.groupby("time"):
        rows = seen[seen["time"] == time]
        values = dict(zip(zip(rows["asset"], rows["quantity"], strict=True), rows["value"], strict=True))
        found.append(State(str(episode.row["episode"]), time, values, outcomes.reset_index(drop=True)))
    return found


@dataclass(frozen=True)
class Fresh:
    """One state's truth, worked out again from the profiles, the plan and the recorded fault."""

    day: Day
    solver: Solver
    state: State

    @property
    def step(self) -> int:
        return int((self.state.time - self.day.start) / pd.Timedelta(minutes=15))

    @property
    def fault(self) -> tuple[int, str]:
        """Kind, and the line it is on ("" for none)."""
        rows = self.state.outcomes[self.state.outcomes["kind"] == "fault"]
        lines = [asset for asset in rows["asset"] if asset != "grid"]
        return int(rows["value"].iloc[0]), lines[0] if lines else ""

    def injections(self, hours: float = 0) -> Injections:
        s = self.solver.grid.injections(self.day.number * 96 + self.step + int(4 * hours))
        return Injections(s.p_load, s.q_load, s.p_sgen, self.day.slack_vm_pu)

    def out(self, hours: float = 0) -> frozenset[str]:
        """Lines open in truth: for good, for the work of that hour, and the one nobody reports."""
        at = self.step / 4 + hours
        work = {line for line, (start, end) in self.day.work.items() if start <= at < end}
        kind, line = self.fault
        return frozenset({*self.day.closed_for_good, *work, *([line] if kind == 3 else [])})

    def solve(self, hours: float = 0, outage: str = "") -> Flow:
        return self.solver.solve(self.injections(hours), self.out(hours) | ({outage} if outage else set()))

    def of(self, kind: str) -> pd.DataFrame:
        return self.state.outcomes[self.state.outcomes["kind"] == kind]


def rating(settings: Settings, month: int, hour: float, wind_share: float) -> float:
    """The rating in force over the nominal one, from the settings' description."""
    factor = {12: 1.08, 1: 1.08, 2: 1.08, 6: 0.95, 7: 0.95, 8: 0.95}.get(month, 1.0)
    assert (settings.winter_rating, settings.summer_rating) == (1.08, 0.95)
    factor *= settings.night_rating if not 6 <= hour < 20 else 1.0
    return factor * (settings.wind_rating if wind_share >= 0.5 else 1.0)


def faulty(fresh: list[Fresh], kind: int) -> list[Fresh]:
    found = [f for f in fresh if f.fault[0] == kind]
    assert len(found) >= 4
    return found


def factor(f: Fresh, settings: Settings, hours: float = 0) -> float:
    """Rating in force, from the profiles and the settings."""
    wind = f.solver.grid.sgens["kind"] == "wind"
    share = f.injections(hours).p_sgen[wind].sum() / f.solver.grid.sgens["rating_mw"][wind].sum()
    return rating(settings, f.day.start.month, f.step / 4 + hours, float(share))
