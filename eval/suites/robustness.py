"""Robustness: the same state in other words. How often the answer flips, and what accuracy it costs, paired.

Its questions come from `eval.probes.robustness`. In metrics.json a change stands where a skill stands elsewhere; "all" holds
every change but the question that was only asked again.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.evidence import Evidence, Measures, Result
from eval.measures import Cell, Sample, difference_entry, share_entry
from eval.probes.robustness import AGAIN, CHANGES
from eval.scores import SCORE, score
from twinforge.errors import UserError
from twinforge.records import SLACK, space_of

NAME = "robustness"
PAIRED = pa.schema(
    [
        *SCORE,
        ("probe", pa.string()),
        ("original", pa.string()),
        ("right_before", pa.float64()),  # of the question as it stood
        ("flipped", pa.float64()),  # another answer than as it stood; a number: by more than its tolerance
    ]
)


def run(evidence: Evidence) -> Result:
    """Measure every model that answered the probes; the others' accuracy on the same questions as they stood is shown beside.

    Returns
    -------
    Result
        Measures of split "test" by change; nothing where no probe was asked. `accuracy_lost` has `smallest` beside the usual: the
        smallest loss that the sample would have shown with 80 % power. The table has a row a probe and model (`PAIRED`).

    Raises
    ------
    UserError
        Answers that don't fit the probes, or a model that left out a question as it stood.
    """
    probes = evidence.probes[evidence.probes["suite"] == NAME] if len(evidence.probes) else evidence.probes
    if not len(probes) or not evidence.probe_answers:
        return Result({}, pd.DataFrame(columns=PAIRED.names), PAIRED)
    parts = [_paired(evidence, probes, model, rows) for model, rows in evidence.probe_answers.items()]
    table = pd.concat(parts, ignore_index=True)
    sample = Sample.of(table["episode"], evidence.resamples, evidence.seed)
    cells = {"all": _cell(table[table["probe"] != AGAIN], sample)}
    cells |= {c.name: _cell(rows, sample) for c in CHANGES if len(rows := table[table["probe"] == c.name])}
    _always(cells["all"], table, sample)
    _beside(cells["all"], evidence, probes, sample)
    measures: Measures = {"test": cells}
    return Result(measures, table, PAIRED)


def _paired(evidence: Evidence, probes: pd.DataFrame, model: str, answers: pd.DataFrame) -> pd.DataFrame:
    """A row a probe that the model answered, with what it said of the question as it stood (`PAIRED`)."""
    rows = answers[answers["question"].isin(probes["id"])]
    asked = probes[probes["id"].isin(rows["question"])]
    before = (
        evidence.answers[model].set_index("question")["p"] if model in evidence.answers else pd.Series(dtype=object)
    )
    if len(missing := asked.loc[~asked["original"].isin(before.index), "original"].unique()):
        raise UserError(
            f"answers of {model!r}: {len(missing)} probe(s) without an answer to the question as it stood, first "
            f"{list(missing[:3])}; answer these too"
        )
    originals = evidence.questions[evidence.questions["id"].isin(asked["original"])]
    known = evidence.answers[model][evidence.answers[model]["question"].isin(originals["id"])]
    right = score(originals, known, model, evidence.alpha).set_index("question")["right"]
    scored = score(asked.assign(split="test"), rows, model, evidence.alpha)
    names = asked.set_index("id")[["probe", "original"]].loc[scored["question"]]
    p, by_id, old = rows.set_index("question")["p"], asked.set_index("id"), originals.set_index("id")
    flips = [
        _differs(said(by_id.loc[q], p[q]), said(old.loc[o], before[o]), old.loc[o])
        for q, o in zip(scored["question"], names["original"], strict=True)
    ]
    return scored.assign(
        probe=names["probe"].to_numpy(),
        original=names["original"].to_numpy(),
        right_before=right.loc[names["original"]].to_numpy(),
        flipped=np.array(flips, float),
    )[PAIRED.names]


def said(question: pd.Series, p: np.ndarray) -> float | frozenset[int] | None:
    """What an answer says, whatever the order of the options and the unit: the original option, the original candidates, how many
    steps above the lowest value; None where it refuses."""
    space, value = space_of(question), space_of(question).decide(p)
    order = question.get("order")
    places = order if order is not None and len(order) else range(len(space.options))
    if np.isnan(value):
        return None
    if space.kind == "choice":
        return float(places[int(value)])
    if space.kind == "entities":
        return frozenset(int(places[i]) for i in space.decide_set(p))
    return (value - space.low) / space.step


def _differs(new: float | frozenset[int] | None, old: float | frozenset[int] | None, question: pd.Series) -> bool:
    if isinstance(new, float) and isinstance(old, float) and question["kind"] == "number":
        return abs(new - old) * question["step"] > question["tolerance"] + SLACK
    return new != old


def _cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        shares = {
            "accuracy": own["right"],
            "accuracy_original": own["right_before"],
            "flipped": own["flipped"],
            "right_both": own["right"] * own["right_before"],
            "abstention": own["refused"],
        }
        for name, values in shares.items():
            result.setdefault(name, {})[str(model)] = share_entry(name, own, values, sample)
        lost = own["right_before"] - own["right"]
        result.setdefault("accuracy_lost", {})[str(model)] = difference_entry("accuracy_lost", own, lost, sample)
    return result


def _always(cell: Cell, table: pd.DataFrame, sample: Sample) -> None:
    for model, own in table.groupby("model", sort=False):
        both = own.assign(both=own["right"] * own["right_before"])
        whole = both.groupby("original").agg(both=("both", "min"), episode=("episode", "first"))
        cell.setdefault("right_always", {})[str(model)] = share_entry("right_always", whole, whole["both"], sample)


def _beside(cell: Cell, evidence: Evidence, probes: pd.DataFrame, sample: Sample) -> None:
    """Accuracy on the questions as they stood, of the models that no probe was put to."""
    originals = evidence.questions[evidence.questions["id"].isin(probes["original"])]
    for model, answers in evidence.answers.items():
        rows = answers[answers["question"].isin(originals["id"])]
        if model not in evidence.probe_answers and len(rows):
            scored = score(originals, rows, model, evidence.alpha)
            cell["accuracy_original"][model] = share_entry("accuracy_original", scored, scored["right"], sample)
