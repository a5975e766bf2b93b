"""The toy sector's tools: what a plant's operator reads and estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tests.toy_terms import BY_NAME, CAUSES, CLAUSES, PUMPS, TANKS
from twinforge.errors import UserError
from twinforge.sectors import State
from twinforge.sectors.tools import Tool

CALLS = {"loss-level": "loss {cause}", "loss-class": "loss {cause}", "later-level": "ahead {tank} {hours}", "failure": "age {pump}",
         "clause": "clauses", "dry": "pumps"}  # fmt: skip


def tools(recipe: Any) -> tuple[Tool, ...]:
    return (
        Tool("loss", ("ASSET",), "level of B 2 h after its loss", lambda s, w: f"B at {_read(s, CAUSES, w[0], 'loss estimate'):.2f} m"),
        Tool("ahead", ("TANK", "HOURS"), "its level then", lambda s, w: f"{w[0]} at {_read(s, TANKS, w[0], f'{w[1]} h forecast'):.2f} m"),
        Tool("age", ("PUMP",), "its age", lambda s, w: f"{_read(s, PUMPS, w[0], 'age'):.1f} years"),
        Tool("clauses", (), "which are met", lambda s, w: ", ".join(c.clause for c in CLAUSES if not c.predicate(s)) or "none"),
        Tool("pumps", (), "which run", _pumps),
    )  # fmt: skip


def calls(question: pd.Series) -> tuple[str, ...]:
    slots = BY_NAME[question["template"]].slots_in(question["text"])
    if slots is None or question["template"] not in CALLS:
        return ()
    return (CALLS[question["template"]].format(**{name: value.split()[-1] for name, value in slots.items()}),)


def _pumps(state: State, words: Sequence[str]) -> str:
    return ", ".join(f"{pump} {'on' if state.get(pump, 'status') else 'off'}" for pump in PUMPS)


def _read(state: State, names: Sequence[str], short: str, quantity: str) -> float:
    value = next((state.get(name, quantity) for name in names if name.split()[-1] == short), math.nan)
    if math.isnan(value):
        raise UserError(f"nothing is known of the {quantity} of {short}")
    return value
