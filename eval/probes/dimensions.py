"""The same questions with what some dimensions tell and nothing of the others: every proper subset of the three."""

from __future__ import annotations

from collections.abc import Set

import pandas as pd

from twinforge.records import Dimension
from twinforge.sectors.dimensions import DIMENSIONS, SUBSETS, Keep, letters

NAME = "dimensions"
ALL = letters(DIMENSIONS)


def ask(questions: pd.DataFrame, keep: Keep) -> pd.DataFrame:
    """The questions (`records.QUESTION`) under each proper subset: rows of `eval.probes.PROBE`, `probe` the letters kept.

    Under all three they are the questions themselves, which are not asked again.
    """
    told = [
        keep(questions, kept).assign(suite=NAME, probe=letters(kept), original=questions["id"]) for kept in SUBSETS[:-1]
    ]
    rows = pd.concat(told, ignore_index=True)
    return rows.assign(order=pd.Series([[]] * len(rows), dtype=object))


def under(probes: pd.DataFrame, kept: Set[Dimension]) -> pd.DataFrame:
    """Those of the probes (`eval.probes.PROBE`) that tell just these dimensions."""
    return probes[(probes["suite"] == NAME) & (probes["probe"] == letters(kept))]
