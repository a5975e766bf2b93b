"""The split-conformal threshold, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinforge.errors import UserError

Floats = NDArray[np.float64]
TOLERANCE = 1e-8  # on a score beside its threshold, as in MAPIE: never lets a float's last bit empty a set


def rank(n: int, alpha: float) -> int:
    """k = ceil((n + 1)(1 - alpha)): the threshold is the k-th smallest of n scores; k > n means there is none."""
    return math.ceil((n + 1) * (1 - alpha))


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


def check_share(name: str, value: float, hint: str = "") -> None:
    """Raise `UserError` unless the value lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} {value}: give a share between 0 and 1{hint}")


def mapie_can(n: int, alpha: float) -> bool:
    """Whether MAPIE 1.6 takes n rows at this level; else it raises (even at n = 1/alpha - 1, which has a threshold)."""
    return n >= max(1 / alpha, 1 / (1 - alpha))


def confidence(alpha: float) -> float:
    """1 - alpha so that MAPIE, which takes it back by decimals, arrives at the same alpha."""
    return float(1 - Decimal(str(alpha)))


@dataclass(frozen=True)
class Threshold:
    """A calibrated threshold: all that prediction needs.

    group : "asked/kind", or "refusal". method : "lac", "cqr", "entities" or "refusal".
    n : calibration rows. value : the largest score inside; infinite: everything is inside.
    data : sha256 of the calibration rows' ids and scores. note : why it is infinite, where that is no mere matter of n.
    """

    group: str
    method: str
    alpha: float
    n: int
    value: float
    data: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold is null."""
        value = None if math.isinf(self.value) else self.value
        found = {"method": self.method, "alpha": self.alpha, "n": self.n, "threshold": value, "data": self.data}
        return {**found, "note": self.note} if self.note else found

    @staticmethod
    def from_json(group: str, value: Mapping[str, Any]) -> Threshold:
        """The inverse of `to_json`."""
        threshold = math.inf if value["threshold"] is None else float(value["threshold"])
        alpha, n, note = float(value["alpha"]), int(value["n"]), str(value.get("note", ""))
        return Threshold(group, value["method"], alpha, n, threshold, value["data"], note)
