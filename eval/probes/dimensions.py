"""The same questions with what some dimensions tell and nothing of the others: every proper subset of the three."""

from __future__ import annotations

import pandas as pd

from twinforge.sectors.dimensions import DIMENSIONS, LETTERS, SUBSETS, Keep, letters

NAME = "dimensions"
ALL = letters(DIMENSIONS)
EXPERTISE = LETTERS["computational"]  # experts are models: with these gone there are none


def ask(questions: pd.DataFrame, keep: Keep) -> pd.DataFrame:
    """The questions (`records.QUESTION`) under each proper subset: rows of `eval.probes.PROBE`, `probe` the letters kept.

    Under all three they are the questions themselves, which are not asked again.
    """
    told = [
        keep(questions, kept).assign(suite=NAME, probe=letters(kept), original=questions["id"]) for kept in SUBSETS[:-1]
    ]
    rows = pd.concat(told, ignore_index=True)
    return rows.assign(order=pd.Series([[]] * len(rows), dtype=object))


def with_experts(probes: pd.DataFrame) -> pd.DataFrame:
    """Those of the probes that experts take part in."""
    return probes[(probes["suite"] == NAME) & probes["probe"].str.contains(EXPERTISE)]
