"""Dimensions: what the physical, the abstract and the computational side are each worth, and what it costs when one is dead.

Its questions come from `eval.probes.dimensions`: every question of some states under every subset of the three. In metrics.json
the subset stands in the split's name, "test|PC"; what each dimension is worth (`agents.shapley`) stands in "test".
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval
from eval.evidence import Evidence, Measures, Result
from eval.meanings import better
from eval.measures import Cell, Entry, Sample, difference_entry, entry, mean_of, share_entry
from eval.probes.dimensions import ALL, NAME
from eval.scores import SCORE, score
from twinforge.agents.shapley import shapley
from twinforge.errors import UserError
from twinforge.sectors.dimensions import LETTERS, letters

KEPT = pa.schema([*SCORE, ("kept", pa.string()), ("original", pa.string())])
VALUES = {"accuracy": "right", "log_score": "log_score"}
TEAMS = [letters({name for i, name in enumerate(LETTERS) if s >> i & 1}) for s in range(2 ** len(LETTERS))]
"""Every subset, where `shapley` looks for its value."""


def run(evidence: Evidence) -> Result:
    """Measure every model that answered the probes, on questions it answered under every subset.

    Returns
    -------
    Result
        By skill and "all": in split "test|KEPT" `accuracy`, `log_score` and, but for all three, `accuracy_lost` against them,
        paired; in split "test" each dimension's Shapley value, `accuracy_credit_physical` and so on, its interval by resampling
        episodes. The table has a row a question, subset and model (`KEPT`). Nothing where no probe was asked.

    Raises
    ------
    UserError
        Answers that don't fit the probes, or a question that a model left out under some subset.
    """
    probes = evidence.probes[evidence.probes["suite"] == NAME] if len(evidence.probes) else evidence.probes
    if not len(probes) or not evidence.probe_answers:
        return Result({}, pd.DataFrame(columns=KEPT.names), KEPT)
    parts = [_scored(evidence, probes, model, rows) for model, rows in evidence.probe_answers.items()]
    table = pd.concat(parts, ignore_index=True)
    return Result(measured(table, evidence.resamples, evidence.seed), table, KEPT)


def measured(table: pd.DataFrame, resamples: int, seed: int) -> Measures:
    """The measures of rows of which every question stands once a model and subset (of `KEPT` the columns original, kept, model,
    episode, skill, right, log_score)."""
    sample = Sample.of(table["episode"], resamples, seed)
    measures: Measures = {name: {} for name in ("test", *(f"test|{kept}" for kept in reversed(TEAMS)))}
    for skill, rows in (("all", table), *table.groupby("skill", sort=False)):
        measures["test"][str(skill)] = _credits(rows, sample)
        for kept in TEAMS:
            measures[f"test|{kept}"][str(skill)] = _told(rows, kept, sample)
    return measures


def _scored(evidence: Evidence, probes: pd.DataFrame, model: str, answers: pd.DataFrame) -> pd.DataFrame:
    """A row a question and subset (`KEPT`)."""
    rows = answers[answers["question"].isin(probes["id"])]
    asked = probes.set_index("id", drop=False).loc[rows["question"]].reset_index(drop=True)
    originals = evidence.questions[evidence.questions["id"].isin(asked["original"])]
    known = evidence.answers[model]
    whole = score(originals, known[known["question"].isin(originals["id"])], model, evidence.alpha)
    told = score(asked.assign(split="test"), rows, model, evidence.alpha)
    of = asked.set_index("id")[["probe", "original"]].loc[told["question"]]
    found = [
        whole.assign(kept=ALL, original=whole["question"]),
        told.assign(kept=of["probe"].to_numpy(), original=of["original"].to_numpy()),
    ]
    table = pd.concat(found, ignore_index=True)[KEPT.names]
    counts = table.groupby("original")["kept"].nunique()
    if len(short := counts[counts < len(TEAMS)]) or len(table) != counts.sum():
        raise UserError(
            f"answers of {model!r}: {len(short)} question(s) not answered once under each of the {len(TEAMS)} subsets of the "
            f"dimensions, first {list(short.index[:3])}; run `dvc repro` again"
        )
    return table


def _told(rows: pd.DataFrame, kept: str, sample: Sample) -> Cell:
    """What each model makes of one subset, and what it loses against all three."""
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        told, whole = (own[own["kept"] == some].set_index("original", drop=False) for some in (kept, ALL))
        result.setdefault("accuracy", {})[str(model)] = share_entry("accuracy", told, told["right"], sample)
        result.setdefault("log_score", {})[str(model)] = _mean("log_score", told, told["log_score"], sample)
        if kept != ALL:
            lost = whole["right"].loc[told.index] - told["right"]
            result.setdefault("accuracy_lost", {})[str(model)] = difference_entry("accuracy_lost", told, lost, sample)
    return result


def _credits(rows: pd.DataFrame, sample: Sample) -> Cell:
    """What each dimension is worth: a question's credits are exact, and so is their mean."""
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        one = own[own["kept"] == ALL].set_index("original")
        for value, column in VALUES.items():
            table = own.pivot(index="original", columns="kept", values=column).loc[one.index, TEAMS]
            credits = shapley(table.to_numpy()).round(12)  # what cancels is 0, not float noise
            for dimension, credit in zip(LETTERS, credits.T, strict=True):
                name = f"{value}_credit_{dimension}"
                made = difference_entry if value == "accuracy" else _mean
                result.setdefault(name, {})[str(model)] = made(name, one, pd.Series(credit, one.index), sample)
    return result


def _mean(name: str, rows: pd.DataFrame, values: pd.Series, sample: Sample) -> Entry:
    found = mean_of(rows, values, sample)
    return entry(found, interval(found.draws, found.episodes), better(name))
