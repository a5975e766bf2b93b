"""The columns' dimensions hold against the builders themselves: what moves when the signals of one dimension do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from twinforge.records import QUESTION
from twinforge.sectors import State
from twinforge.sectors.dimensions import LETTERS, SUBSETS
from twinforge.sectors.energy import builders
from twinforge.sectors.energy.dimensions import SOURCES, keep
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import _answerable, questions
from twinforge.sectors.energy.signals import SIGNALS
from twinforge.sectors.energy.view import View

OF = {signal.name: LETTERS[signal.dimension] for signal in SIGNALS}
FIXED = ("scenario", "switch", "planned_from", "planned_to", "listed", "loading_before")

RARELY = {  # moves: of switches, plans and lists, which were held, or counts; which of them do hangs on the machine's last digits
    ("fault", "P"): [7, 8, 9], ("fault", "C"): [6, 7, 8, 9], ("supply", "P"): [5], ("ahead", "A"): [8], ("failure", "A"): [6],
    **{(name, "P"): [13] for name in ("clause", "met")}, **{(name, "A"): [4, 5, 6, 8, 9, 13] for name in ("clause", "met")},
}  # fmt: skip


def moved(state: State, dimension: str, rng: np.random.Generator) -> State:
    """The state with every reading of one dimension changed, each in its own way (but for names and positions)."""
    values = {
        (asset, name): value * rng.uniform(0.5, 1.6) + rng.uniform(0.1, 1)
        if OF[name] == dimension and name not in FIXED
        else value
        for (asset, name), value in state.values.items()
    }
    return replace(state, values=values)


def test_only_columns_of_a_dimension_move_with_it_and_all_of_them_do(states: list[State], rated: Grid) -> None:
    rng = np.random.default_rng(3)
    found: dict[tuple[str, str], np.ndarray] = {}
    for state in states[::3]:
        view = View(state, rated)
        asked = _answerable(view, rng)
        for letter in "PAC":
            other = View(moved(state, letter, rng), rated)
            for template, slots, candidates in asked:
                old, new = (
                    builders.CHOOSERS[template.name](v, slots, candidates) if candidates else builders.BUILDERS[template.name](v, slots)
                    for v in (view, other)
                )  # fmt: skip
                shapes = [np.array(draft.features, float) for draft in (old, new)]
                same = np.isclose(*shapes, equal_nan=True).all(axis=0)
                key = template.name, letter
                found[key] = found.get(key, np.zeros(len(same), bool)) | ~same
    for (name, letter), changed in found.items():
        of = np.array([letter in column for column in SOURCES[name].features])
        assert not (changed & ~of).any(), (name, letter, np.flatnonzero(changed & ~of))
        still = set(np.flatnonzero(of & ~changed).tolist())
        assert still <= set(RARELY.get((name, letter), [])), (name, letter, still)
    assert {name for name, _ in found} == set(SOURCES)


@pytest.fixture(scope="module")
def rows(states: list[State], rated: Grid) -> pd.DataFrame:
    made = [row for state in states[::4] for row in questions(state, rated, "any", np.random.default_rng(5))]
    return pd.DataFrame(made).assign(id=[str(i) for i in range(len(made))], episode="e", time=0, validation=False)[
        QUESTION.names
    ]


def test_every_question_can_lose_every_dimension(rows: pd.DataFrame) -> None:
    assert set(rows["template"]) == set(SOURCES)
    for kept in SUBSETS[:-1]:
        told = keep(rows, kept)
        marks = {LETTERS[name] for name in kept}
        assert {line[0] for text in told["context"] if text for line in text.split("\n")} == marks
        words = [part for facts in told["facts"] if facts for part in facts.split(", ")]
        assert {word[0] for word in words if word[1:2] == " " and word[0] in "PAC"} == marks
        full = [np.array(row, float) for row in rows["features"]]
        less = [np.array(row, float) for row in told["features"]]
        assert all((np.isnan(b) | (a == b)).all() for a, b in zip(full, less, strict=True))
    assert not rows["context"].str.contains("nan").any()
