"""Interval score of central prediction intervals."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Width of a central prediction interval plus a penalty for a truth outside."
_INPUTS = """
Args:
    predictions: [low, high] of each interval.
    references: the true numbers.
    alpha: the intervals are central at 1 - alpha.
Returns:
    interval_score, width: means, in the unit of the numbers.
"""
_CITATION = """Gneiting and Raftery (2007), "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 102(477), equation 43."""


class IntervalScore(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, alpha: float = 0.1) -> dict[str, float]:
        low, high = np.asarray(predictions, float).T
        truth = np.asarray(references, float)
        outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
        return {"interval_score": float((high - low + 2 / alpha * outside).mean()), "width": float((high - low).mean())}
