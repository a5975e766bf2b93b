"""The split-conformal threshold: its rank, its value, the weighted one, and the law of the coverage it gives."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from twinforge.errors import UserError

Floats = NDArray[np.float64]
TOLERANCE = 1e-8  # on a score beside its threshold, as in MAPIE: never lets a float's last bit empty a set


def rank(n: int, alpha: float) -> int:
    """k = ceil((n + 1)(1 - alpha)): the threshold is the k-th smallest of n scores; k > n means there is none.

    Worked out on alpha as it is written, in fractions: floats would at times put k one too high.
    """
    return math.ceil((n + 1) * (1 - Fraction(str(float(alpha)))))


def smallest_n(alpha: float) -> int:
    """Fewest calibration rows with a finite threshold: n >= 1/alpha - 1."""
    check_share("alpha", alpha)
    return math.ceil(1 / Fraction(str(float(alpha)))) - 1


def threshold_of(scores: Floats, alpha: float) -> float:
    """The k-th smallest score, or infinity where n < 1/alpha - 1: too few rows for any finite promise.

    With exchangeable scores a new one is at most this with probability at least 1 - alpha (Vovk et al. 2005; Lei et al.
    2018, theorem 2.2). With continuous scores the coverage given the calibration rows follows Beta(k, n + 1 - k). Equal
    scores (ties) count as inside, so they can only raise the coverage, by at most the share of scores that are tied.

    Raises
    ------
    UserError
        alpha is outside (0, 1), or a score is NaN.
    """
    check_share("alpha", alpha, ", e.g. 0.1 for sets that hold 9 truths in 10")
    if np.isnan(scores).any():
        raise UserError(f"{np.isnan(scores).sum()} of {len(scores)} conformal scores are NaN; answer those rows again")
    k = rank(len(scores), alpha)
    return math.inf if k > len(scores) else float(np.partition(scores, k - 1)[k - 1])


def weighted_thresholds(scores: Floats, weights: Floats, fresh: Floats, alpha: float) -> Floats:
    """A threshold for each new row under a known shift of what is asked (Tibshirani et al. 2019, corollary 1).

    Parameters
    ----------
    scores, weights : (n,) of the calibration rows; a weight is the likelihood ratio new / old of its row, up to a factor.
    fresh : (m,) weights of the new rows, by the same factor.

    Returns
    -------
    (m,) the smallest score at which the calibration weights up to it reach 1 - alpha of all, the new row's own counted at
    infinity; infinite where they don't.
    """
    order = np.argsort(scores, kind="stable")
    mass = np.append(np.cumsum(weights[order]), math.inf)
    need = (1 - alpha) * (weights.sum() + np.asarray(fresh, float))
    # a share that is met exactly must not be missed by a float's last bit
    at = np.searchsorted(mass, need - 1e-12 * np.maximum(1.0, need), side="left")
    return np.append(scores[order], math.inf)[at]


def coverage_band(n: int, m: int, alpha: float, level: float = 0.95) -> tuple[float, float]:
    """Central band of the share of m new rows that are covered, given n calibration rows: the exact Beta-binomial law.

    For independent rows with continuous scores the count is BetaBinomial(m, k, n + 1 - k) (Vovk 2012, proposition 2a;
    Angelopoulos and Bates 2023, section 3.2). Where there is no finite threshold everything is covered.
    """
    check_share("level", level)
    k = rank(n, alpha)
    if k > n or not m:
        return 1.0, 1.0
    law = betabinom(m, k, n + 1 - k)
    return float(law.ppf((1 - level) / 2) / m), float(law.ppf((1 + level) / 2) / m)


def check_share(name: str, value: float, hint: str = "") -> None:
    """Raise `UserError` unless the value lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} {value}: give a share between 0 and 1{hint}")


def numbers(name: str, values: Any, n: int | None = None, finite: bool = True) -> Floats:
    """A vector of floats, of length n where that is given; else `UserError`. Without `finite`, only NaN is refused."""
    found = np.asarray(values, float)
    if found.ndim != 1 or (n is not None and len(found) != n):
        raise UserError(f"{name} {found.shape}: give a vector{'' if n is None else f' of {n}, one number a row'}")
    bad = ~np.isfinite(found) if finite else np.isnan(found)
    if bad.any():
        what = "not finite" if finite else "NaN"
        raise UserError(f"{name}: {int(bad.sum())} of {len(found)} are {what}, the first in row {int(np.argmax(bad))}; "
                        "leave those rows out or answer them again")  # fmt: skip
    return found


def digest(*arrays: Any) -> str:
    """sha256 of arrays, their order, type and shape: says which rows a calibrator was made of."""
    found = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update("\0".join(map(str, array.ravel())).encode() if array.dtype.hasobject else array.data)
    return found.hexdigest()


@dataclass(frozen=True)
class Thresholds:
    """The threshold of every row: one for all, one a group (Mondrian), or one a row (weighted).

    alpha : allowed miscoverage. n : calibration rows. groups : name -> (rows, threshold); "" where there are no groups.
    scores, weights : of the calibration rows, kept only where they are weighted.
    """

    alpha: float
    n: int
    groups: Mapping[str, tuple[int, float]]
    scores: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls, scores: Floats, alpha: float, groups: NDArray[Any] | None = None, weights: Floats | None = None
    ) -> Thresholds:
        """From calibration scores (n,), each row's group, and its weight under a known shift (not both).

        Raises
        ------
        UserError
            alpha outside (0, 1), NaN scores, weights that are negative or not finite, groups and weights at once.
        """
        whole = threshold_of(scores, alpha)
        if weights is not None:
            if groups is not None:
                raise UserError("groups and weights: give one of them; a weighted threshold a group is not offered")
            checked = _weights(weights, len(scores))
            return cls(alpha, len(scores), {"": (len(scores), whole)}, tuple(scores.tolist()), tuple(checked.tolist()))
        if groups is None:
            return cls(alpha, len(scores), {"": (len(scores), whole)})
        names, place = _names(groups, len(scores))
        order = np.argsort(place, kind="stable")
        parts = np.split(scores[order], np.cumsum(np.bincount(place))[:-1])[: len(names)]
        found = {name: (len(part), threshold_of(part, alpha)) for name, part in zip(names, parts, strict=True)}
        return cls(alpha, len(scores), found)

    def of(self, count: int, groups: NDArray[Any] | None = None, weights: Floats | None = None) -> Floats:
        """Thresholds (count,) of new rows; infinite for a group that was not calibrated.

        Raises
        ------
        UserError
            Groups or weights are missing, though it was calibrated by them, or given, though it was not.
        """
        if bool(self.weights) != (weights is not None) and self.n:
            raise UserError(f"weight: {'missing, though' if self.weights else 'given, but not'} used in calibration")
        if weights is not None:
            old = np.array(self.scores), np.array(self.weights)
            return weighted_thresholds(*old, _weights(weights, count), self.alpha)
        if self.grouped != (groups is not None):
            raise UserError(f"groups: {'missing, though' if self.grouped else 'given, but not'} used in calibration")
        if groups is None:
            return np.full(count, self.groups[""][1])
        names, place = _names(groups, count)
        return np.array([self.groups.get(name, (0, math.inf))[1] for name in names])[place]

    @property
    def grouped(self) -> bool:
        """Whether each group has a threshold of its own."""
        return set(self.groups) != {""}

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold is null."""
        groups = {
            name: {"n": n, "threshold": None if math.isinf(value) else value}
            for name, (n, value) in self.groups.items()
        }
        weighted = {"scores": list(self.scores), "weights": list(self.weights)} if self.weights else {}
        return {"alpha": self.alpha, "n": self.n, "groups": groups, **weighted}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Thresholds:
        """The inverse of `to_json`."""
        groups = {
            name: (int(entry["n"]), math.inf if entry["threshold"] is None else float(entry["threshold"]))
            for name, entry in value["groups"].items()
        }
        weighted = (tuple(map(float, value.get(name, ()))) for name in ("scores", "weights"))
        return Thresholds(float(value["alpha"]), int(value["n"]), groups, *weighted)


def _weights(weights: Floats, count: int) -> Floats:
    weights = np.asarray(weights, float)
    if weights.shape != (count,):
        raise UserError(f"weight {weights.shape}: give one a row, ({count},)")
    if not ((weights >= 0) & np.isfinite(weights)).all():
        bad = int(np.argmin((weights >= 0) & np.isfinite(weights)))
        raise UserError(f"weight {weights[bad]} in row {bad}: give finite likelihood ratios, 0 or more")
    return weights


def _names(groups: NDArray[Any], count: int) -> tuple[list[str], NDArray[np.int64]]:
    """The groups there are, by name, and the place of each row's in that list."""
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise UserError(f"groups {groups.shape}: give one a row, ({count},)")
    found, place = np.unique(groups.astype(str) if groups.dtype.hasobject else groups, return_inverse=True)
    return [str(name) for name in found], place
