"""Scores of single answers, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.scores import FLOOR, SCORE, rule_wrong, score
from tests.eval import synthetic
from twinforge.errors import UserError


def one(kind: str, truth: float, p: list[float], sets: pd.DataFrame | None = None, **fields: Any) -> pd.Series:
    """The scored row of one question; numbers run from 0 to 10 in steps of 1, tolerance 1."""
    frame = synthetic.questions(episodes=1, per_skill=1, unanswerable=0)
    row = frame[frame["kind"] == ("number" if kind == "number" else "choice")].tail(1).copy()
    row["truth"], row["kind"] = truth, kind
    if kind == "number":
        row["high"], row["tolerance"] = 10.0, 1.0
    for name, value in fields.items():
        row[name] = [value]
    answers = pd.DataFrame({"question": row["id"], "p": [np.array(p)], "tokens": 3, "seconds": 0.1})
    scored = score(row, answers, "twin", alpha=0.2, sets=sets)
    assert list(scored.columns) == SCORE.names
    return scored.iloc[0]


def mass(**at: float) -> list[float]:
    """Mass at values v0 ... v10 and at `refusal`."""
    return [at.get(f"v{i}", 0.0) for i in range(11)] + [at.get("refusal", 0.0)]


def test_a_right_choice() -> None:
    row = one("choice", 1, [0.1, 0.6, 0.1, 0.1, 0.1], payoff=[0.0, 5.0, 2.0, 1.0])
    assert (row["right"], row["refused"], row["false_refusal"], row["predicted"]) == (1, 0, 0, 1)
    assert row["log_score"] == pytest.approx(np.log(0.6))
    assert row["brier"] == pytest.approx(0.4**2 + 4 * 0.1**2)
    assert row["regret"] == 0 and row["confidence"] == pytest.approx(0.6)
    assert np.isnan(row["error"]) and np.isnan(row["refusal_recall"])


def test_a_refused_choice_is_charged_the_worst_option() -> None:
    row = one("choice", 1, [0.1, 0.2, 0.1, 0.1, 0.5], payoff=[0.0, 5.0, 2.0, 1.0])
    assert (row["right"], row["false_refusal"], row["regret"]) == (0, 1, 5)
    assert np.isnan(row["predicted"])


def test_an_unanswerable_choice_is_right_when_refused() -> None:
    row = one("choice", np.nan, [0.1, 0.2, 0.1, 0.1, 0.5])
    assert (row["right"], row["refusal_recall"]) == (1, 1)
    assert row["log_score"] == pytest.approx(np.log(0.5))
    assert np.isnan(row["false_refusal"])


def test_a_number_is_its_median_and_right_within_tolerance() -> None:
    row = one("number", 5, mass(v3=0.2, v4=0.5, v9=0.2, refusal=0.1))
    assert (row["predicted"], row["right"], row["error"]) == (4, 1, 1)
    assert row["confidence"] == pytest.approx(0.7)  # v3 and v4 lie within one of the median, v5 has no mass
    assert row["log_score"] == pytest.approx(np.log(FLOOR))
    assert (row["low"], row["high"], row["interval_score"]) == (3, 9, 6)


def test_a_truth_outside_the_interval_is_charged_two_over_alpha() -> None:
    assert one("number", 10, mass(v4=0.9, refusal=0.1))["interval_score"] == pytest.approx(2 / 0.2 * 6)


def test_refusing_a_number_hides_no_error() -> None:
    row = one("number", 10, mass(v4=0.4, refusal=0.6))
    assert (row["refused"], row["right"], row["error"], row["false_refusal"]) == (1, 0, 6, 1)
    blank = one("number", 10, mass(refusal=1.0))
    assert (blank["error"], blank["low"], blank["high"]) == (5, 1, 9)  # nothing said: as good as uniform


def test_sets_give_coverage_size_and_width() -> None:
    frame = synthetic.questions(episodes=1, per_skill=1, unanswerable=0)
    sets = synthetic.sets(frame, coverage=1.0)
    number = one("number", 5, mass(v5=1.0), sets=sets.assign(low=4.0, high=7.0))
    assert (number["covered"], number["width"], number["low"], number["high"]) == (1, 3, 4, 7)
    choice = one("choice", 1, [0, 1, 0, 0, 0], sets=sets)
    assert (choice["covered"], choice["size"]) == (1, 2) and np.isnan(choice["width"])


def test_answered_is_sure_and_not_refused() -> None:
    frame = synthetic.questions(episodes=1, per_skill=1, unanswerable=0)
    sets = synthetic.sets(frame, coverage=1.0)
    for p, sure, answered, wrong in (
        ([0, 1, 0, 0, 0], True, 1, 0), ([1, 0, 0, 0, 0], True, 1, 1), ([0, 0, 0, 0, 1], True, 0, 0), ([1, 0, 0, 0, 0], False, 0, 0),
    ):  # fmt: skip
        row = one("choice", 1, p, sets=sets.assign(sure=sure))
        assert (row["answered"], row["answered_wrong"]) == (answered, wrong)
    assert np.isnan(one("choice", 1, [0, 1, 0, 0, 0])["answered"])


def test_rule_wrong_needs_a_rule_that_is_defined_and_wrong() -> None:
    frame = pd.DataFrame(
        {
            "rule": [1.0, 2.0, np.nan, np.nan, 50.0, 2.0, 1.0],
            "truth": [1.0, 1.0, 1.0, np.nan, 51.0, 1.0, np.nan],
            "tolerance": [np.nan, np.nan, np.nan, np.nan, 2.0, np.nan, np.nan],
            "rule_defined": [True, True, True, True, True, False, True],
        }
    ).assign(gold=[[]] * 7, rule_gold=[[]] * 7)
    assert rule_wrong(frame).tolist() == [False, True, True, False, False, False, True]


@pytest.mark.parametrize(
    ("gold", "total", "rule", "wrong"),
    [
        ([0, 2], 2, [2, 0], False),
        ([0, 2], 2, [0, 1], True),
        ([0], 2, [0], True),
        ([0], 1, [0, 1], True),
        ([], 0, [], False),
    ],
)
def test_a_rules_set_is_wrong_unless_it_is_the_whole_true_one(
    gold: list[int], total: int, rule: list[int], wrong: bool
) -> None:
    frame = pd.DataFrame(
        {"rule": [float(len(rule))], "truth": [float(total)], "tolerance": [0.0], "rule_defined": [True]}
    )
    assert rule_wrong(frame.assign(gold=[gold], rule_gold=[rule])).tolist() == [wrong]


NODES = ["D1", "D2", "D3"]


def nodes(gold: list[int], p: list[float], total: int | None = None, known: bool = True, **fields: Any) -> pd.Series:
    """The scored row of one question about three candidates."""
    total = len(gold) if total is None else total
    return one("entities", float(total) if known else np.nan, p, options=NODES, gold=gold, gold_total=total, **fields)  # fmt: skip


def test_a_right_set() -> None:
    row = nodes([0, 2], [0.9, 0.2, 0.6, 0.1])
    assert (row["right"], row["predicted"], row["refused"], row["set_f1"]) == (1, 2, 0, 1)
    assert row["log_score"] == pytest.approx(np.log([0.9, 0.8, 0.6, 0.9]).sum())
    assert row["brier"] == pytest.approx(np.mean(np.square([0.1, 0.2, 0.4, 0.1])))
    assert row["confidence"] == pytest.approx(0.9 * 0.8 * 0.6 * 0.9)
    assert row["label_true"] is None and np.isnan(row["error"]) and np.isnan(row["refusal_recall"])


def test_a_set_that_lacks_or_adds_a_node_is_wrong() -> None:
    lacks, adds = nodes([0, 2], [0.9, 0.2, 0.4, 0.1]), nodes([0], [0.9, 0.8, 0.4, 0.1])
    assert (lacks["right"], adds["right"]) == (0, 0)
    assert lacks["set_f1"] == adds["set_f1"] == pytest.approx(2 / 3)
    missed = nodes([0], [0.9, 0.2, 0.4, 0.1], total=2)  # one that was no candidate
    assert (missed["right"], missed["set_f1"]) == (0, pytest.approx(2 / 3))


def test_an_empty_set_is_an_answer_and_a_refusal_another() -> None:
    empty = nodes([], [0.1, 0.2, 0.4, 0.1])
    assert (empty["right"], empty["set_f1"], empty["predicted"]) == (1, 1, 0)
    refused = nodes([0], [0.9, 0.2, 0.4, 0.7])
    assert (refused["right"], refused["false_refusal"], refused["set_f1"], refused["confidence"]) == (0, 1, 0, 0.7)
    rightly = nodes([], [0.9, 0.2, 0.4, 0.7], known=False)
    assert (rightly["right"], rightly["refusal_recall"]) == (1, 1) and np.isnan(rightly["set_f1"])
    assert rightly["log_score"] == pytest.approx(np.log(0.7)) and rightly["brier"] == pytest.approx(0.3**2)


def test_a_set_has_a_size_and_no_width() -> None:
    frame = synthetic.questions(episodes=1, per_skill=1, unanswerable=0)
    row = nodes([0], [0.9, 0.2, 0.4, 0.1], sets=synthetic.sets(frame, coverage=1.0))
    assert (row["covered"], row["size"]) == (1, 2) and np.isnan(row["width"])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda a: pd.concat([a, a.head(1)]), "answered twice"),
        (lambda a: a.assign(question="nobody asked"), "unknown questions|answered twice"),
        (lambda a: a.assign(p=[p[:-1] for p in a["p"]]), "wrong length"),
        (lambda a: a.assign(p=[p * 2 for p in a["p"]]), "not a distribution"),
        (lambda a: a.assign(p=[p * np.nan for p in a["p"]]), "not a distribution"),
        (lambda a: a.assign(p=[np.append(p[:-1], 1.2) for p in a["p"]]), "not a distribution"),
    ],
)
def test_answers_that_do_not_fit_are_named(harm: Any, words: str) -> None:
    frame = synthetic.questions(episodes=1, per_skill=1)
    with pytest.raises(UserError, match=words):
        score(frame, harm(synthetic.answers(frame, 0.5)), "llm", alpha=0.1)
