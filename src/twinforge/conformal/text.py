"""Promises about free text: which claims of a text to keep, and how many texts to sample.

Claims : all kept claims of a new query are supported, with probability 1 - alpha (conformal factuality).
Sampler : the samples of a new query hold a correct one but for a share alpha, with probability 1 - delta over the calibration
    rows (conformal language modeling).

Queries must be exchangeable, for `Sampler` independent: give one a cluster where they are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from twinforge.conformal.risk import learn_then_test
from twinforge.conformal.threshold import Floats, check_share, digest, threshold_of
from twinforge.errors import UserError

Method = Literal["first-k", "max", "sum"]
CONFIDENCE = {"first-k": "samples drawn", "max": "largest kept score", "sum": "sum of kept scores"}
CARES = (1.0, 0.75, 0.5)  # shares of alpha at which the tuning queries name a reject setting; few rows need a low one
TESTS = 1 + len(CARES)  # reject settings that share delta: those, and rejecting nothing
QUANTILES = np.arange(0.1, 0.95, 0.1)  # of the tuning queries' scores and similarities, where rejecting may start
STOPS = 100  # most values of `stop` to test in a reject setting
TUNED = 2000  # most tuning queries; a fifth of all where that is less
TEXT = {math.inf: "never", -math.inf: "always"}


@dataclass(frozen=True)
class Fitted:
    """What both promises say of themselves. n : calibration queries. score : what was calibrated, in words.
    data : sha256 of the calibration rows."""

    alpha: float
    n: int
    method: str
    score: str
    data: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinities are the texts "never" and "always"."""
        return {key: TEXT.get(value, value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        own = {entry.name: value[entry.name] for entry in fields(cls)}
        return cls(**{key: {text: number for number, text in TEXT.items()}.get(x, x) for key, x in own.items()})


@dataclass(frozen=True)
class Claims(Fitted):
    """A score above which the claims of a text are kept: all of a new query's are supported with probability 1 - alpha.

    Keeping nothing counts as true; `emptied` says how often that is. threshold : claims that score higher are kept; infinite: none.
    """

    threshold: float

    @classmethod
    def fit(cls, query: NDArray[Any], score: Floats, supported: NDArray[np.bool_], alpha: float) -> Claims:
        """Calibrate on claims, a row each, by dropping claims as back-off (Mohri and Hashimoto 2024, theorem 4.1).

        A query counts by the largest score of its unsupported claims, minus infinity where there is none; of these the threshold is
        `threshold_of`. With continuous scores the coverage is exactly that of `coverage_band`. n < 1/alpha - 1: nothing is kept.

        Parameters
        ----------
        query : (r,) which query a claim answers. score : (r,) higher is surer. supported : (r,) whether the claim is true.

        Raises
        ------
        UserError
            No rows, lengths that differ, NaN scores, marks that are neither true nor false, or alpha outside (0, 1).
        """
        query, score, supported = _rows(query, score=score, supported=supported)
        keys, place = np.unique(query, return_inverse=True)
        worst = np.full(len(keys), -math.inf)
        np.maximum.at(worst, place[~supported], score[~supported])
        threshold, data = threshold_of(worst, alpha), digest(query, score, supported)
        return cls(alpha, len(keys), "claims", "largest score of an unsupported claim", data, threshold)

    def keep(self, score: Floats) -> NDArray[np.bool_]:
        """Which claims (r,) to keep; one at the threshold, or with a NaN score, is dropped."""
        return np.asarray(score, float) > self.threshold

    def emptied(self, query: NDArray[Any], score: Floats) -> float:
        """Share of the queries of which no claim is kept; rows as in `fit`."""
        query, score = _rows(query, score=score)
        return 1 - len(np.unique(query[self.keep(score)])) / len(np.unique(query))


@dataclass(frozen=True)
class Sampler(Fitted):
    """When to reject a sampled text and when to stop sampling: at most a share alpha of new queries ends without a correct sample,
    with probability 1 - delta over the calibration rows.

    Samples are taken in drawing order. One that scores below `least`, or is more alike to an earlier one than `most_alike`, is
    rejected. The set's confidence is, by method, the number of samples drawn ("first-k"), or the largest or the summed score of
    the kept ones ("max", "sum"); sampling ends with the sample that brings it to `stop`.

    n : calibration queries of the tests. tuned : further ones, which chose what to test.
    """

    delta: float
    tuned: int
    least: float
    most_alike: float
    stop: float

    @classmethod
    def fit(
        cls,
        query: NDArray[Any],
        score: Floats,
        correct: NDArray[np.bool_],
        alpha: float,
        delta: float,
        method: Method = "max",
        similarity: Floats | None = None,
    ) -> Sampler:
        """The valid setting with the smallest sets, then the fewest samples (Quach et al. 2024, algorithm 1).

        Parameters
        ----------
        query : (r,) which query a sample answers; its rows are in drawing order. Draw at least as many for new queries.
        score : (r,) quality, higher is better; at least 0 for "sum". correct : (r,) whether the sample is acceptable.
        similarity : (r,) the largest similarity to an earlier sample of the query; any low number for its first.

        Raises
        ------
        UserError
            A level that too few queries, or samples of which none is correct, put out of reach; and as for `Claims.fit`.
        """
        check_share("alpha", alpha, ", e.g. 0.1 for sets of which 9 in 10 hold a correct sample")
        check_share("delta", delta, ", e.g. 0.1")
        query, score, correct, *alike = _rows(query, score=score, correct=correct, similarity=similarity)
        everything, _ = _table(method, query, score, correct, *alike)
        # Names and order of the queries may say something of them, so a fixed draw splits them. What is tested, and in which order,
        # comes from the tuning queries alone (Pareto testing, Laufer-Goldshtein et al. 2023): on the others each loss is a
        # Bernoulli draw and its p-value exact. Each reject setting has an equal part of delta and walks down its own stops.
        shuffled = np.random.default_rng(0).permutation(len(everything.score))
        tuned = max(1, min(len(shuffled) // 5, TUNED))
        tuning, testing = everything.part(shuffled[:tuned]), everything.part(shuffled[tuned:])
        found = []
        for reject in promising(tuning, alpha, bool(alike)):
            stops = stops_of(walk(tuning, *reject)[0])
            losses = walk(testing, *reject)[2][:, None] >= stops
            if len(valid := learn_then_test([losses.astype(float)], [alpha], delta / TESTS)):
                stop = float(stops[valid[-1]])  # sets and samples only shrink along the stops: the last is the best
                drawn, kept, _ = (float(mean[0]) for mean in means(walk(everything, *reject), np.array([stop])))
                found.append((kept, drawn, stop, reject))
        if not found:
            raise UserError(_out_of_reach(walk(testing, -math.inf, math.inf)[2], alpha, delta))
        _, _, stop, reject = min(found)
        n, data = len(shuffled) - tuned, digest(query, score, correct, *alike)
        return cls(alpha, n, method, CONFIDENCE[method], data, delta, tuned, *reject, stop)

    def keep(self, query: NDArray[Any], score: Floats, similarity: Floats | None = None) -> NDArray[np.bool_]:
        """Which samples (r,) are in their query's set: not rejected, and drawn before the stop; rows as in `fit`."""
        if similarity is None and self.most_alike < math.inf:
            raise UserError(
                f"similarity is missing: samples above {self.most_alike:g} are rejected; give it for every row"
            )
        query, score, *alike = _rows(query, score=score, similarity=similarity)
        samples, cell = _table(self.method, query, score, np.zeros(len(query), bool), *alike)
        return np.asarray(walk(samples, self.least, self.most_alike)[1] < self.stop)[cell]


@dataclass(frozen=True)
class Samples:
    """The samples of n queries in drawing order, all (n, k), with NaN scores after the last of a query."""

    method: str
    score: Floats
    correct: NDArray[np.bool_]
    similarity: Floats

    def part(self, queries: NDArray[np.int64]) -> Samples:
        """The samples of some queries."""
        return Samples(self.method, self.score[queries], self.correct[queries], self.similarity[queries])


def walk(samples: Samples, least: float, most_alike: float) -> tuple[Floats, Floats, Floats]:
    """Draw all samples under a reject setting. A stop keeps what is below it of three confidences, each before a sample is drawn:

    (n, k) of every sample, infinite where there is none; (n, k) infinite where it is rejected too; (n,) of the first that is
    kept and correct, infinite where none is: the loss is that the stop does not exceed it.
    """
    passes = (samples.score >= least) & (samples.similarity <= most_alike)
    if samples.method == "first-k":
        confidence = np.broadcast_to(np.arange(1.0, passes.shape[1] + 1), passes.shape)
    elif samples.method == "max":
        confidence = np.maximum.accumulate(np.where(passes, samples.score, -math.inf), axis=1)
    else:
        confidence = np.cumsum(np.where(passes, samples.score, 0.0), axis=1)
    before = np.hstack([np.full((len(passes), 1), -math.inf), confidence[:, :-1]])  # the first is always drawn
    drawn, kept = np.where(np.isnan(samples.score), math.inf, before), np.where(passes, before, math.inf)
    return drawn, kept, np.where(samples.correct, kept, math.inf).min(axis=1)


def means(walked: tuple[Floats, Floats, Floats], stops: Floats) -> list[Floats]:
    """For each stop, the means over the queries: samples drawn, samples kept, and whether a correct one is kept."""
    return [np.searchsorted(np.sort(table, axis=None), stops) / len(table) for table in walked]


def stops_of(drawn: Floats) -> Floats:
    """At most `STOPS` values of `stop`, from the most careful: infinity, then the confidences that were met."""
    met = np.unique(drawn[np.isfinite(drawn)])[::-1]
    return np.append(math.inf, met[np.unique(np.linspace(0, len(met) - 1, min(len(met), STOPS - 1)).astype(int))])


def promising(samples: Samples, alpha: float, alike: bool) -> list[tuple[float, float]]:
    """Reject settings to test: none, and those with the smallest sets whose loss is within each share of alpha in `CARES`."""
    scores, similarities = samples.score[~np.isnan(samples.score)], samples.similarity[~np.isnan(samples.score)]
    least = [-math.inf, *np.quantile(scores, QUANTILES, method="lower").tolist()]
    most_alike = [math.inf, *(np.quantile(similarities, QUANTILES, method="lower").tolist() if alike else [])]
    best = [(math.inf, (-math.inf, math.inf)) for _ in CARES]
    for reject in itertools.product(dict.fromkeys(least), dict.fromkeys(most_alike)):
        walked = walk(samples, *reject)
        _, kept, right = means(walked, stops_of(walked[0]))
        sizes = [float(kept[1 - right <= care * alpha].min(initial=math.inf)) for care in CARES]
        best = [min(old, (size, reject)) for old, size in zip(best, sizes, strict=True)]
    return list(dict.fromkeys([(-math.inf, math.inf), *(reject for size, reject in best if size < math.inf)]))


def _out_of_reach(need: Floats, alpha: float, delta: float) -> str:
    """Why even all samples are not enough; their loss at its upper Clopper-Pearson bound is the lowest level there is."""
    n, lost = len(need), int(np.sum(need == math.inf))
    lowest = math.ceil(1e4 * beta.ppf(1 - delta / TESTS, lost + 1, n - lost)) / 1e4 if lost < n else 1.0
    level = f"the lowest at delta {delta} is {lowest:.4g}" if lowest < 1 else "no level can be reached"
    return f"alpha {alpha}: {lost} of {n} queries lack a correct sample; {level}; draw more samples, or more queries"


def _rows(query: NDArray[Any], **columns: Any) -> list[NDArray[Any]]:
    """The query and each column that is given, checked: a value a row, truth values for what is "supported" or "correct"."""
    checked = [np.asarray(query)]
    for name, column in columns.items():
        if column is None:
            continue
        column = np.asarray(column)
        if column.shape != checked[0].shape or column.ndim != 1:
            raise UserError(f"query {checked[0].shape} and {name} {column.shape}: give two vectors of one length")
        if name in ("supported", "correct"):
            if not (marks := np.isin(column, (0, 1))).all():
                raise UserError(f"{name} {column[~marks][0]}: give true or false for every row")
            checked.append(column.astype(bool))
        else:
            checked.append(column.astype(float))
            if wrong := int(np.isnan(checked[-1]).sum()):
                raise UserError(f"{name}: {wrong} of {len(column)} values are NaN; score those rows again")
    if not len(checked[0]):
        raise UserError("query is empty: give at least one row")
    return checked


def _table(
    method: str, query: NDArray[Any], score: Floats, correct: NDArray[np.bool_], similarity: Floats | None = None
) -> tuple[Samples, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The samples a query, and the cell of every row: its query and its turn."""
    if method not in CONFIDENCE:
        raise UserError(f"method {method!r}: give 'first-k', 'max' or 'sum'")
    if method == "sum" and (score < 0).any():
        raise UserError(f"score {score.min():g}: 'sum' needs scores of at least 0; shift them, or use 'max'")
    _, place, count = np.unique(query, return_inverse=True, return_counts=True)
    turn = np.empty_like(place)
    turn[np.argsort(place, kind="stable")] = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    tables = [np.full((len(count), count.max()), padding) for padding in (math.nan, False, -math.inf)]
    for table, values in zip(tables, (score, correct, -math.inf if similarity is None else similarity), strict=True):
        table[place, turn] = values
    return Samples(method, *tables), (place, turn)
