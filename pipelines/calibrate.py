"""Calibrate: sets for every kind of answer and the confidence to answer from, for the twin and the language model alone.

The latter serve where the experts can't answer. Of the reports in free text, which of their statements to stand for. Reads the
calibration split, which is used for nothing else, and the answers to it; writes models/SECTOR/calibration.json.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipelines import Paths, run
from twinforge.claims import CLAIM, REPORT, kinds_of
from twinforge.conformal.calibration import calibrate
from twinforge.conformal.statements import Statements, Sureness
from twinforge.conformal.text import Claims
from twinforge.files import read_table
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, QUESTION

MODELS = ("twin", "llm")


def main(sector: str) -> None:
    paths = Paths(sector)
    promise = read_slice(paths.recipe("calibrate")).calibrate
    questions = read_table(paths.questions("calibration"), QUESTION)
    answers = {model: read_table(paths.answers_of(model), ANSWER) for model in MODELS}
    made = calibrate(questions, answers, promise.alpha, promise.risk, promise.delta)
    claims = read_table(paths.claims, CLAIM)
    learnt, judged = (read_table(paths.reports_of(split), REPORT)["id"] for split in ("train", "calibration"))
    replace(made, statements=fit_statements(claims, learnt, judged, promise.alpha)).save(paths.calibration)


def fit_statements(
    claims: pd.DataFrame, validation: pd.Series, calibration: pd.Series, alpha: float
) -> Statements | None:
    """Which statements of the language model's reports to stand for; None where it wrote none.

    claims : `claims.CLAIM`. How sure they are is learnt on reports about the validation share of train (ids `validation`), and what is
    promised of it rests on those about the calibration split.
    """
    own = claims[(claims["model"] == "llm") & (claims["sample"] == 0) & (claims["status"] != "abstained")]
    learnt, judged = (own[own["report"].isin(side)] for side in (validation, calibration))
    if not len(learnt) or not len(judged):
        return None

    sureness = Sureness.fit(*_told(learnt), (learnt["status"] == "supported").to_numpy())
    right = (judged["status"] == "supported").to_numpy()
    promise = Claims.fit(judged["report"].to_numpy(), sureness.chance(*_told(judged)), right, alpha)
    return Statements(sureness, promise)


def _told(claims: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind, log-probability and entropy of claims, each (n,)."""
    return kinds_of(claims), claims["log"].to_numpy(float), claims["entropy"].to_numpy(float)


if __name__ == "__main__":
    run(main)
