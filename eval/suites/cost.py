"""Cost: what accuracy each way of answering gives for its tokens and seconds, beside the best that costs no more.

After Kapoor et al. (2024), "AI Agents That Matter", arXiv:2407.01502: an expensive way is worth its cost only where it beats the simple
ones at equal budget. Ways that answered a sample only are compared on that sample, the skill "sample" of metrics.json; "all" holds the
ways that answered every test question. Accuracy stands by kind of scenario too, seen in training or held out: words that training
questions were asked in and words that they were not, and on split "shift" every regime that training never saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval, ratio_draws
from eval.evidence import Evidence, Measures, Result
from eval.meanings import COSTS, better
from eval.measures import Cell, Entry, Estimate, Sample, entry, mean_of, share_entry
from eval.scores import score

SPLIT, ALL, SAMPLE = "test", "all", "sample"
SAMPLED = ("base-few",)  # ways too slow for every question, with the thoughts
THOUGHT = ("cot", "sc", "react")  # of a model: after one thought, after several, after calls of tools
SEEN, HELD = "words of training", "words held out"
_NUMBERED = re.compile(r"\b[A-Za-z]*\d+\b")
WAY = pa.schema(
    [
        ("question", pa.string()),
        ("episode", pa.string()),
        ("model", pa.string()),
        *[(name, pa.float64()) for name in ("right", *COSTS)],
    ]
)


def run(evidence: Evidence) -> Result:
    """Measure every way that answered all of a cell's questions.

    Returns
    -------
    Result
        Measures of split "test": `accuracy`, `tokens`, `seconds` of each way, and `bought_tokens`, `bought_seconds`: its accuracy minus
        that of the most accurate other way that spends no more, paired; below 0 a cheaper way is better. The cheapest way has none.
        The best of the others is chosen anew in each resample. By kind of scenario `accuracy` alone. The table has a row a question and
        way (`WAY`) of split "test".
    """
    slow = {name: rows for name, rows in evidence.thoughts.items() if name.endswith(THOUGHT)}
    ways = {**evidence.answers, **slow}
    questions = evidence.questions[evidence.questions["split"] == SPLIT]
    table = _scored(questions, ways, evidence.alpha)
    asked = table.groupby("model")["question"].agg(set)
    few = [asked[model] for model in (*SAMPLED, *slow) if model in asked.index]
    parts = {ALL: set(questions["id"]), **({SAMPLE: set.intersection(*few)} if few else {})}
    cells = {name: _cell(table, asked, wanted, evidence) for name, wanted in parts.items() if wanted}
    cells |= dict(_by_words(table, asked, questions, parts, evidence))
    measures: Measures = {SPLIT: {name: cell for name, cell in cells.items() if cell}}
    if regimes := dict(_by_regime(ways, evidence)):
        measures["shift"] = regimes
    return Result(measures, table, WAY)


def _scored(questions: pd.DataFrame, ways: Mapping[str, pd.DataFrame], alpha: float) -> pd.DataFrame:
    found = [score(questions, rows[rows["question"].isin(questions["id"])], way, alpha) for way, rows in ways.items()]
    return pd.concat(found, ignore_index=True)[WAY.names]


def _by_words(
    table: pd.DataFrame, asked: pd.Series, questions: pd.DataFrame, parts: Mapping[str, set[str]], evidence: Evidence
) -> Iterator[tuple[str, Cell]]:
    """Accuracy where training questions were asked in the same words, whatever the numbers and numbered names in them, and where not."""
    if not len(evidence.train):
        return
    known = set(evidence.train["text"].map(_form))
    seen = set(questions.loc[questions["text"].map(_form).isin(known), "id"])
    for part, wanted in parts.items():
        for name, some in ((SEEN, wanted & seen), (HELD, wanted - seen)):
            if some:
                cell = _cell(table, asked, some, evidence, by=("accuracy",))
                yield name if part == ALL else f"{part}, {name}", cell


def _by_regime(ways: Mapping[str, pd.DataFrame], evidence: Evidence) -> Iterator[tuple[str, Cell]]:
    """Accuracy in each regime of the split "shift", of the ways that answered all of it."""
    questions = evidence.questions[evidence.questions["split"] == "shift"]
    regimes = questions["episode"].map(evidence.regimes)
    for regime in regimes.dropna().unique():
        own = questions[regimes == regime]
        table = _scored(own, ways, evidence.alpha)
        cell = _cell(table, table.groupby("model")["question"].agg(set), set(own["id"]), evidence, by=("accuracy",))
        if cell:
            yield str(regime), cell


def _form(text: str) -> str:
    return _NUMBERED.sub("#", text)


def _cell(
    table: pd.DataFrame,
    asked: pd.Series,
    wanted: set[str],
    evidence: Evidence,
    by: tuple[str, ...] = ("accuracy", *COSTS),
) -> Cell:
    ways = [str(model) for model, answered in asked.items() if answered >= wanted]
    rows = {
        way: table[(table["model"] == way) & table["question"].isin(wanted)].sort_values("question") for way in ways
    }
    sample = Sample.of(
        {episode for own in rows.values() for episode in own["episode"]}, evidence.resamples, evidence.seed
    )
    result: Cell = {}
    for way, own in rows.items():
        result.setdefault("accuracy", {})[way] = share_entry("accuracy", own, own["right"], sample)
        for cost in by[1:]:
            found = mean_of(own, own[cost], sample)
            result.setdefault(cost, {})[way] = entry(found, interval(found.draws, found.episodes), better(cost))
    for cost in by[1:]:
        for way, own in rows.items():
            others = [rows[name] for name in _no_dearer(result[cost], way)]
            if others:
                found = _bought(own, others, sample)
                bounds = interval(found.draws, found.episodes)
                result.setdefault(f"bought_{cost}", {})[way] = entry(found, bounds, better(f"bought_{cost}"))
    return result


def _no_dearer(costs: Mapping[str, Entry], way: str) -> list[str]:
    return [name for name, found in costs.items() if name != way and found["value"] <= costs[way]["value"]]


def _bought(own: pd.DataFrame, others: list[pd.DataFrame], sample: Sample) -> Estimate:
    """Accuracy minus the best of the others', on the same questions; the best one of each resample."""
    right = np.column_stack([each["right"].to_numpy(float) for each in (own, *others)])
    counts = sample.sums(own, np.ones_like(right))
    draws = ratio_draws(sample.sums(own, right), counts, sample.weights)
    means = right.mean(0)
    return Estimate(
        float(means[0] - means[1:].max()), draws[:, 0] - draws[:, 1:].max(1), len(own), own["episode"].nunique()
    )
