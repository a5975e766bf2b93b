"""A question with its options in another order: they are to be known by their words, not by their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]  # records.QUESTION, and `order` where options moved


def in_order(row: Row, order: Sequence[int]) -> Row:
    """The question with its options in another order, and with them all that speaks of options by their place.

    order : the original index of each option; stands in the row as `order`. The refusal, which is no option, stays last.
    """
    place = np.argsort(order)
    whole = [name for name in ("options", "notes", "payoff", "harm", "features") if len(row[name]) == len(order)]
    moved: Row = {name: [row[name][i] for i in order] for name in whole}
    for name in ("gold", "rule_gold"):
        moved[name] = sorted(int(place[i]) for i in row[name])
    if row["kind"] == "choice":
        for name in ("truth", "rule", "persistence", "copy"):
            moved[name] = row[name] if np.isnan(row[name]) else float(place[int(row[name])])
    return {**row, **moved, "order": list(order)}


def another_order(count: int, rng: np.random.Generator) -> list[int]:
    """A random order of two things or more that is not the one they have."""
    while (order := rng.permutation(count).tolist()) == list(range(count)):
        pass
    return [int(i) for i in order]
