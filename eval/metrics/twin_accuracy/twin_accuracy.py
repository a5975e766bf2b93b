"""Accuracy of answers that may be refused."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Share of right answers, where an answer may be a refusal and a number has a tolerance."
_INPUTS = """
Args:
    predictions: option index or number, NaN where refused.
    references: option index or number, NaN where the question can't be answered.
    tolerance: one number, or one a question; 0 for choices.
Returns:
    accuracy, false_refusal, refusal_recall: shares from 0 to 1 (NaN: not defined).
"""
_CITATION = """Exact match after Rajpurkar et al. (2018), "Know What You Don't Know: Unanswerable Questions for SQuAD", arXiv:1806.03822."""


class TwinAccuracy(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, tolerance: Any = 0.0) -> dict[str, float]:
        said, truth = np.asarray(predictions, float), np.asarray(references, float)
        refused, unknown = np.isnan(said), np.isnan(truth)
        near = np.abs(said - truth) <= np.asarray(tolerance, float) + 1e-9
        right = np.where(unknown, refused, near & ~refused)
        return {
            "accuracy": float(right.mean()),
            "false_refusal": float(refused[~unknown].mean()) if (~unknown).any() else float("nan"),
            "refusal_recall": float(refused[unknown].mean()) if unknown.any() else float("nan"),
        }
