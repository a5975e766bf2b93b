"""Answered questions as the guarantees see them: their group, their score, and arrays of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinforge.conformal.number import quantiles
from twinforge.conformal.threshold import Floats
from twinforge.errors import UserError
from twinforge.records import AnswerSpace, space_of

REFUSAL = "refusal"


@dataclass(frozen=True)
class Row:
    """An answered question. p : (space.size,), the refusal last."""

    question: pd.Series
    space: AnswerSpace
    p: Floats

    @property
    def group(self) -> str:
        """ "asked/kind": the questions that a promise is made for as one."""
        return f"{self.question['asked']}/{self.question['kind']}"

    @property
    def refused(self) -> bool:
        """Whether it should be: the question has no answer."""
        return math.isnan(self.question["truth"])

    def score(self, alpha: float) -> float:
        """How badly the answer fits the truth: the threshold from which its set holds it, infinite where none does.

        1 - p of the true option or of the refusal; of a number, how far its truth lies beyond the quantiles at alpha/2; of
        entities, minus the least probability of a node that belongs to the set.
        """
        if self.refused:
            return 1 - float(self.p[-1])
        if self.space.kind == "choice":
            return 1 - float(self.p[int(self.question["truth"])])
        if self.space.kind == "entities":
            gold = [int(i) for i in self.question["gold"]]
            whole = len(gold) == int(self.question["gold_total"])
            return -float(self.p[gold].min(initial=math.inf)) if whole else math.inf
        low, high = quantiles(self.p[None, :-1], self.space.values, [alpha / 2, 1 - alpha / 2])[0]
        y = float(np.clip(self.question["truth"], self.space.low, self.space.high))
        return max(low - y, y - high)


def answered(questions: pd.DataFrame, answers: pd.DataFrame) -> list[Row]:
    """The questions that have an answer, in their order; raises `UserError` for one of the wrong length."""
    known = dict(zip(answers["question"], answers["p"], strict=True))
    rows = []
    for _, question in questions.iterrows():
        if (vector := known.get(question["id"])) is None:
            continue
        space, p = space_of(question), np.asarray(vector, dtype=float)
        if len(p) != space.size or not np.isfinite(p).all():
            raise UserError(
                f"the answer to question {question['id']} holds {len(p)} numbers, {space.size} finite ones are due; answer it again"
            )
        rows.append(Row(question, space, p))
    return rows


def bands(rows: Sequence[Row], alpha: float) -> dict[str, Floats]:
    """Quantiles at alpha/2 and 1 - alpha/2 of numbers' masses, the refusal left out."""
    levels = [alpha / 2, 1 - alpha / 2]
    found = [quantiles(row.p[None, :-1], row.space.values, levels)[0] for row in rows]
    band = np.array(found).reshape(len(rows), 2)
    return {"lower": band[:, 0], "upper": band[:, 1]}


def refusals(rows: Sequence[Row]) -> Floats:
    """The refusal against all the rest (n, 2), so that answers of any kind and length stand together."""
    refusal = np.array([row.p[-1] for row in rows], float)
    return np.column_stack([1 - refusal, refusal])


def truths(rows: Sequence[Row]) -> Floats:
    return np.array([row.question["truth"] for row in rows], float)


def groups(rows: Sequence[Row]) -> NDArray[Any]:
    return np.array([row.group for row in rows], str)
