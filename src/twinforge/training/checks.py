"""Checks on the validation share while training runs: how good the model is, at which step it was best, when to stop.

All is read from the run's log, which every checkpoint holds: a run that was cut off stops where the unbroken one would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = "eval_"  # by which trackers tell checks from training
SCORE = f"{PREFIX}log_score"
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Checks:
    """When to check, and how.

    every : steps between two checks; 0: after the last step only, where one is always made.
    patience : checks without a better log score, after which training stops.
    score : asks the model; its measures, `log_score` (the higher, the better) among them.
    """

    every: int
    patience: int
    score: Callable[[], dict[str, float]]

    def due(self, step: int, last: int) -> bool:
        """Whether a check follows on this step of so many."""
        return step == last or (self.every > 0 and step % self.every == 0)


def checks_in(log: Sequence[Entry]) -> list[Entry]:
    """The checks among the entries of a run's log."""
    return [entry for entry in log if SCORE in entry]


def best(log: Sequence[Entry]) -> Entry | None:
    """The check with the highest log score, the first of equals; None where there was no check."""
    return max(checks_in(log), key=lambda entry: entry[SCORE], default=None)


def exhausted(log: Sequence[Entry], patience: int) -> bool:
    """Whether the last `patience` checks were all no better than an earlier one."""
    found, top = checks_in(log), best(log)
    return top is not None and len(found) - 1 - found.index(top) >= patience
