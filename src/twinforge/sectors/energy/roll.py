"""Hours of the grid over which a twin is fed its own answers: what its state reads without a sensor, and what is asked of it.

The hours lie behind the lake's last day. Between two readings of the sensors nothing of what happens is known. The calendar
and the work are planned. Demand, wind and sun are the last measured ones, moved as they moved between these times of day in
the seven days before; wind class, rating, flows, voltages and forecasts follow from them by the estimator. The loadings of
the lines that are followed are what the twin said of them; what is computed of these lines is the estimator's where the twin
has a simulator to hold on to, else it starts from what the twin said: that, and the change that the estimator expects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import OUTCOME
from twinforge.sectors import State
from twinforge.sectors.energy import plan, sensors
from twinforge.sectors.energy import questions as asking
from twinforge.sectors.energy.contingency import Flow
from twinforge.sectors.energy.days import observe, outage_pairs
from twinforge.sectors.energy.grid import Injections
from twinforge.sectors.energy.moments import HORIZONS, HOUR, Moment, derate, outage_estimate, seasonal
from twinforge.sectors.energy.sensors import Readings
from twinforge.sectors.energy.tables import Table
from twinforge.sectors.energy.watch import Year

FOLLOWED = 3  # lines: from the fullest to one that carries little


@dataclass(frozen=True)
class Scene:
    """What is held true of an hour. All loadings in percent of the rating held to be in force."""

    injections: Injections
    open_lines: frozenset[str]
    wind: int
    factor: float
    expected: Flow
    forecast: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Stretch:
    """Some consecutive hours (see `twinforge.sectors.Rollout`).

    first : hour of the year at step 0. measured : what the sensors say at each step, sound ones with noise and gaps.
    winds : wind class at each step, as it really is.
    """

    year: Year
    first: int
    name: str
    start: pd.Timestamp
    assets: tuple[str, ...]
    truth: np.ndarray
    measured: tuple[Readings, ...]
    winds: tuple[int, ...]
    _scenes: dict[tuple[int, int], Scene] = field(default_factory=dict, repr=False)

    def read(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Loadings now and an hour ago by the sensors; the estimator's where they are silent."""
        readings, scene = self.measured[step], self._scene(step, step)
        expected = scene.expected.loading_pct[self._rows]
        now, before = readings.loading[self._rows], readings.before[self._rows]
        return np.where(np.isnan(now), expected, now), np.where(np.isnan(before), expected, before)

    def ask(
        self, step: int, seen: int, now: np.ndarray, before: np.ndarray, simulated: bool = False
    ) -> list[dict[str, Any]]:
        """The loading of each followed line an hour on."""
        return asking.ahead(self.state(step, seen, now, before, simulated), self.year.grid, self.assets)

    def state(self, step: int, seen: int, now: np.ndarray, before: np.ndarray, simulated: bool = False) -> State:
        """The state that the twin is asked about, as the lake would hold it."""
        grid, scene, hour = self.year.grid, self._scene(step, seen), self.first + step
        day = self.year.days[hour // 24]
        readings = self._with(self._readings(step, seen), now, before)
        if step > seen and not simulated:
            scene, readings = self._from_own(scene, readings)
        moment = Moment(
            step=hour % 24 * HOUR, time=self.start + pd.Timedelta(hours=step), factor=scene.factor, wind=scene.wind,
            fault=sensors.Fault(), open_lines=scene.open_lines, true_out=scene.open_lines, injections=scene.injections,
            now=scene.expected, later=(), outages=scene.expected, readings=readings,
            residual=readings.loading - scene.expected.loading_pct, forecast=scene.forecast,
            estimate=outage_estimate(grid, readings, scene.open_lines, scene.factor),
        )  # fmt: skip
        table = Table()
        observe(table, day, grid, moment)
        outage_pairs(grid, moment, day, table, np.random.default_rng(0))
        return State(self.name, moment.time, table.readings(), pd.DataFrame(columns=OUTCOME.names))

    def _readings(self, step: int, seen: int) -> Readings:
        """The sensors' readings, or what the estimator puts in their place."""
        if step == seen:
            return self.measured[step]
        scene, past = self._scene(step, seen), self._readings(step - 1, seen)
        flow = scene.expected
        closed = ~self.year.grid.mask(scene.open_lines)[: len(flow.loading_pct)]
        return Readings(
            np.where(closed, flow.loading_pct, np.nan), past.loading, flow.p_from_mw, flow.q_from_mvar, closed, flow.vm_pu,
            scene.injections,
        )  # fmt: skip

    def _with(self, readings: Readings, now: np.ndarray, before: np.ndarray) -> Readings:
        loading, ago = readings.loading.copy(), readings.before.copy()
        loading[self._rows], ago[self._rows] = now, before
        return replace(readings, loading=loading, before=ago)

    def _from_own(self, scene: Scene, readings: Readings) -> tuple[Scene, Readings]:
        """The same without a simulator's word on the followed lines: their flows and forecasts start from their readings."""
        expected, own = scene.expected.loading_pct, readings.loading[self._rows]
        level, flows = expected.copy(), []
        level[self._rows] = own
        for flow in (readings.p_mw, readings.q_mvar):
            scaled = flow.copy()
            scaled[self._rows] *= own / np.maximum(expected[self._rows], 1.0)
            flows.append(scaled)
        forecast = tuple(np.maximum(ahead + level - expected, 0.0) for ahead in scene.forecast)
        held = replace(scene, expected=replace(scene.expected, loading_pct=level), forecast=forecast)
        return held, replace(readings, p_mw=flows[0], q_mvar=flows[1])

    def _scene(self, step: int, seen: int) -> Scene:
        if (step, seen) not in self._scenes:
            self._scenes[step, seen] = self._made(step, seen)
        return self._scenes[step, seen]

    def _made(self, step: int, seen: int) -> Scene:
        year, measured = self.year, self.measured[seen].injections
        hour, at = self.first + step, (self.first + seen) * HOUR
        day = year.days[hour // 24]
        ahead = [seasonal(year.grid, measured, at, step - seen + hours) for hours in HORIZONS]
        here = measured if step == seen else seasonal(year.grid, measured, at, step - seen)
        wind = self.winds[step] if step == seen else year.wind_class(here)
        factor = plan.rating_factor(year.settings, day.start.month, float(hour % 24), wind)
        out = day.out(hour % 24)
        flows = [derate(year.solver.estimate(injections, out), factor) for injections in (here, *ahead)]
        return Scene(here, out, wind, factor, flows[0], tuple(flow.loading_pct for flow in flows[1:]))

    @property
    def _rows(self) -> list[int]:
        names = self.year.grid.lines["name"].tolist()
        return [names.index(line) for line in self.assets]


def stretches(year: Year, first_day: int, count: int, steps: int) -> list[Stretch]:
    """At most `count` stretches of `steps` hours from the day of the year `first_day` on, apart from each other; each
    starts at an hour of its own."""
    length = (steps + 1) // 24 + 2  # days, the first one begun
    starts = np.arange(first_day, plan.YEAR - length + 1, length)
    if count < len(starts):
        starts = starts[np.linspace(0, len(starts) - 1, count).round().astype(int)]
    rng = np.random.default_rng((year.recipe.seed, 2 * 10**6 + 2))
    return [_stretch(year, int(day) * 24 + 1 + int(rng.integers(23)), steps, rng) for day in starts]


def _stretch(year: Year, first: int, steps: int, rng: np.random.Generator) -> Stretch:
    truth = year.truth(first - 1, first + steps + 1)
    hours = range(first - 1, first + steps + 1)
    opened = [year.days[hour // 24].out(hour % 24) for hour in hours]
    out = np.stack([year.grid.mask(names) for names in opened])
    flow = derate(year.solver.solve_rows(truth.injections, out), year.ratings(truth)[:, None])
    closed = ~out[:, : len(year.grid.lines)]
    measured = tuple(
        sensors.measure(
            flow[i - 1],
            flow[i],
            truth.injections[i],
            ~closed[i],
            sensors.Fault(),
            year.recipe.lake,
            rng,
            unit_mw=year.grid.unit_mw,
        )
        for i in range(1, steps + 2)
    )
    rows = _followed(measured[0].loading, np.asarray(closed.all(axis=0)))
    start = plan.FIRST + pd.Timedelta(hours=first)
    return Stretch(
        year, first, f"{start:%Y-%m-%d %H:%M}", start, tuple(year.grid.lines["name"].iloc[rows]), flow.loading_pct[1:][:, rows],
        measured, tuple(year.wind_class(truth.injections[i]) for i in range(1, steps + 2)),
    )  # fmt: skip


def _followed(loading: np.ndarray, able: np.ndarray) -> list[int]:
    """Rows of the lines that are followed, the fullest first; none that is out for work at any time."""
    loaded = np.flatnonzero(able & (np.nan_to_num(loading) > sensors.LEAST_LOADING))
    ranked = loaded[np.argsort(-loading[loaded])]
    return [int(ranked[i]) for i in np.unique(np.linspace(0, len(ranked) - 1, min(FOLLOWED, len(ranked))).astype(int))]
