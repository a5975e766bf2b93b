"""Intervals for numbers, from quantiles, from a point with or without a scale, or from a mass function on a grid.

cqr : quantiles moved out by one threshold (Romano, Patterson and Candes 2019); from a mass, its quantiles are taken.
split : a point, more or less the threshold (Lei et al. 2018). normalised : the same in units of each row's scale.
density : the cells of highest mass until enough is inside, several intervals where the mass has several peaks (Sadinle, Lei
    and Wasserman 2019 with the randomised rank of Romano, Sesia and Candes 2020); exact whatever the mass.

One-sided bounds use half of the score. Arrays (n, h) are paths over a horizon: the score of a path is its worst step's, so
the whole path is covered with the promised probability (Diquigiovanni, Fontana and Vantini 2022, with one scale a step).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.choice import CELLS, Choice
from twinforge.conformal.threshold import Floats, Thresholds, digest
from twinforge.errors import UserError

Method = Literal["cqr", "split", "normalised", "density"]
Side = Literal["both", "lower", "upper"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "cqr": ("lower", "upper"), "split": ("median",), "normalised": ("median", "scale"), "density": ("mass", "grid"),
}  # fmt: skip
SCORES: Mapping[str, str] = {
    "cqr": "max(lower - y, y - upper)", "split": "|y - median|", "normalised": "|y - median| / scale",
    "density": "mass of denser cells + u mass of y's",
}  # fmt: skip
UNIFORM = 1e-9  # makes the CDF strictly increasing, so that every quantile is one point

Columns = Mapping[str, Floats]


@dataclass(frozen=True)
class Number:
    """Calibrated intervals: a new row's truth (for paths: all of it) lies inside with probability at least 1 - alpha.

    side : "both", or the one bound that is given, the other end then infinite. steps : of the horizon, 0 for single numbers.
    """

    method: Method
    side: Side
    steps: int
    thresholds: Thresholds
    data: str
    seed: int = 0

    @classmethod
    def fit(
        cls,
        columns: Columns,
        truth: Floats,
        alpha: float,
        method: Method = "cqr",
        side: Side = "both",
        groups: NDArray[Any] | None = None,
        weights: Floats | None = None,
        seed: int = 0,
    ) -> Number:
        """Calibrate.

        Parameters
        ----------
        columns : what `NEEDS` says of the method, (n,) or, over a horizon, (n, h) each: lower and upper quantiles, median,
            scale (above 0); or mass (n, m), grid (m,) ascending. A mass will also do for "cqr".
        truth : (n,) or (n, h). alpha, groups, weights : as in `Choice.fit`. seed : of the density's u.

        Raises
        ------
        UserError
            Columns that are missing, NaN or of another shape, a density with one side or a horizon, an unknown method.
        """
        if method not in NEEDS or side not in ("both", "lower", "upper"):
            raise UserError(f"method {method!r}, side {side!r}: choose {', '.join(NEEDS)}; both, lower or upper")
        truth = np.asarray(truth, float)
        if method == "density" and (side != "both" or truth.ndim != 1):
            raise UserError("method density: has sets of cells, for single numbers; use cqr for one side or a horizon")
        if np.isnan(truth).any():
            raise UserError(f"truth: {int(np.isnan(truth).sum())} of {truth.size} are NaN; drop those rows")
        rule = cls(method, side, truth.shape[1] if truth.ndim == 2 else 0, Thresholds(alpha, 0, {}), "", seed)
        if method == "density":
            mass, grid = _mass(columns, len(truth))
            chosen = Choice.fit(mass, nearest(grid, truth), alpha, "aps", groups, weights, seed=seed)
            return cls(method, side, 0, chosen.thresholds, chosen.data, seed)
        score = rule._score(rule._band(columns, truth.shape), truth)
        return cls(method, side, rule.steps, Thresholds.fit(score, alpha, groups, weights), digest(score), seed)

    def intervals(
        self, columns: Columns, groups: NDArray[Any] | None = None, weights: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Lower and upper ends, (n,) or (n, h) each; infinite where the threshold is.

        A negative threshold may turn an interval inside out: it is then the point in the middle. A density's ends are those of
        its outermost cells (`cells` and `pieces` give the gaps).
        """
        if self.method == "density":
            return _hull(self.cells(columns, groups, weights), *_mass(columns))
        found = self._band(columns)
        count = len(found[0])
        reach = self.thresholds.of(count, groups, weights).reshape(count, *[1] * (found[0].ndim - 1)) * found[2]
        # a truth that lies on an end is inside, whatever rounding does
        slack = 4 * np.spacing(np.abs(found[0]) + np.abs(found[1]) + np.where(np.isfinite(reach), np.abs(reach), 0.0))
        low = found[0] - reach - slack if self.side != "upper" else np.full_like(found[0], -math.inf)
        high = found[1] + reach + slack if self.side != "lower" else np.full_like(found[1], math.inf)
        over = low > high
        middle = (found[0] + found[1]) / 2
        return np.where(over, middle, low), np.where(over, middle, high)

    def cells(
        self,
        columns: Columns,
        groups: NDArray[Any] | None = None,
        weights: Floats | None = None,
        u: Floats | None = None,
    ) -> NDArray[np.bool_]:
        """Density only: which cells of the grid (n, m) are in each row's set; u as in `Choice.sets`."""
        if self.method != "density":
            raise UserError(f"method {self.method}: has intervals, not cells; only density has")
        mass, _ = _mass(columns)
        return Choice("aps", self.thresholds, self.data, seed=self.seed).sets(mass, groups, weights, u)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {
            "method": self.method, "score": SCORES[self.method], "side": self.side, "steps": self.steps,
            **self.thresholds.to_json(), "seed": self.seed, "data": self.data,
        }  # fmt: skip

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Number:
        """The inverse of `to_json`."""
        method, side, steps = (value[name] for name in ("method", "side", "steps"))
        return Number(method, side, steps, Thresholds.from_json(value), value["data"], value["seed"])

    def _band(self, columns: Columns, shape: tuple[int, ...] | None = None) -> tuple[Floats, Floats, Floats]:
        """Lower end, upper end, and how far a threshold of 1 moves them."""
        needs = NEEDS[self.method]
        if self.method == "cqr" and not set(needs) & set(columns) and "mass" in columns:
            mass, grid = _mass(columns)
            tail = self.thresholds.alpha / (2 if self.side == "both" else 1)
            found = quantiles(mass, grid, [tail, 1 - tail])
            columns = {"lower": found[:, 0], "upper": found[:, 1]}
        if missing := [name for name in needs if name not in columns]:
            raise UserError(f"{', '.join(missing)}: missing; method {self.method} needs {' and '.join(needs)}")
        arrays = [np.asarray(columns[name], float) for name in needs]
        shape = shape or arrays[0].shape
        for name, array in zip(needs, arrays, strict=True):
            if (
                array.shape != shape
                or array.ndim != (2 if self.steps else 1)
                or (self.steps not in (0, array.shape[-1]))
            ):
                due = f"(rows, {self.steps})" if self.steps else str(shape[:1])
                raise UserError(f"{name} {array.shape}: does not fit; give {due} as in calibration")
            if np.isnan(array).any():
                raise UserError(
                    f"{name}: {int(np.isnan(array).sum())} of {array.size} are NaN; answer those rows again"
                )
        if self.method == "normalised" and not (arrays[1] > 0).all():
            raise UserError(f"scale {arrays[1].min():g}: give scales above 0")
        ones = np.ones(shape)
        return {"cqr": (*arrays, ones), "split": (*arrays * 2, ones), "normalised": (arrays[0], *arrays)}[self.method]  # type: ignore[return-value]

    def _score(self, band: tuple[Floats, Floats, Floats], truth: Floats) -> Floats:
        below, above = (band[0] - truth) / band[2], (truth - band[1]) / band[2]
        score = {"both": np.maximum(below, above), "lower": below, "upper": above}[self.side]
        return cast(Floats, score.max(axis=1) if score.ndim == 2 else score)


def quantiles(mass: Floats, grid: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles (n, levels) of masses (n, m) on a grid (m,), each value's mass spread evenly over its cell.

    So they are continuous, and scores tie only where whole answers are equal. A row without any mass is taken as uniform.
    """
    mass, edges = np.asarray(mass, float), edges_of(np.asarray(grid, float))
    found = np.empty((len(mass), len(levels)))
    for rows in _parts(mass):
        part = mass[rows]
        total = part.sum(axis=1, keepdims=True)
        part = np.where(total > UNIFORM, part / np.maximum(total, UNIFORM) + UNIFORM, 1.0)
        up = np.concatenate([np.zeros((len(part), 1)), np.cumsum(part, axis=1)], axis=1)
        up /= up[:, -1:]
        for i, level in enumerate(levels):
            cell = np.clip((up <= level).sum(axis=1) - 1, 0, part.shape[1] - 1)
            low, high = (np.take_along_axis(up, (cell + k)[:, None], axis=1)[:, 0] for k in (0, 1))
            found[rows, i] = edges[cell] + np.clip((level - low) / (high - low), 0, 1) * (edges[cell + 1] - edges[cell])
    return found


def nearest(grid: Floats, truth: Floats) -> NDArray[np.int64]:
    """The cell (n,) of each truth; beyond the grid, its first or last."""
    return np.clip(np.searchsorted(edges_of(grid), truth, side="right") - 1, 0, len(grid) - 1)


def pieces(cells: NDArray[np.bool_], grid: Floats) -> list[tuple[float, float]]:
    """The intervals that one row's cells (m,) make up."""
    edges, steps = edges_of(np.asarray(grid, float)), np.diff(np.concatenate([[0], cells.astype(int), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(float(edges[a]), float(edges[b])) for a, b in zip(starts, ends, strict=True)]


def _hull(cells: NDArray[np.bool_], mass: Floats, grid: Floats) -> tuple[Floats, Floats]:
    """Ends of the outermost cells; where the set is empty, the value of most mass."""
    edges, some, peak = edges_of(grid), cells.any(axis=1), grid[mass.argmax(axis=1)]
    first, last = cells.argmax(axis=1), cells.shape[1] - cells[:, ::-1].argmax(axis=1)
    return np.where(some, edges[first], peak), np.where(some, edges[last], peak)


def edges_of(grid: Floats) -> Floats:
    """Ends (m + 1,) of the cells around a grid's values (m,): half way to the next."""
    middle = (grid[1:] + grid[:-1]) / 2
    return np.concatenate([[2 * grid[0] - middle[0]], middle, [2 * grid[-1] - middle[-1]]])


def _mass(columns: Columns, count: int | None = None) -> tuple[Floats, Floats]:
    if missing := [name for name in ("mass", "grid") if name not in columns]:
        raise UserError(f"{', '.join(missing)}: missing; a density needs mass (rows, values) and grid (values,)")
    mass, grid = np.asarray(columns["mass"], float), np.asarray(columns["grid"], float)
    if mass.ndim != 2 or grid.shape != mass.shape[1:] or len(mass) != (len(mass) if count is None else count):
        raise UserError(
            f"mass {mass.shape}, grid {grid.shape}, {count} truths: give (rows, values), (values,), (rows,)"
        )
    if len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise UserError("grid: give at least two values, ascending")
    if not (np.isfinite(mass) & (mass >= 0)).all():
        raise UserError("mass: holds NaN or negative numbers; give masses of at least 0")
    return mass, grid


def _parts(array: Floats) -> Iterator[slice]:
    step = max(1, CELLS // max(1, array.shape[1]))
    return (slice(start, start + step) for start in range(0, len(array), step))
