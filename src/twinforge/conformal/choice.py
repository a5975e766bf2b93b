"""Prediction sets for choices from probabilities, with any number of options a row.

A score says how badly an option fits; a set holds the options whose score is at most the threshold.

lac : 1 - p, least ambiguous sets (Sadinle, Lei and Wasserman 2019): the smallest sets on average.
aps : the probability of all likelier options and a random share u of its own (Romano, Sesia and Candes 2020, section 2):
    larger sets where the model is unsure.
raps : aps and a penalty for every option beyond the first few (Angelopoulos et al. 2021, equation 4).
top-k : the option's place by probability, less u: the k likeliest, and one more for a share of the rows.

u is drawn for every row, so that coverage is exact where probabilities are; without it (`randomised=False`) the last option
is always inside, and coverage is higher than asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import TOLERANCE, Floats, Thresholds, digest
from twinforge.errors import UserError

Method = Literal["lac", "aps", "raps", "top-k"]
SCORES: Mapping[str, str] = {
    "lac": "1 - p", "aps": "sum of larger p + u p", "raps": "sum of larger p + u p + penalty", "top-k": "place - u",
}  # fmt: skip
CELLS = 1 << 20  # of probabilities worked on at a time: bounds the memory, whatever comes
SUM_SLACK = 0.01  # how far a row's sum may lie from 1: half precision and ten thousand options stay within


@dataclass(frozen=True)
class Choice:
    """Calibrated sets of options: a new row's truth is in its set with probability at least 1 - alpha (in every group).

    thresholds : by group, or weighted. seed : of u. penalty, free : raps only; what an option costs, beyond so many.
    data : sha256 of the calibration rows.
    """

    method: Method
    thresholds: Thresholds
    data: str
    randomised: bool = True
    penalty: float = 0.1
    free: int = 1
    seed: int = 0

    @classmethod
    def fit(
        cls,
        probabilities: Floats,
        labels: NDArray[np.int64],
        alpha: float,
        method: Method = "lac",
        groups: NDArray[Any] | None = None,
        weights: Floats | None = None,
        randomised: bool = True,
        penalty: float = 0.1,
        free: int = 1,
        seed: int = 0,
    ) -> Choice:
        """Calibrate.

        Parameters
        ----------
        probabilities : (n, k), NaN for absent options. labels : (n,) index of the truth. alpha : allowed miscoverage.
        groups : (n,) names, for a promise in every group. weights : (n,) likelihood ratios, for a known shift.

        Raises
        ------
        UserError
            An unknown method, rows that are no distributions or have no option, labels that are absent, or what
            `Thresholds.fit` refuses.
        """
        if method not in SCORES:
            raise UserError(f"method {method!r}: choose one of {', '.join(SCORES)}")
        if not (penalty >= 0 and free >= 0):
            raise UserError(f"penalty {penalty}, free {free}: give numbers of at least 0")
        p, labels = _matrix(probabilities), labels_of(labels, probabilities)
        rule = cls(method, Thresholds(alpha, 0, {}), "", randomised, penalty, free, seed)
        u = np.random.default_rng([seed, 0]).random(len(p)) if rule.draws else np.ones(len(p))
        score = np.empty(len(p))
        for rows, part in _chunks(p):
            score[rows] = np.take_along_axis(rule.scores(part, u[rows]), labels[rows, None], axis=1)[:, 0]
        if np.isnan(score).any():
            row = int(np.argmax(np.isnan(score)))
            raise UserError(f"labels {labels[row]} in row {row}: that option is absent (NaN); drop the row or mend it")
        thresholds = Thresholds.fit(score, alpha, groups, weights)
        return cls(method, thresholds, digest(score, labels), randomised, penalty, free, seed)

    @property
    def draws(self) -> bool:
        """Whether sets depend on a random u."""
        return self.randomised and self.method != "lac"

    def sets(
        self,
        probabilities: Floats,
        groups: NDArray[Any] | None = None,
        weights: Floats | None = None,
        u: Floats | None = None,
    ) -> NDArray[np.bool_]:
        """Which options (n, k) are in each row's set; a group that was not calibrated has all of its options.

        u : (n,) in [0, 1), for the methods that draw; by default from `seed`, the same for the same number of rows.
        """
        p = _matrix(probabilities)
        if u is None:
            u = np.random.default_rng([self.seed, 1]).random(len(p)) if self.draws else np.ones(len(p))
        thresholds = self.thresholds.of(len(p), groups, weights)
        inside = np.empty(p.shape, dtype=bool)
        for rows, part in _chunks(p):
            inside[rows] = self.scores(part, u[rows]) <= thresholds[rows, None] + TOLERANCE
        return inside

    def scores(self, p: Floats, u: Floats) -> Floats:
        """Score of every option (n, k), NaN for absent ones, given u (n,); equal probabilities stand in their order."""
        if self.method == "lac":
            return 1 - p
        known = np.where(np.isnan(p), -1.0, p)
        order = np.argsort(-known, axis=1, kind="stable")
        place = np.arange(1, p.shape[1] + 1)
        if self.method == "top-k":
            ranked = np.broadcast_to(place - (u[:, None] if self.draws else 0.0), p.shape)
        else:
            down = np.take_along_axis(known, order, axis=1)
            ranked = np.cumsum(np.maximum(down, 0.0), axis=1) - (1 - u[:, None]) * down
            if self.method == "raps":
                ranked = ranked + self.penalty * np.maximum(place - self.free, 0)
        score = np.empty_like(known)
        np.put_along_axis(score, order, ranked, axis=1)
        return np.where(np.isnan(p), np.nan, score)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        own = {name: getattr(self, name) for name in ("randomised", "penalty", "free", "seed", "data")}
        return {"method": self.method, "score": SCORES[self.method], **self.thresholds.to_json(), **own}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Choice:
        """The inverse of `to_json`."""
        own = {name: value[name] for name in ("data", "randomised", "penalty", "free", "seed")}
        return Choice(value["method"], Thresholds.from_json(value), **own)


def ragged(rows: Any) -> Floats:
    """Vectors of different length as one array (n, k), NaN for the options that a row lacks."""
    lengths = np.array([len(row) for row in rows], dtype=int)
    array = np.full((len(rows), int(lengths.max(initial=0))), np.nan)
    array[np.arange(array.shape[1]) < lengths[:, None]] = np.concatenate([*rows, np.zeros(0)])
    return array


def _matrix(probabilities: Floats) -> Floats:
    p = np.asarray(probabilities)
    if p.ndim != 2 or not np.issubdtype(p.dtype, np.floating):
        raise UserError(f"probabilities {p.shape} of {p.dtype}: give (rows, options) of numbers from 0 to 1")
    for rows, part in _chunks(p):
        total: Floats = np.nansum(part, axis=1)
        some = np.atleast_1d(~np.isnan(part).all(axis=1))
        sound = np.asarray(some & (np.abs(total - 1) <= SUM_SLACK) & (np.nan_to_num(part) >= 0).all(axis=1))
        if not sound.all():
            bad = int(np.argmin(sound))
            why = f"they sum to {float(total[bad]):.4g}" if bool(some[bad]) else "no option is present"
            if some[bad] and np.nanmin(part[bad]) < 0:
                why = f"{np.nanmin(part[bad]):.4g} is negative"
            raise UserError(
                f"probabilities of row {rows.start + bad}: {why}; give a distribution, NaN for absent options"
            )
    return p


def labels_of(labels: NDArray[Any], p: NDArray[Any]) -> NDArray[np.int64]:
    """Labels (n,) as indices of the options of p (n, k); raises `UserError` for any that is none."""
    labels = np.asarray(labels)
    n, k = np.shape(p) if np.ndim(p) == 2 else (0, 0)
    if labels.shape != (n,):
        raise UserError(f"labels {labels.shape}: give one a row of probabilities, ({n},)")
    whole = np.isfinite(labels.astype(float)) if n else np.zeros(0, bool)
    bad = ~whole | (labels < 0) | (labels >= k) | (labels != np.floor(np.where(whole, labels, 0.0)))
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"labels {labels[row]} in row {row}: give the index of an option, 0 to {k - 1}")
    return labels.astype(np.int64)


def _chunks(p: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
    """Rows a part at a time, in double precision."""
    step = max(1, CELLS // max(1, p.shape[1]))
    for start in range(0, len(p), step):
        rows = slice(start, min(start + step, len(p)))
        yield rows, p[rows].astype(np.float64)
