"""A failing side: only its signals are exchanged, lies stay plausible, and slots are read back from any phrasing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import toy
from tests.toy_recipe import toy_slice
from twinforge.errors import UserError
from twinforge.records import Signal
from twinforge.sectors import State, Template
from twinforge.sectors.failing import OFF, TOLD, mixed, scaled, slots_of

SIGNALS = (
    Signal("load", "%", 0, 400, "physical"), Signal("voltage", "pu", 0.7, 1.3, "physical"), Signal("switch", "1", 0, 1, "physical"),
    Signal("hour", "h", 0, 24, "abstract"), Signal("guess", "%", -400, 400, "computational"),
)  # fmt: skip
NAMES = [signal.name for signal in SIGNALS]
LOSS = Template(
    "loss", "what-if", "number", ("If {outage} trips, how full is {line}?",), ("{line} without {outage}?",), {}
)


def state(day: int, values: dict[str, float]) -> State:
    keyed = {("L1", name): value for name, value in values.items()}
    return State(f"day-{day}", pd.Timestamp("2026-01-01") + pd.Timedelta(days=day), keyed, pd.DataFrame())


some = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 24), max_size=5)


@given(some, some, st.sampled_from(["physical", "abstract", "computational"]))
def test_one_side_is_the_other_states_and_the_rest_its_own(one: Any, two: Any, dimension: Any) -> None:
    a, b = state(1, one), state(2, two)
    told = mixed(a, b, dimension, SIGNALS)
    own = {signal.name for signal in SIGNALS if signal.dimension == dimension}
    assert told.values == {("L1", n): (two if n in own else one)[n] for n in NAMES if n in (two if n in own else one)}
    assert told.time == (b if dimension == "abstract" else a).time and told.episode == a.episode
    assert mixed(a, a, dimension, SIGNALS) == a


def test_a_lie_is_consistent_and_could_be_true() -> None:
    true = state(1, {"load": 60.0, "voltage": 1.05, "switch": 1.0, "hour": 9.0, "guess": -350.0})
    assert scaled(true, "physical", SIGNALS).get("L1", "load") == pytest.approx(60 * OFF)
    assert [scaled(true, "physical", SIGNALS).get("L1", name) for name in NAMES[1:]] == [1.05, 1.0, 9.0, -350.0]
    assert scaled(true, "computational", SIGNALS).get("L1", "guess") == -400 and true.get("L1", "guess") == -350


def test_slots_are_read_back() -> None:
    assert slots_of(LOSS, "If pump P1 trips, how full is L7?") == {"outage": "pump P1", "line": "L7"}
    assert slots_of(LOSS, "L7 without L3?") == {"outage": "L3", "line": "L7"}
    with pytest.raises(UserError, match="'What about L3\\?' is no phrasing of the template 'loss'"):
        slots_of(LOSS, "What about L3?")


def test_a_toy_question_told_of_its_own_state_is_itself(tmp_path: Path) -> None:
    recipe = toy_slice(tmp_path, "lake", lake={"gap_rate": 0.0})
    episode = next(toy.episodes(recipe))
    found = []
    for time in episode.outcomes["time"].unique()[:3]:
        now = episode.observations[episode.observations["time"] == time].dropna(subset="value")
        values = dict(zip(zip(now["asset"], now["quantity"], strict=True), now["value"], strict=True))
        outcomes = episode.outcomes[episode.outcomes["time"] == time]
        found.append(State(str(episode.row["episode"]), pd.Timestamp(time), values, outcomes))
    recipe = toy_slice(tmp_path, "curate")
    for row in toy.questions(found[0], "any", np.random.default_rng(0), recipe):
        same = toy.retell(row, found[0], found[0], "physical", recipe)
        late = toy.retell(row, found[2], found[0], "physical", recipe)
        assert same is not None and late is not None
        np.testing.assert_equal({**same, "features": 0}, {**row, "features": 0})
        np.testing.assert_equal(np.array(same["features"], float), np.array(row["features"], float))
        kept = {name: value for name, value in late.items() if name not in TOLD}
        np.testing.assert_equal(kept, {name: row[name] for name in kept})
