"""Whether coverage follows the exact law: shared by the tests of every unweighted split method."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import betabinom, binom

from twinforge.conformal.threshold import rank

ALPHA, REPETITIONS, CALIBRATION, FRESH = 0.1, 300, 99, 200


def counts(
    trial: Callable[[np.random.Generator], np.ndarray], seed: int = 11, repetitions: int = REPETITIONS
) -> np.ndarray:
    """How many of its fresh rows a trial covers, in each repetition; `trial` calibrates anew and gives their hits."""
    rng = np.random.default_rng(seed)
    return np.array([trial(rng).sum() for _ in range(repetitions)])


def follows(found: np.ndarray, n: int = CALIBRATION, m: int = FRESH, alpha: float = ALPHA) -> bool:
    """Whether counts look drawn from Beta-binomial(m, k, n + 1 - k): mean, and share inside its 90 % band, both sides."""
    k = rank(n, alpha)
    law = betabinom(m, k, n + 1 - k)
    low, high = law.ppf([0.05, 0.95])
    inside = int(((found >= low) & (found <= high)).sum())
    share = law.cdf(high) - law.cdf(low - 1)
    few, many = binom(len(found), share).ppf([0.001, 0.999])
    near = abs(found.mean() - law.mean()) < 3.5 * law.std() / math.sqrt(len(found))
    return bool(near and few <= inside <= many)
