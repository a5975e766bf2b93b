"""Failing: one side of the twin dead, late or lying. What it costs, and whether the twin still answers as one who is sure.

Its questions come from `eval.probes.failing` and, with a side dead, from `eval.probes.dimensions`. In metrics.json a failure, "dead P",
"late C", stands where a skill stands elsewhere. "uniform" pools the same parts as the twin with equal weights.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from eval.evidence import Evidence, Measures, Result
from eval.measures import Cell, Sample, difference_entry, share_entry
from eval.probes import FAILING, dimensions
from eval.scores import SCORE, score
from twinforge.errors import UserError
from twinforge.sectors.dimensions import DIMENSIONS, LETTERS, letters

DEAD = {letters(DIMENSIONS - {name}): f"dead {letter}" for name, letter in LETTERS.items()}
FAILURES = tuple(f"{way} {letter}" for letter in LETTERS.values() for way in ("dead", "late", "lying"))
BEFORE = ("right", "answered", "answered_wrong")
FAILED = pa.schema(
    [
        *SCORE,
        ("failure", pa.string()),
        ("original", pa.string()),
        *((f"{name}_before", pa.float64()) for name in BEFORE),
    ]
)


def run(evidence: Evidence) -> Result:
    """Measure every model that answered the probes, paired with what it said when all sides were sound.

    Returns
    -------
    Result
        Of split "test" by failure: `accuracy`, `accuracy_original`, `accuracy_lost`, and of calibrated models `answered` and
        `answered_wrong`, where it answers only when it is sure, and `answered_lost` and `wrong_gained` against before. Nothing where no
        probe was asked. The table has a row a question, failure and model (`FAILED`).

    Raises
    ------
    UserError
        Answers that don't fit the probes, or a model that left out a question as it stood.
    """
    probes = asked_of(evidence.probes)
    if not len(probes) or not evidence.failing:
        return Result({}, pd.DataFrame(columns=FAILED.names), FAILED)
    parts = [_scored(evidence, probes, model, rows) for model, rows in evidence.failing.items()]
    table = pd.concat(parts, ignore_index=True)
    sample = Sample.of(table["episode"], evidence.resamples, evidence.seed)
    cells = {name: _cell(own, sample) for name in FAILURES if len(own := table[table["failure"] == name])}
    measures: Measures = {"test": cells} if cells else {}
    return Result(measures, table, FAILED)


def asked_of(probes: pd.DataFrame) -> pd.DataFrame:
    """Those of all probes in which one side fails, with the column `failure`."""
    if not len(probes):
        return probes.assign(failure="")
    dead = (probes["suite"] == dimensions.NAME) & probes["probe"].isin(list(DEAD))
    rows = probes[dead | (probes["suite"] == FAILING)]
    return rows.assign(failure=rows["probe"].replace(DEAD))


def _scored(evidence: Evidence, probes: pd.DataFrame, model: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A row a probe that the model answered (`FAILED`)."""
    asked = probes[probes["id"].isin(rows["question"])]
    originals = evidence.questions[evidence.questions["id"].isin(asked["original"])]
    own = pd.concat([rows, evidence.answers[model]]) if model in evidence.answers else rows
    before = own[own["question"].isin(originals["id"])]
    if missing := sorted(set(originals["id"]) - set(before["question"])):
        raise UserError(
            f"answers of {model!r}: {len(missing)} question(s) of the failing sides without an answer to the question as it stood, first "
            f"{missing[:3]}; answer these too"
        )
    told = rows[rows["question"].isin(asked["id"])]
    after = score(asked.assign(split="test"), told, model, evidence.alpha, evidence.failing_sets.get(model))
    known = score(originals, before, model, evidence.alpha, evidence.sets.get(model)).set_index("question")[
        list(BEFORE)
    ]
    of = asked.set_index("id")[["failure", "original"]].loc[after["question"]]
    was = known.loc[of["original"]].add_suffix("_before").reset_index(drop=True)
    named = after.assign(failure=of["failure"].to_numpy(), original=of["original"].to_numpy())
    return pd.concat([named, was], axis=1)[FAILED.names]


def _cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        shares = {"accuracy": own["right"], "accuracy_original": own["right_before"]}
        changes = {"accuracy_lost": own["right_before"] - own["right"]}
        if own["answered"].notna().all() and own["answered_before"].notna().all():
            shares |= {name: own[name] for name in ("answered", "answered_wrong")}
            changes["answered_lost"] = own["answered_before"] - own["answered"]
            changes["wrong_gained"] = own["answered_wrong"] - own["answered_wrong_before"]
        for name, values in shares.items():
            result.setdefault(name, {})[str(model)] = share_entry(name, own, values, sample)
        for name, values in changes.items():
            result.setdefault(name, {})[str(model)] = difference_entry(name, own, values, sample)
    return result
