"""Calibrate: conformal thresholds by group for the twin, and for the language model alone.

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
    alpha = read_slice(paths.recipe("calibrate")).calibrate.alpha
    questions = read_table(paths.questions("calibration"), QUESTION)
    answers = {model: read_table(paths.answers_of(model), ANSWER) for model in MODELS}
    calibrate(questions, answers, alpha).save(paths.calibration)


if __name__ == "__main__":
    run(main)
