"""What a sector plug-in offers: signals, clauses, templates, a simulator and questions. A sector is one module."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel

from twinforge.claims import Claim
from twinforge.errors import UserError
from twinforge.records import AnswerSpace, Dimension, Kind, Signal

if TYPE_CHECKING:
    from twinforge.sectors.tools import Tool


@dataclass(frozen=True)
class State:
    """What is known of a system at one time, as its (possibly faulty) signals tell it.

    values : (asset, quantity) -> value; a missing reading is absent.
    outcomes : rows of `records.OUTCOME` that follow this state (the truth; never shown to a model). Empty when unknown.
    """

    episode: str
    time: pd.Timestamp
    values: Mapping[tuple[str, str], float]
    outcomes: pd.DataFrame

    def get(self, asset: str, quantity: str) -> float:
        """The reading, or NaN when it is missing."""
        return self.values.get((asset, quantity), math.nan)

    def column(self, quantity: str) -> Mapping[str, float]:
        """All readings of one quantity, by asset."""
        return self._columns.get(quantity, {})

    @cached_property
    def _columns(self) -> dict[str, dict[str, float]]:
        columns: dict[str, dict[str, float]] = {}
        for (asset, quantity), value in self.values.items():
            columns.setdefault(quantity, {})[asset] = value
        return columns


@dataclass(frozen=True)
class Clause:
    """One rule of a standard: restated facts with their source, and the predicate that decides it on a state.

    predicate : a function of the state's signals, True when the clause is broken.
    """

    clause: str
    title: str
    text: str
    source: str
    predicate: Callable[[State], bool]


@dataclass(frozen=True)
class Template:
    """One way to ask: phrasings with `{slots}`, and the answer space (its options may depend on the question).

    name : stable name, part of the question's identity.
    skill : the skill it asks for.
    phrasings : used in every split; held_out : used in calibration, test and shift too, never in train.
    slots : slot name -> kind of thing it takes: "line", "bus", "hours" ... (what `knowledge` calls it).
    space : fixed answer space, or None when the options differ from question to question.
    """

    name: str
    skill: str
    kind: Kind
    phrasings: tuple[str, ...]
    held_out: tuple[str, ...]
    slots: Mapping[str, str]
    space: AnswerSpace | None = None

    def slots_in(self, text: str) -> dict[str, str] | None:
        """What fills the slots of a question's text; None where it is in none of the phrasings."""
        for phrasing in (*self.phrasings, *self.held_out):
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(phrasing))
            if match := re.fullmatch(pattern, text):
                return match.groupdict()
        return None


@dataclass(frozen=True)
class Episode:
    """One stretch of a system's life: a row of `records.EPISODE` (as a dict), its observations and its outcomes.

    Outcome rows mark the times at which questions may be asked: a state is every (episode, time) that has outcomes.
    """

    row: Mapping[str, Any]
    observations: pd.DataFrame
    outcomes: pd.DataFrame


@dataclass(frozen=True)
class Readings:
    """A stretch of evenly spaced steps of all streams, as it came and against what was expected; NaN where missing.

    raw : (n, k) sensors' values. residual : (n, k) those less what the twin's computational side expects of them.
    """

    raw: np.ndarray
    residual: np.ndarray

    def __getitem__(self, steps: slice) -> Readings:
        return Readings(self.raw[steps], self.residual[steps])


@dataclass(frozen=True)
class Change:
    """A known change in one stream's world: what goes before it, and what comes from its first step on.

    asset, quantity : of the stream that shows it. named : whether the asset is the one that changed (not where all did).
    dimension : the one that changed; "" for a control in which nothing did.
    """

    scenario: str
    asset: str
    quantity: str
    dimension: str
    before: Readings
    after: Readings
    named: bool = True


@dataclass(frozen=True)
class Streams:
    """What is watched for drift. names : (asset, quantity, dimension) of every stream.

    calm : at least 2,000 steps, of which the drift reference is made. held : other calm ones, to count false alarms.
    """

    names: tuple[tuple[str, str, str], ...]
    calm: Readings
    held: Readings
    changes: tuple[Change, ...]


class Rollout(Protocol):
    """Consecutive hours of a system's life, over which a twin can be fed its own answers about some assets.

    name : which stretch. start : time of step 0. assets : (k,) names. truth : (steps + 1, k) true values, step 0 first.
    """

    name: str
    start: pd.Timestamp
    assets: tuple[str, ...]
    truth: np.ndarray

    def read(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What the sensors say of the assets at a step and one step before it, (k,) each and finite."""
        ...

    def ask(
        self, step: int, seen: int, now: np.ndarray, before: np.ndarray, simulated: bool = False
    ) -> list[dict[str, Any]]:
        """For each asset the question what its value is one step after `step`, as dicts like those of `Sector.questions`.

        The state that is asked about was last read by sensors at the step `seen`; since then the assets' values are what
        the twin said: `now` and, one step earlier, `before`, (k,) each. Nothing that happened after `seen` is in it.
        simulated : whether what is computed of the assets comes from the simulator; else it starts from `now`.
        """
        ...


class Sector(Protocol):
    """The plug-in contract. A module with these attributes is a sector; nothing has to be registered.

    `recipe` arguments are the composed recipe slice of the stage (attributes `seed`, `lake`, `curate`, `budget` ...).
    """

    NAME: str
    SIGNALS: tuple[Signal, ...]
    CLAUSES: tuple[Clause, ...]
    TEMPLATES: tuple[Template, ...]
    Settings: type[BaseModel]  # of the recipe's `lake.system`

    def episodes(self, recipe: Any) -> Iterator[Episode]:
        """Simulate (or read) the episodes, in order of time. `len()` is not needed; `episode_count(recipe)` is."""
        ...

    def episode_count(self, recipe: Any) -> int:
        """How many episodes `episodes` yields (for progress)."""
        ...

    def check(self, recipe: Any) -> dict[str, Any]:
        """Hold a fast simulator against the trusted one on a sample; raises UserError where they differ.

        Returns what was compared, for the lake's report.
        """
        ...

    def knowledge(self, recipe: Any) -> pd.DataFrame:
        """The knowledge graph as rows of `records.KNOWLEDGE`; the relation "is" gives each asset's kind."""
        ...

    def questions(self, state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> list[dict[str, Any]]:
        """All questions about one state as dicts of `records.QUESTION`, without id, validation, episode and time.

        phrasing : "train" or "any" (the held-out phrasings too).
        """
        ...

    def ask(self, state: State, template: str, slots: Mapping[str, str], wording: str, recipe: Any) -> dict[str, Any]:
        """One question of a template about a state in an operator's own wording (optional).

        `context` is written for it; its truth is NaN also when `state.outcomes` does not know it.
        """
        ...

    def report(self, state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> dict[str, Any] | None:
        """A request for a report about one state (optional): a dict of `claims.REPORT` without id, episode, time, split and
        validation; None where the state does not allow one. `phrasing` as in `questions`.

        Under "backing" it lists what questions tell of the report's statements: dicts of `backing.BACKING` without report, the
        question itself (as from `questions`) in place of its id. The twin stands for what its own answers bear out."""
        ...

    def request(self, state: State, wording: str, recipe: Any) -> dict[str, Any] | None:
        """The same (with `report`) in an operator's own words; None where they ask for no report."""
        ...

    def claims(self, text: str) -> list[Claim]:
        """What a free text claims (with `report`)."""
        ...

    def keep(self, questions: pd.DataFrame, dimensions: Set[Dimension]) -> pd.DataFrame:
        """Question rows (`records.QUESTION`) with what `dimensions` tell and nothing of the others: texts, features, rule; their
        ids tell what was kept. `twinforge.sectors.dimensions` does it for texts marked by letters."""
        ...

    def tools(self, recipe: Any) -> tuple[Tool, ...]:
        """What can be worked out about a state from its signals (optional: without them, no way of answering plans and acts)."""
        ...

    def calls(self, question: pd.Series) -> tuple[str, ...]:
        """The calls of `tools` (with them) by which an operator checks an answer to a row of `records.QUESTION`."""
        ...

    def retell(
        self, row: Mapping[str, Any], state: State, other: State, dimension: Dimension, recipe: Any
    ) -> dict[str, Any] | None:
        """A question of `questions` about `state` as it stood if the signals of one dimension were those of `other` (optional);
        its truth stays. None where these can't say what it rests on. `twinforge.sectors.failing` has what it takes."""
        ...

    def streams(self, recipe: Any) -> Streams:
        """Sensors beside what is expected of them, in calm and through known changes (optional: without it, drift is watched
        in the twin's answers and in the questions' wording only)."""
        ...

    def rollouts(self, recipe: Any, count: int, steps: int) -> list[Rollout]:
        """At most `count` stretches of `steps` steps that no episode of the lake touches (optional: without it, the suite
        "propagation" stays empty)."""
        ...


def load_sector(module: str) -> Sector:
    """Import a sector plug-in by its module path.

    Raises
    ------
    UserError
        No such module, or one that lacks a part of the contract.
    """
    try:
        plugin = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise UserError(
                f"sector module {module!r} needs the package {error.name!r}: pip install {error.name}"
            ) from error
        known = ", ".join(sorted(m.name for m in pkgutil.iter_modules(__path__)))
        raise UserError(f"no sector module {module!r}; sectors that come with twinforge: {known}") from error
    parts = (
        "NAME", "SIGNALS", "CLAUSES", "TEMPLATES", "Settings", "episodes", "episode_count", "knowledge", "questions", "keep",
    )  # fmt: skip
    if missing := [part for part in parts if not hasattr(plugin, part)]:
        raise UserError(f"sector module {module!r} lacks {', '.join(missing)}; see twinforge.sectors.Sector")
    return cast(Sector, plugin)
