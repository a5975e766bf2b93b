"""Report: one self-contained page, reports/SECTOR/index.html. Reads the metrics, the suites, the plots, the verdict and the studies."""

from __future__ import annotations

from pathlib import Path

from eval.report import render
from eval.scores import SCORE
from eval.studies import Measured
from eval.study_blocks import BLOCKS
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
    studies = {name: Measured.from_json(read_json(paths.study(name))) for name in BLOCKS if paths.study(name).is_file()}
    page = render(
        sector,
        GateReport.from_json(read_json(paths.gate)),
        read_json(paths.metrics),
        read_table(paths.suites / "quality.parquet", SCORE),
        read_table(paths.questions("test"), QUESTION),
        read_table(paths.twin_answers, ANSWER),
        {name: _svg(paths.plots / f"{name}.svg") for name in drawn}
        | {name: _svg(paths.study(name).with_suffix(".svg")) for name in studies},
        [block for name, measured in studies.items() for block in BLOCKS[name](measured)],
    )
    with replacing(paths.report) as part:
        part.write_text(page, encoding="utf-8")


def _svg(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"{file}: no such file; run what writes it again (`dvc repro`, or the study)")
    return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    run(main)
