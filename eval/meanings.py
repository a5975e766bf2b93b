"""What each measure of metrics.json means, and which direction of it is the good one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "inside"]
COSTS = ("tokens", "seconds")  # measures of what an answer takes


@dataclass(frozen=True)
class Measure:
    """A mean over rows where `column` is defined. `share`: every row is 0 or 1. `unit`: in the question's unit."""

    name: str
    column: str
    better: Better
    meaning: str
    share: bool = False
    unit: bool = False


MEANS = (
    Measure(
        "accuracy",
        "right",
        "higher",
        "share right; a number within its tolerance, an unanswerable one refused",
        share=True,
    ),
    Measure(
        "log_score",
        "log_score",
        "higher",
        "mean ln p(truth), nats (numbers: mass of the nearest grid value; sets: summed)",
    ),
    Measure(
        "brier",
        "brier",
        "lower",
        "choices: squared distance of p from the truth, 0 to 2; sets: mean squared error a candidate, 0 to 1",
    ),
    Measure(
        "set_f1", "set_f1", "higher", "sets: F1 of the nodes said, a question; 1 where rightly none, 0 where refused"
    ),
    Measure(
        "interval_score",
        "interval_score",
        "lower",
        "numbers: width of the model's own interval plus penalties",
        unit=True,
    ),
    Measure("mae", "error", "lower", "numbers: mean absolute error of the median", unit=True),
    Measure("coverage", "covered", "inside", "share of truths in the calibrated set", share=True),
    Measure(
        "coverage_online", "covered_online", "inside", "the same with thresholds that follow the stream", share=True
    ),
    Measure("whole_online", "whole_online", "lower", "share of the sets that follow which hold everything", share=True),
    Measure("set_size", "size", "lower", "labels or nodes in the calibrated set"),
    Measure("width", "width", "lower", "numbers: width of the calibrated interval", unit=True),
    Measure("answered", "answered", "higher", "share answered where the twin answers only when it is sure", share=True),
    Measure(
        "answered_wrong",
        "answered_wrong",
        "lower",
        "share of all answered then, and wrong; promised at most `calibrate.risk`",
        share=True,
    ),
    Measure("abstention", "refused", "lower", "share refused", share=True),
    Measure("false_refusal", "false_refusal", "lower", "share of the answerable refused", share=True),
    Measure("refusal_recall", "refusal_recall", "higher", "share of the unanswerable refused", share=True),
    Measure(
        "regret", "regret", "lower", "recommendations: best payoff minus that of the chosen (refused: of the worst)"
    ),
    Measure("tokens", "tokens", "lower", "tokens an answer"),
    Measure("seconds", "seconds", "lower", "seconds an answer"),
)
OTHERS: dict[str, tuple[Better, str]] = {
    "macro_f1": ("higher", "choices: mean F1 over the labels, the refusal included"),
    "calibration_error": ("lower", "expected calibration error, ten bins of confidence"),
    "accuracy_lead": ("higher", "accuracy of the twin minus the model's, on the questions both answered"),
    "llm_lead": (
        "higher",
        "accuracy of the tuned language model alone minus the model's, on the questions both answered",
    ),
    "accuracy_original": ("higher", "robustness: share right of the same questions as they stood"),
    "accuracy_lost": ("lower", "accuracy as they stood minus that in other words, or with dimensions missing, paired"),
    "answered_lost": (
        "lower",
        "failing: share answered when sure, all sides sound, less that with one failing, paired",
    ),
    "wrong_gained": (
        "lower",
        "failing: share of all answered when sure and wrong, less that with all sides sound, paired",
    ),
    "flipped": ("lower", "robustness: share of the answers that changed; a number by more than its tolerance"),
    "right_both": ("higher", "robustness: share right as it stood and in other words"),
    "surprise": ("lower", "forgetting: nats a token of the right way to go on"),
    "surprise_gained": ("lower", "forgetting: surprise minus the base's, paired"),
    "accuracy_forgotten": ("lower", "forgetting: the base's accuracy minus the model's, paired"),
    **{
        f"{value}_credit_{dimension}": (
            "higher",
            f"dimensions: what the {dimension} one adds, over all orders (Shapley)",
        )
        for value in ("accuracy", "log_score")
        for dimension in ("physical", "abstract", "computational")
    },
    "same_state": ("lower", "contamination: share of the questions whose state's text stands in train"),
    "near_state": ("lower", "contamination: share whose state has 80 % of its words in common with one of train"),
    "same_line": (
        "lower",
        "contamination: share whose facts, words, options and notes stand in train, in another state",
    ),
    "double_gain": ("lower", "contamination: accuracy of those less that of the others of their template"),
    "canary_train": (
        "lower",
        "contamination: share right on states of train without their readings, refusals taken out",
    ),
    "canary_test": ("lower", "contamination: the same on states of test"),
    "canary_gain": ("lower", "contamination: the first less the second"),
    "recommended": ("higher", "safety: share of the questions to which it names an action"),
    "worse": ("lower", "safety: share of the named actions that leave things worse than doing nothing"),
    "breaks": ("lower", "safety: share of the named actions that newly break a clause"),
    "bought_tokens": ("higher", "cost: accuracy minus that of the best other way that takes no more tokens, paired"),
    "bought_seconds": ("higher", "cost: the same for seconds"),
    "accuracy_gained": ("higher", "learning: accuracy minus that after fewer training states, paired"),
    "error_first": ("lower", "scale: mean error in the first four steps without feedback"),
    "error_end": ("lower", "scale: the same in the last four"),
    "right_first": ("higher", "asked again: share right before"),
    "right_then": ("higher", "asked again: share right after"),
    "retry_gain": ("higher", "asked again: right after less right before, paired"),
    "set_right": ("higher", "asked again: share of the wrong answers that became right"),
    "set_wrong": ("lower", "asked again: share of the right answers that became wrong"),
    "retry_lead": ("higher", "asked again: right less right after a fresh thought, paired"),
    "right_always": ("higher", "robustness: share of the questions right as they stood and after every change"),
}

DRIFT: dict[str, tuple[Better, str]] = {
    "false_alarms": ("lower", "alarms in 1,000 calm steps; n counts the steps"),
    "found": ("higher", "share of changes whose first alarm comes within 48 steps, with none in the 48 before"),
    "missed": ("lower", "share of changes with no alarm in the steps watched after them"),
    "early": ("lower", "share of changes with an alarm in the 48 steps before"),
    "delay": ("lower", "mean steps to the first alarm, where one came and none early"),
    "right_asset": ("higher", "share of those alarms that named the asset that changed"),
    "right_dimension": ("higher", "the same of its dimension"),
}

PROPAGATION: dict[str, tuple[Better, str]] = {
    "error": ("lower", "mean absolute error, points, over all steps"),
    "error_near": ("lower", "the same at step 4"),
    "error_last": ("lower", "the same at the last step"),
    "error_ratio": ("lower", "error at the last step over that at step 4"),
    "growth": ("lower", "points of error a step since the last reading"),
    "over_rule": ("lower", "error minus that of the rule under the same policy, paired"),
    "moved": ("lower", "points by which the asset's answer differs from that without the wrong one"),
    "moved_others": ("lower", "the same of the other assets"),
    "lasting": ("lower", "last step after the wrong answer at which the asset's differs by more than a sixth of that"),
    "reached": ("lower", "share of the other assets whose answer ever differs by more than a sixth of that"),
}


def better(name: str) -> Better:
    """Which direction of a measure is the good one."""
    return next((measure.better for measure in MEANS if measure.name == name), None) or OTHERS[name][0]
