"""Which dimension each column of the experts' features comes from, and what the operator's rule reads (see `builders`).

A: calendar, weather, rating, work, log. P: readings. C: estimates, forecasts, residuals. What is chosen by one dimension and
shown by another ("the loading of the line with the largest residual") belongs to both.
"""

from __future__ import annotations

from collections.abc import Set

import pandas as pd

from twinforge.records import Dimension
from twinforge.sectors.dimensions import Source, keep_marked

_COMMON = "C A A P P P A A"  # worst residual, rating, wind regime, demand, wind, solar, hour, month
_RULES = (
    f"P P P P CA CA CA A A A P P CA AP {_COMMON}"  # voltages, loadings, listed outages, relief, work, four predicates
)


def _of(columns: str, rule: str) -> Source:
    """A source from its columns, a blank between two; "-" is a column of no dimension."""
    return Source(tuple(column.strip("-") for column in columns.split()), rule)


_PAIR = _of(f"C P CP P P P P P C C {_COMMON}", "C")
SOURCES = {
    "risk": _PAIR,
    "loading": _PAIR,
    "ahead": _of(f"P C CP - P C A A CA {_COMMON}", "C"),
    "failure": _of("A A A - A A A A", "A"),
    "fault": _of(f"C C C CP CP CP CP CP CP CP P {_COMMON}", "CP"),
    "suspect": _of("C C P P P C -", "C"),
    "clause": _of(_RULES, "PAC"),
    "met": _of(f"{_RULES} - - - -", "PAC"),
    "supply": _of("- - P P - P", "P"),
    "action": _of("C C C - - - - C", "C"),
    "remedy": _of(f"C C C P - - - - {_COMMON}", "C"),
}


def keep(questions: pd.DataFrame, dimensions: Set[Dimension]) -> pd.DataFrame:
    """The questions with what some dimensions tell (see `twinforge.sectors.dimensions`)."""
    return keep_marked(questions, dimensions, SOURCES)
