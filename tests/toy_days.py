"""The toy sector's days: simulated by `toy_water`, read by faulty sensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tests import toy_water as water
from tests.toy_terms import ACTIONS, CAUSES, FAULTS, HOURS, PUMPS, START, TANKS, UNITS, Settings
from twinforge.records import OBSERVATION, OUTCOME
from twinforge.sectors import Episode


class Day:
    """One simulated day with its faulty sensors."""

    def __init__(self, recipe: Any, day: int) -> None:
        self.lake, self.day = recipe.lake, day
        self.settings = Settings(**dict(recipe.lake.system))
        self.rng = np.random.default_rng([recipe.seed, day])
        self.start = pd.Timestamp(recipe.lake.start or START) + pd.Timedelta(days=day)
        self.change = pd.Timestamp(recipe.lake.start or START) + pd.Timedelta(days=recipe.lake.days, hours=12)
        self.shifted = day >= recipe.lake.days
        self.name = f"toy-{self.start:%Y-%m-%d}"
        self.limit = float(self.rng.choice([2.6, 3.4]))
        self.age = self.rng.uniform(0, 3, 2).round(1)
        rates = [self.lake.bias_rate, self.lake.stuck_rate, self.lake.misreport_rate, self.settings.clog_rate]
        self.fault = int(self.rng.choice(5, p=[1 - sum(rates), *rates]))
        self.onset = int(self.rng.integers(HOURS[0], 12))
        spread = np.linspace(HOURS[1], HOURS[-4], getattr(recipe.budget, "states_per_day", 1)).round().astype(int)
        self.states = sorted(set(spread.tolist()))

    def broken(self, hour: int) -> int:
        return self.fault if hour >= self.onset else 0

    def runs(self) -> dict[int, water.Runs]:
        """The true state at every hour, pumps switched at random but with regard to the level."""
        one, rng = np.ones(1), self.rng
        runs = water.Runs(
            rng.uniform(0.5, 3.5, (1, 2)),
            np.ones((1, 2)),
            one,
            one,
            one * rng.uniform(5, 20),
            one * rng.uniform(30, 70),
        )
        found = {}
        for hour in range(HOURS[0] - 1, HOURS[-1] + 1):
            now = self.start + pd.Timedelta(hours=hour)
            pumps = (rng.uniform(0.2, 4.0, (1, 2)) > runs.level[:, :1]).astype(float)
            opening = one * (0.4 if self.broken(hour) == 4 else 1.0)
            capacity = one * (self.settings.shift_capacity if self.shifted and now >= self.change else 1.0)
            found[hour] = replace(runs, pumps=pumps, opening=opening, capacity=capacity)
            runs = water.advance(found[hour], hour, 1)
        return found

    def episode(self) -> Episode:
        runs = self.runs()
        row = {
            "episode": self.name, "start": self.start + pd.Timedelta(hours=HOURS[0]),
            "end": self.start + pd.Timedelta(hours=HOURS[-1]), "regime": "weak pumps" if self.shifted else "calm",
            "change": self.change if self.shifted else pd.NaT,
            "note": json.dumps({"fault": FAULTS[self.fault], "onset_h": self.onset}),
        }  # fmt: skip
        observed = self.observations(runs)
        outcomes = [row for hour in self.states for row in self.outcomes(runs, hour)]
        return Episode(row, observed, pd.DataFrame(outcomes, columns=OUTCOME.names))

    def observations(self, runs: dict[int, water.Runs]) -> pd.DataFrame:
        rows: list[tuple[Any, ...]] = []
        before = self.read_levels(runs[HOURS[0] - 1], HOURS[0] - 1, None)
        for hour in HOURS:
            now = self.start + pd.Timedelta(hours=hour)
            level = self.read_levels(runs[hour], hour, before)
            blind: set[str] = set()  # tanks without a level: nothing is derived from it either
            for asset, quantity, value in self.read(runs[hour], hour, level, before):
                gone = UNITS[quantity].dimension == "physical" and self.rng.random() < self.lake.gap_rate
                gone |= asset in blind and quantity in ("change", "1 h forecast", "3 h forecast")
                if gone and quantity == "level":
                    blind.add(asset)
                signal = UNITS[quantity]
                rows.append((self.name, now, asset, quantity, np.nan if gone else value, signal.unit, signal.dimension, "missing" if gone else "good"))  # fmt: skip
            before = level
        return pd.DataFrame(rows, columns=OBSERVATION.names)

    def noisy(self, value: float) -> float:
        return round(float(value) * (1 + self.lake.noise * self.rng.standard_normal()), 2)

    def read_levels(self, runs: water.Runs, hour: int, before: list[float] | None) -> list[float]:
        level = [self.noisy(value) for value in runs.level[0]]
        if self.broken(hour) == 1:
            level[0] = round(level[0] + 0.7, 2)
        if self.broken(hour) == 2 and before is not None:
            level[1] = before[1]
        return level

    def read(
        self, runs: water.Runs, hour: int, level: list[float], before: list[float]
    ) -> Iterator[tuple[str, str, float]]:
        flow = {asset: self.noisy(value[0]) for asset, value in water.flows(runs, hour).items()}
        on = [int(value) for value in runs.pumps[0]]
        if self.broken(hour) == 3:
            on[1] = 1 - on[1]
        for i, asset in enumerate(TANKS):
            yield asset, "level", level[i]
            yield asset, "change", round(level[i] - before[i], 2)
        for asset, value in flow.items():
            yield asset, "flow", value
        for i, asset in enumerate(PUMPS):
            yield asset, "status", on[i]
            yield asset, "age", self.age[i]
        yield "valve V1", "status", 1
        yield "clock", "hour", hour
        yield "tank B", "limit", self.limit
        rise = water.net({asset: np.array([value]) for asset, value in flow.items()})[0]
        for i, asset in enumerate(TANKS):
            yield asset, "1 h forecast", round(level[i] + rise[i], 2)
            yield asset, "3 h forecast", round(level[i] + 3 * rise[i], 2)
        for asset in CAUSES:
            lost = flow[asset] / water.AREA[1] if asset == "valve V1" else 0.3 * flow[asset] / water.AREA[1]
            yield asset, "loss estimate", round(level[1] + 2 * (rise[1] - lost), 2)

    def outcomes(self, runs: dict[int, water.Runs], hour: int) -> Iterator[tuple[Any, ...]]:
        now, true = self.start + pd.Timedelta(hours=hour), runs[hour]

        def row(kind: str, cause: str, horizon: float, asset: str, quantity: str, value: float) -> tuple[Any, ...]:
            return (self.name, now, kind, cause, horizon, asset, quantity, float(value), "solved")

        for ahead in (0, 1, 3):
            for i, asset in enumerate(TANKS):
                yield row("later", "", ahead, asset, "level", runs[hour + ahead].level[0, i])
        for i, asset in enumerate(PUMPS):
            yield row("later", "", 0, asset, "status", true.pumps[0, i])
            hazard = ((self.age[i] + 1) / 2.2) ** 2.5 - (self.age[i] / 2.2) ** 2.5
            yield row("failure", "", 8760, asset, "failed", self.rng.random() < 1 - math.exp(-hazard))
        yield row("fault", FAULTS[self.broken(hour)], 0, "", "index", self.broken(hour))
        kinds = [("outage", cause) for cause in CAUSES] + [("action", action) for action in ACTIONS]
        many = true.take(np.zeros(len(kinds), int))
        pumps, opening = many.pumps.copy(), many.opening.copy()
        for i, (_, cause) in enumerate(kinds):
            if "valve" in cause:
                opening[i] = 0.0
            elif "pump" in cause:
                pumps[i, PUMPS.index(cause[-7:])] = float(cause.startswith("start"))
        level = water.advance(replace(many, pumps=pumps, opening=opening), hour, 2).level
        for i, (kind, cause) in enumerate(kinds):
            yield row(kind, cause, 2, "tank B", "level", level[i, 1])


# ---- questions ----
