"""What can be known before a model has learnt: its first loss, and how often it is right where there is nothing to learn.

A wrong mask still lets the loss fall; it shows in the first loss. A leak shows as being right more often than chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from tests.model.tiny import COMPUTE, questions, save_tiny, section
from tests.training.runs import base, recipe
from twinforge.model.answers import answer, plan
from twinforge.records import is_right
from twinforge.training.finetune import fine_tune, prepare
from twinforge.training.trees import Lesson

VOCABULARY, SPREAD = 49152, 0.15**2 * 48  # of the tiny models: tokens, and the variance of their logits
FIRST = np.log(VOCABULARY) + SPREAD / 2  # expected -log softmax of one among so many normal logits
OFF = 0.5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny", "llama-tied-linear-rope")


def first_loss(tiny: Path, run: Path, broken: Callable[[Lesson], Lesson] = lambda lesson: lesson) -> float:
    """Over 180 questions in one step, by the trainer that trains."""
    asked = recipe()
    asked.compute = section(**{**vars(COMPUTE), "batch_trees": 30})
    course = prepare(*base(tiny), questions(30), asked)
    course = dataclasses.replace(course, lessons=[broken(lesson) for lesson in course.lessons])
    return float(fine_tune(course, run).record["curve"][0]["loss"])


def unshifted(lesson: Lesson) -> Lesson:
    """Each token told to foretell itself."""
    return dataclasses.replace(lesson, targets=np.concatenate([b.ids[b.reads] for b in lesson.tree.branches]))


def unshared(lesson: Lesson) -> Lesson:
    """Each token weighs as much as a whole question."""
    return dataclasses.replace(lesson, weights=np.ones_like(lesson.weights))


def test_the_first_loss_is_that_of_knowing_nothing(tiny: Path, tmp_path: Path) -> None:
    assert abs(first_loss(tiny, tmp_path / "right") - FIRST) < OFF
    assert first_loss(tiny, tmp_path / "unshifted", unshifted) < FIRST - OFF
    assert first_loss(tiny, tmp_path / "unshared", unshared) > FIRST + OFF


def tossed(states: int, seed: int, truth: float | None = None) -> pd.DataFrame:
    """Choices with two and with three options whose answer is tossed, or always the same."""
    frame, rng = questions(states, seed=seed), np.random.default_rng(seed)
    frame = frame[(frame["kind"] == "choice") & frame["truth"].notna()].reset_index(drop=True)
    frame["truth"] = [float(rng.integers(len(options))) if truth is None else truth for options in frame["options"]]
    return frame


def right(tiny: Path, run: Path, train: pd.DataFrame, test: pd.DataFrame) -> dict[int, int]:
    """Number of options -> fresh questions rightly answered after six passes over `train`."""
    course = prepare(*base(tiny), train, recipe(6, {"layers": 0}))
    done = fine_tune(course, run)
    p = answer(done.model, course.prompt, plan(course.prompt, test), test["id"].tolist(), 8)["p"]
    hits = pd.Series([is_right(one, row) for one, (_, row) in zip(p, test.iterrows(), strict=True)])
    return {int(options): int(n) for options, n in hits.groupby(test["options"].map(len)).sum().items()}


def test_where_there_is_nothing_to_learn_it_stays_at_chance(tiny: Path, tmp_path: Path) -> None:
    test = tossed(100, seed=1)
    for options, hits in right(tiny, tmp_path / "tossed", tossed(30, seed=0), test).items():
        low, high = binom.interval(0.999, 100, 1 / options)  # below it: still "unknown", nothing was learnt at all
        assert low <= hits <= high, (options, hits)
    for options, hits in right(tiny, tmp_path / "same", tossed(30, 0, truth=1.0), tossed(100, 1, truth=1.0)).items():
        assert hits > binom.interval(0.999, 100, 1 / options)[1], (options, hits)  # what can be learnt is
