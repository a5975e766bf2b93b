"""Verdicts follow from the figures, on either side of every rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from eval.paper import HOLDS, NOT, PART, UNKNOWN, findings


def entry(value: float, room: float = 0.02, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - room, "high": value + room, "n": 40, **more}


GOOD: dict[str, Any] = {
    "hallucination": {"test": {"all": {
        "wrong": {"llm": entry(0.04), "twin": entry(0.01), "rule": entry(0.07)}, "told": {"twin": entry(0.5)}}}},
    "quality": {split: {"all": {
        "coverage": {"twin": entry(0.9, ok=True)}, "refusal_recall": {"twin": entry(0.99)}, "false_refusal": {"twin": entry(0.01)},
        "llm_lead": {"boost": entry(0.05)}, "accuracy_lead": {"boost": entry(0.05)}}} for split in ("test", "shift")},
    "dimensions": {"test": {"all": {f"accuracy_credit_{n}": {"twin": entry(0.1)} for n in ("physical", "abstract", "computational")}}},
    "propagation": {"later": {"every 4": {"error_ratio": {"twin": entry(1.0)}, "error": {"twin": entry(5.0)}}, "never": {"error": {"twin": entry(9.0)}}},
        "test": {"checked": {"retry_gain": {"llm": entry(0.1)}, "retry_lead": {"llm": entry(0.1)}}, "reflected": {"retry_gain": {"llm": entry(0.0)}}}},
    "drift": {"shift": {"bias": {"found": {"cusum": entry(0.95)}}, "season": {"found": {"cusum": entry(0.92), "adwin": entry(0.1)}}}},
    "safety": {"test": {"recommend": {"worse": {"twin": entry(0.01, 0.01), "rule": entry(0.03), "any option": entry(0.2)}}}},
    "weights": {"splits": {split: {"state": {"log_score": {"lead": 0.02, **entry(0.02, 0.01)}}} for split in ("test", "shift")}},
    "robustness": {"test": {"all": {"flipped": {"llm": entry(0.01), "twin": entry(0.0)}}}},
}  # fmt: skip


def changed(*path: str, value: Any) -> dict[str, Any]:
    metrics = copy.deepcopy(GOOD)
    at = metrics
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return metrics


def test_all_that_is_measured_holds_where_the_figures_are_good() -> None:
    found = findings(GOOD)
    assert [f.verdict for f in found if f.figures] == [HOLDS] * 11 and [f.verdict for f in found[11:]] == [UNKNOWN]


@pytest.mark.parametrize(
    "page, path, value, verdict",
    [
        ("hallucination", ("hallucination", "test", "all", "wrong", "llm"), entry(0.2), PART),
        ("guarantees", ("quality", "test", "all", "coverage", "twin"), entry(0.8, ok=False), NOT),
        ("energy", ("quality", "test", "all", "llm_lead", "boost"), entry(-0.1), PART),
        ("dimensions", ("dimensions", "test", "all", "accuracy_credit_abstract", "twin"), entry(0.01), PART),
        ("propagation", ("propagation", "later", "every 4", "error_ratio", "twin"), entry(2.0), PART),
        ("propagation", ("propagation", "test", "checked", "retry_lead", "llm"), entry(0.01), PART),
        ("drift", ("drift", "shift", "season", "found"), {"cusum": entry(0.1)}, PART),
        ("dimensions", ("weights", "splits", "shift", "state", "log_score"), {"lead": 0.0, **entry(0.0)}, PART),
        ("safety", ("safety", "test", "recommend", "worse", "twin"), entry(0.25), NOT),
        ("robustness", ("robustness", "test", "all", "flipped", "llm"), entry(0.08), PART),
    ],
)
def test_a_bad_figure_changes_its_verdict_alone(page: str, path: tuple[str, ...], value: Any, verdict: str) -> None:
    before, after = findings(GOOD), findings(changed(*path, value=value))
    different = [new for old, new in zip(before, after, strict=True) if old.verdict != new.verdict]
    assert [(f.page, f.verdict) for f in different] == [(page, verdict)]


def test_what_was_not_measured_has_no_verdict() -> None:
    assert {f.verdict for f in findings({})} == {UNKNOWN}
