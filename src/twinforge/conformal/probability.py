"""Probabilities that mean what they say: one temperature for whole answers, Venn-Abers for "is this right?".

A temperature is a fit, and promises nothing. Venn-Abers gives two probabilities, one of which is perfectly calibrated on
exchangeable rows, whatever the score is worth: the distance between them says how much the calibration rows know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from twinforge.conformal.threshold import Floats, digest, numbers
from twinforge.errors import UserError

LEAST, MOST = 0.05, 20.0  # the temperatures searched; one at an end says that the rows fix none
Point = tuple[int, int]


@dataclass(frozen=True)
class Temperature:
    """p^(1 / temperature), normalised (Guo et al. 2017): above 1 it makes answers less sure, and never reorders them.

    n : calibration rows. data : sha256 of them.
    """

    n: int
    temperature: float
    data: str
    method: str = "temperature"
    score: str = "log loss"

    @classmethod
    def fit(cls, p: Floats, truth: NDArray[np.int64]) -> Temperature:
        """The temperature of maximum likelihood between 0.05 and 20; 1 where none is likelier.

        Very few rows may all be best answered ever more (or less) surely: then it lies near an end of that range.

        Parameters
        ----------
        p : (n, k) probabilities of the options, NaN where a row lacks one. truth : (n,) column of the right one.

        Raises
        ------
        UserError
            No rows, values outside [0, 1], a truth that is no option of its row, or one with probability 0.
        """
        logs, truth = _logs(p), np.asarray(truth)
        if truth.shape != logs.shape[:1] or not len(truth) or truth.dtype.kind not in "iu":
            raise UserError(
                f"truth {truth.shape} of {truth.dtype} for p {logs.shape}: give a column number for each of at least one row"
            )
        if ((truth < 0) | (truth >= logs.shape[1])).any():
            raise UserError(f"truth {truth[(truth < 0) | (truth >= logs.shape[1])][0]}: give columns of p {logs.shape}")
        held = logs[np.arange(len(truth)), truth]
        if not np.isfinite(held).all():
            row = int(np.argmin(np.isfinite(held)))
            what = f"row {row}: its truth, column {truth[row]}, has probability {np.asarray(p)[row, truth[row]]:g}"
            raise UserError(f"{what}; no temperature mends that: give it one above 0 or leave the row out")

        def loss(log_temperature: float) -> float:
            scaled = logs / math.exp(log_temperature)
            return float(np.mean(np.log(np.nansum(np.exp(scaled), axis=1)) - held / math.exp(log_temperature)))

        found = minimize_scalar(
            loss, bounds=(math.log(LEAST), math.log(MOST)), method="bounded", options={"xatol": 1e-9}
        )
        temperature = math.exp(found.x) if found.fun < loss(0.0) - 1e-12 else 1.0
        return cls(len(truth), temperature, digest(np.asarray(p, float), truth.astype(np.int64)))

    def apply(self, p: Floats) -> Floats:
        """(m, k) the tempered probabilities, NaN where p is."""
        scaled = np.exp(_logs(p) / self.temperature)
        return np.asarray(scaled / np.nansum(scaled, axis=1, keepdims=True))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Temperature:
        """The inverse of `to_json`."""
        return Temperature(**value)


@dataclass(frozen=True, eq=False)
class VennAbers:
    """Two probabilities that an answer with some score is right (Vovk, Petej and Fedorova 2015): an isotonic fit to the
    calibration rows and the new one, taken as wrong (p0) and as right (p1).

    n : calibration rows. at : (k,) their distinct scores, ascending. p0 : (k + 1,) from below all of these, then from each on.
    p1 : (k + 1,) up to each of them, then above all. data : sha256 of the rows.
    """

    n: int
    at: Floats
    p0: Floats
    p1: Floats
    data: str
    method: str = "venn-abers"
    score: str = "confidence"

    @classmethod
    def fit(cls, score: Floats, correct: NDArray[np.bool_]) -> VennAbers:
        """Every isotonic fit that can be asked for, in O(n log n), exact in whole numbers (the paper's algorithms 1 to 4).

        Written here, as MAPIE 1.6 gives too low a p1 to scores above all calibration scores; elsewhere the two are equal.

        Parameters
        ----------
        score : (n,) higher is likelier right, any scale; n may be 0. correct : (n,) whether it was right.

        Raises
        ------
        UserError
            Scores that are not finite, lengths that differ, or marks other than right and wrong.
        """
        score, marks = numbers("score", score), numbers("correct", correct, len(score))
        if not np.isin(marks, (0, 1)).all():
            raise UserError(f"correct {marks[~np.isin(marks, (0, 1))][0]}: give true or false")
        at, place = np.unique(score, return_inverse=True)
        right, rows = (np.bincount(place, marks, len(at)).astype(int), np.bincount(place, minlength=len(at)))
        hits, of = _with_one_more(rows, right)
        misses, all_of = _with_one_more(rows[::-1], (rows - right)[::-1])  # the same, with right and wrong turned about
        p0 = ((all_of - misses) / all_of)[::-1]
        return cls(len(score), at, p0, hits / of, digest(score, marks.astype(bool)))

    def bounds(self, score: Floats) -> tuple[Floats, Floats]:
        """p0 and p1, (m,) each, of new scores (m,); p0 is below p1."""
        score = numbers("score", score)
        low, high = (np.searchsorted(self.at, score, side) for side in ("right", "left"))
        return self.p0[low], self.p1[high]

    def probability(self, score: Floats) -> Floats:
        """(m,) one probability for both, p1 / (1 - p0 + p1): the least regret in log loss (section 4 of the paper)."""
        p0, p1 = self.bounds(score)
        return np.asarray(p1 / (1 - p0 + p1))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {**asdict(self), **{name: getattr(self, name).tolist() for name in ("at", "p0", "p1")}}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> VennAbers:
        """The inverse of `to_json`."""
        return VennAbers(**{**value, **{name: np.array(value[name], float) for name in ("at", "p0", "p1")}})


def _with_one_more(rows: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The isotonic fit at each of k groups with one more right row in it, and at such a row above them all: that is 1. As
    right rows and rows (k + 1,) of the block it is the mean of.

    The fit at a group is the slope of the greatest convex minorant of the cumulative counts there. Going up the groups, the
    counts left of the added row move by (-1, -1); `corners` holds the minorant from the added row on, its leftmost last.
    """
    totals = list(zip(np.cumsum(rows).tolist(), np.cumsum(right).tolist(), strict=True))  # in whole numbers: exact
    corners: list[Point] = []
    for point in [*reversed(totals), (-1, -1)]:
        _add(corners, point)
    fits = []
    for x, y in totals:
        left, right_end = corners[-1], corners[-2]
        fits.append((right_end[1] - left[1], right_end[0] - left[0]))
        if _turn(left, right_end, (x - 1, y - 1)) < 0:
            corners.pop()
            _add(corners, (x - 1, y - 1))
    found = np.array([*fits, (1, 1)])
    return found[:, 0], found[:, 1]


def _add(corners: list[Point], point: Point) -> None:
    """Put a point left of all corners, and drop those that it leaves above the minorant."""
    while len(corners) > 1 and _turn(point, corners[-1], corners[-2]) <= 0:
        corners.pop()
    corners.append(point)


def _turn(a: Point, b: Point, c: Point) -> int:
    """Above 0 where the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _logs(p: Any) -> Floats:
    """Logarithms (n, k) of probabilities, the largest of each row 0, NaN kept."""
    p = np.asarray(p, float)
    if p.ndim != 2:
        raise UserError(f"p {p.shape}: give probabilities (rows, options), NaN for options that a row lacks")
    if ((p < 0) | (p > 1)).any():
        raise UserError(f"p {p[(p < 0) | (p > 1)][0]}: give probabilities from 0 to 1")
    most = np.max(np.nan_to_num(p), axis=1, keepdims=True, initial=0.0)
    if (most == 0).any():
        raise UserError(f"row {int(np.argmin(most))}: no option has a probability above 0; answer that row again")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log(most))
