"""What tuning cost a model of what it could do before."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Accuracy lost by tuning, on the same items, and what it is made of."
_INPUTS = """
Args:
    predictions: label said after tuning.
    originals: label said before.
    references: the true label.
Returns:
    forgetting: accuracy before minus after. lost: share right before only. gained: share right after only.
"""
_CITATION = (
    """Chaudhry et al. (2018), "Riemannian Walk for Incremental Learning", ECCV 2018, arXiv:1801.10112, equation 3."""
)


class Forgetting(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": label, "originals": label, "references": label}),
        )

    def _compute(self, predictions: Any, originals: Any, references: Any) -> dict[str, float]:
        truth = np.asarray(references)
        after, before = np.asarray(predictions) == truth, np.asarray(originals) == truth
        lost, gained = float((before & ~after).mean()), float((after & ~before).mean())
        return {"forgetting": lost - gained, "lost": lost, "gained": gained}
