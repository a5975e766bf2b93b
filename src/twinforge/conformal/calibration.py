"""Calibrations by model and group: fitted by MAPIE, kept as thresholds, used by numpy alone.

Each group "asked/kind" has a threshold from its answerable rows; the refusal has one of its own from all unanswerable
rows (label-conditional). A choice's set holds the options that pass their group's threshold, a number's is an interval, that
of entities holds the nodes that pass; the refusal is in each where it passes its threshold. So an answerable question's truth
(of entities: all of it) is in its set with probability at least 1 - alpha in every group, and so is the refusal where a
question can't be answered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinforge.conformal import choice, number
from twinforge.conformal.entities import Entities
from twinforge.conformal.threshold import TOLERANCE, Floats, Threshold
from twinforge.errors import UserError
from twinforge.files import read_json, write_json
from twinforge.records import AnswerSpace, space_of

REFUSAL = "refusal"


@dataclass(frozen=True)
class Calibration:
    """Thresholds of each calibrated model: model -> group (or "refusal") -> `Threshold`."""

    alpha: float
    models: Mapping[str, Mapping[str, Threshold]]

    def threshold(self, group: str, model: str = "twin") -> Threshold:
        """The threshold of a group or of "refusal"; a group without calibration rows has an infinite one."""
        if model not in self.models:
            raise UserError(f"model {model!r} is not calibrated; there are {', '.join(sorted(self.models))}")
        nothing = Threshold(group, "none", self.alpha, 0, math.inf, "")
        return self.models[model].get(group, nothing)

    def set_for(self, group: str, kind: str, p: Floats, model: str = "twin") -> NDArray[np.int64]:
        """Indices of the answer vector that are in a choice's prediction set; the refusal is the last.

        Never empty: where nothing passes, the most probable entry is given, which can only raise the coverage.
        """
        if kind != "choice":
            raise UserError(
                f"{group}: kind {kind} has no set of options; use interval_for (number), nodes_for (entities)"
            )
        inside = choice.members(p, self.threshold(group, model).value)
        inside[-1] = self.refusal_in_set(p, model)
        return np.flatnonzero(inside) if inside.any() else np.array([int(np.argmax(p))])

    def nodes_for(self, group: str, p: Floats, model: str = "twin") -> NDArray[np.int64]:
        """Indices of the candidates that are in a set of entities; where none is, no one belongs to it."""
        least = -self.threshold(group, model).value
        return np.flatnonzero(np.asarray(p, float)[:-1] >= least - TOLERANCE)

    def interval_for(self, group: str, p: Floats, values: Floats, model: str = "twin") -> tuple[float, float, bool]:
        """(low, high, whether the refusal is in the set) for a number's answer vector on its grid of values."""
        quantile = number.quantiles(p, values, [self.alpha / 2, 1 - self.alpha / 2])
        low, high = number.interval(quantile, values, self.threshold(group, model).value)
        return low, high, self.refusal_in_set(p, model)

    def refusal_in_set(self, p: Floats, model: str = "twin") -> bool:
        """Whether "unknown" can't be ruled out."""
        return bool(choice.members(np.asarray(p)[-1:], self.threshold(REFUSAL, model).value)[0])

    def sets(self, questions: pd.DataFrame, answers: pd.DataFrame, model: str = "twin") -> pd.DataFrame:
        """Sets of all answered questions, in the questions' order.

        Returns
        -------
        Columns question, kind, members (indices: of options, the refusal included; of candidates, without it; empty for
        numbers), low and high (NaN but for numbers), refusal (in the set).
        """
        rows = []
        for row, space, p in _answered(questions, answers):
            group = f"{row.asked}/{row.kind}"
            if space.kind == "choice":
                inside = self.set_for(group, "choice", p, model)
                rows.append((row.id, "choice", inside.tolist(), math.nan, math.nan, space.size - 1 in inside))
            elif space.kind == "entities":
                nodes, refusal = self.nodes_for(group, p, model), self.refusal_in_set(p, model)
                rows.append((row.id, "entities", nodes.tolist(), math.nan, math.nan, refusal))
            else:
                rows.append((row.id, "number", [], *self.interval_for(group, p, space.values, model)))
        return pd.DataFrame(rows, columns=["question", "kind", "members", "low", "high", "refusal"])

    def out_of_reach(self, model: str = "twin") -> dict[str, str]:
        """Groups whose sets hold everything because the level can't be reached, each with the reason."""
        return {group: found.note for group, found in self.models[model].items() if found.note}

    def save(self, path: Path) -> None:
        """Write as JSON; an infinite threshold is null."""
        models = {
            name: {group: threshold.to_json() for group, threshold in sorted(groups.items())}
            for name, groups in sorted(self.models.items())
        }
        write_json({"alpha": self.alpha, "models": models}, path)

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read what `save` wrote; raises `UserError` that names the file when it is missing or broken."""
        value = read_json(path)
        try:
            models = {
                name: {group: Threshold.from_json(group, entry) for group, entry in groups.items()}
                for name, groups in value["models"].items()
            }
            return Calibration(float(value["alpha"]), models)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: not a calibration ({error!r}); delete it and run `dvc repro` again") from error


def calibrate(questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], alpha: float) -> Calibration:
    """Calibrate each model on the questions that it answered.

    Parameters
    ----------
    questions : calibration rows (`records.QUESTION`), used for nothing else.
    answers : model -> its answers (`records.ANSWER`).
    alpha : allowed share of sets without the truth, in each group.

    Raises
    ------
    UserError
        A model answered none of the questions, an answer of the wrong length, or alpha outside (0, 1).
    """
    return Calibration(alpha, {model: _thresholds(questions, table, alpha, model) for model, table in answers.items()})


def covered(questions: pd.DataFrame, sets: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each set (as `Calibration.sets` gives them) holds its question's truth, of entities all of it; a NaN truth is
    the refusal."""
    truth = questions.set_index("id")[["truth", "low", "high", "gold"]].loc[sets["question"].tolist()]
    y = truth["truth"].to_numpy(dtype=float)
    number_truth = np.clip(y, truth["low"], truth["high"])
    inside = (sets["low"].to_numpy() <= number_truth) & (number_truth <= sets["high"].to_numpy())
    chosen = np.array([t in members for t, members in zip(y, sets["members"], strict=True)], dtype=bool)
    whole = np.array([set(gold) <= set(m) for gold, m in zip(truth["gold"], sets["members"], strict=True)], dtype=bool)
    whole &= truth["gold"].map(len).to_numpy() == y
    known = np.select([sets["kind"] == "choice", sets["kind"] == "entities"], [chosen, whole], inside)
    return np.where(np.isnan(y), sets["refusal"].to_numpy(dtype=bool), known)


def _thresholds(questions: pd.DataFrame, answers: pd.DataFrame, alpha: float, model: str) -> dict[str, Threshold]:
    rows = _answered(questions, answers)
    if not rows:
        raise UserError(f"calibration: {model!r} answered none of the {len(questions)} rows; run `dvc repro` again")
    found: dict[str, Threshold] = {}
    groups: dict[str, list[tuple[Any, AnswerSpace, Floats]]] = {}
    refused = []
    for item in rows:
        row = item[0]
        if math.isnan(row.truth):
            refused.append(item)
        else:
            groups.setdefault(f"{row.asked}/{row.kind}", []).append(item)
    for group, items in sorted(groups.items()):
        found[group] = _group_threshold(group, items, alpha)
    # the refusal against all the rest, so that answers of any length stand together
    p = [np.array([1 - vector[-1], vector[-1]]) for _, _, vector in refused]
    truth = [1] * len(p)
    value, data = choice.lac(p, truth, alpha), _digest([row for row, _, _ in refused], choice.scores(p, truth))
    return found | {REFUSAL: Threshold(REFUSAL, REFUSAL, alpha, len(p), value, data)}


def _group_threshold(group: str, items: Sequence[tuple[Any, AnswerSpace, Floats]], alpha: float) -> Threshold:
    rows = [row for row, _, _ in items]
    p = [vector for _, _, vector in items]
    if items[0][1].kind == "choice":
        index = [space.index(row.truth) for row, space, _ in items]
        data = _digest(rows, choice.scores(p, index))
        return Threshold(group, "lac", alpha, len(p), choice.lac(p, index, alpha), data)
    if items[0][1].kind == "entities":
        return _entities_threshold(group, rows, p, alpha)
    quantile = number.band(p, [space.values for _, space, _ in items], alpha)
    truth = np.array([np.clip(row.truth, space.low, space.high) for row, space, _ in items])
    data = _digest(rows, number.scores(quantile, truth))
    return Threshold(group, "cqr", alpha, len(p), number.cqr(quantile, truth, alpha), data)


def _entities_threshold(group: str, rows: Sequence[Any], p: Sequence[Floats], alpha: float) -> Threshold:
    """The least score that is kept, with its sign turned. A node that is likelier in the set than not is always kept, which can
    only raise the coverage. Where the level can't be reached everything is kept, and the note says why."""
    query = np.repeat([row.id for row in rows], [len(vector) - 1 for vector in p])
    score = np.concatenate([vector[:-1] for vector in p])
    gold = np.concatenate([np.isin(np.arange(len(v) - 1), row.gold) for row, v in zip(rows, p, strict=True)])
    try:
        fitted = Entities.fit(query, score, gold, alpha, "all", {row.id: int(row.gold_total) for row in rows})
    except UserError as error:
        return Threshold(group, "entities", alpha, len(rows), math.inf, "", str(error))
    return Threshold(group, "entities", alpha, fitted.n, max(-fitted.least, -0.5), fitted.data)


def _answered(questions: pd.DataFrame, answers: pd.DataFrame) -> list[tuple[Any, AnswerSpace, Floats]]:
    known = dict(zip(answers["question"], answers["p"], strict=True))
    rows = []
    for row, (_, series) in zip(questions.itertuples(), questions.iterrows(), strict=True):
        if (vector := known.get(row.id)) is None:
            continue
        space, p = space_of(series), np.asarray(vector, dtype=float)
        if len(p) != space.size or not np.isfinite(p).all():
            raise UserError(
                f"the answer to question {row.id} holds {len(p)} numbers, {space.size} finite ones are due; answer it again"
            )
        rows.append((row, space, p))
    return rows


def _digest(rows: Sequence[Any], values: Floats) -> str:
    text = "\n".join(f"{row.id} {value!r}" for row, value in zip(rows, values.tolist(), strict=True))
    return hashlib.sha256(text.encode()).hexdigest()
