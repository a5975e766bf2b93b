"""Contamination: how much of a test question stands in train, whether that makes it easier, and whether training rows were learnt
by heart.

A question's *line* is all that is asked of it beside the state: facts, words, options and their notes. A test question whose
line stands in train has a *double* there, in another state, whose truth may differ. In metrics.json the model "questions"
holds what is counted on the questions themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval
from eval.evidence import Evidence, Measures, Result
from eval.meanings import better
from eval.measures import Cell, Sample, entry, mean_of, share_entry
from eval.probes.contamination import NAME
from eval.scores import score
from eval.suites.quality import REPORTED
from twinforge.records import SLACK, space_of

QUESTIONS, CANARY = "questions", "canary"
NEAR = 0.8  # of the words of two states in common: nearly the same text
SHUFFLES = 1000
FOUND = pa.schema(
    [
        *[(name, pa.string()) for name in ("question", "episode", "split", "template", "model")],
        ("double", pa.float64()),  # the line stands in train
        ("right", pa.float64()),
    ]
)


def run(evidence: Evidence) -> Result:
    """Measure what test shares with train, and what models make of it.

    Returns
    -------
    Result
        On each split, skill "all": `same_state`, `same_line`, `near_state` of the questions; of each model `double_gain`: accuracy
        with a double less that of the others of the template (`null_low`, `null_high`, `p`: the same with doubles dealt out at
        random in each template). Skill "canary" on "test": `canary_train`, `canary_test`, `canary_gain`. The table has a
        row a question and model (`FOUND`).
    """
    train = evidence.train
    if not len(train):
        return Result({}, pd.DataFrame(columns=FOUND.names), FOUND)
    known = frozenset(_lines(train))
    states = [frozenset(text.split()) for text in train["context"].unique()]
    measures: Measures = {}
    tables = []
    for split in REPORTED:
        rows = evidence.questions[evidence.questions["split"] == split]
        if not len(rows):
            continue
        sample = Sample.of(rows["episode"], evidence.resamples, evidence.seed)
        cell = _shared(rows, train, known, states, sample)
        told = {
            model: own
            for model, all_ in evidence.answers.items()
            if len(own := all_[all_["question"].isin(rows["id"])])
        }
        judged = [_judged(rows, own, model, known, evidence.alpha) for model, own in told.items()]
        for part in judged:
            _add(cell, part, sample, evidence.seed)
        measures[split] = {"all": cell}
        tables += judged
    if canary := _canary(evidence):
        measures.setdefault("test", {})[CANARY] = canary
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=FOUND.names)
    return Result(measures, table[FOUND.names], FOUND)


def _lines(rows: pd.DataFrame) -> pd.Series:
    """All that is asked beside the state, without regard to case and blanks."""
    told = rows["options"].map(" | ".join) + " | " + rows["notes"].map(" | ".join)
    parts = rows["facts"] + " | " + rows["text"] + " | " + told
    return parts.str.casefold().str.split().str.join(" ")


def _shared(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    known: frozenset[str],
    states: Sequence[frozenset[str]],
    sample: Sample,
) -> Cell:
    near = {text: _nearest(frozenset(text.split()), states) >= NEAR for text in rows["context"].unique()}
    shares = {
        "same_state": rows["context"].isin(train["context"]),
        "near_state": rows["context"].map(near),
        "same_line": _lines(rows).isin(known),
    }
    return {name: {QUESTIONS: share_entry(name, rows, each.astype(float), sample)} for name, each in shares.items()}


def _nearest(words: frozenset[str], states: Sequence[frozenset[str]]) -> float:
    """Jaccard's index of a state's words with those of the most alike of others."""
    return max(len(words & other) / len(words | other) for other in states)


def _judged(rows: pd.DataFrame, answers: pd.DataFrame, model: str, known: frozenset[str], alpha: float) -> pd.DataFrame:
    """A model's answers, and which questions have a double (`FOUND`)."""
    scored = score(rows, answers, model, alpha)
    asked = rows.set_index("id").loc[scored["question"]]
    double = _lines(asked).isin(known).to_numpy(float)
    return scored[["question", "episode", "split", "model", "right"]].assign(
        template=asked["template"].to_numpy(), double=double
    )


def _add(cell: Cell, rows: pd.DataFrame, sample: Sample, seed: int) -> None:
    """One model's measures."""
    model = str(rows["model"].iloc[0])
    usual = rows["right"].where(rows["double"] == 0).groupby(rows["template"]).transform("mean")
    doubles = (rows["double"] == 1) & usual.notna()
    if doubles.any():
        part = rows[doubles]
        gain = mean_of(part, part["right"] - usual[doubles], sample)
        null = _null(rows, seed)
        extreme = (1 + (np.abs(null) >= abs(gain.value)).sum()) / (1 + len(null))
        low, high = np.quantile(null, [0.025, 0.975])
        more = {"null_low": float(low), "null_high": float(high), "p": float(extreme)}
        bounds = interval(gain.draws, gain.episodes)
        cell.setdefault("double_gain", {})[model] = entry(gain, bounds, better("double_gain"), **more)


def _null(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """The gain with doubles dealt out at random within each template, (SHUFFLES,)."""
    rng = np.random.default_rng(seed)
    total, count = np.zeros(SHUFFLES), 0
    for _, part in rows.groupby("template"):
        right, k, n = part["right"].to_numpy(), int(part["double"].sum()), len(part)
        if 0 < k < n:
            chosen = rng.permuted(np.tile(right, (SHUFFLES, 1)), axis=1)
            total += chosen[:, :k].sum(1) - k * chosen[:, k:].mean(1)
            count += k
    return total / max(count, 1)


def _canary(evidence: Evidence) -> Cell:
    """How often a model gives the truth of a state whose readings it was not told: states of train, and of test."""
    probes = evidence.probes[evidence.probes["suite"] == NAME] if len(evidence.probes) else evidence.probes
    result: Cell = {}
    for model, answers in evidence.probe_answers.items():
        own = answers[answers["question"].isin(probes["id"])] if len(probes) else answers.head(0)
        if not len(own):
            continue
        asked = probes.set_index("id").loc[own["question"]]
        rows = asked.assign(right=[_knows(row, p) for (_, row), p in zip(asked.iterrows(), own["p"], strict=True)])
        sample = Sample.of(rows["episode"], evidence.resamples, evidence.seed)
        parts = {str(name): part for name, part in rows.groupby("probe")}
        for name, part in parts.items():
            result.setdefault(f"canary_{name}", {})[model] = share_entry(f"canary_{name}", part, part["right"], sample)
        if len(parts) == 2:
            usual = parts["test"].groupby("template")["right"].mean()
            train = parts["train"][parts["train"]["template"].isin(usual.index)]
            result.setdefault("canary_gain", {})[model] = _gain(train, parts["test"], sample)
    return result


def _gain(train: pd.DataFrame, test: pd.DataFrame, sample: Sample) -> dict[str, object]:
    """Mean of train's questions less that of test's, each resampled by its own episodes."""
    first, second = (mean_of(part, part["right"], sample) for part in (train, test))
    draws = first.draws - second.draws
    found = type(first)(first.value - second.value, draws, first.n, min(first.episodes, second.episodes))
    return entry(found, interval(draws, found.episodes), better("canary_gain"))


def _knows(question: pd.Series, p: np.ndarray) -> float:
    """Whether the likeliest answer but the refusal is the truth: what is known by heart may come with a refusal."""
    space = space_of(question)
    told = np.append(np.asarray(p[:-1]) / max(float(np.sum(p[:-1])), 1e-12), 0.0)
    value = space.decide(told)
    return float(abs(value - question["truth"]) <= space.tolerance + SLACK)
