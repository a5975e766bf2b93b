"""Coverage of prediction sets and intervals."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Share of truths in their prediction set, and the mean size of the sets."
_INPUTS = """
Args:
    predictions: option indices of each set (choice) or [low, high] (number).
    references: the true option index or number.
Returns:
    coverage: from 0 to 1. size: labels a set, or width.
"""
_CITATION = """Vovk, Gammerman and Shafer (2005), "Algorithmic Learning in a Random World", chapter 2."""


class Coverage(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in ("choice", "number"):
            raise ValueError(f'coverage has configurations "choice" and "number", not {self.config_name!r}')
        value = datasets.Value("int64" if self.config_name == "choice" else "float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(value), "references": value}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        if self.config_name == "choice":
            inside = [truth in members for truth, members in zip(references, predictions, strict=True)]
            return {
                "coverage": float(np.mean(inside)),
                "size": float(np.mean([len(members) for members in predictions])),
            }
        low, high = np.asarray(predictions, float).T
        truth = np.asarray(references, float)
        return {"coverage": float(((low <= truth) & (truth <= high)).mean()), "size": float((high - low).mean())}
