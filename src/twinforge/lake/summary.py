"""What the questions are worth as evidence, in counts and shares: for the report of the curation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import SKILLS, SPLITS, same_set

CHEAP = ("copy", "persistence", "rule")


def describe(frame: pd.DataFrame) -> dict[str, Any]:
    """Counts a split and skill, truths of each template without numbers, and how often a cheap answer is right.

    frame : rows of `records.QUESTION` and the column `split`. Shares are of the answerable questions where the cheap answer
        is defined, by group ("what-if/number") and "all"; None where there is no such question.
    """
    answerable = frame["skill"] != "unanswerable"
    counts = frame.groupby(["split", "skill"]).size()
    counted = frame[answerable & (frame["kind"] != "number")]  # by option, or by size of the set
    return {
        "kept": len(frame),
        "validation": int(frame["validation"].sum()),
        "count": {split: {skill: int(counts.get((split, skill), 0)) for skill in SKILLS} for split in SPLITS},
        "refusals": {split: _share(~answerable[frame["split"] == split]) for split in SPLITS},
        "truths": {str(name): _histogram(rows["truth"]) for name, rows in counted.groupby("template")},
        **{f"{name}_right": _cheap(frame[answerable], name) for name in CHEAP},
    }


def right(frame: pd.DataFrame, column: str) -> pd.Series:
    """Where the answer in `column` equals the truth, numbers within tolerance; False where it is not defined.

    A set is only ever the rule's.
    """
    gap = (frame[column] - frame["truth"]).abs()
    return pd.Series(same_set(frame), frame.index) & (
        gap <= np.where(frame["kind"] == "number", frame["tolerance"] + 1e-9, 0.0)
    )


def _cheap(frame: pd.DataFrame, column: str) -> dict[str, float | None]:
    rows = frame[frame["rule_defined"].astype(bool) if column == "rule" else frame[column].notna()]
    hits = right(rows, column)
    groups = hits.groupby(rows["asked"] + "/" + rows["kind"])
    return {**{str(name): _share(part) for name, part in groups}, "all": _share(hits)}


def _histogram(truths: pd.Series) -> dict[str, int]:
    values, counts = np.unique(truths.astype(int), return_counts=True)
    return {str(value): int(n) for value, n in zip(values, counts, strict=True)}


def _share(hits: pd.Series) -> float | None:
    return round(float(hits.mean()), 4) if len(hits) else None
