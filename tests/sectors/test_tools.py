"""A tool sees the state without its outcomes, and says so where a call makes no sense."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.toy_terms import BY_NAME
from tests.toy_tools import tools
from twinforge.records import OUTCOME
from twinforge.sectors import State
from twinforge.sectors.tools import Tool, call

VALUES = {("tank A", "1 h forecast"): 2.5, ("pump P1", "status"): 1.0, ("pump P2", "status"): 0.0}
TRUTH = pd.DataFrame({name: ["later"] for name in OUTCOME.names})
STATE = State("day", pd.Timestamp(0), VALUES, TRUTH)


@pytest.mark.parametrize(
    "words, told",
    [
        ("ahead A 1", "A at 2.50 m"),
        ("Ahead A, 1", "A at 2.50 m"),
        ("pumps", "pump P1 on, pump P2 off"),
        ("ahead A 3", "nothing is known of the 3 h forecast of A"),
        ("ahead", r"ahead takes 2 words \(ahead TANK HOURS: its level then\), not 0"),
        ("look A", "there is no tool 'look'; tools: loss, ahead, age, clauses, pumps"),
        ("", "there is no tool ''"),
    ],
)
def test_a_call_tells_what_it_finds_or_why_it_finds_nothing(words: str, told: str) -> None:
    assert pd.Series([call(tools(None), STATE, words)]).str.match(told).all()


def test_no_tool_is_handed_an_outcome() -> None:
    spy = Tool("spy", (), "", lambda state, _: f"{len(state.outcomes)} outcomes, {len(state.values)} readings")
    assert len(STATE.outcomes) == 1 and call([spy], STATE, "spy") == "0 outcomes, 3 readings"


def test_slots_are_read_back_from_any_phrasing() -> None:
    for name, slots in (
        ("later-level", {"tank": "tank A", "hours": "3"}),
        ("dry", {"cause": "valve V1"}),
        ("clause", {}),
    ):
        template = BY_NAME[name]
        for phrasing in template.phrasings + template.held_out:
            assert template.slots_in(phrasing.format(**slots)) == slots
    assert BY_NAME["dry"].slots_in("Is it raining?") is None
