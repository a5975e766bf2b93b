"""How a measured process is worked: it is given a job, loads, and then works for windows of some seconds on command.

Standard library only: it runs in each peer's own environment. Orders come as JSON lines on stdin, figures go back as JSON lines through
a pipe of their own, for a peer prints much itself. Between two windows a process waits for its next order and takes no processor.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

FIGURES = "BENCH_FIGURES"  # environment variable: the pipe's number


class Window:
    """A stretch of work. `over`: its seconds are spent; `did` counts answers; `tell` adds figures (or a clock of its own)."""

    def __init__(self, seconds: float, questions: str) -> None:
        self.wanted, self.questions = seconds, questions
        self._answers, self._figures = 0, {}  # type: int, dict[str, Any]
        self._start, self._worked = time.perf_counter(), time.process_time()

    @property
    def over(self) -> bool:
        """At least one piece of work was done, and the time is up."""
        return self._answers > 0 and time.perf_counter() - self._start >= self.wanted

    def did(self, answers: int) -> None:
        self._answers += answers

    def tell(self, **figures: Any) -> None:
        self._figures |= figures

    def result(self) -> dict[str, Any]:
        """`cores`: how many the process had on average; fewer than its threads, and something else was running."""
        seconds, worked = time.perf_counter() - self._start, time.process_time() - self._worked
        return {"answers": self._answers, "seconds": seconds, "cores": worked / seconds, **self._figures}


def job() -> dict[str, Any]:
    """What this process is to do: the JSON file that its command line names."""
    return dict(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def windows(*packages: str) -> Iterator[Window]:
    """First say which versions of `packages` are here; then one window an order, its figures told when the next is asked
    for; at the end of the orders the most memory that the process ever held, in bytes."""
    channel = os.fdopen(int(os.environ[FIGURES]), "w", encoding="utf-8")

    def say(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=channel, flush=True)

    say({"versions": {name: version(name) for name in packages}})
    for line in sys.stdin:
        order = json.loads(line)
        window = Window(order["seconds"], order["questions"])
        yield window
        say(window.result())
    say({"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)})


def rows(path: str) -> list[dict[str, Any]]:
    """The questions of a JSON-lines file (see `benchmarks.questions.plain`)."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def around(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Portions of `size` values, again and again."""
    return cycle([values[start : start + size] for start in range(0, len(values), size)])
