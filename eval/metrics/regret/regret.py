"""Regret of recommendations."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Best payoff minus the payoff of the option chosen."
_INPUTS = """
Args:
    predictions: index of the option chosen, negative where refused.
    references: payoff of every option, higher is better.
Returns:
    regret: mean, in the unit of the payoff. best: share without regret.
"""
_CITATION = """Savage (1951), "The Theory of Statistical Decision", JASA 46(253)."""


class Regret(evaluate.Metric):
    """See README.md beside this file."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Sequence(datasets.Value("float64"))}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        got = [
            min(payoff) if option < 0 else payoff[option]
            for option, payoff in zip(predictions, references, strict=True)
        ]
        lost = np.array([max(payoff) for payoff in references], float) - np.array(got, float)
        return {"regret": float(lost.mean()), "best": float((lost <= 0).mean())}
