"""Which asset drifted, and in which dimension: the stream that has moved furthest since the change."""

from __future__ import annotations

import numpy as np

REACH = 336  # steps back among which a change is sought


def since(z: np.ndarray, reach: int = REACH) -> int:
    """When the change began that a detector alarms for at the end of z: the start, among the last `reach`, from which the mean
    lies furthest from 0 in its standard errors (the maximum likelihood under white noise).

    z : (n,) whitened values, NaN where missing.
    """
    start = max(len(z) - reach, 0)
    known = np.isfinite(z[start:])
    sums = np.cumsum(np.where(known, z[start:], 0.0)[::-1])[::-1]
    counts = np.cumsum(known[::-1])[::-1]
    return start + int(np.argmax(np.abs(sums) / np.sqrt(np.maximum(counts, 1))))


def deviations(z: np.ndarray, begin: int) -> np.ndarray:
    """Mean of every stream from `begin` on, in its standard errors, (k,), without sign. z : (n, k) whitened, NaN where missing."""
    known = np.isfinite(z[begin:])
    sums = np.where(known, z[begin:], 0.0).sum(0)
    return np.asarray(np.abs(sums) / np.sqrt(np.maximum(known.sum(0), 1)))
