"""A twin's promises: sets for each kind of its answers, and the confidence from which it may answer.

Each group "asked/kind" has a threshold from its answerable rows (Mondrian); the refusal has one of its own from all
unanswerable rows (label-conditional). A choice's set holds the options that pass their group's threshold, a number's is an
interval, that of entities holds the nodes that pass; the refusal is in each where it passes its threshold. So an answerable
question's truth (of entities: all of it) is in its set with probability at least 1 - alpha in every group, and so is the
refusal where a question can't be answered. Answering only above the selective threshold, at most `risk` of all questions are
answered and wrong, with probability 1 - delta over the calibration's episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinforge.conformal import reference
from twinforge.conformal.choice import Choice, ragged
from twinforge.conformal.entities import Entities
from twinforge.conformal.following import start
from twinforge.conformal.number import Number
from twinforge.conformal.online import ACI
from twinforge.conformal.risk import Selective
from twinforge.conformal.rows import Row, answered, bands, groups, refusals, truths
from twinforge.conformal.statements import Statements
from twinforge.conformal.stream import from_state, state_of
from twinforge.errors import UserError
from twinforge.files import read_json, write_json
from twinforge.records import is_right

SETS = ("question", "kind", "members", "low", "high", "refusal", "sure")


@dataclass(frozen=True)
class Promises:
    """What is promised of one model's answers, by kind.

    entities : by group; where the level is out of reach, the reason instead, and everything is in the set. followers : by group,
    thresholds that go on from the calibration rows as truths come in (`following`).
    """

    choice: Choice
    number: Number
    entities: Mapping[str, Entities | str]
    refusal: Choice
    answering: Selective
    followers: Mapping[str, ACI]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        sets = {name: {"why": e} if isinstance(e, str) else e.to_json() for name, e in sorted(self.entities.items())}
        own = {name: getattr(self, name).to_json() for name in ("choice", "number", "refusal", "answering")}
        followers = {name: state_of(follower) for name, follower in sorted(self.followers.items())}
        return {**own, "entities": sets, "followers": followers}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Promises:
        """The inverse of `to_json`."""
        sets = {name: e["why"] if "why" in e else Entities.from_json(e) for name, e in value["entities"].items()}
        return Promises(
            Choice.from_json(value["choice"]), Number.from_json(value["number"]), sets,
            Choice.from_json(value["refusal"]), Selective.from_json(value["answering"]),
            {name: from_state("aci", state) for name, state in value["followers"].items()},
        )  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """The promises of each calibrated model.

    statements : which statements of the language model's reports to stand for; None where none were written.
    """

    alpha: float
    models: Mapping[str, Promises]
    statements: Statements | None = None

    def sets(self, questions: pd.DataFrame, answers: pd.DataFrame, model: str = "twin") -> pd.DataFrame:
        """Sets of all answered questions, in the questions' order.

        A choice's set is never empty: where nothing passes, the likeliest entry is given. A node that is likelier in the set than
        not is always kept. Both can only raise the coverage.

        Returns
        -------
        Columns question, kind, members (indices: of options, the refusal included; of candidates, without it; empty for
        numbers), low and high (NaN but for numbers), refusal (in the set), sure (it may be answered: see `Promises.answering`).
        """
        if model not in self.models:
            raise UserError(f"model {model!r} is not calibrated; there are {', '.join(sorted(self.models))}")
        promises, rows = self.models[model], answered(questions, answers)
        refusal = promises.refusal.sets(refusals(rows))[:, 1]
        sure = promises.answering.answers(np.array([row.space.confidence(row.p) for row in rows]))
        found: dict[int, tuple[Any, ...]] = {}
        for kind, make in (("choice", self._options), ("number", self._intervals), ("entities", self._nodes)):
            place = [i for i, row in enumerate(rows) if row.space.kind == kind]
            made = make(promises, [rows[i] for i in place], refusal[place]) if place else []
            found |= dict(zip(place, made, strict=True))
        table = [(row.question["id"], row.space.kind, *found[i], bool(sure[i])) for i, row in enumerate(rows)]
        return pd.DataFrame(table, columns=list(SETS))

    def _options(self, promises: Promises, rows: Sequence[Row], refusal: NDArray[np.bool_]) -> list[tuple[Any, ...]]:
        p = ragged([row.p for row in rows])
        inside, last = promises.choice.sets(p, groups(rows)), np.array([row.space.size - 1 for row in rows])
        inside[np.arange(len(rows)), last] = refusal
        nothing = np.flatnonzero(~inside.any(axis=1))
        inside[nothing, np.nanargmax(p[nothing], axis=1) if len(nothing) else []] = True
        return [
            (np.flatnonzero(row).tolist(), math.nan, math.nan, bool(row[end]))
            for row, end in zip(inside, last, strict=True)
        ]

    def _intervals(self, promises: Promises, rows: Sequence[Row], refusal: NDArray[np.bool_]) -> list[tuple[Any, ...]]:
        low, high = promises.number.intervals(bands(rows, self.alpha), groups(rows))
        ends = np.array([(row.space.low, row.space.high) for row in rows])
        low, high = (np.clip(end, ends[:, 0], ends[:, 1]) for end in (low, high))
        return [([], *row) for row in zip(low.tolist(), high.tolist(), refusal.tolist(), strict=True)]

    def _nodes(self, promises: Promises, rows: Sequence[Row], refusal: NDArray[np.bool_]) -> list[tuple[Any, ...]]:
        fitted = [promises.entities.get(row.group, "not calibrated") for row in rows]
        kept = [
            np.arange(len(row.p) - 1)
            if isinstance(found, str)
            else np.flatnonzero(found.keep(row.p[:-1]) | (row.p[:-1] > 0.5))
            for row, found in zip(rows, fitted, strict=True)
        ]
        return [(nodes.tolist(), math.nan, math.nan, bool(last)) for nodes, last in zip(kept, refusal, strict=True)]

    def out_of_reach(self, model: str = "twin") -> dict[str, str]:
        """Groups whose sets hold everything because the level can't be reached, each with the reason."""
        return {group: found for group, found in self.models[model].entities.items() if isinstance(found, str)}

    def save(self, path: Path) -> None:
        """Write as JSON; infinite thresholds are null or words."""
        models = {name: promises.to_json() for name, promises in sorted(self.models.items())}
        statements = self.statements.to_json() if self.statements else None
        write_json({"alpha": self.alpha, "models": models, "statements": statements}, path)

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read what `save` wrote; raises `UserError` that names the file when it is missing or broken."""
        value = read_json(path)
        try:
            models = {name: Promises.from_json(promises) for name, promises in value["models"].items()}
            statements = Statements.from_json(value["statements"]) if value["statements"] else None
            return Calibration(float(value["alpha"]), models, statements)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: not a calibration ({error!r}); delete it and run `dvc repro` again") from error


def calibrate(
    questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], alpha: float, risk: float = 0.05, delta: float = 0.1
) -> Calibration:
    """Calibrate each model on the questions that it answered; every threshold that MAPIE can make is held against its own.

    Parameters
    ----------
    questions : calibration rows (`records.QUESTION`), used for nothing else.
    answers : model -> its answers (`records.ANSWER`).
    alpha : allowed share of sets without the truth, in each group.
    risk, delta : allowed share of all questions that are answered and wrong, and the chance that it is exceeded.

    Raises
    ------
    UserError
        A model answered none of the questions, an answer of the wrong length, or a share outside (0, 1).
    """
    found = {}
    for model, table in answers.items():
        if not (rows := answered(questions, table)):
            raise UserError(f"calibration: {model!r} answered none of the {len(questions)} rows; run `dvc repro` again")
        found[model] = _promises(rows, alpha, risk, delta)
    return Calibration(alpha, found)


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


def _promises(rows: Sequence[Row], alpha: float, risk: float, delta: float) -> Promises:
    known = {
        kind: [r for r in rows if not r.refused and r.space.kind == kind] for kind in ("choice", "number", "entities")
    }
    options, labels = ragged([row.p for row in known["choice"]]), truths(known["choice"]).astype(int)
    band = bands(known["number"], alpha)
    truth = np.array([np.clip(row.question["truth"], row.space.low, row.space.high) for row in known["number"]], float)
    asked, counted = groups(known["choice"]), groups(known["number"])
    chosen = Choice.fit(options, labels, alpha, groups=asked)
    number = Number.fit(band, truth, alpha, groups=counted)
    reference.agree(chosen.thresholds, asked, lambda mine: reference.lac(options[mine], labels[mine], alpha))
    low, high = band["lower"], band["upper"]
    reference.agree(number.thresholds, counted, lambda mine: reference.cqr(low[mine], high[mine], truth[mine], alpha))
    unknown = [row for row in rows if row.refused]
    entity_groups = sorted({row.group for row in known["entities"]})
    return Promises(
        chosen,
        number,
        {group: _entities([row for row in known["entities"] if row.group == group], alpha) for group in entity_groups},
        Choice.fit(refusals(unknown), np.ones(len(unknown), int), alpha),
        _answering(rows, risk, delta),
        start(rows, alpha),
    )


def _entities(rows: Sequence[Row], alpha: float) -> Entities | str:
    query = np.repeat([row.question["id"] for row in rows], [len(row.p) - 1 for row in rows])
    score = np.concatenate([row.p[:-1] for row in rows])
    gold = np.concatenate([np.isin(np.arange(len(row.p) - 1), row.question["gold"]) for row in rows])
    total = {row.question["id"]: int(row.question["gold_total"]) for row in rows}
    try:
        return Entities.fit(query, score, gold, alpha, "all", total)
    except UserError as error:
        return str(error)


def _answering(rows: Sequence[Row], risk: float, delta: float) -> Selective:
    """On all questions, answerable or not; one that is refused is not answered, so not wrong."""
    confidence = np.array([row.space.confidence(row.p) for row in rows])
    correct = np.array([math.isnan(row.space.decide(row.p)) or is_right(row.p, row.question) for row in rows])
    return Selective.fit(confidence, correct, risk, delta, np.array([row.question["episode"] for row in rows]))
