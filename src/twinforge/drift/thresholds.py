"""Thresholds for a stated run length: how many calm steps pass, on average, until a detector alarms for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twinforge.drift.detectors import Detector
from twinforge.errors import UserError

LEAST = 2000  # calm values below which no threshold is found: their rare turns are what it is made of
BLOCK = 24  # mean length of a block: a day of hours


@dataclass(frozen=True)
class Threshold:
    """Where a detector alarms. run_length : estimated on the bootstrap, never below the stated one; alarms : how many of its
    streams alarmed, which is what the estimate rests on."""

    value: float
    run_length: float
    alarms: int


def bootstrap(n: int, length: int, block: float, rng: np.random.Generator) -> np.ndarray:
    """Positions (length,) in a series of n: runs of mean length `block` from random starts, the end followed by the beginning.

    References
    ----------
    Politis and Romano 1994, The Stationary Bootstrap.
    """
    fresh = rng.random(length) < 1 / block
    fresh[0] = True
    begun = np.maximum.accumulate(np.where(fresh, np.arange(length), 0))
    return np.asarray((rng.integers(n, size=length)[begun] + np.arange(length) - begun) % n)


def threshold_for(
    detector: Detector, calm: Sequence[np.ndarray], run_length: int, seed: int, block: float = BLOCK
) -> Threshold:
    """The lowest threshold whose run length on bootstrapped calm is at least the stated one.

    Parameters
    ----------
    calm : streams of whitened values (n,), NaN where missing, or of vectors (n, d); each bootstrapped stream is of one of them,
        in turn.
    run_length : average number of steps to a false alarm.

    Raises
    ------
    UserError
        Fewer than 2,000 calm values in all, or no setting of the detector reaches the run length.
    """
    known = [x[np.isfinite(x)] if x.ndim == 1 else x for x in calm]
    if (n := sum(map(len, known))) < LEAST:
        raise UserError(f"{detector.name}: {n} calm values: a run length takes {LEAST} or more; gather a longer calm")
    rng = np.random.default_rng(seed)
    count = max(detector.effort // run_length, 20)
    drawn = (known[i % len(known)] for i in range(count))
    highest = [np.maximum.accumulate(detector.path(x[bootstrap(len(x), run_length, block, rng)])) for x in drawn]
    levels = np.unique(np.concatenate(highest))
    levels = levels[levels > 0]
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if run_length_of(highest, levels[middle])[0] < run_length else (low, middle)
    if low == len(levels):
        raise UserError(f"{detector.name}: no setting reaches a run length of {run_length}; state a shorter one")
    length, alarms = run_length_of(highest, levels[low])
    return Threshold(float(levels[low]), length, alarms)


def run_length_of(highest: Sequence[np.ndarray], threshold: float) -> tuple[float, int]:
    """Average run length from running maxima of paths of equal length, and how many reach the threshold.

    Total time at risk over the number of alarms: the maximum-likelihood estimate for exponential times cut off at the end.
    """
    firsts = [int(np.searchsorted(path, threshold)) for path in highest]
    alarms = sum(first < len(path) for first, path in zip(firsts, highest, strict=True))
    time = sum(min(first + 1, len(path)) for first, path in zip(firsts, highest, strict=True))
    return (time / alarms if alarms else float("inf")), alarms
