"""Thought, action, observation: a model that calls a sector's tools, and the same tools as a check from outside.

Yao et al. (2023), "ReAct: Synergizing Reasoning and Acting in Language Models", arXiv:2210.03629. An action is a call of
`twinforge.sectors.tools`, which computes from what an operator knows of the state; no outcome is in its reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from twinforge.reasoning.talk import Talk
from twinforge.sectors import State
from twinforge.sectors.tools import Tool, call

ACTIONS = 3  # at most
STEP = 24  # tokens of a thought with its action, at most
FINISH = "finish"
START = "Thought:"
_ACTION = re.compile(r"^Action:(.*)\n?", re.MULTILINE)
_LINE = re.compile(r"^Action:.*\n", re.MULTILINE)


def manual(tools: Sequence[Tool]) -> str:
    """The tools and how they are called, for a model to read once behind the state."""
    listed = "\n".join(tool.usage for tool in tools)
    return f"Tools, {ACTIONS} calls at most, each a line Action: NAME WORDS; an Observation follows it:\n{listed}\n{FINISH}: answer now"


def example(text: str, action: str, observation: str) -> str:
    """A worked example of a question that one call answers."""
    return (
        f"Example: {text}\n{START} A tool tells this.\nAction: {action}\nObservation: {observation}\n{START} Now I know.\n"
        f"Action: {FINISH}\n"
    )


def react(talk: Talk, tools: Sequence[Tool], states: Sequence[State], encode: Callable[[str], list[int]]) -> list[str]:
    """Let each row of a talk think and act on its state until it finishes or has acted `ACTIONS` times; returns the transcripts.

    talk : every row stands behind `START`. encode : a text's tokens. A line that is no call gets an observation that says so.
    """
    transcripts, live = [START] * len(states), [True] * len(states)
    for left in reversed(range(ACTIONS)):
        steps = talk.write(STEP, lambda text: bool(_LINE.search(text)), live)
        heard = []
        for row, step in enumerate(steps):
            if not live[row]:
                heard.append("")
                continue
            thought, action = _cut(step)
            live[row] = action != FINISH
            told = f"\nObservation: {_observed(tools, states[row], action)}\n{START}" if live[row] else ""
            transcripts[row] += thought + told
            heard.append(told)
        if not (left and any(live)):
            break
        talk.read([encode(told) for told in heard])
    return [text.removesuffix(START).rstrip() for text in transcripts]


def _cut(step: str) -> tuple[str, str | None]:
    """A step up to the end of its first action, and that action; None where there is none."""
    found = _ACTION.search(step)
    return (step.rstrip(), None) if found is None else (step[: found.end()].rstrip(), found[1].strip().rstrip("."))


def _observed(tools: Sequence[Tool], state: State, action: str | None) -> str:
    return "no line begins with Action:" if action is None else call(tools, state, action)
