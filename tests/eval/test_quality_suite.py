"""The quality suite finds rates that are known by construction, and is not fooled by cheap models."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence, Result
from eval.suites import SUITES
from tests.eval import synthetic


def suite(questions: pd.DataFrame, sets: dict[str, pd.DataFrame] | None = None, **answers: pd.DataFrame) -> Result:
    named = {name.replace("_", "-"): rows for name, rows in answers.items()}
    return SUITES["quality"](Evidence(questions, named, sets or {}, alpha=0.1, resamples=400, seed=17))


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    parts = [synthetic.questions(24, 8, split, seed=i) for i, split in enumerate(("test", "shift", "calibration"))]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def result(questions: pd.DataFrame) -> Result:
    rate = questions["skill"].map({"what-if": 0.95, "standard": 0.6}).fillna(0.8)
    sample = questions[questions["split"] == "test"].sample(150, random_state=0)
    return suite(
        questions,
        {"twin": synthetic.sets(questions, 0.9, spread=0.05)},
        twin=synthetic.answers(questions, rate, recall=0.93),
        llm=synthetic.answers(questions, 0.7, seed=2),
        base=synthetic.answers(questions, 0.35, seed=3),
        base_few=synthetic.answers(sample, 0.5, seed=4),
        base_prior=synthetic.answers(sample, 0.3, seed=5),
        rule=synthetic.answers(questions[questions["rule_defined"]], 0.8, seed=6),
    )


def holds(entry: dict[str, Any], rate: float, width: float) -> bool:
    """The interval holds the rate and is no wider than `width`."""
    return entry["low"] <= rate <= entry["high"] and entry["high"] - entry["low"] <= width


def test_every_split_and_skill_is_measured(result: Result, questions: pd.DataFrame) -> None:
    assert set(result.measures) == {"test", "test|rule-wrong", "shift", "shift|rule-wrong"}
    assert set(result.measures["test"]) == {"all", "what-if", "standard", "recommend", "forecast", "unanswerable"}
    assert "unanswerable" not in result.measures["test|rule-wrong"]
    count = (questions["split"] == "test").sum()
    assert result.measures["test"]["all"]["accuracy"]["twin"]["n"] == count
    assert result.measures["test"]["all"]["accuracy"]["base-few"]["n"] == 150


@pytest.mark.parametrize(
    ("skill", "rate"), [("what-if", 0.95), ("standard", 0.6), ("forecast", 0.8), ("unanswerable", 0.93)]
)
@pytest.mark.parametrize("split", ["test", "shift"])
def test_accuracy_is_found(result: Result, split: str, skill: str, rate: float) -> None:
    assert holds(result.measures[split][skill]["accuracy"]["twin"], rate, 0.21)


def test_refusals_are_found(result: Result) -> None:
    cell = result.measures["test"]["all"]
    assert holds(cell["refusal_recall"]["twin"], 0.93, 0.2)
    assert cell["false_refusal"]["twin"]["value"] == 0 and 0 < cell["false_refusal"]["twin"]["high"] < 0.02
    assert cell["false_refusal"]["twin"]["n"] + cell["refusal_recall"]["twin"]["n"] == cell["accuracy"]["twin"]["n"]


def test_macro_f1_is_the_one_of_scikit_learn(result: Result) -> None:
    from sklearn.metrics import f1_score

    rows = result.table.query("model == 'twin' and split == 'test' and skill == 'standard'")
    said = f1_score(rows["label_true"], rows["label_said"], average="macro")
    assert result.measures["test"]["standard"]["macro_f1"]["twin"]["value"] == pytest.approx(said)


def test_coverage_stands_in_its_band_only_where_it_was_promised(result: Result) -> None:
    entry = result.measures["test"]["all"]["coverage"]["twin"]
    assert holds(entry, 0.9, 0.08) and entry["band_low"] < 0.9 < entry["band_high"] and entry["ok"] is True
    assert "ok" not in result.measures["shift"]["all"]["coverage"]["twin"]
    assert "llm" not in result.measures["test"]["all"]["coverage"]
    assert result.measures["test"]["forecast"]["width"]["twin"]["value"] == 8
    assert result.measures["test"]["standard"]["set_size"]["twin"]["value"] == 2


def test_too_little_coverage_is_found(questions: pd.DataFrame) -> None:
    low = synthetic.sets(questions, 0.9)
    at = low["question"].isin(questions.loc[questions["skill"] == "standard", "id"]) & low["question"].str.startswith(
        "test"
    )
    low.loc[at, "covered"] &= np.random.default_rng(0).random(at.sum()) < 0.85
    cells = suite(questions, {"twin": low}, twin=synthetic.answers(questions, 0.9)).measures["test"]
    assert cells["standard"]["coverage"]["twin"]["ok"] is False
    assert cells["forecast"]["coverage"]["twin"]["ok"] is True


def test_the_base_at_its_best_is_the_best_way_on_the_sample(result: Result) -> None:
    cell = result.measures["test"]["all"]["accuracy"]
    assert cell["base-best"] == cell["base-few"]
    assert (
        result.measures["shift"]["all"]["accuracy"]["base-best"] == result.measures["shift"]["all"]["accuracy"]["base"]
    )


def test_leads_are_paired(result: Result) -> None:
    cell = result.measures["test"]["all"]
    expected = cell["accuracy"]["llm"]["value"] - cell["accuracy"]["base"]["value"]
    lead = cell["llm_lead"]["base"]
    assert lead["value"] == pytest.approx(expected) and lead["low"] > 0.25
    assert cell["llm_lead"]["base-best"]["n"] == 150
    assert "twin" not in cell["accuracy_lead"] and cell["accuracy_lead"]["llm"]["value"] > 0


def test_a_twin_paired_with_itself_leads_by_nothing(questions: pd.DataFrame) -> None:
    same = synthetic.answers(questions, 0.7)
    lead = suite(questions, twin=same, llm=same).measures["test"]["all"]["accuracy_lead"]["llm"]
    assert (lead["value"], lead["low"], lead["high"]) == (0, 0, 0)


def test_the_rule_gets_no_credit_where_it_is_wrong(questions: pd.DataFrame) -> None:
    rule = synthetic.pointing(questions[questions["rule_defined"]], "rule")
    measures = suite(questions, twin=synthetic.answers(questions, 0.9), rule=rule).measures
    assert measures["test|rule-wrong"]["all"]["accuracy"]["rule"]["value"] == 0
    assert holds(measures["test|rule-wrong"]["all"]["accuracy"]["twin"], 0.9, 0.2)
    assert 0.7 < measures["test"]["all"]["accuracy"]["rule"]["value"] < 0.9


def test_an_honest_model_is_calibrated_and_an_overconfident_one_is_not(questions: pd.DataFrame) -> None:
    honest = synthetic.answers(questions, 0.7)
    boastful = synthetic.answers(questions, 0.7, confidence=0.99)
    cells = suite(questions, twin=honest, llm=boastful).measures["test"]["all"]
    assert cells["calibration_error"]["twin"]["low"] < 0.02 and cells["calibration_error"]["twin"]["value"] < 0.06
    assert cells["calibration_error"]["llm"]["low"] > 0.2
    assert cells["log_score"]["llm"]["high"] < cells["log_score"]["twin"]["low"]
    assert cells["brier"]["llm"]["low"] > cells["brier"]["twin"]["value"]


def test_cheap_models_do_not_look_good(questions: pd.DataFrame) -> None:
    cells = suite(
        questions,
        twin=synthetic.answers(questions, 0.9),
        refuser=synthetic.always(questions, -1),
        first=synthetic.always(questions, 0),
        copy=synthetic.pointing(questions, "copy"),
    ).measures["test"]["all"]
    for model in ("refuser", "first", "copy"):
        assert cells["accuracy"][model]["high"] < 0.35
        assert cells["accuracy_lead"][model]["low"] > 0.4
        assert cells["calibration_error"][model]["low"] > 0.5
        assert cells["regret"][model]["low"] > cells["regret"]["twin"]["high"]
        assert cells["interval_score"][model]["low"] > cells["interval_score"]["twin"]["high"]
    assert cells["false_refusal"]["refuser"]["value"] == cells["abstention"]["refuser"]["value"] == 1
    assert cells["refusal_recall"]["first"]["value"] == 0
    assert cells["regret"]["refuser"]["value"] > cells["regret"]["first"]["value"]


def test_numbers_of_unlike_units_are_measured_in_tolerances(questions: pd.DataFrame) -> None:
    numbers = questions[questions["kind"] == "number"].copy()
    one = suite(numbers, twin=synthetic.always(numbers, 0)).measures["test"]["all"]["mae"]["twin"]
    numbers.loc[numbers.index[::2], "unit"] = "kV"
    two = suite(numbers, twin=synthetic.always(numbers, 0)).measures["test"]["all"]["mae"]["twin"]
    assert (one["unit"], two["unit"]) == ("%", "tolerances")
    assert two["value"] == pytest.approx(one["value"] / 2)


def test_same_answers_same_figures(questions: pd.DataFrame) -> None:
    answers = synthetic.answers(questions, 0.7)
    assert suite(questions, twin=answers).measures == suite(questions, twin=answers).measures


def test_five_thousand_questions_and_ten_models_take_seconds() -> None:
    questions = synthetic.questions(50, 22)
    answers = {f"m{i}": synthetic.answers(questions, 0.7, seed=i) for i in range(3)}
    ten = {f"{name}-{i}": rows for i in range(4) for name, rows in answers.items()}
    start = time.perf_counter()
    SUITES["quality"](Evidence(questions, ten, {}, 0.1, 1000, 17))
    assert time.perf_counter() - start < 20
