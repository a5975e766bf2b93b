"""Scripted models think and act: what they hear, when they end, and what becomes of a line that is no call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tests.toy_tools import tools
from twinforge.reasoning.acting import ACTIONS, example, manual, react
from twinforge.reasoning.talk import Stop
from twinforge.records import OUTCOME
from twinforge.sectors import State

TOOLS = tools(None)


def state(level: float) -> State:
    return State("day", pd.Timestamp(0), {("tank A", "1 h forecast"): level}, pd.DataFrame(columns=OUTCOME.names))


class Script:
    """A `Talk` that writes what it was given, in steps a row, and keeps what it reads."""

    def __init__(self, *rows: Sequence[str]) -> None:
        self._rows: list[Iterator[str]] = [iter(row) for row in rows]
        self.heard: list[list[str]] = [[] for _ in rows]
        self.tokens = self.seconds = np.zeros(len(rows))

    def read(self, lines: Sequence[Sequence[int]]) -> None:
        for row, line in zip(self.heard, lines, strict=True):
            row += ["".join(map(chr, line))] if line else []

    def write(self, most: int, stop: Stop = lambda _: False, live: Sequence[bool] | None = None) -> list[str]:
        going = live or [True] * len(self._rows)
        return [next(row) if one else "" for row, one in zip(self._rows, going, strict=True)]


def run(*rows: Sequence[str], levels: Sequence[float] = ()) -> tuple[list[str], Script]:
    script = Script(*rows)
    states = [state(level) for level in levels or [2.5] * len(rows)]
    return react(script, TOOLS, states, lambda text: list(map(ord, text))), script


def test_each_row_hears_what_its_own_call_tells() -> None:
    steps = (" The forecast knows.\nAction: ahead A 1\nObservation: A at 9 m", " It stands there.\nAction: finish\n")
    texts, script = run(steps, steps, levels=[2.5, 3.0])
    assert texts[0] == (
        "Thought: The forecast knows.\nAction: ahead A 1\nObservation: A at 2.50 m\nThought: It stands there.\nAction: finish"
    )
    assert "A at 3.00 m" in texts[1] and "9 m" not in "".join(texts)  # what it made up itself is cut off
    assert script.heard == [["\nObservation: A at 2.50 m\nThought:"], ["\nObservation: A at 3.00 m\nThought:"]]


def test_a_line_that_is_no_call_is_told_so_and_the_last_one_ends_it() -> None:
    texts, script = run(
        [" I wonder", " Hm.\nAction: jump\n", " Once more.\nAction: ahead\n", "never asked"], ["\nAction: finish\n"]
    )
    assert texts[0].count("Observation:") == ACTIONS == 3 and texts[1] == "Thought:\nAction: finish"
    for told in ("no line begins with Action:", "there is no tool 'jump'", "ahead takes 2 words"):
        assert told in texts[0]
    assert len(script.heard[0]) == 2 and script.heard[1] == []  # nothing is read that is not gone on from


def test_the_manual_names_every_tool_and_the_example_ends() -> None:
    told = manual(TOOLS)
    assert all(tool.usage in told for tool in TOOLS) and "finish" in told
    assert example("How high?", "ahead A 1", "A at 2 m").splitlines()[2:4] == [
        "Action: ahead A 1",
        "Observation: A at 2 m",
    ]
