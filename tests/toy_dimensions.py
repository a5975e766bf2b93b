"""Which dimension each column of the toy sector's features comes from."""

from __future__ import annotations

from collections.abc import Set

import pandas as pd

from twinforge.records import Dimension
from twinforge.sectors.dimensions import Source, keep_marked

_SIGNALS = ("P",) * 10 + ("A",) * 2
_LOSS = Source((*_SIGNALS, "", "C"), "C")
SOURCES = {
    "loss-level": _LOSS,
    "loss-class": _LOSS,
    "later-level": Source((*_SIGNALS, "", "", "C"), "C"),
    "failure": Source((*_SIGNALS, "A"), "A"),
    "fault": Source((*_SIGNALS, "P", "P"), "P"),
    "clause": Source(_SIGNALS, "PA"),
    "dry": Source((*_SIGNALS, "", ""), "P"),
    "act": Source(("CP", "CP", "", ""), "CP"),
}


def keep(questions: pd.DataFrame, dimensions: Set[Dimension]) -> pd.DataFrame:
    """The questions with what some dimensions tell."""
    return keep_marked(questions, dimensions, SOURCES)
