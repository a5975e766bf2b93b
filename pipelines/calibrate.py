"""Calibrate: sets for every kind of answer and the confidence to answer from, for the twin and the language model alone.

The latter serve where the experts can't answer. Of the reports in free text, which of their claims to stand for. Reads the
calibration split, which is used for nothing else, and the answers to it; writes models/SECTOR/calibration.json.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from pipelines import Paths, run
from twinforge.claims import CLAIM, REPORT
from twinforge.conformal.calibration import calibrate
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
    requests = read_table(paths.reports_of("calibration"), REPORT)
    replace(made, claims=fit_claims(read_table(paths.claims, CLAIM), requests, promise.alpha)).save(paths.calibration)


def fit_claims(claims: pd.DataFrame, requests: pd.DataFrame, alpha: float) -> Claims | None:
    """The claims that the language model's reports on the calibration states are kept by; None where it wrote none."""
    own = claims[claims["report"].isin(requests["id"]) & (claims["model"] == "llm") & (claims["sample"] == 0)]
    own = own[own["status"] != "abstained"]
    if not len(own):
        return None
    supported = (own["status"] == "supported").to_numpy()
    return Claims.fit(own["report"].to_numpy(), own["log"].to_numpy(float), supported, alpha)


if __name__ == "__main__":
    run(main)
