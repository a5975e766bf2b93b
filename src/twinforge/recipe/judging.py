"""The sections of a recipe that say how a twin is judged: promises, drift, measures, gate, studies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from twinforge.recipe.fields import Learnt, Listed, NonNegative, Section

Skill = Literal["all", "what-if", "forecast", "diagnosis", "standard", "dependency", "recommend", "unanswerable"]
Measure = Literal[
    "accuracy",
    "macro_f1",
    "log_score",
    "brier",
    "set_f1",
    "calibration_error",
    "interval_score",
    "mae",
    "coverage",
    "coverage_online",
    "whole_online",
    "set_size",
    "width",
    "answered",
    "answered_wrong",
    "abstention",
    "false_refusal",
    "refusal_recall",
    "regret",
    "tokens",
    "seconds",
]
PairedSuite = Literal["quality", "robustness", "dimensions"]
BarSuite = Literal["hallucination", "robustness", "drift", "propagation", "safety"]


class Calibrate(Section):
    """Conformal calibration."""

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Promised share of answers outside their set or interval, at most."""
    risk: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Promised share of all questions that are answered and wrong, at most, where the twin answers only when it is sure."""
    delta: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Chance, over the calibration days, that the promise of `risk` isn't kept."""


class Drift(Section):
    """The watch for drift."""

    run_length: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Calm steps between false alarms, on average, of one detector on one stream."""


class Evaluate(Section):
    """The measuring."""

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap draws of whole episodes behind every interval."""


class PrimaryMeasure(Section):
    """One figure that may not get worse by more than `margin` (in the measure's own unit)."""

    suite: PairedSuite = "quality"
    """Whose questions: those of the test split, the same in other words, or the same with dimensions that fail."""
    skill: Skill
    measure: Measure
    margin: NonNegative


class Gate(Section):
    """What may not get worse than the released answers, and the bars that are held. Eight primary figures at most."""

    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Chance of failing an equal twin, over all measures together (Holm)."""
    measures: Annotated[tuple[PrimaryMeasure, ...], Field(min_length=1, max_length=8), Listed] = (
        PrimaryMeasure(skill="all", measure="accuracy", margin=0.02),
        PrimaryMeasure(skill="all", measure="log_score", margin=0.05),
        PrimaryMeasure(skill="unanswerable", measure="accuracy", margin=0.03),
    )
    bars: Annotated[tuple[BarSuite, ...], Listed] = ("hallucination", "robustness", "drift", "propagation", "safety")
    """Suites whose fixed bar is held: docs/gate.md."""


Changes = dict[str, Any]
"""Dotted keys of this file -> other values: `lake.days: 60`."""


class Study(Section):
    """The variants of this recipe that `make ablate`, `make scale` and `make learning` run side by side, in the profile `study`."""

    changes: Changes = Field(default_factory=dict)
    """What is changed in every variant."""
    sizes: dict[str, Changes] = Field(default_factory=dict)
    """Systems of another size: a short name -> what is changed for it. The recipe as it stands is one more."""
    adapters: Annotated[tuple[Annotated[tuple[Learnt, ...], Field(min_length=1), Listed], ...], Listed] = ()
    """Skills that one adapter learns alone, a list an adapter. All of them together are one more."""
