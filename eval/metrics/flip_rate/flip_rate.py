"""How often answers change with the wording."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Share of answers that change when a question is asked in other words, and the accuracy that it costs."
_INPUTS = """
Args:
    predictions: option index or number said in other words, NaN where refused.
    originals: what was said of the question as it stood.
    references: option index or number, NaN where the question can't be answered.
    tolerance: one number, or one a question; 0 for choices.
Returns:
    flip_rate: share that changed by more than the tolerance. accuracy_lost: as they stood minus in other words.
"""
_CITATION = """Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", ACL 2020, invariance tests."""


class FlipRate(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": number, "originals": number, "references": number}),
        )

    def _compute(self, predictions: Any, originals: Any, references: Any, tolerance: Any = 0.0) -> dict[str, float]:
        def same(left: Any, right: Any) -> np.ndarray:
            a, b = np.asarray(left, float), np.asarray(right, float)
            return (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= np.asarray(tolerance, float) + 1e-9)

        lost = same(originals, references).mean() - same(predictions, references).mean()
        return {"flip_rate": float(1 - same(predictions, originals).mean()), "accuracy_lost": float(lost)}
