"""Propagation: how errors grow when a twin is fed its own answers, and how far one wrong answer reaches.

Its rows come from `eval.rolling`. In metrics.json a policy stands where a skill stands elsewhere, on split "later": hours that no
episode of the lake touches. The operator's rule only adds the change that is expected to what it said last: what a model errs
more than it, it adds by itself. Under "simulator" the rule is fed no answer at all, and errs by the weather that nobody foresaw.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from eval.bootstrap import interval
from eval.evidence import Evidence, Measures, Result
from eval.meanings import PROPAGATION
from eval.measures import Cell, Estimate, Sample, entry, mean_of, share_entry
from eval.retries import asked_again
from eval.rolling import AT, ROLL, RULE, TWIN, WRONG
from twinforge.errors import UserError

SPLIT = "later"
NEAR = 4  # `error_ratio`: error at the last step over that at this one
TOLD = 1 / 6  # of the wrong points: less is no move
LAGS = (1, 4, 12)


def run(evidence: Evidence) -> Result:
    """Measure every model under every policy; intervals resample whole rollouts.

    Returns
    -------
    Result
        Of each policy `error` (points, mean over its steps), `error_near` and `error_last` (at step 4 and at the last one),
        `error_ratio` (their ratio), `growth` (points a
        step since the last reading, by least squares) and `over_rule` (error minus the rule's, paired). Of the wrong answer:
        `moved` and `moved_others` at some lags, `lasting` and `reached`. On split "test" the ways of asking again stand where skills
        stand, with the measures of `eval.retries.asked_again`. The table has the rows of `eval.rolling.ROLL`.

    Raises
    ------
    UserError
        An answer that stands twice, or a wrong answer without the same rollout as it was.
    """
    rows, again = evidence.rolled, asked_again(evidence)
    retried: Measures = {"test": again} if again else {}
    if not len(rows):
        return Result(retried, pd.DataFrame(columns=ROLL.names), ROLL)
    if rows.duplicated(["rollout", "policy", "model", "asset", "step"]).any():
        raise UserError("rolled answers: one stands twice; run `dvc repro` again")
    table = rows.assign(
        episode=rows["rollout"], error=(rows["said"] - rows["truth"]).abs(), age=rows["step"] - rows["seen"]
    )
    sample = Sample.of(table["episode"], evidence.resamples, evidence.seed)
    cells = {
        str(policy): _cell(own, sample) for policy, own in table.groupby("policy", sort=False) if policy not in WRONG
    }
    for wrong, plain in WRONG.items():
        cells |= _wrong(table[table["policy"] == wrong], table[table["policy"] == plain], wrong, sample)
    return Result({SPLIT: cells, **retried}, rows, ROLL)


def course(rows: pd.DataFrame, resamples: int, seed: int, width: int = 4) -> pd.DataFrame:
    """Mean error in every `width` steps; columns policy, model, step (the middle), value, low, high, n."""
    found = []
    for (policy, model), own in rows[~rows["policy"].isin(list(WRONG))].groupby(["policy", "model"], sort=False):
        own = own.assign(
            episode=own["rollout"], error=(own["said"] - own["truth"]).abs(), part=(own["step"] - 1) // width
        )
        sample = Sample.of(own["episode"], resamples, seed)
        for _, some in own.groupby("part"):
            mean = mean_of(some, some["error"], sample)
            low, high = interval(mean.draws, mean.episodes)
            middle = float(some["part"].iloc[0] * width + (width + 1) / 2)
            found.append((policy, model, middle, mean.value, low, high, mean.n))
    return pd.DataFrame(found, columns=["policy", "model", "step", "value", "low", "high", "n"])


def _cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    """All measures of one policy."""
    result: Cell = {}
    rule = rows[rows["model"] == RULE].set_index(["rollout", "asset", "step"])["error"]
    for model, own in rows.groupby("model", sort=False):
        near, last = (
            mean_of(part, part["error"], sample)
            for part in (own[own["step"] == NEAR], own[own["step"] == own["step"].max()])
        )
        found = {
            "error": mean_of(own, own["error"], sample),
            "error_near": near,
            "error_last": last,
            "growth": _slope(own, sample),
        }
        if near.value > 0:
            with np.errstate(invalid="ignore", divide="ignore"):
                found["error_ratio"] = Estimate(last.value / near.value, last.draws / near.draws, last.n, last.episodes)
        keys = own.set_index(["rollout", "asset", "step"]).index
        if model != RULE and keys.isin(rule.index).all():
            more = own["error"] - rule.loc[keys].to_numpy()
            found["over_rule"] = mean_of(own, more, sample)
        for name, figure in found.items():
            bounds = interval(figure.draws, figure.episodes)
            result.setdefault(name, {})[str(model)] = entry(figure, bounds, PROPAGATION[name][0])
        refused = own["refused"].astype(float)
        result.setdefault("abstention", {})[str(model)] = share_entry("abstention", own, refused, sample)
    return result


def _slope(rows: pd.DataFrame, sample: Sample) -> Estimate:
    """Points of error a step since the last reading, by least squares over all rows; NaN where all are of one age."""
    age, error = rows["age"].to_numpy(float), rows["error"].to_numpy(float)
    moments = sample.sums(rows, np.column_stack([np.ones(len(age)), age, error, age * error, age**2]))

    def slope(sums: np.ndarray) -> np.ndarray:
        n, x, y, xy, xx = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((n * xy - x * y) / (n * xx - x**2))

    value = float(slope(moments.sum(0)))
    return Estimate(value, slope(sample.weights @ moments), len(rows), rows["episode"].nunique())


def _wrong(wrong: pd.DataFrame, right: pd.DataFrame, name: str, sample: Sample) -> dict[str, Cell]:
    """What became of the wrong answers: a cell for some lags, and one for how long and over how many assets they reach."""
    keys = ["rollout", "model", "asset", "step"]
    if not len(wrong):
        return {}
    plain = right.set_index(keys)["said"]
    if not wrong.set_index(keys).index.isin(plain.index).all():
        raise UserError(f"rolled answers: {name!r} lacks the same rollout as it was; run `dvc repro` again")
    moved = wrong["said"] - plain.loc[wrong.set_index(keys).index].to_numpy()
    hit = wrong[wrong["injected"] != 0].set_index("rollout")
    rows = wrong.assign(
        moved=moved.abs(), own=wrong["asset"] == wrong["rollout"].map(hit["asset"]), lag=wrong["step"] - AT,
        wrong=wrong["rollout"].map(hit["injected"]),
    )  # fmt: skip
    rows = rows[rows["lag"] >= 0]
    cells: dict[str, Cell] = {}
    for lag in LAGS:
        if len(part := rows[rows["lag"] == lag]):
            cells[f"{name}, {lag} on"] = _figures(dict(_moves(part)), sample)
    cells[name] = _figures(dict(_reach(rows)), sample)
    return cells


def _moves(rows: pd.DataFrame) -> Iterator[tuple[str, tuple[pd.DataFrame, pd.Series]]]:
    """Points by which the asset's own answer and the others' differ from those without the wrong one."""
    for name, part in (("moved", rows[rows["own"]]), ("moved_others", rows[~rows["own"]])):
        if len(part):
            yield name, (part, part["moved"])


def _reach(rows: pd.DataFrame) -> Iterator[tuple[str, tuple[pd.DataFrame, pd.Series]]]:
    """Steps until the asset's own answer is as it would have been, and the share of the other assets that moved at all."""
    own = rows[rows["own"] & (rows["lag"] > 0)]
    last = (
        own["lag"]
        .where(own["moved"] > TOLD * own["wrong"], 0)
        .groupby([own["rollout"], own["model"]])
        .max()
        .rename("steps")
        .reset_index()
    )
    yield "lasting", (last.assign(episode=last["rollout"]), last["steps"].astype(float))
    others = rows[~rows["own"]]
    if len(others):
        most = others.groupby(["rollout", "model", "asset"])[["moved", "wrong"]].max().reset_index()
        yield "reached", (most.assign(episode=most["rollout"]), (most["moved"] > TOLD * most["wrong"]).astype(float))


def _figures(found: dict[str, tuple[pd.DataFrame, pd.Series]], sample: Sample) -> Cell:
    cell: Cell = {}
    for name, (rows, values) in found.items():
        mean = mean_of(rows, values, sample)
        cell[name] = {TWIN: entry(mean, interval(mean.draws, mean.episodes), PROPAGATION[name][0])}
    return cell
