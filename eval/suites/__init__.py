"""The suites: each a pure function from stored questions, answers and calibrated sets to measures.

A suite is a module with `run(evidence) -> Result`, listed here under the name it has in metrics.json.
"""

from __future__ import annotations

from collections.abc import Callable

from eval.evidence import Evidence, Result
from eval.suites import (
    contamination,
    cost,
    dimensions,
    drift,
    failing,
    forgetting,
    hallucination,
    propagation,
    quality,
    robustness,
    safety,
)

SUITES: dict[str, Callable[[Evidence], Result]] = {
    "quality": quality.run,
    "hallucination": hallucination.run,
    "robustness": robustness.run,
    "dimensions": dimensions.run,
    "failing": failing.run,
    "forgetting": forgetting.run,
    "drift": drift.run,
    "propagation": propagation.run,
    "safety": safety.run,
    "contamination": contamination.run,
    "cost": cost.run,
}
