"""A small but real sector: two water tanks in series (see `toy_water`), with all seven skills and known truths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tests import toy_water as water
from tests.toy_days import Day
from tests.toy_dimensions import keep
from tests.toy_questions import ask, context, questions, retell
from tests.toy_reports import claims, report, request
from tests.toy_roll import rollouts
from tests.toy_terms import CAUSES, CLAUSES, NAME, PUMPS, SIGNALS, TANKS, TEMPLATES, Settings
from tests.toy_tools import calls, tools
from twinforge.records import KNOWLEDGE
from twinforge.sectors import Episode


def knowledge(recipe: Any) -> pd.DataFrame:
    """The plant as a graph."""
    kinds = (
        [(a, "is", "tank") for a in TANKS] + [(a, "is", "pump") for a in PUMPS] + [(a, "is", "cause") for a in CAUSES]
    )
    edges = [("pump P1", "tank A"), ("pump P2", "tank A"), ("tank A", "farm"), ("tank A", "valve V1"),
             ("valve V1", "tank B"), ("tank B", "town"), ("tank B", "weir W1")]  # fmt: skip
    return pd.DataFrame(kinds + [(a, "feeds", b) for a, b in edges], columns=KNOWLEDGE.names)


def check(recipe: Any) -> dict[str, Any]:
    """Euler against the closed form of a tank that only drains: sqrt(h) falls linearly (Torricelli)."""
    one = np.ones(1)
    runs = water.Runs(np.array([[4.0, 1.0]]), np.zeros((1, 2)), one, one, 0 * one, 0 * one)
    exact = (math.sqrt(4.0) - water.VALVE / (2 * water.AREA[0])) ** 2
    return {"drain": {"exact_m": exact, "error_m": abs(float(water.advance(runs, 0, 1).level[0, 0]) - exact)}}


def episode_count(recipe: Any) -> int:
    return int(recipe.lake.days + recipe.lake.shift_days)


def episodes(recipe: Any) -> Iterator[Episode]:
    """Days of the plant: first the calm ones, then those after the pumps lost capacity."""
    for day in range(episode_count(recipe)):
        yield Day(recipe, day).episode()


__all__ = [
    "CLAUSES", "NAME", "SIGNALS", "TEMPLATES", "Settings", "ask", "calls", "check", "claims", "context", "episode_count", "episodes",
    "keep", "knowledge", "questions", "report", "request", "retell", "rollouts", "tools",
]  # fmt: skip
