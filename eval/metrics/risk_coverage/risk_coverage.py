"""What a model that may stay silent can answer at a bound on its wrong answers."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = (
    "Share answered at a given share of wrong answers among them, the surest first, and the area under the risk curve."
)
_INPUTS = """
Args:
    predictions: confidence of each answer, higher is surer.
    references: 1 where the answer is right, 0 where it is wrong.
    risk: the largest share of wrong among the answered, 0.05 by default.
Returns:
    answered: the largest share answered at that risk, equal confidences together. area: mean risk over all shares answered.
"""
_CITATION = """Geifman and El-Yaniv (2017), "Selective Classification for Deep Neural Networks", NeurIPS 30."""


class RiskCoverage(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, risk: float = 0.05) -> dict[str, float]:
        levels, place = np.unique(-np.asarray(predictions, float), return_inverse=True)
        counts = np.bincount(place, minlength=len(levels))
        wrong = np.cumsum(np.bincount(place, weights=1 - np.asarray(references, float))) / np.cumsum(counts)
        kept = np.cumsum(counts)[wrong <= risk + 1e-12]
        return {"answered": float(kept.max(initial=0) / counts.sum()), "area": float(np.average(wrong, weights=counts))}
