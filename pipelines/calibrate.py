"""Calibrate: sets for every kind of answer and the confidence to answer from, for the twin and the language model alone.

The latter serve where the experts can't answer. Reads the calibration split, which is used for nothing else, and the
answers to it; writes models/SECTOR/calibration.json.
"""

from __future__ import annotations

from pipelines import Paths, run
from twinforge.conformal.calibration import calibrate
from twinforge.files import read_table
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, QUESTION

MODELS = ("twin", "llm")


def main(sector: str) -> None:
    paths = Paths(sector)
    promise = read_slice(paths.recipe("calibrate")).calibrate
    questions = read_table(paths.questions("calibration"), QUESTION)
    answers = {model: read_table(paths.answers_of(model), ANSWER) for model in MODELS}
    calibrate(questions, answers, promise.alpha, promise.risk, promise.delta).save(paths.calibration)


if __name__ == "__main__":
    run(main)
