"""Write a sector's measured tables into README.md and docs/: `python -m pipelines.readme energy`, after `dvc repro`.

What stands between `<!-- accuracy SECTOR -->` and `<!-- end -->` is replaced by the figures of reports/SECTOR/metrics.json, as is
`<!-- results SECTOR -->` in docs/results.md and `<!-- SUITE SECTOR -->` in docs/SUITE.md; those of the studies come from
reports/studies/SECTOR/, the gate's from its verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval import study_pages
from eval.pages import (
    MODELS,
    contamination,
    costs,
    dimensions,
    drift,
    failing,
    figure,
    forgetting,
    hallucination,
    paper,
    propagation,
    retries,
    robustness,
    safety,
    share_text,
    twins,
)
from eval.studies import Measured
from eval.verdict import JUDGED, GateReport
from pipelines import Paths, run
from twinforge.card import table
from twinforge.errors import UserError
from twinforge.files import read_json, replacing

TITLE = "Accuracy on `test`, 95 % interval"
WEIGHTS = Path("benchmarks/results/weights.json")
README, RESULTS = Path("README.md"), Path("docs/results.md")
ROBUSTNESS, FORGETTING = Path("docs/robustness.md"), Path("docs/forgetting.md")
DIMENSIONS, DRIFT, PAPER = Path("docs/dimensions.md"), Path("docs/drift.md"), Path("docs/paper.md")
COST, HALLUCINATION, PROPAGATION, SAFETY, CONTAMINATION = (
    Path(f"docs/{name}.md") for name in ("cost", "hallucination", "propagation", "safety", "contamination")
)

STUDIES = {"ablate": DIMENSIONS, "scale": Path("docs/scale.md"), "learning": Path("docs/learning.md")}


def main(sector: str) -> None:
    metrics = read_json(Paths(sector).metrics)
    fill(f"accuracy {sector}", accuracy(TITLE, metrics["quality"]["test"]))
    fill(f"results {sector}", results(metrics["quality"]), RESULTS)
    if Paths(sector).gate.is_file():
        fill(f"gate {sector}", gate(GateReport.from_json(read_json(Paths(sector).gate))))
    if PAPER.is_file():
        weights = {"weights": read_json(WEIGHTS)} if WEIGHTS.is_file() else {}
        fill(f"paper {sector}", paper({**metrics, **weights}), PAPER)
    if reports := metrics.get("hallucination"):
        fill(f"hallucination {sector}", hallucination(reports), HALLUCINATION)
    if changes := metrics.get("robustness", {}).get("test"):
        fill(f"robustness {sector}", "\n\n".join(robustness(changes, model) for model in ("llm", "twin")), ROBUSTNESS)
    if told := metrics.get("dimensions"):
        fill(f"dimensions {sector}", dimensions(told), DIMENSIONS)
    if weak := metrics.get("failing", {}).get("test"):
        fill(f"failing {sector}", failing(weak), DIMENSIONS)
    if topics := metrics.get("forgetting", {}).get("general"):
        fill(f"forgetting {sector}", forgetting(topics), FORGETTING)
    if watched := metrics.get("drift"):
        fill(f"drift {sector}", drift(watched), DRIFT)
    if policies := metrics.get("propagation", {}).get("later"):
        fill(f"propagation {sector}", propagation(policies), PROPAGATION)
    if again := metrics.get("propagation", {}).get("test"):
        fill(f"retries {sector}", retries(again), PROPAGATION)
    if advice := metrics.get("safety"):
        fill(f"safety {sector}", safety(advice), SAFETY)
    if shared := metrics.get("contamination"):
        fill(f"contamination {sector}", contamination(shared), CONTAMINATION)
    for study, page in STUDIES.items():
        if (file := Paths(sector).study(study)).is_file():
            tables = study_pages.PAGES[study](Measured.from_json(read_json(file)), metrics)
            picture = f"![{study}](../{file.with_suffix('.png').as_posix()})"
            fill(f"{study} {sector}", f"{tables}\n\n{picture}", page)
    if metrics.get("cost", {}).get("test"):
        fill(f"cost {sector}", costs(metrics["cost"]), COST)


def fill(name: str, figures: str, page: Path = README, end: str = "end") -> None:
    """Put a measured table into a page, between `<!-- name -->` and `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- {end} -->)", re.S)
    if not pattern.search(text):
        raise UserError(f"{page}: no place for the figures; put `<!-- {name} -->` and `<!-- {end} -->` there")
    with replacing(page) as part:
        part.write_text(pattern.sub(lambda m: m[1] + figures + "\n" + m[2], text), encoding="utf-8")


def gate(report: GateReport) -> str:
    """The verdict in a line, and every primary measure against its bar or the release."""
    low = ", ".join(row.skill for row in report.coverage if not row.ok)
    line = f"**Gate: {report.verdict}.** Coverage is {f'too low on {low}' if low else 'as promised on every skill'}."
    return f"{line}\n\n" + table(JUDGED, [tuple(row) for row in report.judged()])


def results(quality: Mapping[str, Any]) -> str:
    """Accuracy of every model by skill on `test`, the same where the rule is wrong, and the twin's guarantees."""
    test = quality["test"]
    parts = [
        accuracy(TITLE, test),
        accuracy("The same where the rule is wrong", quality.get("test|rule-wrong", {})),
        accuracy("F1 of the said sets on `test`", test, "set_f1"),
        accuracy("Accuracy on `shift`: later weeks and other regimes", quality["shift"]),
        guarantees(test),
        on_both({split: quality[split] for split in ("test", "shift")}),
    ]
    return "\n\n".join(part for part in parts if part)


def accuracy(title: str, skills: Mapping[str, Any], measure: str = "accuracy") -> str:
    """One measure in percent, skills down and models across; "all" is left out where one skill alone has it.

    The best of those that answered every question is bold; the others have their own count beside.
    """
    found = {skill: cells[measure] for skill, cells in skills.items() if cells.get(measure)}
    if len(found) == 2:
        found.pop("all", None)
    models = [m for m in MODELS if any(m in cells for cells in found.values())]
    if not models:
        return ""
    rows = []
    for skill, cells in found.items():
        count = max(cells[m]["n"] for m in models if m in cells)
        best = max(cells[m]["value"] for m in models if m in cells and cells[m]["n"] == count)
        rows.append((skill, str(count), *(share_text(cells[m], best, count) if m in cells else "" for m in models)))
    return f"**{title}**\n\n" + table(("skill", "n", *models), rows)


def guarantees(skills: Mapping[str, Any]) -> str:
    """Coverage of the twin's sets with the band it has to lie in, their size, and refusals."""
    rows = []
    for skill, cells in skills.items():
        covered = cells.get("coverage", {}).get("twin")
        if not covered:
            continue
        band = f"{covered['band_low']:.3f} or more: {'kept' if covered['ok'] else 'BROKEN'}" if "ok" in covered else ""
        rows.append(
            (
                skill,
                str(covered["n"]),
                figure(covered),
                band,
                *(twins(cells, name) for name in ("set_size", "width", "regret")),
            )
        )
    head = ("skill", "n", "coverage", "promise", "labels or nodes in the set", "width, %", "regret, points")
    return "**The twin's guaranteed sets and intervals on `test`**\n\n" + table(head, rows)


def on_both(splits: Mapping[str, Any]) -> str:
    """What the twin's promises come to on both splits: only thresholds that follow the stream promise anything on `shift`."""
    head = {
        "coverage": "static sets", "coverage_online": "sets that follow the stream", "whole_online": "of these hold everything",
        "answered": "answered when sure", "answered_wrong": "of all: so answered and wrong",
    }  # fmt: skip
    rows = [(split, *(twins(skills["all"], name) for name in head)) for split, skills in splits.items()]
    if not any(cell for row in rows for cell in row[1:]):
        return ""
    return "**Coverage and sure answers of the twin, all skills**\n\n" + table(("split", *head.values()), rows)


if __name__ == "__main__":
    run(main)
