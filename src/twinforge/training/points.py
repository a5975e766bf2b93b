"""Point answers (an operator's rule, persistence, copying, the majority) as distributions, by their past errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import AnswerSpace, membership
from twinforge.training.masses import Floats, laplace_mass, smooth

COLUMNS = {"rule": "rule", "copy": "copy", "persistence": "persistence"}
UNIFORM = 1e-3  # share spread evenly, so that no value of a number has no mass at all


@dataclass(frozen=True)
class PointModel:
    """How far one group's point answers are to be trusted.

    error : share of answered training rows whose option was wrong; for numbers and sets, whose truth was the refusal.
    refusal_error : share of refusing training rows that had an answer. Both with Laplace's rule of succession.
    scale : mean absolute error of numbers, in their unit; for sets, share of candidates put on the wrong side.
    texts, indices : options by how often they were right (majority only); `median` of the truths for numbers.
    """

    error: float
    refusal_error: float
    scale: float = 1.0
    texts: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    median: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> PointModel:
        """The inverse of `to_json`."""
        return PointModel(**{**value, "texts": tuple(value["texts"]), "indices": tuple(value["indices"])})


def defined(name: str, frame: pd.DataFrame) -> np.ndarray:
    """Which questions the point model answers at all: (n,) bool."""
    if name == "majority":
        return np.ones(len(frame), dtype=bool)
    if name == "rule":
        return frame["rule_defined"].to_numpy(dtype=bool)
    return frame[COLUMNS[name]].notna().to_numpy()


def fit_point(name: str, group: pd.DataFrame) -> PointModel:
    """Measure a point model's errors on one group's training rows (all of one kind)."""
    rows = group[defined(name, group)]
    kind = str(group["kind"].iloc[0])
    if kind == "entities":
        return _fit_sets(name, rows)
    choice = kind == "choice"
    texts, indices, median = _majority(rows, choice) if name == "majority" else ((), (), 0.0)
    draft = PointModel(0.0, 0.0, 1.0, texts, indices, median)
    point, truth = points(name, draft, rows), rows["truth"].to_numpy(dtype=float)
    answered, unanswerable = ~np.isnan(point), np.isnan(truth)
    both = answered & ~unanswerable
    wrong = unanswerable | (point != truth) if choice else unanswerable
    scale = 1.0
    if not choice:
        step = float(group["step"].iloc[0])
        scale = max(float(np.abs(point[both] - truth[both]).mean()) if both.any() else 10 * step, step / 4)
    error = _succession(wrong[answered])
    return PointModel(error, _succession(~unanswerable[~answered]), scale, texts, indices, median)


def points(name: str, model: PointModel, rows: pd.DataFrame) -> Floats:
    """The point answers (n,): option indices or values; NaN refuses."""
    if name != "majority":
        return rows[COLUMNS[name]].to_numpy(dtype=float)
    if not (rows["kind"] == "choice").all():
        return np.full(len(rows), model.median)
    return np.array([_majority_index(model, list(options)) for options in rows["options"]], dtype=float)


def distribution(model: PointModel, point: Floats, space: AnswerSpace) -> Floats:
    """Answer vectors (n, space.size) for point answers (n,) to questions of one space (choices: one size)."""
    p = np.empty((len(point), space.size))
    refused = np.isnan(point)
    p[refused, -1] = 1 - model.refusal_error
    p[refused, :-1] = model.refusal_error / (space.size - 1)
    at = point[~refused]
    if space.kind == "choice":
        rows = np.full((len(at), space.size), model.error / (space.size - 1))
        rows[np.arange(len(at)), at.astype(int)] = 1 - model.error
    else:
        mass = smooth(laplace_mass(at, model.scale, space.values), UNIFORM)
        rows = np.hstack([(1 - model.error) * mass, np.full((len(at), 1), model.error)])
    p[~refused] = rows
    return p


def set_distribution(name: str, model: PointModel, rows: pd.DataFrame) -> Floats:
    """Answer vectors (n, candidates + 1) for questions of sets with as many candidates each."""
    said = np.array([_said(name, row) for _, row in rows.iterrows()])
    p = np.where(said, 1 - model.scale, model.scale)
    refused = _refuses(name, rows)
    return np.column_stack([p, np.where(refused, 1 - model.refusal_error, model.error)])


def _fit_sets(name: str, rows: pd.DataFrame) -> PointModel:
    unanswerable, refused = rows["truth"].isna().to_numpy(), _refuses(name, rows)
    known = rows[~unanswerable & ~refused]
    wrong = [_said(name, row) != membership(row)[:-1] for _, row in known.iterrows()]
    scale = _succession(np.concatenate([*wrong, np.zeros(0, bool)]))
    return PointModel(_succession(unanswerable[~refused]), _succession(~unanswerable[refused]), scale)


def _said(name: str, row: pd.Series) -> np.ndarray:
    """Which candidates the point model puts in the set: the majority's is none, so that its errors are the share of gold."""
    members = list(row["rule_gold"]) if name == "rule" else []
    return np.isin(np.arange(len(row["options"])), members)


def _refuses(name: str, rows: pd.DataFrame) -> np.ndarray:
    return rows["rule"].isna().to_numpy() if name == "rule" else np.zeros(len(rows), dtype=bool)


def _majority(rows: pd.DataFrame, choice: bool) -> tuple[tuple[str, ...], tuple[int, ...], float]:
    known = rows[rows["truth"].notna()]
    if not choice:
        return (), (), float(known["truth"].median()) if len(known) else 0.0
    indices = [int(truth) for truth in known["truth"]]
    texts = [str(options[i]) for options, i in zip(known["options"], indices, strict=True)]
    ranked = sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))
    by_index = sorted(Counter(indices).items(), key=lambda item: (-item[1], item[0]))
    return tuple(text for text, _ in ranked[:100]), tuple(i for i, _ in by_index), 0.0


def _majority_index(model: PointModel, options: list[str]) -> int:
    place = {text: i for i, text in enumerate(options)}
    by_text = (place[text] for text in model.texts if text in place)
    by_index = (i for i in model.indices if i < len(options))
    return next(by_text, next(by_index, 0))


def _succession(wrong: np.ndarray) -> float:
    return float((wrong.sum() + 1) / (len(wrong) + 2))
