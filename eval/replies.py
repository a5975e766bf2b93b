"""A chat model's replies as answer vectors: the letter or number it wrote, or the first token's probabilities where they came along."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from twinforge.model.prompt import LABELS, REFUSED, VERDICTS
from twinforge.records import REFUSAL, AnswerSpace, space_of

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+")
_LETTER = re.compile(
    r"(?:(?:answer|option)(?: is)?:? *\(?([A-Z])\b)|(?:(?<!\w)([A-Z])(?=[.):,*\]\"'`]|\s*$))", re.MULTILINE
)
_QUOTES = " \t\n\"'`*([{"


@dataclass(frozen=True)
class Reply:
    """text : what was written. first : natural log of the probability of each listed first token; empty where none came.
    tokens : read and written, 0 where it was not told. seconds : from asking to answer."""

    text: str
    first: Mapping[str, float]
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Read:
    """p : the answer vector. said : it puts all mass on what was written. lost : replies of this question that nothing could be
    read from."""

    p: np.ndarray
    said: bool
    lost: int


def read(question: pd.Series, replies: Sequence[Reply]) -> Read:
    """An answer vector from the reply to a question, or from those to each candidate of a set, as the tuned model is read.

    Letters: the listed first tokens, shares of what the letters hold, where these hold most of the listed mass (what is not listed
    counts as 0); else the letter or the option's name in the text. Numbers: the first one in the text. What can't be read counts as
    knowing nothing: equal shares, a label drawn by the question's id a trifle ahead.
    """
    space = space_of(question)
    if space.kind == "number":
        p = _number(space, replies[0].text)
        return Read(_nothing(space.size, question["id"]) if p is None else p, True, int(p is None))
    labels = space.labels if space.kind == "choice" else VERDICTS
    found = [_letters(labels, reply) for reply in replies]
    lost, said = sum(p is None for p, _ in found), any(spoken for _, spoken in found)
    shares = [_nothing(len(labels), question["id"]) if p is None else p for p, _ in found]
    if space.kind == "choice":
        return Read(shares[0], said, lost)
    no, yes, unknown = np.array(shares).T
    known = np.where(no + yes > 0, no + yes, 1)
    return Read(np.append(yes / known, unknown.mean()), said, lost)


def _letters(labels: Sequence[str], reply: Reply) -> tuple[np.ndarray | None, bool]:
    """Probability of each label, None where nothing can be read; whether it comes from the text alone."""
    mass = np.zeros(len(labels))
    for token, log in reply.first.items():
        if len(letter := token.strip()) == 1 and letter in LABELS[: len(labels)]:
            mass[LABELS.index(letter)] += math.exp(log)
    if mass.sum() > sum(map(math.exp, reply.first.values())) / 2:
        return mass / mass.sum(), False
    at = _place(labels, reply.text)
    return (None if at is None else np.eye(len(labels))[at]), True


def _place(labels: Sequence[str], text: str) -> int | None:
    """Which label a text names: by a name it begins with, by a "?" there, or by its first letter that is no article."""
    start = text.strip(_QUOTES)
    named = [i for i, label in enumerate(labels) if start.lower().startswith(label.lower())]
    if named and len(labels[named[-1]]) > 1:
        return max(named, key=lambda i: len(labels[i]))
    if start.startswith(REFUSED):
        return len(labels) - 1
    found = [LABELS.index(one or other) for one, other in _LETTER.findall(text)]
    return next((i for i in found if i < len(labels)), None)


def _number(space: AnswerSpace, text: str) -> np.ndarray | None:
    start = text.strip(_QUOTES).lower()
    p = np.zeros(space.size)
    if start.startswith((REFUSED, REFUSAL)):
        p[-1] = 1
    elif found := _NUMBER.search(text):
        p[space.index(float(found.group().replace(",", "")))] = 1
    else:
        return None
    return p


def _nothing(size: int, question: str) -> np.ndarray:
    ahead = int(hashlib.sha256(question.encode()).hexdigest(), 16) % size
    p = np.full(size, 1 - 1e-6) / size
    p[ahead] += 1e-6
    return p
