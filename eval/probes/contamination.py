"""Canaries: questions of training states, and of test states beside them, with every reading taken out of what is told.

What is left (day, hour, plans, names) names the state and decides hardly anything. A model that learnt training rows by heart
still answers those of train; one that did not is as good on test.
"""

from __future__ import annotations

import re

import pandas as pd

from twinforge.records import QUESTION

NAME = "contamination"
NUMBER = re.compile(r"(?<![A-Za-z\d])\d+(?:\.\d+)?")  # the digits of a name follow a letter
ASKED = ("choice", "number")


def canaries(questions: pd.DataFrame, split: str) -> pd.DataFrame:
    """The answerable choices and numbers of some states without their readings; rows of `eval.probes.PROBE`.

    probe : the split that the questions come from.
    """
    kept = questions[questions["truth"].notna() & questions["kind"].isin(ASKED)]
    return kept.assign(
        context=kept["context"].map(blanked), facts=kept["facts"].map(without), notes=kept["notes"].map(lambda notes: list(map(without, notes))),
        original=kept["id"], id=f"canary-{split}-" + kept["id"], order=pd.Series([[]] * len(kept), index=kept.index, dtype=object), suite=NAME, probe=split,
    )[[*QUESTION.names, "suite", "probe", "original", "order"]]  # fmt: skip


def blanked(context: str) -> str:
    """A state's text with its first line as it stands (calendar and plans) and no number behind it."""
    first, *rest = context.split("\n")
    return "\n".join([first, *map(without, rest)])


def without(text: str) -> str:
    """A text whose numbers are missing readings."""
    return NUMBER.sub("?", text)
