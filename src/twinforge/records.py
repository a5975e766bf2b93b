"""The words of the house as data: signals, observations, outcomes, questions and answers, and their parquet schemas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from twinforge.errors import UserError

Dimension = Literal["physical", "abstract", "computational"]
Kind = Literal["choice", "number", "entities"]

SKILLS = ("what-if", "forecast", "diagnosis", "standard", "dependency", "recommend", "unanswerable")
SPLITS = ("train", "calibration", "test", "shift")
SLACK = 1e-9  # float noise allowed where a number is held against its tolerance
HARMS = ("none", "worse than doing nothing", "newly breaks a clause")  # what an action does to the system
REFUSAL = "unknown"  # short: every question pays for its tokens


@dataclass(frozen=True)
class Signal:
    """A measured or derived quantity: its unit, the range a sound reading lies in, and the dimension it belongs to."""

    name: str
    unit: str
    low: float
    high: float
    dimension: Dimension
    description: str = ""


@dataclass(frozen=True)
class AnswerSpace:
    """What an answer may be. Every space ends with the refusal, "unknown".

    kind : "choice", "number" or "entities".
    options : the labelled options of a choice, without the refusal (at least two), or the candidates among which a set of
        knowledge-graph nodes is sought (at least one).
    unit, low, high, step, tolerance : number only; the values are low, low + step, ..., high (non-negative), and an
        answer within `tolerance` of the truth counts as right.

    An answer is a vector of `size` probabilities in this order: the options or the values, and last the refusal. It sums to
    one, but for entities: there each candidate has the probability that it belongs to the set, given that there is an answer.

    Raises
    ------
    UserError
        Too few options, repeated options, or an empty or negative number range.
    """

    kind: Kind
    options: tuple[str, ...] = ()
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.kind != "number":
            least = 2 if self.kind == "choice" else 1
            if len(self.options) < least:
                raise UserError(
                    f"answer space with {len(self.options)} option(s) {list(self.options)}: give at least {least}"
                )
            if len(set(self.options)) != len(self.options):
                raise UserError(f"answer space repeats an option: {list(self.options)}")
        elif not (0 <= self.low < self.high and self.step > 0):
            raise UserError(f"number space needs 0 <= low < high and step > 0: {self.low}, {self.high}, {self.step}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Options as asked, the refusal last (not for numbers)."""
        return (*self.options, REFUSAL)

    @property
    def values(self) -> np.ndarray:
        """The values a number can take, ascending (number only)."""
        return self.low + self.step * np.arange(round((self.high - self.low) / self.step) + 1)

    @property
    def size(self) -> int:
        """Length of an answer vector: options or values, and the refusal."""
        return (len(self.values) if self.kind == "number" else len(self.options)) + 1

    def index(self, truth: float) -> int:
        """Position of a truth in the answer vector: NaN is the refusal, a choice's truth its index, a number its nearest value.

        A set has no one position: see `membership`.
        """
        if np.isnan(truth):
            return self.size - 1
        if self.kind == "choice":
            return int(truth)
        return int(np.clip(round((truth - self.low) / self.step), 0, self.size - 2))

    def decide(self, p: np.ndarray) -> float:
        """What an answer vector says, in the form of a truth: the likeliest option's index, the median value, or how many nodes.

        NaN is the refusal: the likeliest label of a choice, more than half of a number's or a set's.
        """
        if self.kind == "choice":
            best = int(np.argmax(p))
            return float(best) if best < self.size - 1 else np.nan
        if p[-1] > 0.5:
            return np.nan
        if self.kind == "entities":
            return float(len(self.decide_set(p)))
        mass = np.cumsum(p[:-1])
        return float(self.values[int(np.searchsorted(mass, mass[-1] / 2))])

    def confidence(self, p: np.ndarray) -> float:
        """How likely what it says is right by its own account: a choice's probability, a number's mass within the tolerance of
        what is said, of entities that all candidates are as said; of a refusal, that it is one."""
        said = self.decide(p)
        if np.isnan(said):
            return float(p[-1])
        if self.kind == "choice":
            return float(p[int(said)])
        if self.kind == "entities":
            return float((1 - p[-1]) * np.maximum(p[:-1], 1 - p[:-1]).prod())
        return float(p[:-1][np.abs(self.values - said) <= self.tolerance + SLACK].sum())

    def decide_set(self, p: np.ndarray) -> tuple[int, ...]:
        """Indices of the candidates that an answer vector puts in the set: more likely in it than not; none where it refuses."""
        p = np.asarray(p)
        return () if p[-1] > 0.5 else tuple(np.flatnonzero(p[:-1] > 0.5).tolist())


OBSERVATION = pa.schema(
    [
        ("episode", pa.string()),
        ("time", pa.timestamp("ms")),
        ("asset", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("dimension", pa.string()),
        ("quality", pa.string()),  # good | missing | suspect
    ]
)
OUTCOME = pa.schema(
    [
        ("episode", pa.string()),
        ("time", pa.timestamp("ms")),  # of the state that the outcome follows
        ("kind", pa.string()),  # outage | later | action | fault | failure
        ("cause", pa.string()),  # the asset or action
        ("horizon_h", pa.float64()),
        ("asset", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("status", pa.string()),  # solved | islanded | unsolved
    ]
)
KNOWLEDGE = pa.schema([("subject", pa.string()), ("relation", pa.string()), ("object", pa.string())])
STANDARD = pa.schema([(name, pa.string()) for name in ("clause", "title", "text", "source", "predicate")])
EPISODE = pa.schema(
    [
        ("episode", pa.string()),
        ("start", pa.timestamp("ms")),
        ("end", pa.timestamp("ms")),  # the latest time that any of its outcomes reaches
        ("regime", pa.string()),  # "calm" is the common period; any other name is shift
        ("change", pa.timestamp("ms")),  # known change point of a shifted episode, else null
        ("note", pa.string()),  # the injected faults and settings, as JSON
    ]
)
QUESTION = pa.schema(
    [
        ("id", pa.string()),
        ("episode", pa.string()),
        ("time", pa.timestamp("ms")),
        ("skill", pa.string()),  # one of SKILLS
        ("asked", pa.string()),  # skill whose template it uses; differs from `skill` for unanswerable ones only
        ("template", pa.string()),
        ("context", pa.string()),  # the state as text; equal for all questions of one state
        ("facts", pa.string()),  # what the state says of the things this question names, as text; may be empty
        ("text", pa.string()),
        ("kind", pa.string()),
        ("options", pa.list_(pa.string())),  # of a choice, or the candidates of a set; empty for numbers
        ("notes", pa.list_(pa.string())),  # what the state says of each option; may be empty
        ("unit", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("step", pa.float64()),
        ("tolerance", pa.float64()),
        ("truth", pa.float64()),  # option index, value, size of the set (`gold_total`), or NaN: to be refused
        ("gold", pa.list_(pa.int64())),  # entities only: indices of the candidates that belong to the set
        ("gold_total", pa.int64()),  # entities only: nodes in the set, also those that are not among the candidates
        ("evidence", pa.string()),
        ("features", pa.list_(pa.list_(pa.float64()))),  # one row, or one row an option: what experts see
        ("rule", pa.float64()),  # the operator's rule's answer in the form of a truth (NaN: it refuses)
        ("rule_gold", pa.list_(pa.int64())),  # entities only: indices of the candidates that the rule puts in the set
        ("rule_defined", pa.bool_()),
        ("persistence", pa.float64()),  # NaN: not defined here (same for copy)
        ("copy", pa.float64()),
        ("payoff", pa.list_(pa.float64())),  # recommend only: value of each option to the operator, higher is better
        ("harm", pa.list_(pa.int64())),  # recommend only: what taking each option does, by `HARMS`
        ("validation", pa.bool_()),  # train only: belongs to the validation share (whole episodes)
    ]
)
ANSWER = pa.schema(
    [
        ("question", pa.string()),
        ("p", pa.list_(pa.float64())),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
LLM, EXPERTS = "llm", ("boost", "rule")
PARTS = (LLM, *EXPERTS)
"""The twin's parts, whose answers are pooled: the tuned language model and the experts that it is pooled with."""


def question_id(episode: str, time: pd.Timestamp, asked: str, text: str) -> str:
    """A stable identity, so that answers of different runs can be paired."""
    return hashlib.sha256(f"{episode}|{time.isoformat()}|{asked}|{text}".encode()).hexdigest()[:16]


def asked_text(row: pd.Series) -> str:
    """What a language model reads of a question, behind the state: its facts, then its words."""
    return f"{row['facts']}\n{row['text']}" if row["facts"] else str(row["text"])


def criteria_of(row: pd.Series) -> dict[str, str | None]:
    """The labels of a choice, the refusal among them, each with its note (transformers' decision format)."""
    labels = space_of(row).labels
    notes: list[str | None] = list(row["notes"])
    return dict(zip(labels, [*notes, None] if notes else [None] * len(labels), strict=True))


def space_of(row: pd.Series | Mapping[str, Any]) -> AnswerSpace:
    """The answer space of one row of a question table."""
    if row["kind"] != "number":
        return AnswerSpace(row["kind"], tuple(row["options"]))
    return AnswerSpace("number", (), row["unit"], row["low"], row["high"], row["step"], row["tolerance"])


def is_right(p: np.ndarray, question: pd.Series) -> bool:
    """Whether an answer vector says the truth of its question: a number within the tolerance, just the nodes of a set."""
    space, truth = space_of(question), float(question["truth"])
    said = space.decide(p)
    if np.isnan(said) or np.isnan(truth):
        return bool(np.isnan(said) and np.isnan(truth))
    same = space.kind != "entities" or set(space.decide_set(p)) == set(question["gold"])
    return same and abs(said - truth) <= space.tolerance + SLACK


def membership(row: pd.Series) -> np.ndarray:
    """What happened to each entry (size,) of the answer vector of an entities question: 1 in the set, 0 not, and last 1 where
    it is to be refused; nothing (NaN) happened to the candidates then."""
    refused = bool(np.isnan(row["truth"]))
    found = np.full(len(row["options"]) + 1, np.nan if refused else 0.0)
    found[[int(i) for i in row["gold"]]] = 1.0
    found[-1] = float(refused)
    return found


def set_text(options: Sequence[str], members: Iterable[int], total: int | None = None) -> str:
    """A set of candidates in words, with how many more there are where `total` nodes belong to it: "{D5, D7}"."""
    names = [str(options[i]) for i in members]
    if total is not None and total > len(names):
        names.append(f"{total - len(names)} more")
    return "{" + ", ".join(names) + "}" if names else "{} (no one)"


def same_set(questions: pd.DataFrame) -> np.ndarray:
    """Where (n,) the operator's rule puts just the right candidates in the set; true of all questions of other kinds."""
    return np.array([set(a) == set(b) for a, b in zip(questions["rule_gold"], questions["gold"], strict=True)], bool)
