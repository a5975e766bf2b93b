"""Score any model's answers with one suite: those in a file (`twinforge evaluate --answers FILE --suite NAME --sector SECTOR`), or
a running server's, asked now (`--model URL`).

Reads the curated questions, data/probes/SECTOR/ and, to compare with, the stored answers of the twin. Writes nothing but a server's
replies, in .scratch/SECTOR/served/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from eval.evidence import Evidence, Result
from eval.predictions import Predictions, read_predictions, read_texts
from eval.probes import PROBE
from eval.served import Server, ask
from eval.show import tables
from eval.suites import SUITES, hallucination
from pipelines import Paths
from pipelines.calibrate import backing_of
from pipelines.evaluate import SPLITS, probe_answers, sure_of
from twinforge.claims import CLAIM, REPORT, TEXT
from twinforge.conformal.calibration import Calibration
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.model.answers import sample_states
from twinforge.reasoning.reporting import claims_of
from twinforge.recipe import Slice, read_slice
from twinforge.records import ANSWER, KNOWLEDGE, PARTS, QUESTION
from twinforge.sectors import load_sector

SCORED = ("quality", "robustness", "hallucination")  # suites whose questions anyone can answer from a file
WIDTH = 140  # of what is written to a file or a job's log


def score_file(file: Path, suite: str, sector: str, root: Path = Path()) -> None:
    """Print the suite's measures of the predictions, the stored twin beside them; raises `UserError` for bad input."""
    paths = Paths(sector, root)
    recipe = read_slice(paths.recipe("evaluate"))
    result, answered, said = measured(file, suite, paths, recipe)
    _show(f"{file}: {answered}", suite, result, file.name, said)


def score_server(
    url: str, name: str | None, sector: str, split: str, limit: int | None, concurrency: int, root: Path = Path()
) -> None:
    """Ask the server at `url` a split's questions (whole states, about `limit` of them) and print the suite `quality` of its answers.

    name : of the model, where the server has several. concurrency : requests at a time. Raises `UserError` for what it can't reach or read.
    """
    if concurrency < 1 or (limit is not None and limit < 1):
        raise UserError(f"--concurrency {concurrency}, --limit {limit}: give whole numbers from 1 on")
    paths = Paths(sector, root)
    recipe = read_slice(paths.recipe("evaluate"))
    questions = read_table(paths.questions(split), QUESTION)
    asked = sample_states(questions, limit, recipe.seed) if limit else questions
    server = Server(url, name, concurrency)
    found = ask(server, asked, paths.scratch / "served", concurrency)
    result = scored(server.model, Predictions(found.answers, found.said), "quality", paths, recipe)
    lost = (
        f"; {found.lost} of {found.replies} replies could not be read and count as knowing nothing"
        if found.lost
        else ""
    )
    _show(
        f"{server.model}: {len(asked)} of {len(questions)} questions of {split} asked{lost}",
        "quality",
        result,
        server.model,
        found.said,
    )


def _show(line: str, suite: str, result: Result, name: str, said: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(line, highlight=False, markup=False)
    for table in tables(suite, result.measures, name, said):
        console.print(table)


def measured(file: Path, suite: str, paths: Paths, recipe: Slice) -> tuple[Result, str, bool]:
    """A suite's result with the file's name as one more model; how many questions it answered, in words; whether it gave no
    distributions."""
    if suite not in SCORED:
        raise UserError(f"--suite {suite}: predictions can't be scored by it; choose one of {', '.join(SCORED)}")
    if suite == hallucination.NAME:
        return _written(file, paths, recipe)
    questions, probes = _asked(paths)
    found = read_predictions(file, pd.concat([questions, probes], ignore_index=True))
    due = {"quality": questions[questions["split"] == "test"]}.get(suite, probes[probes["suite"] == suite])
    count = int(found.answers["question"].isin(due["id"]).sum())
    if not count:
        where = paths.questions("test") if suite == "quality" else paths.probe_questions
        raise UserError(
            f"{file}: answers none of the {len(due)} questions of the suite {suite}, which stand in {where}"
        )
    return scored(file.name, found, suite, paths, recipe), f"{count} of {len(due)} questions answered", found.said


def _written(file: Path, paths: Paths, recipe: Slice) -> tuple[Result, str, bool]:
    """The suite "hallucination" of the texts of a file, beside those that were stored."""
    stored = Calibration.load(paths.calibration)
    texts, claims = read_table(paths.written, TEXT), read_table(paths.claims, CLAIM)
    requests = pd.concat([read_table(paths.reports_of(split), REPORT).assign(split=split) for split in SPLITS])
    asked = requests[requests["id"].isin(texts["report"]) & (requests["split"] != "calibration")]
    own = read_texts(file, asked)
    plugin = load_sector(read_slice(paths.recipe("write")).module)
    assets = set(read_table(paths.knowledge, KNOWLEDGE)["subject"])
    judged = claims_of(own, asked, plugin.claims, assets)
    said = pd.concat([claims, judged], ignore_index=True)
    everything = sure_of(said, backing_of(paths, said), stored.statements)
    nothing = pd.DataFrame()
    evidence = Evidence(
        nothing, {}, {}, stored.alpha, recipe.evaluate.resamples, recipe.seed, reports=requests,
        texts=pd.concat([texts, own], ignore_index=True), claims=everything,
    )  # fmt: skip
    return hallucination.run(evidence), f"{len(own)} of {len(asked)} requests answered", True


def scored(name: str, found: Predictions, suite: str, paths: Paths, recipe: Slice) -> Result:
    """A suite's result with these answers as one more model of that name."""
    questions, probes = _asked(paths)
    stored = {model: read_table(paths.answers_of(model), ANSWER) for model in ("twin", *PARTS)}
    stored = {model: rows[rows["question"].isin(questions["id"])] for model, rows in stored.items()}
    return SUITES[suite](_evidence(name, found, questions, probes, stored, paths, recipe))


def _asked(paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All curated questions with their split, and all probes."""
    parts = [read_table(paths.questions(split), QUESTION).assign(split=split) for split in SPLITS]
    return pd.concat(parts, ignore_index=True), read_table(paths.probe_questions, PROBE)


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
