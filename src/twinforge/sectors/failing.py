"""A dimension that fails: its signals come late, or are false, while the others are as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twinforge.errors import UserError
from twinforge.records import Dimension, Signal
from twinforge.sectors import State, Template

Retell = Callable[[Mapping[str, Any], State, State, Dimension, Any], dict[str, Any] | None]
TOLD = ("context", "facts", "notes", "features", "rule", "rule_gold", "rule_defined", "persistence", "copy")
"""What of a question depends on what its state's signals say; all else is the question itself, or the truth."""
OFF = 1.3  # times what is true: a transducer with a wrong ratio, a model of another grid


def mixed(state: State, other: State, dimension: Dimension, signals: Sequence[Signal]) -> State:
    """A state with the signals of one dimension taken from another one; date and hour of the day are abstract."""
    own = {signal.name for signal in signals if signal.dimension == dimension}
    kept = {key: value for key, value in state.values.items() if key[1] not in own}
    taken = {key: value for key, value in other.values.items() if key[1] in own}
    time = other.time if dimension == "abstract" else state.time
    return replace(state, time=time, values={**kept, **taken})


def scaled(state: State, dimension: Dimension, signals: Sequence[Signal], factor: float = OFF) -> State:
    """A state whose quantities of one dimension are all told by `factor` too large, within what a sound reading can be.

    Positions, grades and counts (unit "1") and quantities that can't be 0, such as voltages, stay: no one would believe them.
    """
    own = {s.name: s for s in signals if s.dimension == dimension and s.unit != "1" and s.low <= 0}
    values = {
        key: min(max(factor * value, own[key[1]].low), own[key[1]].high) if key[1] in own else value
        for key, value in state.values.items()
    }
    return replace(state, values=values)


def retold(row: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """A question with what the same question says of another state; None where it would not be the same options."""
    if list(asked["options"]) != list(row["options"]):
        return None
    return {**row, **{name: asked[name] for name in TOLD}}


def slots_of(template: Template, text: str) -> dict[str, str]:
    """What fills a template's slots in a text made of one of its phrasings.

    Raises
    ------
    UserError
        The text is none of them.
    """
    found = template.slots_in(text)
    if found is None:
        raise UserError(f"{text!r} is no phrasing of the template {template.name!r}; run `dvc repro` again")
    return found
