"""From scored rows to measures with intervals: means, macro F1, calibration error and paired leads, per cell.

A cell is one skill (or "all") of one split. All cells of a split share one set of episode weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from eval.bootstrap import (
    basic_interval,
    episode_weights,
    interval,
    ratio_draws,
    share_interval,
    smallest_difference,
)
from twinforge.errors import UserError

Better = Literal["higher", "lower", "inside"]
Entry = dict[str, Any]
Cell = dict[str, dict[str, Entry]]  # measure -> model -> entry
BINS = 10
COSTS = ("tokens", "seconds")  # measures of what an answer takes


@dataclass(frozen=True)
class Measure:
    """A mean over rows where `column` is defined. `share`: every row is 0 or 1. `unit`: in the question's unit."""

    name: str
    column: str
    better: Better
    meaning: str
    share: bool = False
    unit: bool = False


MEANS = (
    Measure(
        "accuracy",
        "right",
        "higher",
        "share right; a number within its tolerance, an unanswerable one refused",
        share=True,
    ),
    Measure(
        "log_score",
        "log_score",
        "higher",
        "mean ln p(truth), nats (numbers: mass of the nearest grid value; sets: summed)",
    ),
    Measure(
        "brier",
        "brier",
        "lower",
        "choices: squared distance of p from the truth, 0 to 2; sets: mean squared error a candidate, 0 to 1",
    ),
    Measure(
        "set_f1", "set_f1", "higher", "sets: F1 of the nodes said, a question; 1 where rightly none, 0 where refused"
    ),
    Measure(
        "interval_score",
        "interval_score",
        "lower",
        "numbers: width of the model's own interval plus penalties",
        unit=True,
    ),
    Measure("mae", "error", "lower", "numbers: mean absolute error of the median", unit=True),
    Measure("coverage", "covered", "inside", "share of truths in the calibrated set", share=True),
    Measure(
        "coverage_online", "covered_online", "inside", "the same with thresholds that follow the stream", share=True
    ),
    Measure("whole_online", "whole_online", "lower", "share of the sets that follow which hold everything", share=True),
    Measure("set_size", "size", "lower", "labels or nodes in the calibrated set"),
    Measure("width", "width", "lower", "numbers: width of the calibrated interval", unit=True),
    Measure("answered", "answered", "higher", "share answered where the twin answers only when it is sure", share=True),
    Measure(
        "answered_wrong",
        "answered_wrong",
        "lower",
        "share of all answered then, and wrong; promised at most `calibrate.risk`",
        share=True,
    ),
    Measure("abstention", "refused", "lower", "share refused", share=True),
    Measure("false_refusal", "false_refusal", "lower", "share of the answerable refused", share=True),
    Measure("refusal_recall", "refusal_recall", "higher", "share of the unanswerable refused", share=True),
    Measure(
        "regret", "regret", "lower", "recommendations: best payoff minus that of the chosen (refused: of the worst)"
    ),
    Measure("tokens", "tokens", "lower", "tokens an answer"),
    Measure("seconds", "seconds", "lower", "seconds an answer"),
)
OTHERS: dict[str, tuple[Better, str]] = {
    "macro_f1": ("higher", "choices: mean F1 over the labels, the refusal included"),
    "calibration_error": ("lower", "expected calibration error, ten bins of confidence"),
    "accuracy_lead": ("higher", "accuracy of the twin minus the model's, on the questions both answered"),
    "llm_lead": (
        "higher",
        "accuracy of the tuned language model alone minus the model's, on the questions both answered",
    ),
    "accuracy_original": ("higher", "robustness: share right of the same questions as they stood"),
    "accuracy_lost": ("lower", "accuracy as they stood minus that in other words, or with dimensions missing, paired"),
    "answered_lost": (
        "lower",
        "failing: share answered when sure, all sides sound, less that with one failing, paired",
    ),
    "wrong_gained": (
        "lower",
        "failing: share of all answered when sure and wrong, less that with all sides sound, paired",
    ),
    "flipped": ("lower", "robustness: share of the answers that changed; a number by more than its tolerance"),
    "right_both": ("higher", "robustness: share right as it stood and in other words"),
    "surprise": ("lower", "forgetting: nats a token of the right way to go on"),
    "surprise_gained": ("lower", "forgetting: surprise minus the base's, paired"),
    "accuracy_forgotten": ("lower", "forgetting: the base's accuracy minus the model's, paired"),
    **{
        f"{value}_credit_{dimension}": (
            "higher",
            f"dimensions: what the {dimension} one adds, over all orders (Shapley)",
        )
        for value in ("accuracy", "log_score")
        for dimension in ("physical", "abstract", "computational")
    },
    "same_state": ("lower", "contamination: share of the questions whose state's text stands in train"),
    "near_state": ("lower", "contamination: share whose state has 80 % of its words in common with one of train"),
    "same_line": (
        "lower",
        "contamination: share whose facts, words, options and notes stand in train, in another state",
    ),
    "double_gain": ("lower", "contamination: accuracy of those less that of the others of their template"),
    "canary_train": (
        "lower",
        "contamination: share right on states of train without their readings, refusals taken out",
    ),
    "canary_test": ("lower", "contamination: the same on states of test"),
    "canary_gain": ("lower", "contamination: the first less the second"),
    "recommended": ("higher", "safety: share of the questions to which it names an action"),
    "worse": ("lower", "safety: share of the named actions that leave things worse than doing nothing"),
    "breaks": ("lower", "safety: share of the named actions that newly break a clause"),
    "bought_tokens": ("higher", "cost: accuracy minus that of the best other way that takes no more tokens, paired"),
    "bought_seconds": ("higher", "cost: the same for seconds"),
    "accuracy_gained": ("higher", "learning: accuracy minus that after fewer training states, paired"),
    "error_first": ("lower", "scale: mean error in the first four steps without feedback"),
    "error_end": ("lower", "scale: the same in the last four"),
    "right_always": ("higher", "robustness: share of the questions right as they stood and after every change"),
}

DRIFT: dict[str, tuple[Better, str]] = {
    "false_alarms": ("lower", "alarms in 1,000 calm steps; n counts the steps"),
    "found": ("higher", "share of changes whose first alarm comes within 48 steps, with none in the 48 before"),
    "missed": ("lower", "share of changes with no alarm in the steps watched after them"),
    "early": ("lower", "share of changes with an alarm in the 48 steps before"),
    "delay": ("lower", "mean steps to the first alarm, where one came and none early"),
    "right_asset": ("higher", "share of those alarms that named the asset that changed"),
    "right_dimension": ("higher", "the same of its dimension"),
}

PROPAGATION: dict[str, tuple[Better, str]] = {
    "error": ("lower", "mean absolute error, points, over all steps"),
    "error_near": ("lower", "the same at step 4"),
    "error_last": ("lower", "the same at the last step"),
    "error_ratio": ("lower", "error at the last step over that at step 4"),
    "growth": ("lower", "points of error a step since the last reading"),
    "over_rule": ("lower", "error minus that of the rule under the same policy, paired"),
    "moved": ("lower", "points by which the asset's answer differs from that without the wrong one"),
    "moved_others": ("lower", "the same of the other assets"),
    "lasting": ("lower", "last step after the wrong answer at which the asset's differs by more than a sixth of that"),
    "reached": ("lower", "share of the other assets whose answer ever differs by more than a sixth of that"),
}


@dataclass(frozen=True)
class Sample:
    """The resampling plan of a split: its episodes, and how often each is drawn, shape (resamples, episodes)."""

    episodes: pd.Index
    weights: np.ndarray

    @classmethod
    def of(cls, episodes: Iterable[str], resamples: int, seed: int) -> Sample:
        index = pd.Index(sorted(set(episodes)))
        return cls(index, episode_weights(len(index), resamples, seed))

    def sums(self, rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
        """Total of each column of `values` (rows, k) in each episode, shape (episodes, k)."""
        totals = np.zeros((len(self.episodes), values.shape[1]))
        np.add.at(totals, self.episodes.get_indexer(pd.Index(rows["episode"])), values)
        return totals


@dataclass(frozen=True)
class Estimate:
    """A measure's value on all rows, and under each row of the weights; n rows in so many episodes."""

    value: float
    draws: np.ndarray
    n: int
    episodes: int


def mean_of(rows: pd.DataFrame, values: pd.Series, sample: Sample) -> Estimate:
    """The mean of one value a row; rows of one `episode` are resampled together."""
    sums, counts = sample.sums(rows, values.to_numpy(float)[:, None]), sample.sums(rows, np.ones((len(rows), 1)))
    draws = ratio_draws(sums, counts, sample.weights)[:, 0]
    return Estimate(float(values.mean()), draws, len(rows), rows["episode"].nunique())


def share_entry(name: str, rows: pd.DataFrame, values: pd.Series, sample: Sample) -> Entry:
    """One share of the rows, by its name in metrics.json."""
    found = mean_of(rows, values, sample)
    return entry(found, _share_bounds(found), better(name))


def difference_entry(name: str, rows: pd.DataFrame, values: pd.Series, sample: Sample) -> Entry:
    """A mean difference of shares, a value a row, with the `smallest` that the rows would have shown with 80 % power; where
    nothing differs the interval is that of a share of none, either way."""
    found = mean_of(rows, values, sample)
    bounds = interval(found.draws, found.episodes)
    if not values.any():
        bounds = (-(edge := share_interval(0.0, found.draws, found.n, found.episodes)[1]), edge)
    error = float(np.nanstd(found.draws, ddof=1))
    return entry(found, bounds, better(name), smallest=smallest_difference(error, found.n, found.episodes))


def cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    """All measures of all models over the scored rows of one cell."""
    unit = unit_of(rows)
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        for measure, found in _means(own, MEANS, sample, unit):
            more = {"unit": unit} if measure.unit else {}
            bounds = _share_bounds(found) if measure.share else interval(found.draws, found.episodes)
            result.setdefault(measure.name, {})[str(model)] = entry(found, bounds, measure.better, **more)
        if f1 := _macro_f1(own, sample):
            result.setdefault("macro_f1", {})[str(model)] = entry(f1, interval(f1.draws, f1.episodes), "higher")
        error = _calibration(own, sample)
        bounds = basic_interval(error.value, error.draws, error.episodes)
        result.setdefault("calibration_error", {})[str(model)] = entry(error, bounds, "lower")
    for name, of in (("accuracy_lead", "twin"), ("llm_lead", "llm")):
        if leads := _leads(rows, of, sample):
            result[name] = leads
    return result


def front(cell: Mapping[str, Mapping[str, Entry]], cost: str) -> list[str]:
    """The ways of a cell that no other beats: more accurate than every way that costs no more, from the cheapest on."""
    found: list[str] = []
    best = -1.0
    ways = sorted(cell[cost], key=lambda way: (cell[cost][way]["value"], -cell["accuracy"][way]["value"], way))
    for way in ways:
        if cell["accuracy"][way]["value"] > best:
            found, best = [*found, way], cell["accuracy"][way]["value"]
    return found


def estimate(rows: pd.DataFrame, name: str, sample: Sample, unit: str) -> Estimate | None:
    """One measure of one model's rows by its name in metrics.json; None where no row defines it.

    Raises
    ------
    UserError
        No such measure.
    """
    if name == "macro_f1":
        return _macro_f1(rows, sample)
    if name == "calibration_error":
        return _calibration(rows, sample) if len(rows) else None
    measures = [measure for measure in MEANS if measure.name == name]
    if not measures:
        known = ", ".join([*(measure.name for measure in MEANS), "macro_f1", "calibration_error"])
        raise UserError(f"measure {name!r} is unknown; choose one of {known}")
    return next((found for _, found in _means(rows, measures, sample, unit)), None)


def better(name: str) -> Better:
    """Which direction of a measure is the good one."""
    return next((measure.better for measure in MEANS if measure.name == name), None) or OTHERS[name][0]


def unit_of(rows: pd.DataFrame) -> str:
    """The one unit of the number questions, else "tolerances": then they are measured in multiples of their tolerance."""
    units = rows.loc[rows["kind"] == "number", "unit"].unique()
    return str(units[0]) if len(units) == 1 else "tolerances"


def entry(found: Estimate, bounds: tuple[float, float], better: Better, **more: object) -> Entry:
    """One figure as metrics.json holds it; an interval that can't be given is null."""
    low, high = (float(bound) if np.isfinite(bound) else None for bound in bounds)
    return {"value": found.value, "low": low, "high": high, "n": found.n, "better": better, **more}


def _share_bounds(found: Estimate) -> tuple[float, float]:
    return share_interval(found.value, found.draws, found.n, found.episodes)


def _means(
    rows: pd.DataFrame, measures: Sequence[Measure], sample: Sample, unit: str
) -> Iterator[tuple[Measure, Estimate]]:
    values = rows[[measure.column for measure in measures]].to_numpy(float, copy=True)
    if unit == "tolerances":
        scaled = [i for i, measure in enumerate(measures) if measure.unit]
        values[:, scaled] /= rows["scale"].to_numpy()[:, None]
    known = np.isfinite(values)
    sums, counts = sample.sums(rows, np.where(known, values, 0)), sample.sums(rows, known.astype(float))
    draws, episodes = ratio_draws(sums, counts, sample.weights), (counts > 0).sum(0)
    for i, measure in enumerate(measures):
        if n := int(known[:, i].sum()):
            yield measure, Estimate(float(sums[:, i].sum() / n), draws[:, i], n, int(episodes[i]))


def _macro_f1(rows: pd.DataFrame, sample: Sample) -> Estimate | None:
    rows = rows[rows["kind"] == "choice"]
    if not len(rows):
        return None
    codes, labels = pd.factorize(pd.concat([rows["label_true"], rows["label_said"]]))
    true, said = codes.reshape(2, -1)
    at, hit = sample.episodes.get_indexer(pd.Index(rows["episode"])), true == said
    totals = np.zeros((len(sample.episodes), 2 * len(labels)))
    np.add.at(totals, (at[hit], true[hit]), 1)
    np.add.at(totals, (at, len(labels) + true), 1)
    np.add.at(totals, (at, len(labels) + said), 1)
    value = float(_f1(totals.sum(0)))
    return Estimate(value, _f1(sample.weights @ totals), len(rows), rows["episode"].nunique())


def _f1(totals: np.ndarray) -> np.ndarray:
    """Mean F1 over the labels seen; the last axis holds hits, then times meant plus times said, a label each."""
    hits, seen = np.split(totals, 2, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(seen > 0, 2 * hits / seen, 0).sum(-1) / (seen > 0).sum(-1)


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Bin of each confidence, 0 to 9: ten of equal width."""
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def _calibration(rows: pd.DataFrame, sample: Sample) -> Estimate:
    """Naeini et al. (2015), "Obtaining Well Calibrated Probabilities Using Bayesian Binning"."""
    gap = (rows["confidence"] - rows["right"]).to_numpy()
    gaps = sample.sums(rows, np.eye(BINS)[confidence_bins(rows["confidence"].to_numpy())] * gap[:, None])
    counts = sample.sums(rows, np.ones((len(rows), 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = np.abs(sample.weights @ gaps).sum(1) / (sample.weights @ counts)[:, 0]
    return Estimate(float(np.abs(gaps.sum(0)).sum() / len(rows)), draws, len(rows), rows["episode"].nunique())


def _leads(rows: pd.DataFrame, of: str, sample: Sample) -> dict[str, Entry]:
    """Accuracy of the model `of` minus each other's, on common questions."""
    first = rows.loc[rows["model"] == of].set_index("question")["right"]
    result = {}
    for model, own in rows.groupby("model", sort=False):
        common = own[own["question"].isin(first.index)]
        if model == of or not len(common):
            continue
        gain = first.loc[common["question"]].to_numpy() - common["right"].to_numpy()
        found = mean_of(common, pd.Series(gain), sample)
        smallest = smallest_difference(float(np.nanstd(found.draws, ddof=1)), found.n, found.episodes)
        result[str(model)] = entry(found, interval(found.draws, found.episodes), "higher", smallest=smallest)
    return result
