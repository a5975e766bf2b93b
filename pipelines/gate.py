"""Gate: is today's twin at least as good as the released one, and within its bars? Never stops the pipeline; `twinforge gate`
exits with 1.

Reads reports/SECTOR/metrics.json, the rows of reports/SECTOR/suites/ that can be paired, and the released ones,
eval/baselines/SECTOR.parquet of quality and SECTOR-SUITE.parquet of others (in git; there may be none); writes
reports/SECTOR/gate.json.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from eval.gate import PAIRED, QUALITY, baseline, verdict
from eval.scores import SCORE
from eval.verdict import GateReport
from pipelines import Paths, run
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, write_json, write_table
from twinforge.recipe import read_slice

WIDTH = 120  # of what is written to a file or a job's log


def main(sector: str) -> None:
    paths = Paths(sector)
    report = judge(paths)
    write_json(report.to_json(), paths.gate)
    show(report)


def judge(paths: Paths) -> GateReport:
    """The verdict on the files as they stand; raises `UserError` where one is missing or broken."""
    gate, metrics = read_slice(paths.recipe("gate")).gate, read_json(paths.metrics)
    return verdict(_rows(paths), _released(paths), metrics, gate.measures, gate.bars, gate.alpha)


def gate(sector: str, root: Path = Path()) -> int:
    """Print the verdict; 0 where it passed, else 1. In a CI job the table goes to the job's summary too."""
    report = judge(Paths(sector, root))
    show(report)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"# {sector}\n\n{report.markdown()}\n")
    return 0 if report.passed else 1


def accept(sector: str, root: Path = Path()) -> list[Path]:
    """Make today's answers the released ones; returns the files written.

    Raises
    ------
    UserError
        A suite that the recipe's gate reads was not measured: what is released has been measured whole.
    """
    paths = Paths(sector, root)
    if missing := judge(paths).unmeasured:
        raise UserError(
            f"{paths.metrics}: not measured: {', '.join(missing)}; a release needs all that the gate reads: run `make suites`, "
            f"or take it out of gate.bars in recipes/{sector}.yaml"
        )
    kept = {suite: baseline(rows) for suite, rows in _rows(paths).items()}
    found = {released_file(paths, suite): rows for suite, rows in kept.items() if len(rows)}
    for file, rows in found.items():
        write_table(rows, file, SCORE)
    return list(found)


def released_file(paths: Paths, suite: str = QUALITY) -> Path:
    """The released answers of a sector: eval/baselines/SECTOR.parquet, of other suites SECTOR-SUITE.parquet."""
    name = paths.sector if suite == QUALITY else f"{paths.sector}-{suite}"
    return paths.baselines.with_name(f"{name}.parquet")


def show(report: GateReport) -> None:
    """Print the tables and the notes."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in report.tables():
        console.print(table)
    console.print(f"gate: {report.verdict}", style="bold green" if report.passed else "bold red")
    for note in report.notes:
        console.print(f"- {note}", markup=False)


def _rows(paths: Paths) -> dict[str, pd.DataFrame]:
    return {suite: read_table(paths.suites / f"{suite}.parquet", SCORE) for suite in PAIRED}


def _released(paths: Paths) -> dict[str, pd.DataFrame]:
    files = {suite: released_file(paths, suite) for suite in PAIRED}
    return {suite: read_table(file, SCORE) for suite, file in files.items() if file.exists()}


if __name__ == "__main__":
    run(main)
