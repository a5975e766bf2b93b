"""The local `evaluate` modules: they load by path without a network and agree with the suite's own figures."""

from __future__ import annotations

import math
import os
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest

from eval.scores import score
from tests.eval import synthetic

METRICS = Path(__file__).parents[2] / "eval" / "metrics"


def load(name: str, config: str | None = None) -> evaluate.EvaluationModule:
    assert datasets.__version__
    return evaluate.load(str(METRICS / name), config)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_EVALUATE_OFFLINE"):
        monkeypatch.setitem(os.environ, name, "1")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a metric went to the network"))


def test_every_metric_has_a_card() -> None:
    for folder in (path for path in METRICS.iterdir() if path.is_dir() and not path.name.startswith("_")):
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert card.startswith("---\ntitle:") and "## Citation" in card and load_info(folder.name).citation in card


def load_info(name: str) -> evaluate.MetricInfo:
    return load(name, "number" if name == "coverage" else None).info


def test_accuracy_counts_refusals_and_tolerances() -> None:
    nan = math.nan
    found = load("twin_accuracy").compute(
        predictions=[97.0, 2, nan, nan, 3, 91], references=[98.5, 2, 1, nan, nan, 95], tolerance=[2, 0, 0, 0, 0, 2]
    )
    assert found == {"accuracy": pytest.approx(3 / 6), "false_refusal": pytest.approx(1 / 4), "refusal_recall": 0.5}


def test_interval_score_by_hand() -> None:
    found = load("interval_score").compute(predictions=[[90, 100], [40, 44]], references=[95, 45], alpha=0.1)
    assert found == {"interval_score": pytest.approx((10 + 4 + 20) / 2), "width": 7.0}


def test_coverage_of_sets_and_intervals() -> None:
    assert load("coverage", "choice").compute(predictions=[[0, 2], [1]], references=[2, 0]) == {
        "coverage": 0.5,
        "size": 1.5,
    }
    assert load("coverage", "number").compute(predictions=[[0, 2], [1, 3]], references=[2, 0]) == {
        "coverage": 0.5,
        "size": 2.0,
    }


def test_a_refused_recommendation_costs_the_worst() -> None:
    found = load("regret").compute(predictions=[0, 1, -1], references=[[1.0, 3.0], [0.0, 2.0], [5.0, 1.0]])
    assert found == {"regret": pytest.approx(2.0), "best": pytest.approx(1 / 3)}


def test_flips_are_counted_beyond_the_tolerance_and_refusals_too() -> None:
    nan = math.nan
    found = load("flip_rate").compute(
        predictions=[2, 0, 98.5, nan, nan, 4], originals=[2, 1, 97.0, nan, 1, nan], references=[2, 1, 97.5, nan, 1, 4],
        tolerance=[0, 0, 2, 0, 0, 0],
    )  # fmt: skip
    assert found == {"flip_rate": pytest.approx(3 / 6), "accuracy_lost": pytest.approx(1 / 6)}
    same = load("flip_rate").compute(predictions=[0, 0], originals=[0, 0], references=[1, 1])
    assert same == {
        "flip_rate": 0.0,
        "accuracy_lost": 0.0,
    }  # a copier flips nothing, and its accuracy says what that is worth


def test_risk_is_kept_by_the_surest_answers() -> None:
    sure, right = [0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]
    metric = load("risk_coverage")
    for risk, answered in ((0.0, 0.5), (0.25, 1.0), (0.2, 0.5)):
        assert metric.compute(predictions=sure, references=right, risk=risk)["answered"] == answered
    assert metric.compute(predictions=sure, references=right)["area"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    flat = metric.compute(predictions=[0.5] * 4, references=right, risk=0.2)
    assert flat == {"answered": 0.0, "area": 0.25}  # a confidence that says nothing gains nothing
    assert metric.compute(predictions=[0.9, 0.1], references=[0, 1], risk=0.4)["answered"] == 0.0


def test_risk_coverage_agrees_with_the_curve() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(size=4000)
    right = (rng.uniform(size=4000) < sure).astype(int)  # calibrated: the surest share a is wrong in a / 2
    answered = load("risk_coverage").compute(predictions=sure, references=right, risk=0.2)["answered"]
    assert 0.36 < answered < 0.44


def test_forgetting_is_what_was_lost_minus_what_was_gained() -> None:
    found = load("forgetting").compute(
        predictions=[1, 0, 2, 3, 0], originals=[1, 1, 0, 3, 1], references=[1, 1, 2, 0, 1]
    )
    assert found == {"forgetting": pytest.approx(0.2), "lost": pytest.approx(0.4), "gained": pytest.approx(0.2)}


def test_modules_agree_with_the_scored_rows() -> None:
    questions = synthetic.questions(episodes=10, per_skill=4)
    rows = score(questions, synthetic.answers(questions, 0.7), "twin", alpha=0.1)
    by_id = questions.set_index("id").loc[rows["question"]]
    tolerance = by_id["tolerance"].fillna(0)
    accuracy = load("twin_accuracy").compute(
        predictions=rows["predicted"].to_numpy(), references=rows["truth"].to_numpy(), tolerance=tolerance.to_numpy()
    )
    assert accuracy["accuracy"] == pytest.approx(rows["right"].mean())
    numbers = rows[(rows["kind"] == "number") & rows["truth"].notna()]
    interval = load("interval_score").compute(
        predictions=numbers[["low", "high"]].to_numpy(), references=numbers["truth"].to_numpy(), alpha=0.1
    )
    assert interval["interval_score"] == pytest.approx(numbers["interval_score"].mean())
    advice = rows[rows["regret"].notna()]
    payoffs = [list(each) for each in by_id.loc[advice["question"], "payoff"]]
    chosen = np.nan_to_num(advice["predicted"], nan=-1).astype(int)
    assert load("regret").compute(predictions=chosen, references=payoffs)["regret"] == pytest.approx(
        advice["regret"].mean()
    )
