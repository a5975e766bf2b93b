"""The same questions while one side of the twin fails: what it tells is hours old, or false, and the others tell what is so.

Dead sides are those of `eval.probes.dimensions`. A late side tells what it told in the last state before. A lying one of quantities
tells all of them 30 % too large; a lying calendar is that of another day. The truths stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from eval.probes import FAILING
from twinforge.lake.states import Key
from twinforge.records import Dimension, Signal
from twinforge.sectors import State
from twinforge.sectors.dimensions import LETTERS
from twinforge.sectors.failing import Retell, scaled

DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class World:
    """The states that are asked about and those that stand in for them, and how a sector tells a question again."""

    states: Mapping[Key, State]
    before: Mapping[Key, State]
    signals: tuple[Signal, ...]
    retell: Retell
    recipe: Any


def before(keys: list[Key], every: list[Key]) -> dict[Key, Key]:
    """The last state of the lake before each, within a day; whatever its split, for only its signals are told."""
    times = sorted(every, key=lambda key: key.time)
    found = {}
    for key in keys:
        earlier = [other for other in times if key.time - DAY <= other.time < key.time]
        if earlier:
            found[key] = earlier[-1]
    return found


def ask(questions: pd.DataFrame, world: World, seed: int) -> pd.DataFrame:
    """The questions (`records.QUESTION`) with each side late and lying: rows of `eval.probes.PROBE`, `probe` "late P" and so on.

    A question that a sector can't tell again is left out. The same questions and seed give the same rows.
    """
    rows = []
    for (episode, time), own in questions.groupby(["episode", "time"], sort=False):
        key = Key(str(episode), cast(pd.Timestamp, time))
        for name, other, dimension in _others(key, world, seed):
            for row in own.to_dict("records"):
                told = world.retell(
                    {str(k): v for k, v in row.items()}, world.states[key], other, dimension, world.recipe
                )
                if told is not None:
                    given = {"id": f"{row['id']}-{name.replace(' ', '-')}", "original": row["id"], "probe": name}
                    rows.append({**told, **given, "suite": FAILING, "order": []})
    return pd.DataFrame(rows, columns=[*questions.columns, "suite", "probe", "original", "order"])


def _others(key: Key, world: World, seed: int) -> Iterator[tuple[str, State, Dimension]]:
    """What is told of a state while a side fails: the way's name, the state that stands in, the side."""
    state, others = world.states[key], [each for each in world.states if each.episode != key.episode]
    rng = np.random.default_rng([seed, key.time.value // 10**9])
    another = others[int(rng.integers(len(others)))] if others else None
    for dimension, letter in LETTERS.items():
        if key in world.before:
            yield f"late {letter}", world.before[key], dimension
        if dimension != "abstract":
            yield f"lying {letter}", scaled(state, dimension, world.signals), dimension
        elif another:
            yield f"lying {letter}", world.states[another], dimension
