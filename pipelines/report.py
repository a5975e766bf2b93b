"""Report: one self-contained page, reports/SECTOR/index.html. Reads the metrics, the suites, the plots and the verdict."""

from __future__ import annotations

from eval.report import render
from eval.scores import SCORE
from eval.verdict import GateReport
from pipelines import Paths, run
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, replacing
from twinforge.records import ANSWER, QUESTION

PLOTS = ("test_day", "accuracy_by_skill", "coverage", "reliability", "risk_coverage", "robustness", "cost")
OPTIONAL = (
    "hallucination",
    "dimensions",
    "drift",
    "propagation",
)  # where something was written, probed, watched, rolled


def main(sector: str) -> None:
    paths = Paths(sector)
    drawn = [*PLOTS, *(name for name in OPTIONAL if (paths.plots / f"{name}.svg").is_file())]
    page = render(
        sector,
        GateReport.from_json(read_json(paths.gate)),
        read_json(paths.metrics),
        read_table(paths.suites / "quality.parquet", SCORE),
        read_table(paths.questions("test"), QUESTION),
        read_table(paths.twin_answers, ANSWER),
        {name: _svg(paths, name) for name in drawn},
    )
    with replacing(paths.report) as part:
        part.write_text(page, encoding="utf-8")


def _svg(paths: Paths, name: str) -> str:
    file = paths.plots / f"{name}.svg"
    if not file.is_file():
        raise UserError(f"{file}: no such file; run the stage that writes it (`dvc repro`)")
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    run(main)
