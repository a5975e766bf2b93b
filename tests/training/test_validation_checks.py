"""When training is checked, which check is the best, and when to stop; and that checks change nothing in what is learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.tiny import questions, save_tiny
from tests.training.runs import base, recipe
from twinforge.training.checks import SCORE, Checks, best, checks_in, exhausted
from twinforge.training.finetune import Trained, fine_tune, prepare


def log(*scores: float) -> list[dict[str, float]]:
    """A run's log with a check every two steps, and entries of training between them."""
    entries = []
    for i, score in enumerate(scores):
        entries += [
            {"step": 2 * i + 1, "loss": 1.0},
            {"step": 2 * i + 2, "loss": 1.0},
            {"step": 2 * i + 2, SCORE: score},
        ]
    return entries


def test_the_best_check_is_the_first_of_equals() -> None:
    found = best(log(-3, -1, -1, -2))
    assert found and found["step"] == 4 and len(checks_in(log(-3, -1))) == 2
    assert best([{"step": 1, "loss": 2.0}]) is None and not exhausted([{"step": 1, "loss": 2.0}], 1)


@pytest.mark.parametrize(("scores", "patience"), [((-1, -2), 1), ((-3, -1, -1, -1), 2), ((-2, -3, -2), 2)])
def test_patience_ends_after_as_many_checks_and_not_one_sooner(scores: tuple[float, ...], patience: int) -> None:
    assert exhausted(log(*scores), patience) and not exhausted(log(*scores[:-1]), patience)


@given(st.lists(st.floats(-9, 0), min_size=1, max_size=9), st.integers(1, 4))
def test_what_gets_better_in_time_goes_on(scores: list[float], patience: int) -> None:
    assert not exhausted(log(*sorted(set(scores))), patience)
    assert exhausted(log(1, *scores[:patience]), patience) == (len(scores) >= patience)


def test_the_last_step_is_always_checked() -> None:
    assert [step for step in range(1, 11) if Checks(4, 1, dict).due(step, 10)] == [4, 8, 10]
    assert [step for step in range(1, 11) if Checks(0, 1, dict).due(step, 10)] == [10]


def test_checks_change_nothing_in_what_is_learnt(tmp_path: Path) -> None:
    tiny, frame = save_tiny(tmp_path / "tiny"), questions(12, validation=0.25)

    def run(name: str, every: int) -> Trained:
        return fine_tune(prepare(*base(tiny), frame, recipe(2, check_every=every, patience=9)), tmp_path / name)

    often, once = run("often", 2).record, run("once", 0).record
    assert [entry["loss"] for entry in often["curve"]] == [entry["loss"] for entry in once["curve"]]
    assert [check["step"] for check in often["checks"]] == [2, 4, 6, 8, 10] and once["best_step"] == 10
    assert often["checks"][-1] == once["checks"][0]
    top = max(often["checks"], key=lambda check: check["log_score"])
    assert often["best_step"] == top["step"] and often["validation"]["log_score"] == top["log_score"]
