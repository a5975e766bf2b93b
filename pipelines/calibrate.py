"""Calibrate: sets for every kind of answer and the confidence to answer from, for the twin and the language model alone.

The latter serve where the experts can't answer. Of the reports in free text, which of their statements to stand for. Reads the
calibration split, which is used for nothing else, the answers to it and to what backs the reports, and the twin's weights; writes
models/SECTOR/calibration.json.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipelines import Paths, run
from twinforge.agents.integration import Integration
from twinforge.backing import BACKING, chances
from twinforge.claims import CLAIM, REPORT
from twinforge.conformal.calibration import calibrate
from twinforge.conformal.statements import Statements, Sureness
from twinforge.conformal.text import Claims
from twinforge.files import read_json, read_table
from twinforge.reasoning.standing import pool_tables, signs_of
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, LLM, PARTS, QUESTION

MODELS = ("twin", "llm")


def main(sector: str) -> None:
    paths = Paths(sector)
    promise = read_slice(paths.recipe("calibrate")).calibrate
    questions = read_table(paths.questions("calibration"), QUESTION)
    answers = {model: read_table(paths.answers_of(model), ANSWER) for model in MODELS}
    made = calibrate(questions, answers, promise.alpha, promise.risk, promise.delta)
    claims = read_table(paths.claims, CLAIM)
    learnt, judged = (read_table(paths.reports_of(split), REPORT)["id"] for split in ("train", "calibration"))
    statements = fit_statements(claims, backing_of(paths, claims), learnt, judged, promise.alpha)
    replace(made, statements=statements).save(paths.calibration)


def fit_statements(
    claims: pd.DataFrame, backing: np.ndarray, validation: pd.Series, calibration: pd.Series, alpha: float
) -> Statements | None:
    """Which statements of the language model's reports to stand for; None where it wrote none.

    claims : `claims.CLAIM`; backing : (n,) what the twin's own answers make of each. How sure they are is learnt on reports about the
    validation share of train (ids `validation`), and what is promised of it rests on those about the calibration split.
    """
    own = (claims["model"] == "llm") & (claims["sample"] == 0) & (claims["status"] != "abstained")
    learnt, judged = ((claims["report"].isin(side) & own).to_numpy() for side in (validation, calibration))
    if not learnt.any() or not judged.any():
        return None
    signs, right = signs_of(claims, backing), (claims["status"] == "supported").to_numpy()
    sureness = Sureness.fit(signs[learnt], right[learnt])
    chance = sureness.chance(signs[judged])
    return Statements(sureness, Claims.fit(claims["report"].to_numpy()[judged], chance, right[judged], alpha))


def backing_of(paths: Paths, claims: pd.DataFrame) -> np.ndarray:
    """The chance (n,) that each claim of the language model's reports is so by the twin's own answers; NaN where it has none."""
    links, questions = read_table(paths.backing, BACKING), read_table(paths.backing_questions, QUESTION)
    parts = {model: read_table(paths.backing_answers(model), ANSWER) for model in PARTS}
    integration = Integration.from_json(read_json(paths.integration))
    answered = questions[questions["id"].isin(parts[LLM]["question"])]
    return chances(claims, links, questions, pool_tables(integration, answered, parts))


if __name__ == "__main__":
    run(main)
