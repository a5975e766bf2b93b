"""Score a file of predictions, by any model, with one suite: `twinforge evaluate --answers FILE --suite NAME --sector SECTOR`.

Reads the curated questions, data/probes/SECTOR/ and, to compare with, the stored answers of the twin. Writes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from eval.evidence import Evidence, Result
from eval.predictions import Predictions, read_predictions
from eval.probes import PROBE
from eval.show import tables
from eval.suites import SUITES
from pipelines import Paths
from pipelines.evaluate import SPLITS, probe_answers
from pipelines.integrate import MODELS
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.recipe import Slice, read_slice
from twinforge.records import ANSWER, QUESTION

SCORED = ("quality", "robustness")  # suites whose questions anyone can answer from a file
WIDTH = 140  # of what is written to a file or a job's log


def score_file(file: Path, suite: str, sector: str, root: Path = Path()) -> None:
    """Print the suite's measures of the predictions, the stored twin beside them; raises `UserError` for bad input."""
    paths = Paths(sector, root)
    recipe = read_slice(paths.recipe("evaluate"))
    result, answered, said = measured(file, suite, paths, recipe)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(f"{file}: {answered}", highlight=False, markup=False)
    for table in tables(suite, result.measures, file.name, said):
        console.print(table)


def measured(file: Path, suite: str, paths: Paths, recipe: Slice) -> tuple[Result, str, bool]:
    """A suite's result with the file's name as one more model; how many questions it answered, in words; whether it gave no
    distributions."""
    if suite not in SCORED:
        raise UserError(f"--suite {suite}: predictions can't be scored by it; choose one of {', '.join(SCORED)}")
    parts = [read_table(paths.questions(split), QUESTION).assign(split=split) for split in SPLITS]
    questions, probes = pd.concat(parts, ignore_index=True), read_table(paths.probe_questions, PROBE)
    stored = {model: read_table(paths.answers_of(model), ANSWER) for model in ("twin", *MODELS)}
    stored = {model: rows[rows["question"].isin(questions["id"])] for model, rows in stored.items()}
    found = read_predictions(file, pd.concat([questions, probes], ignore_index=True))
    due = {"quality": questions[questions["split"] == "test"]}.get(suite, probes[probes["suite"] == suite])
    count = int(found.answers["question"].isin(due["id"]).sum())
    if not count:
        where = paths.questions("test") if suite == "quality" else paths.probe_questions
        raise UserError(
            f"{file}: answers none of the {len(due)} questions of the suite {suite}, which stand in {where}"
        )
    evidence = _evidence(file.name, found, questions, probes, stored, paths, recipe)
    return SUITES[suite](evidence), f"{count} of {len(due)} questions answered", found.said


def _evidence(
    name: str,
    found: Predictions,
    questions: pd.DataFrame,
    probes: pd.DataFrame,
    stored: dict[str, pd.DataFrame],
    paths: Paths,
    recipe: Slice,
) -> Evidence:
    own, curated = found.answers, found.answers["question"].isin(questions["id"])
    answers = {name: own[curated].reset_index(drop=True), "twin": stored["twin"]}
    told = {name: own[~curated].reset_index(drop=True)}
    if len(told[name]):
        told["twin"] = probe_answers(paths, probes, stored)["twin"]
    alpha, resamples = recipe.calibrate.alpha, recipe.evaluate.resamples
    return Evidence(questions, answers, {}, alpha, resamples, recipe.seed, probes, told)
