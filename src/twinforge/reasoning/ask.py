"""Answering an operator's question with a packaged twin: wording to question, question to distributions, then the set.

The answer is the twin's (language model and experts pooled, `integration.json`) where the experts have readings to work
on, and the language model's alone, under its own calibration, where a state is given as text only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from twinforge.artifact import Twin
from twinforge.conformal.calibration import covered
from twinforge.errors import UserError
from twinforge.reasoning.situation import Situation, situation
from twinforge.reasoning.standing import pool_tables
from twinforge.reasoning.wording import Match, Phrasebook
from twinforge.records import QUESTION, REFUSAL, AnswerSpace, question_id, set_text, space_of
from twinforge.sectors import load_sector

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Claim:
    """What is guaranteed: a choice's labels or a set's nodes, a number's interval; with the refusal or not."""

    level: float
    labels: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    refusal: bool = False
    covers: bool | None = None  # the truth; None where it isn't known
    sure: bool = False  # it may be answered without a person: "answered and wrong" stays within `risk`
    risk: float = 0.0


@dataclass(frozen=True)
class Reply:
    """An answered question.

    question : a row of `records.QUESTION`. parts : model -> its answer vector; `speaker` is the one that answers:
    "twin", or "llm" where it was left alone. claim : None where the speaker was not calibrated.
    truth_known : whether the row's truth is one (a NaN is then "should be refused").
    """

    question: pd.Series
    parts: Mapping[str, Vector]
    speaker: str
    claim: Claim | None
    truth_known: bool
    seconds: float
    wording: str = ""
    match: Match | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def space(self) -> AnswerSpace:
        return space_of(self.question)

    @property
    def said(self) -> dict[str, str]:
        """Every model's answer in words, with the speaker's last."""
        return {model: in_words(self.space, p) for model, p in self.parts.items()}


def in_words(space: AnswerSpace, p: Vector) -> str:
    """An answer vector's answer: the likeliest label; the median value or the set, unless the refusal has more than half."""
    said = space.decide(p)
    if math.isnan(said):
        return REFUSAL
    if space.kind == "entities":
        return set_text(space.options, space.decide_set(p))
    return space.labels[int(said)] if space.kind == "choice" else number_text(said, space.unit)


def number_text(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()


def demo(twin: Twin) -> list[Reply]:
    """Answer the twin's stored test questions afresh."""
    return answer_rows(twin, twin.examples, truth_known=True)


def ask(twin: Twin, wording: str, state: str = "1") -> Reply:
    """Answer a question in an operator's own words.

    state : the number or time of a stored state, or a file (see `situation`).

    Raises
    ------
    UserError
        The wording fits no question that the twin was calibrated on, or the state can't be had.
    """
    match = phrasebook(twin).match(wording)
    where = situation(twin, state)
    row, notes = _question(twin, match, where)
    # where the rule finds an answer and no outcome was recorded, the truth is unknown, not a refusal
    recorded = where.known and (math.isnan(row["rule"]) or not math.isnan(row["truth"]))
    reply = answer_rows(twin, _frame([row]), truth_known=recorded)[0]
    return Reply(**{**reply.__dict__, "wording": wording, "match": match, "notes": (*notes, *reply.notes)})


def phrasebook(twin: Twin) -> Phrasebook:
    """The questions that a twin can be asked."""
    return Phrasebook.of(twin.skills, twin.knowledge)


def _question(twin: Twin, match: Match, where: Situation) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The question's row, built by the sector from readings or, poorer, from the state's text."""
    if where.state is None:
        return _from_text(match, where), ("the state is text: no readings",)
    plugin = load_sector(twin.recipe.module)
    try:
        row = plugin.ask(where.state, match.skill.name, match.slots, match.text, twin.recipe)
    except UserError as error:
        raise UserError(f"{where.name}: {error}") from error
    return {**_blank(), **row, **_identity(where.state.episode, where.state.time, row)}, ()


def _from_text(match: Match, where: Situation) -> dict[str, Any]:
    space = match.skill.space
    if space is None:
        raise UserError(
            f"{match.text!r}: its options depend on the readings; give a stored state or a file of readings"
        )
    row = {**_blank(), **space, "skill": match.skill.skill, "asked": match.skill.skill, "template": match.skill.name}
    row |= {"kind": match.skill.kind, "context": where.context, "text": match.text}
    return row | _identity(where.name, pd.Timestamp(0), row)


def _blank() -> dict[str, Any]:
    empty = {
        "options": [],
        "unit": "",
        "low": 0.0,
        "high": 0.0,
        "step": 1.0,
        "tolerance": 0.0,
        "facts": "",
        "notes": [],
        "evidence": "",
        "features": [],
        "gold": [],
        "gold_total": 0,
        "rule_gold": [],
    }
    unknown = dict.fromkeys(("truth", "rule", "persistence", "copy"), math.nan)
    return {**empty, **unknown, "rule_defined": False, "payoff": [], "harm": [], "validation": False}


def _identity(episode: str, moment: pd.Timestamp, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": question_id(episode, moment, row["asked"], row["text"]), "episode": episode, "time": moment}


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pa.Table.from_pylist([{name: row[name] for name in QUESTION.names} for row in rows], schema=QUESTION)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def answer_rows(twin: Twin, questions: pd.DataFrame, truth_known: bool) -> list[Reply]:
    """Answer rows of `records.QUESTION` by the language model, the experts of the pool, and the twin."""
    _ = twin.model, twin.experts  # loading is no part of the answers' seconds
    begin = time.perf_counter()
    tables = _answers(twin, questions)
    seconds = (time.perf_counter() - begin) / max(len(questions), 1)
    replies = {reply.question["id"]: reply for reply in _replies(twin, questions, tables, truth_known, seconds)}
    return [replies[identity] for identity in questions["id"]]


def _replies(
    twin: Twin, questions: pd.DataFrame, tables: Mapping[str, pd.DataFrame], truth_known: bool, seconds: float
) -> Iterator[Reply]:
    vectors = {model: dict(zip(table["question"], table["p"], strict=True)) for model, table in tables.items()}
    experts = sorted(vectors.keys() - {"llm", "twin"})
    heard = questions["id"].isin({identity for name in experts for identity in vectors[name]})
    for speaker, rows in (("twin", questions[heard]), ("llm", questions[~heard])):
        claims = _claims(twin, rows, tables[speaker], speaker, truth_known)
        for _, row in rows.iterrows():
            parts = {model: np.asarray(found[row["id"]]) for model, found in vectors.items() if row["id"] in found}
            if speaker == "llm":
                parts.pop("twin", None)
            notes = tuple(_notes(speaker, [name for name in experts if name not in parts], bool(claims)))
            yield Reply(row, parts, speaker, claims.get(row["id"]), truth_known, seconds, notes=notes)


def _notes(speaker: str, silent: Sequence[str], calibrated: bool) -> Iterator[str]:
    if speaker == "llm":
        yield "no expert can answer this: the language model answers alone, with its own guarantee"
    elif silent:
        yield f"{' and '.join(silent)} can't answer this"
    if not calibrated:
        yield f"{speaker} was not calibrated: no guarantee"


def _answers(twin: Twin, questions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """model -> its answers (`records.ANSWER`); the twin's last."""
    tables = {"llm": twin.ask_model(questions)}
    readable = questions[questions["features"].map(len) > 0]
    for name in sorted(pooled_models(twin) - {"llm"}):
        tables[name] = twin.experts.answer(name, readable)
    pooled = pool_tables(twin.integration, readable, tables)
    return {**tables, "twin": pd.DataFrame({"question": list(pooled), "p": list(pooled.values())})}


def pooled_models(twin: Twin) -> set[str]:
    """The models whose answers the twin pools."""
    patterns = (pattern for by_kind in twin.integration.pooled.values() for pattern in by_kind)
    return {model for pattern in patterns for model in pattern.split("+")}


def _claims(twin: Twin, rows: pd.DataFrame, answers: pd.DataFrame, model: str, truth_known: bool) -> dict[str, Claim]:
    calibration = twin.calibration
    if model not in calibration.models or rows.empty:
        return {}
    sets = calibration.sets(rows, answers[answers["question"].isin(rows["id"])], model)
    inside = [bool(x) for x in covered(rows, sets)] if truth_known else [None] * len(sets)
    spaces = {row["id"]: space_of(row) for _, row in rows.iterrows()}
    claims = {}
    for found, holds in zip(sets.to_dict("records"), inside, strict=True):
        space = spaces[found["question"]]
        labels = tuple(space.labels[i] for i in found["members"])
        bounds = (float(found["low"]), float(found["high"]), bool(found["refusal"]))
        sure, risk = bool(found["sure"]), calibration.models[model].answering.risk
        claims[str(found["question"])] = Claim(1 - calibration.alpha, labels, *bounds, holds, sure, risk)
    return claims
