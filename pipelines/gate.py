"""Gate: is today's twin at least as good as the released one? Never stops the pipeline; `twinforge gate` exits with 1.

Reads reports/SECTOR/suites/quality.parquet, metrics.json and the released answers eval/baselines/SECTOR.parquet (in git;
there may be none); writes reports/SECTOR/gate.json.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from eval.gate import baseline, verdict
from eval.scores import SCORE
from eval.verdict import GateReport
from pipelines import Paths, run
from twinforge.files import read_json, read_table, write_json, write_table
from twinforge.recipe import read_slice

SUITE = "quality"
WIDTH = 120  # of what is written to a file or a job's log


def main(sector: str) -> None:
    paths = Paths(sector)
    report = judge(paths)
    write_json(report.to_json(), paths.gate)
    show(report)


def judge(paths: Paths) -> GateReport:
    """The verdict on the files as they stand; raises `UserError` where one is missing or broken."""
    gate = read_slice(paths.recipe("gate")).gate
    metrics = read_json(paths.metrics)[SUITE]
    return verdict(_rows(paths), _released(paths), metrics, gate.measures, gate.alpha)


def gate(sector: str, root: Path = Path()) -> int:
    """Print the verdict; 0 where it passed, else 1. In a CI job the table goes to the job's summary too."""
    report = judge(Paths(sector, root))
    show(report)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"# {sector}\n\n{report.markdown()}\n")
    return 0 if report.passed else 1


def accept(sector: str, root: Path = Path()) -> Path:
    """Make today's answers the released ones; returns the file written."""
    paths = Paths(sector, root)
    write_table(baseline(_rows(paths)), released_file(paths), SCORE)
    return released_file(paths)


def released_file(paths: Paths) -> Path:
    """The released answers of a sector: eval/baselines/SECTOR.parquet."""
    return paths.baselines.with_suffix(".parquet")


def show(report: GateReport) -> None:
    """Print the tables and the notes."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in report.tables():
        console.print(table)
    console.print(f"gate: {report.verdict}", style="bold green" if report.passed else "bold red")
    for note in report.notes:
        console.print(f"- {note}", markup=False)


def _rows(paths: Paths) -> pd.DataFrame:
    return read_table(paths.suites / f"{SUITE}.parquet", SCORE)


def _released(paths: Paths) -> pd.DataFrame | None:
    file = released_file(paths)
    return read_table(file, SCORE) if file.exists() else None


if __name__ == "__main__":
    run(main)
