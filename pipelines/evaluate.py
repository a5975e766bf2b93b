"""Evaluate: every suite on the stored answers, and the curves and plots of the report.

Reads the curated questions, the SECTOR folders of data/answers/, probes/, texts/, drift/, rolled/ and thoughts/, the regimes of the lake's
episodes, the twin's answers, its weights and thresholds, and what studies measured (reports/studies/SECTOR/), where there are any; writes
reports/SECTOR/metrics.json, summary.json (the few figures that `dvc metrics` shows), suites/ (a row a question and model, or a stretch
and detector) and plots/ (CSV for `dvc plots`, PNG, SVG).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eval import curves, plots, suite_plots
from eval.evidence import Evidence, Measures, Result
from eval.pooled import pooled
from eval.probes import FAILING, PROBE, dimensions
from eval.probes.general import GENERAL
from eval.rolling import ROLL
from eval.suites import SUITES, failing, propagation, robustness
from pipelines import Paths, run
from pipelines.calibrate import backing_of
from twinforge.agents.integration import Integration
from twinforge.claims import CLAIM, REPORT, TEXT
from twinforge.conformal.calibration import Calibration, Promises, calibrate, covered
from twinforge.conformal.following import follow_rows
from twinforge.conformal.rows import answered
from twinforge.conformal.statements import Statements
from twinforge.drift.trial import COURSE, RUN
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, replacing, write_json, write_table
from twinforge.reasoning.standing import signs_of
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, EPISODE, EXPERTS, LLM, QUESTION

SPLITS = ("calibration", "test", "shift")


def main(sector: str) -> None:
    paths = Paths(sector)
    evidence = load(paths)
    results = {name: suite(evidence) for name, suite in tqdm(SUITES.items(), desc="suites", unit="suite")}
    with replacing(paths.suites) as folder:
        folder.mkdir()
        for name, result in results.items():
            write_table(result.table, folder / f"{name}.parquet", result.schema)
    with replacing(paths.plots) as folder:
        folder.mkdir()
        draw(results, evidence, read_table(paths.drift_course, COURSE), folder)
    write_json({name: result.measures for name, result in results.items()} | studied(paths), paths.metrics)
    write_json(summary(results["quality"].measures), paths.summary)


def studied(paths: Paths) -> dict[str, Measures]:
    """The study "scale", where it was made: it takes longer than all the rest."""
    file = paths.study("scale")
    if file.is_file():
        return {"scale": read_json(file)["measures"]}
    print(f"evaluate: no {file}, so metrics.json goes without `scale`; `make scale` measures it")
    return {}


def summary(quality: Measures) -> dict[str, dict[str, float]]:
    """On `test`: accuracy of every model, then the twin's accuracy, coverage and log score by skill."""

    def twin(measure: str) -> dict[str, float]:
        found = {skill: cells.get(measure, {}).get("twin") for skill, cells in quality["test"].items()}
        return {skill: round(entry["value"], 4) for skill, entry in found.items() if entry}

    models = {model: round(entry["value"], 4) for model, entry in quality["test"]["all"]["accuracy"].items()}
    return {"accuracy": models, **{f"twin_{name}": twin(name) for name in ("accuracy", "coverage", "log_score")}}


def load(paths: Paths) -> Evidence:
    """All that was stored; raises `UserError` for files that are missing, broken or don't fit each other."""
    recipe = read_slice(paths.recipe("evaluate"))
    parts = {split: read_table(paths.questions(split), QUESTION) for split in SPLITS}
    questions = pd.concat([rows.assign(split=split) for split, rows in parts.items()], ignore_index=True)
    files = {"twin": paths.twin_answers, **{file.stem: file for file in sorted(paths.answers.glob("*.parquet"))}}
    answers = {model: _on(questions, read_table(file, ANSWER)) for model, file in files.items()}
    if not any(answers["twin"]["question"].isin(parts["test"]["id"])):
        raise UserError(f"{paths.twin_answers}: answers no question of the test split; run `dvc repro` again")
    stored = Calibration.load(paths.calibration)
    sets = calibrated_sets(questions, answers, stored)
    probes = read_table(paths.probe_questions, PROBE)
    told = probe_answers(paths, probes, answers)
    weak = failing_answers(paths, probes, told, answers)
    weak_sets = {
        model: plain_sets(failing.asked_of(probes), weak[model], stored, model)
        for model in weak
        if model in stored.models
    }
    general, drift = read_table(paths.probe_general, GENERAL), read_table(paths.drift_runs, RUN)
    requests = [read_table(paths.reports_of(split), REPORT).assign(split=split) for split in SPLITS]
    claims = read_table(paths.claims, CLAIM)
    claims = sure_of(claims, backing_of(paths, claims), stored.statements)
    rolled, train = read_table(paths.rolled_answers, ROLL), read_table(paths.questions("train"), QUESTION)
    return Evidence(
        questions, answers, sets, stored.alpha, recipe.evaluate.resamples, recipe.seed,
        probes=probes, probe_answers=told, general=general, drift=drift,
        reports=pd.concat(requests, ignore_index=True), texts=read_table(paths.written, TEXT), claims=claims, rolled=rolled,
        failing=weak, failing_sets=weak_sets, train=train[~train["validation"]],
        thoughts={file.stem: read_table(file, ANSWER) for file in sorted(paths.thoughts.glob("*-*.parquet"))},
        regimes=dict(read_table(paths.episodes, EPISODE)[["episode", "regime"]].itertuples(index=False, name=None)),
    )  # fmt: skip


def sure_of(claims: pd.DataFrame, backing: np.ndarray, statements: Statements | None) -> pd.DataFrame:
    """The claims (`claims.CLAIM`) with the chance that each is right (`sure`), and whether the twin stands for it (`kept`).

    backing : (n,) what the twin's own answers make of each."""
    if statements is None:
        return claims.assign(sure=np.nan, kept=False)
    signs = signs_of(claims, backing)
    return claims.assign(sure=statements.sureness.chance(signs), kept=statements.keep(signs))


def probe_answers(paths: Paths, probes: pd.DataFrame, answers: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tuned model's answers to the suites' extra questions, and the twin's: pooled with the experts' to the originals, or,
    where dimensions are missing, with what the experts make of what is left.

    Canaries have no twin: experts read signals that are taken out of them.
    """
    if not len(probes):
        return {}
    integration, own = Integration.from_json(read_json(paths.integration)), read_table(paths.probe_answers, ANSWER)
    experts = {model: answers[model] for model in EXPERTS}
    blind = {model: read_table(paths.probe_expert(model), ANSWER) for model in experts}
    seen = (dimensions.NAME, FAILING)
    reworded, less = probes[probes["suite"] == robustness.NAME], probes[probes["suite"].isin(seen)]
    parts = ((reworded, experts), (less.assign(original=less["id"]), blind))
    told = [pooled(asked, own[own["question"].isin(asked["id"])], beside, integration) for asked, beside in parts]
    return {"twin": pd.concat(told, ignore_index=True), LLM: own}


def failing_answers(
    paths: Paths, probes: pd.DataFrame, told: Mapping[str, pd.DataFrame], answers: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Answers while a side fails: the twin's, its language model's, boosting's, and those of the twin's parts with equal weights
    ("uniform"; of the questions as they stood too)."""
    asked = failing.asked_of(probes)
    if not len(asked):
        return {}
    rows = {model: each[each["question"].isin(asked["id"])] for model, each in told.items()}
    experts = {model: read_table(paths.probe_expert(model), ANSWER) for model in EXPERTS}
    originals = asked.drop_duplicates("original").assign(id=lambda each: each["original"])
    sound = answers[LLM][answers[LLM]["question"].isin(originals["id"])]
    parts = (
        (asked.assign(original=asked["id"]), rows[LLM], experts),
        (originals, sound, {m: answers[m] for m in experts}),
    )
    uniform = [pooled(each, own, beside, Integration({}, {})) for each, own, beside in parts]
    boost = experts["boost"][experts["boost"]["question"].isin(asked["id"])]
    return {**rows, "uniform": pd.concat(uniform, ignore_index=True), "boost": boost}


def plain_sets(questions: pd.DataFrame, answers: pd.DataFrame, stored: Calibration, model: str) -> pd.DataFrame:
    """The stored calibration's sets of one model (columns `eval.scores.SETS`); none that follow a stream."""
    return _measured_sets(questions, answers, stored, model).assign(covered_online=np.nan, whole_online=np.nan)


def _measured_sets(questions: pd.DataFrame, answers: pd.DataFrame, stored: Calibration, model: str) -> pd.DataFrame:
    """Sets with whether they hold the truth, and their size."""
    sets = stored.sets(questions, answers, model)
    size = sets["members"].map(len).astype(float).where(sets["kind"] != "number")
    return sets.assign(covered=covered(questions, sets), size=size)


def calibrated_sets(
    questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], stored: Calibration
) -> dict[str, pd.DataFrame]:
    """Sets of every model that answered the calibration split (columns `eval.scores.SETS`).

    The stored thresholds where the model has them, else thresholds of its own, made in the same way.
    """
    calibration, twin = questions[questions["split"] == "calibration"], stored.models["twin"].answering
    found = {}
    for model, rows in tqdm(answers.items(), desc="sets", unit="model"):
        if model in stored.models:
            own = stored
        elif rows["question"].isin(calibration["id"]).any():
            own = calibrate(calibration, {model: rows}, stored.alpha, twin.risk, twin.delta)
        else:
            continue
        online = followed(own.models[model], questions, rows, own.alpha)
        found[model] = _measured_sets(questions, rows, own, model).merge(online, "left", on="question")
    return found


def followed(promises: Promises, questions: pd.DataFrame, answers: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Coverage of the thresholds that follow the stream of each later split, from the calibration on (`following.COLUMNS`)."""
    parts = [answered(questions[questions["split"] == split], answers) for split in SPLITS[1:]]
    return pd.concat([follow_rows(promises.followers, rows, alpha) for rows in parts], ignore_index=True)


def draw(results: Mapping[str, Result], evidence: Evidence, course: pd.DataFrame, folder: Path) -> None:
    """The curves as CSV, and the plots as PNG and SVG; of a suite that measured nothing none. course : `drift.trial.COURSE`."""
    quality, rolled, judged = (results[name].table for name in ("quality", "propagation", "hallucination"))
    judged, credits = judged[judged["split"] == "test"], curves.of_credits(results["dimensions"].measures)
    made = {
        "reliability": curves.reliability(quality),
        "risk_coverage": curves.risk_coverage(quality),
        "coverage": curves.of_measure(results["quality"].measures, "coverage"),
        "accuracy": curves.of_measure(results["quality"].measures, "accuracy"),
        "robustness": curves.of_changes(results["robustness"].measures),
        "cost": curves.of_costs(results["cost"].measures),
    }
    figures = {
        "test_day": plots.test_day(curves.example_day(quality, evidence.questions)),
        "accuracy_by_skill": plots.accuracy_by_skill(made["accuracy"]),
        "reliability": plots.reliability(made["reliability"]),
        "risk_coverage": plots.risk_coverage(made["risk_coverage"]),
        "coverage": plots.coverage(made["coverage"]),
        "robustness": suite_plots.robustness(made["robustness"]),
        "cost": suite_plots.cost(made["cost"]),
    }
    if len(rolled):
        made["propagation"] = propagation.course(rolled, evidence.resamples, evidence.seed)
        figures["propagation"] = suite_plots.propagation(made["propagation"])
    if len(judged):
        figures["hallucination"] = suite_plots.hallucination(judged)
    if len(credits):
        figures["dimensions"] = suite_plots.dimensions(credits)
    if len(course):
        figures["drift"] = suite_plots.drift(course)
    for name, frame in made.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    for name, figure in figures.items():
        plots.save(figure, folder / name)


def _on(questions: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers to these questions: those to train rows fit the integration and are not measured."""
    return answers[answers["question"].isin(questions["id"])].reset_index(drop=True)


if __name__ == "__main__":
    run(main)
