"""What can be worked out about a state by calling a tool: `outage L3 L7`, from what an operator knows and never from the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from twinforge.errors import UserError
from twinforge.sectors import State


@dataclass(frozen=True)
class Tool:
    """One thing that can be worked out.

    name : the call's first word. arguments : names of the words behind it. meaning : what it tells, for a model to read.
    use : (state, arguments) -> one line; raises `UserError` where the arguments name nothing that is there.
    """

    name: str
    arguments: tuple[str, ...]
    meaning: str
    use: Callable[[State, Sequence[str]], str]

    @property
    def usage(self) -> str:
        return f"{' '.join((self.name, *self.arguments))}: {self.meaning}"


def call(tools: Sequence[Tool], state: State, words: str) -> str:
    """What a call tells of a state, or why it tells nothing. The state is handed over without its outcomes."""
    name, *arguments = words.replace(",", " ").split() or [""]
    tool = next((tool for tool in tools if tool.name == name.lower()), None)
    if tool is None:
        return f"there is no tool {name!r}; tools: {', '.join(tool.name for tool in tools)}"
    if len(arguments) != len(tool.arguments):
        return f"{tool.name} takes {len(tool.arguments)} words ({tool.usage}), not {len(arguments)}"
    try:
        return tool.use(replace(state, outcomes=state.outcomes.iloc[:0]), arguments)
    except UserError as error:
        return str(error)
