"""Detectors of a change, behind one protocol: river's where it has them, CUSUM and MMD beside them.

A detector reads whitened values one after another. Its `path` is the evidence against calm at every step; it alarms where
that reaches a threshold, and starts anew. Which threshold gives which run length is found by `thresholds`. All other settings are
their authors' or river's defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from river import drift

from twinforge.errors import UserError

CHUNK = 512  # steps of a path that are worked out at once while looking for the next alarm


class Detector(Protocol):
    """What all detectors have in common.

    name : as in the reference and the metrics. effort : how many steps of calm a calibration takes. free : whether its law in
    calm is that of ranks, the same for any distribution of the values.
    """

    @property
    def name(self) -> str: ...

    @property
    def effort(self) -> int: ...

    @property
    def free(self) -> bool: ...

    def path(self, x: np.ndarray) -> np.ndarray:
        """Evidence at every step, (n,), from a fresh start and as if it never alarmed. x : (n,), or (n, d) vectors."""
        ...

    def alarms(self, x: np.ndarray, threshold: float) -> list[int]:
        """Steps at which it alarms, ascending; after each it starts anew."""
        ...


@dataclass(frozen=True)
class CUSUM:
    """Two-sided cumulative sum (Page 1954): sums what exceeds `slack`, half the shift that is to be found soonest."""

    slack: float = 0.5
    name: str = "cusum"
    effort: int = 100_000
    free: bool = False

    def path(self, x: np.ndarray) -> np.ndarray:
        return np.fromiter(self._sums(x, math.inf), float, len(x))

    def alarms(self, x: np.ndarray, threshold: float) -> list[int]:
        return [at for at, value in enumerate(self._sums(x, threshold)) if value >= threshold]

    def _sums(self, x: np.ndarray, threshold: float) -> Iterator[float]:
        """The larger of both sums at every step; they start anew after one that reaches the threshold."""
        high = low = 0.0
        for value in x.tolist():
            high, low = max(high + value - self.slack, 0.0), max(low - value - self.slack, 0.0)
            yield max(high, low)
            if max(high, low) >= threshold:
                high = low = 0.0


@dataclass(frozen=True)
class _River:
    """A detector of river. Its own setting takes the threshold's place; `ladder` are the thresholds that are tried."""

    name: str
    ladder: tuple[float, ...]
    make: Callable[[float], Any] = field(repr=False)
    effort: int = 60_000
    free: bool = False

    def path(self, x: np.ndarray) -> np.ndarray:
        """The highest rung of the ladder that has alarmed so far, 0 before the first."""
        found, values = np.zeros(len(x)), x.tolist()
        for rung in self.ladder:
            first = next(_alarms(self.make(rung), values), None)
            if first is None:  # a stricter one won't alarm either
                break
            found[first:] = rung
        return found

    def alarms(self, x: np.ndarray, threshold: float) -> list[int]:
        return list(_alarms(self.make(threshold), x.tolist()))


def _alarms(detector: Any, values: Sequence[float]) -> Iterator[int]:
    """Steps at which a detector of river alarms."""
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            yield at


def _adwin(threshold: float) -> Any:
    return drift.ADWIN(delta=10.0**-threshold)


def _page_hinkley(threshold: float) -> Any:
    return drift.PageHinkley(threshold=threshold)


# Bifet and Gavalda 2007: the threshold is -log10 of river's delta.
ADWIN = _River("adwin", tuple(np.arange(0.02, 12.0, 0.12).tolist()), _adwin)
# Page 1954 with a running mean: the threshold is river's, values being in standard deviations.
PageHinkley = _River("page-hinkley", tuple(np.geomspace(20, 500, 40).round(2).tolist()), _page_hinkley)


@dataclass(frozen=True)
class _Kswin:
    """Kolmogorov-Smirnov between the last 30 values and 30 of the 70 before (Raab et al. 2020, by river): -log10 of its p-value."""

    name: str = "kswin"
    effort: int = 30_000  # a test of two samples at every step: a thousand times the others' time
    free: bool = True
    seed: int = 0

    def path(self, x: np.ndarray) -> np.ndarray:
        detector, found = drift.KSWIN(alpha=0.0, seed=self.seed), np.zeros(len(x))
        for at, value in enumerate(x.tolist()):
            detector.update(value)
            if at >= detector.window_size - 1:
                found[at] = -np.log10(max(detector.p_value, 1e-300))
        return found

    def alarms(self, x: np.ndarray, threshold: float) -> list[int]:
        return list(_alarms(drift.KSWIN(alpha=10.0**-threshold, seed=self.seed), x.tolist()))


KSWIN = _Kswin()


@dataclass(frozen=True)
class MMD:
    """Maximum mean discrepancy between the last `window` vectors and the calm ones, by random Fourier features.

    mean : (features,) mean of the calm features. bandwidth : of the Gaussian kernel. dim : of the vectors. seed : of the features.
    Its `path` is window times the squared distance of the feature means, 0 until a window is full.

    References
    ----------
    Gretton et al. 2012, A Kernel Two-Sample Test; Rahimi and Recht 2007, Random Features for Large-Scale Kernel Machines.
    """

    mean: tuple[float, ...]
    bandwidth: float
    dim: int
    window: int = 56
    seed: int = 0
    name: str = "mmd"
    effort: int = 100_000
    free: bool = False

    @classmethod
    def fit(cls, calm: np.ndarray, window: int = 56, features: int = 256, seed: int = 0) -> MMD:
        """From (n, d) calm vectors; the bandwidth is the median distance of two of them (of at most 500 drawn).

        Raises
        ------
        UserError
            Vectors that (nearly) all equal each other.
        """
        drawn = calm[np.random.default_rng(seed).permutation(len(calm))[:500]]
        squares = (drawn**2).sum(1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * drawn @ drawn.T, 0))
        bandwidth = float(np.median(distances[np.triu_indices(len(drawn), 1)]))
        if not bandwidth > 0:
            raise UserError("MMD: more than half of the calm vectors are equal: they can't be watched")
        plain = cls((0.0,) * features, bandwidth, calm.shape[1], window, seed)
        return cls(tuple(plain.features(calm).mean(0).tolist()), bandwidth, calm.shape[1], window, seed)

    @cached_property
    def _projection(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        frequencies = rng.normal(0, 1 / self.bandwidth, (self.dim, len(self.mean)))
        return frequencies, rng.uniform(0, 2 * np.pi, len(self.mean))

    def features(self, x: np.ndarray) -> np.ndarray:
        """(n, features): their inner products are near the kernel's values."""
        frequencies, phase = self._projection
        return np.asarray(np.sqrt(2 / len(self.mean)) * np.cos(x @ frequencies + phase))

    def path(self, x: np.ndarray) -> np.ndarray:
        gaps = np.vstack([np.zeros(len(self.mean)), np.cumsum(self.features(x) - np.array(self.mean), axis=0)])
        found = np.zeros(len(x))
        if len(x) >= self.window:
            means = (gaps[self.window :] - gaps[: -self.window]) / self.window
            found[self.window - 1 :] = self.window * (means**2).sum(1)
        return found

    def alarms(self, x: np.ndarray, threshold: float) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(x):
            over = np.flatnonzero(self.path(x[start : start + CHUNK]) >= threshold)
            if len(over):
                found.append(start + int(over[0]))
                start = found[-1] + 1
            else:  # the next piece begins with the values that its first window still needs
                start += max(CHUNK - self.window + 1, 1)
        return found


SCALAR: tuple[Detector, ...] = (CUSUM(), PageHinkley, ADWIN, KSWIN)
