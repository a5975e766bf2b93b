"""From scored rows to measures with intervals: means, macro F1, calibration error and paired leads, per cell.

A cell is one skill (or "all") of one split. All cells of a split share one set of episode weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from eval.meanings import MEANS, Better, Measure, better
from twinforge.errors import UserError

Entry = dict[str, Any]
Cell = dict[str, dict[str, Entry]]  # measure -> model -> entry
BINS = 10


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
