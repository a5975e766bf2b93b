"""Was the promise kept? Coverage with the band that chance allows, sizes, and coverage under conditions.

Independent rows: the exact Beta-binomial law, for both the calibration's and the new rows' chance. Rows that depend on each
other: whole clusters resampled. A promise "with probability 1 - delta" has no chance of the calibration's in its band. Only
too little coverage fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

from twinforge.conformal.threshold import Floats, coverage_band, rank

LEVEL = 0.95  # of the band, all groups of a report together
RESAMPLES = 2000
UNJUDGED = (math.nan, math.nan)
PARTS = 4  # of widths or scores, in the conditional report


@dataclass(frozen=True)
class Outcome:
    """New rows and what became of their sets.

    covered : (m,) bool. size : (m,) options, nodes, claims or width. score : (m,) how sure the model was, where it says so.
    groups : (m,) names, where there are any. by_group : whether the promise is made in each. cluster : (m,) which rows depend.
    size_name, score_name : what they are called in the report.
    """

    covered: NDArray[np.bool_]
    size: Floats
    size_name: str
    score: Floats | None = None
    score_name: str = "score"
    groups: NDArray[Any] | None = None
    by_group: bool = False
    cluster: NDArray[Any] | None = None


@dataclass(frozen=True)
class Promise:
    """What was promised: coverage of at least `level`.

    n : calibration rows of each group, "" for all: the law's; empty: the promise holds as it is ("with probability
    1 - delta"), or is a stated `bound` on |misses - alpha|. spread : standard deviation of the coverage over calibrations,
    where it was found by resampling clusters.
    """

    level: float
    n: Mapping[str, int]
    spread: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a report. band : the coverages that agree with the promise; NaN where it is not judged."""

    name: str
    n: int
    coverage: float
    band: tuple[float, float]
    size: float
    median_size: float

    @property
    def ok(self) -> bool:
        return not self.coverage < self.band[0]


def report(outcome: Outcome, promise: Promise, seed: int = 0) -> list[Row]:
    """The whole, and every group. Judged are the groups where the promise is made in each, else the whole."""
    names = [""] if outcome.groups is None else ["", *sorted({str(name) for name in outcome.groups})]
    groups = np.zeros(len(outcome.covered), "U1") if outcome.groups is None else outcome.groups.astype(str)
    judged = [name for name in names if bool(name) == outcome.by_group]
    rows = []
    for name in names:
        mine = np.ones(len(groups), bool) if name == "" else groups == name
        level = 1 - (1 - LEVEL) / len(judged)
        cluster = None if outcome.cluster is None else outcome.cluster[mine]
        band = _band(outcome.covered[mine], cluster, promise, name, level, seed) if name in judged else UNJUDGED
        rows.append(_row(name or "all", outcome, mine, band))
    return rows


def conditional(outcome: Outcome) -> Iterator[tuple[str, list[Row]]]:
    """Coverage by size and by score: nothing is promised there, but a set that misses where it is small misleads."""
    yield f"by {outcome.size_name}", _by(outcome, outcome.size)
    if outcome.score is not None:
        yield f"by {outcome.score_name}", _by(outcome, outcome.score)


def spread_of(covered: NDArray[np.bool_], cluster: NDArray[Any], seed: int = 0) -> float:
    """Standard deviation of the share that is covered, over draws of whole clusters, widened for few of them."""
    deviations, few = _resample(covered, cluster, seed)
    return float(deviations.std() * few)


def _band(
    covered: NDArray[np.bool_], cluster: NDArray[Any] | None, promise: Promise, name: str, level: float, seed: int
) -> tuple[float, float]:
    m, alpha = len(covered), 1 - promise.level
    if promise.bound is not None:
        return promise.level - promise.bound, promise.level + promise.bound
    n = promise.n.get(name) if promise.n else None
    if promise.n and (n is None or rank(n, alpha) > n):
        return 1.0, 1.0  # everything is in these sets
    if cluster is not None and len(np.unique(cluster)) > 1:
        deviations, few = _resample(covered, cluster, seed)
        spread = promise.spread or (_beta_spread(n, alpha) if n is not None else 0.0)
        draws = few * deviations + np.random.default_rng([seed, 1]).normal(0, spread, RESAMPLES)
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return promise.level + float(low), min(1.0, promise.level + float(high))
    if n is None:
        ends = binom.ppf([(1 - level) / 2, (1 + level) / 2], m, promise.level) / max(m, 1)
        return float(ends[0]), float(ends[1])
    return coverage_band(n, m, alpha, level)


def _resample(covered: NDArray[np.bool_], cluster: NDArray[Any], seed: int) -> tuple[Floats, float]:
    """Coverage less what was seen, in resamples of whole clusters; and by how much to widen them for few clusters."""
    place = np.unique(cluster, return_inverse=True)[1]
    size = np.bincount(place)
    hits, count = np.bincount(place, covered), len(size)
    drawn = np.random.default_rng([seed, 0]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    widen = float(t.ppf(0.975, count - 1) / 1.96 * math.sqrt(count / (count - 1))) if count > 1 else 1.0
    return (drawn @ hits) / (drawn @ size) - covered.mean(), widen


def _beta_spread(n: int, alpha: float) -> float:
    k = rank(n, alpha)
    return math.sqrt(k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2)))


def _by(outcome: Outcome, value: Floats) -> list[Row]:
    """Each value, where there are few, else equal parts."""
    found = np.unique(value)
    if len(found) <= 2 * PARTS:
        parts: Sequence[tuple[str, NDArray[np.bool_]]] = [(f"{v:g}", value == v) for v in found]
    else:
        edges = np.unique(np.quantile(value, np.linspace(0, 1, PARTS + 1), method="lower"))  # of infinite ones too
        place = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2)
        parts = [(f"{edges[i]:.3g} to {edges[i + 1]:.3g}", place == i) for i in range(len(edges) - 1)]
    return [_row(name, outcome, mine, UNJUDGED) for name, mine in parts if mine.any()]


def _row(name: str, outcome: Outcome, mine: NDArray[np.bool_], band: tuple[float, float]) -> Row:
    covered, size = outcome.covered[mine], outcome.size[mine]
    if not len(covered):
        return Row(name, 0, math.nan, band, math.nan, math.nan)
    return Row(name, len(covered), float(covered.mean()), band, float(size.mean()), float(np.median(size)))
