"""Two twins on the test questions that both answered: paired differences, whole episodes the unit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from eval.gate import QUALITY, compare_measure, paired
from eval.scores import SCORE
from eval.verdict import Comparison
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.manifest import verify

FILE = "scores.parquet"
LEVEL = 0.025  # either tail of a 95 % interval
WHOLE = ("log_score", "set_f1", "interval_score", "coverage", "width", "answered", "answered_wrong", "regret")
WIDTH = 120


@dataclass(frozen=True)
class _Asked:
    skill: str
    measure: str
    margin: float = 0.0
    suite: str = QUALITY


def compare(first: pd.DataFrame, second: pd.DataFrame) -> list[Comparison]:
    """Accuracy of all questions and of each skill, then the other measures of all; `release` is `first`, `today` is `second`.

    first, second : rows of `eval.scores.SCORE`, one a question. What no question defines on both sides is left out.

    Raises
    ------
    UserError
        The two have no question in common, or all in one episode.
    """
    a, b = paired(first, second)
    if a["episode"].nunique() < 2:
        raise UserError(
            f"only {len(a)} question(s) of {a['episode'].nunique()} episode(s) are answered by both: nothing can be compared; "
            "package both twins from the same lake"
        )
    skills = [_Asked(skill, "accuracy") for skill in sorted(a["skill"].unique())]
    asked = [_Asked("all", "accuracy"), *skills, *(_Asked("all", name) for name in WHOLE)]
    found = [compare_measure(b, a, each, LEVEL) for each in asked]
    return [row for row in found if row.gain is not None]


def scores_of(place: Path) -> pd.DataFrame:
    """A twin's scored answers to its test questions: from its folder, whole by its manifest, or from a file of them."""
    if place.is_dir():
        verify(place)
        if not (place / FILE).is_file():
            raise UserError(f"{place}: holds no {FILE}, it was packaged by an older twinforge; package it again")
        place = place / FILE
    rows = read_table(place, SCORE)
    if again := rows.loc[rows["question"].duplicated(), "question"].tolist():
        raise UserError(f"{place}: holds {len(again)} question(s) twice, first {again[:3]}: give one model's rows")
    return rows


def show_comparison(first: Path, second: Path) -> None:
    """Print the paired table of two twins."""
    a, b = scores_of(first), scores_of(second)
    rows = compare(a, b)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(_table(rows))
    console.print(
        f"A: {first}, {len(a)} questions; B: {second}, {len(b)}; {rows[0].n} in {rows[0].episodes} episodes answered by both",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _table(rows: Sequence[Comparison]) -> Table:
    table = Table(title="what B gains on A (above 0 is better; of coverage it is more)", box=box.SIMPLE_HEAD, padding=0)
    for name in ("skill", "measure", "A", "B", "gain, 95 %", "seen from", "n"):
        table.add_column(name, justify="left" if name in ("skill", "measure") else "right")
    for row in rows:
        gain, low, high = (round(float(value or 0), 3) + 0.0 for value in (row.gain, row.low, row.high))
        shown = f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"
        cells = (f"{row.release:.3f}", f"{row.today:.3f}", shown, "" if row.smallest is None else f"{row.smallest:.3f}")
        table.add_row(row.skill, row.measure, *cells, str(row.n), style="bold" if low > 0 or high < 0 else None)
    return table
