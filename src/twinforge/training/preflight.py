"""What training will read and take, and what would make it fail: counts and arithmetic, no model is run here.

`training.trial` measures what the arithmetic starts from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.training.memory import PER_WEIGHT
from twinforge.training.trees import Lesson

GIB = 2**30
CHECKPOINTS = 4  # on disk at once: the newest two, that of the best check, and the one being written
SAID = ("context", "facts", "text", "kind", "options", "notes", "unit", "low", "high", "step")
TOLD = ("truth", "gold")


@dataclass(frozen=True)
class Counts:
    """What one pass of training reads.

    tokens, tree_max : of whole trees, all of them together and the largest.
    branch_tokens, branch_max : of questions behind their state, likewise.
    supervised : tokens that are learnt.
    """

    states: int
    questions: int
    trees: int
    tokens: int
    tree_max: int
    branch_tokens: int
    branch_max: int
    supervised: int


@dataclass(frozen=True)
class Trial:
    """What a few steps took, measured.

    lower_seconds, lower_tokens : of the lower layers on trees of usual size; 0 where nothing of them is kept.
    step_seconds, step_tokens : of training steps on trees of usual size.
    peak : bytes in use at most, on the largest trees too; kept : those of them that are kept lower states.
    seconds : that the whole trial took.
    """

    lower_seconds: float
    lower_tokens: int
    step_seconds: float
    step_tokens: int
    peak: int
    kept: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What training will take.

    lower_seconds : of the lower layers, once; step_seconds : of all training steps. Loading the model, the trial itself
        and the questions answered at the end are not in it.
    peak : bytes of the device's memory at most. On a CPU that is the resident set, kept lower states within.
    kept : bytes of kept lower states, in the machine's memory and again on disk; disk : these and the checkpoints.
    trial_seconds : what the trial cost.
    """

    lower_seconds: float
    step_seconds: float
    peak: int
    kept: int
    disk: int
    trial_seconds: float

    @property
    def seconds(self) -> float:
        return self.lower_seconds + self.step_seconds

    def beside(self, seconds: float, peak: int) -> dict[str, Any]:
        """The forecast and what came of it, JSON-ready; `seconds` and `peak` (bytes) are what training took."""
        return {
            "seconds": {"predicted": self.seconds, "actual": seconds},
            "peak_bytes": {"predicted": self.peak, "actual": peak},
            "kept_bytes": self.kept,
            "disk_bytes": self.disk,
            "trial_seconds": self.trial_seconds,
        }

    def told(self, seconds: float, peak: int) -> str:
        """The same as one line."""
        time = f"predicted {minutes(self.seconds)}, took {minutes(seconds)}"
        return f"{time}; memory predicted {gib(self.peak)}, used {gib(peak)}"


@dataclass(frozen=True)
class Room:
    """Something that is needed and what there is of it, in bytes; `mend` says what to do where it is too little."""

    what: str
    need: int
    there: int
    mend: str


@dataclass(frozen=True)
class Preflight:
    """What is known before training. `faults` stop it, `notes` don't; `forecast` is missing where faults came first, and where
    several processes will train."""

    counts: Counts
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    forecast: Forecast | None = None
    rooms: tuple[Room, ...] = ()

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why training is not to start, a line each; none where it may."""
        return (*self.faults, *(_short(room) for room in self.rooms if room.need > room.there))


def count(lessons: Sequence[Lesson], states: int) -> Counts:
    """Count one pass over the lessons of so many states."""
    trees = [lesson.tree.tokens for lesson in lessons]
    branches = [len(branch.ids) for lesson in lessons for branch in lesson.tree.branches]
    return Counts(
        states=states,
        questions=len(branches),
        trees=len(trees),
        tokens=sum(trees),
        tree_max=max(trees),
        branch_tokens=sum(branches),
        branch_max=max(branches),
        supervised=sum(int((lesson.weights > 0).sum()) for lesson in lessons),
    )


def faults(frame: pd.DataFrame, lessons: Sequence[Lesson], limit: int) -> list[str]:
    """What is wrong with the questions, a line each: too long for a model that reads `limit` tokens, nothing to learn, or
    asked twice with truths that differ."""
    found = []
    if long := [(name, tokens) for name, tokens in _lengths(lessons) if tokens > limit]:
        name, tokens = max(long, key=lambda pair: pair[1])
        found.append(
            f"question {name}{_others(long)}: {tokens:,} tokens with its state, and the base model reads {limit:,}; "
            "lower curate.max_context_tokens, or choose a model.base that reads more"
        )
    if idle := list(_idle(lessons)):
        found.append(
            f"question {idle[0]}{_others(idle)}: none of its tokens is learnt; "
            "give its kind a weight above 0 (train.number_weight), or curate no such questions"
        )
    if torn := list(_torn(frame)):
        found.append(
            f"questions {torn[0][0]} and {torn[0][1]}{_others(torn)}: the same state, words and options, but another "
            "truth; the state's text must tell them apart: mend the sector's `questions`"
        )
    return found


def notes(frame: pd.DataFrame) -> list[str]:
    """What is odd about the questions but stops nothing: those asked more than once with the same truth."""
    again = _asked(frame).set_index("id").duplicated(["said", "told"])
    if not again.any():
        return []
    return [f"questions asked again with the same truth: {int(again.sum()):,}, e.g. {again.index[again][0]}"]


def forecast(
    counts: Counts, trial: Trial, steps: int, batch_trees: int, kept: int, trained: int, cpu: bool
) -> Forecast:
    """From the trial to the whole, by tokens.

    Parameters
    ----------
    steps, batch_trees : of training; the last batch of a pass may hold fewer trees.
    kept : bytes of kept lower states, of all trees; 0 where none are kept.
    trained : weights that are trained.
    cpu : whether the kept states lie in the memory whose peak the trial took.
    """
    passes = steps / math.ceil(counts.trees / batch_trees)
    lower = counts.tokens * trial.lower_seconds / trial.lower_tokens if trial.lower_tokens else 0.0
    step = passes * counts.tokens * trial.step_seconds / trial.step_tokens
    peak = trial.peak + (kept - trial.kept if cpu else 0)
    return Forecast(lower, step, peak, kept, kept + CHECKPOINTS * PER_WEIGHT * trained, trial.seconds)


def minutes(seconds: float) -> str:
    """Seconds as they are spoken of: "48 s", "6.1 min", "2.4 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / GIB:.2f} GiB"


def _short(room: Room) -> str:
    return f"{room.what}: {gib(room.need)} needed, {gib(room.there)} there; {room.mend}"


def _others(found: Sequence[Any]) -> str:
    return f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""


def _lengths(lessons: Sequence[Lesson]) -> Iterator[tuple[str, int]]:
    """Each question's id and the tokens of the longest path through its state and itself."""
    for lesson in lessons:
        for name, branch in zip(lesson.questions, lesson.tree.branches, strict=True):
            yield name, len(lesson.tree.context) + int(branch.depths.max()) + 1


def _idle(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Questions whose tokens all weigh nothing."""
    for lesson in lessons:
        ends = np.cumsum([len(branch.reads) for branch in lesson.tree.branches])[:-1]
        for name, weights in zip(lesson.questions, np.split(lesson.weights, ends), strict=True):
            if not (weights > 0).any():
                yield name


def _torn(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Ids of questions that are asked again with another truth, each after the first one asked so."""
    first: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
    for name, said, told in _asked(frame).itertuples(index=False):
        before, truth = first.setdefault(said, (name, told))
        if told != truth:
            yield before, name


def _asked(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each row its id, what a model is told of the question, and the truth, each as one hashable value."""

    def joined(columns: Sequence[str]) -> list[tuple[str, ...]]:
        plain = [
            frame[name].map(lambda value: value if isinstance(value, str) else str(list(np.atleast_1d(value))))
            for name in columns
        ]
        return list(zip(*plain, strict=True))

    return pd.DataFrame({"id": frame["id"].to_list(), "said": joined(SAID), "told": joined(TOLD)})
