"""A line of tanks whose levels fall back to a middle one: how fast an error dies or grows is known by construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import QUESTION

MIDDLE = 40.0


@dataclass(frozen=True)
class Tanks:
    """Two tanks that always stand at `MIDDLE` and are read `off` too high; what a question tells stands in its features."""

    name: str = "tanks-0"
    off: float = 0.0
    start: pd.Timestamp = pd.Timestamp("2026-01-01")
    assets: tuple[str, ...] = ("A", "B")

    @property
    def truth(self) -> np.ndarray:
        return np.full((97, 2), MIDDLE)

    def read(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        return self.truth[step] + self.off, self.truth[step] + self.off

    def ask(
        self, step: int, seen: int, now: np.ndarray, before: np.ndarray, simulated: bool = False
    ) -> list[dict[str, Any]]:
        rows = []
        for asset, level in zip(self.assets, now, strict=True):
            values: dict[str, Any] = dict.fromkeys(QUESTION.names)
            values |= {
                "context": f"{self.name} {step} {seen} {simulated}", "text": asset, "kind": "number", "unit": "m", "low": 0.0, "high": 300.0,
                "step": 1.0, "tolerance": 2.0, "features": [[level, float(now.sum())]], "rule": MIDDLE if simulated else level,
                "asked": "forecast", "template": "ahead", "options": [],
            }  # fmt: skip
            rows.append(values)
        return rows


def growing(rate: float, share: float = 0.0) -> Any:
    """A model whose error is `rate` times that it was told, and that takes over `share` of the sum of all errors."""

    def answer(model: str, frame: pd.DataFrame) -> list[np.ndarray]:
        vectors = []
        for features in frame["features"]:
            level, both = features[0]
            said = MIDDLE + rate * (level - MIDDLE) + share * (both - 2 * MIDDLE - (level - MIDDLE))
            p = np.zeros(302)
            p[int(np.clip(round(said), 0, 300))] = 1.0
            vectors.append(p)
        return vectors

    return answer
