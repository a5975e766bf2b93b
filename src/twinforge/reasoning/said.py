"""What an answer vector says, in words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from twinforge.records import REFUSAL, AnswerSpace, set_text


def in_words(space: AnswerSpace, p: NDArray[np.float64]) -> str:
    """An answer vector's answer: the likeliest label; the median value or the set, unless the refusal has more than half."""
    said = space.decide(p)
    if math.isnan(said):
        return REFUSAL
    if space.kind == "entities":
        return set_text(space.options, space.decide_set(p))
    return space.labels[int(said)] if space.kind == "choice" else number_text(said, space.unit)


def number_text(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()
