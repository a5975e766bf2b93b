"""Ways of doing the same work, each in its own process, measured in alternating windows; only one works at a time."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers.environments import SCRATCH, python_of
from benchmarks.peers.window import FIGURES
from twinforge.errors import UserError
from twinforge.files import write_json

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_DISABLED": "true",
}


def environment(peer: str) -> dict[str, str]:
    """Environment variables of a way's process: no hub; of a peer the runners' own modules, and nothing else of ours."""
    return {**os.environ, **OFFLINE, **({"PYTHONPATH": str(Path.cwd())} if peer else {})}


@dataclass(frozen=True)
class Way:
    """One way: `name` in the tables, `peer` whose environment it runs in ("" for ours), `module` that does it, its `job`."""

    name: str
    peer: str
    module: str
    job: Mapping[str, Any]


@dataclass
class Figures:
    """What a way did: its windows by set of questions, the versions it ran with, the most memory it held."""

    versions: Mapping[str, str] = field(default_factory=dict)
    windows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    peak_bytes: int = 0


class Running:
    """A way's process: started at once, worked by `window`, ended by leaving the block. Its own words go to `log`."""

    def __init__(self, way: Way, number: int = 0) -> None:
        self.way, self.figures = way, Figures()
        self.log = SCRATCH / "logs" / f"{way.module.rpartition('.')[2]}-{number}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        job = self.log.with_suffix(".json")
        write_json(dict(way.job), job)
        python = str(python_of(way.peer)) if way.peer else sys.executable
        reading, writing = os.pipe()
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                [python, "-m", way.module, str(job)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                pass_fds=[writing],
                env=environment(way.peer) | {FIGURES: str(writing)},
            )
        os.close(writing)
        self._figures = os.fdopen(reading)

    def __enter__(self) -> Running:
        self.figures.versions = self._heard()["versions"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.close()
            if kind is None:
                self.figures.peak_bytes = self._heard()["peak_bytes"]
                self._process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            pass  # its figures are told; what it does at its end is no matter
        finally:
            self._process.kill()
            self._process.wait()
            self._figures.close()

    def window(self, questions: str, seconds: float, kept: bool = True) -> dict[str, Any]:
        """Have it work for `seconds`; a window that is not kept is warm-up."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"seconds": seconds, "questions": questions}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_heard` says why
        found = self._heard()
        if kept:
            self.figures.windows.setdefault(questions, []).append(found)
        return found

    def _heard(self) -> dict[str, Any]:
        if line := self._figures.readline():
            return dict(json.loads(line))
        self._process.wait()
        last = self.log.read_text(errors="replace").strip()[-600:]
        raise UserError(f"{self.way.name}: ended with {self._process.returncode}; {self.log} ends with: {last}")


def measured(ways: Sequence[Way], rounds: Sequence[Sequence[tuple[str, str]]], seconds: float) -> dict[str, Figures]:
    """Every way's figures after all rounds; the processes load one after another."""
    with ExitStack() as stack:
        running = {way.name: stack.enter_context(Running(way)) for way in ways}
        alternate(running, rounds, seconds)
    return {name: one.figures for name, one in running.items()}


def alternate(running: Mapping[str, Running], rounds: Sequence[Sequence[tuple[str, str]]], seconds: float) -> None:
    """Windows in the order of `rounds`, each of (way, questions); before them each kind once for a while as warm-up."""
    for name, questions in dict.fromkeys(pair for pairs in rounds for pair in pairs):
        running[name].window(questions, min(seconds, 10.0), kept=False)
    for pairs in rounds:
        for name, questions in pairs:
            found = running[name].window(questions, seconds)
            print(f"{name}, {questions}: {found['answers'] / found['seconds']:.2f} answers/s", flush=True)


def rate(windows: Sequence[Mapping[str, Any]], counted: str = "answers") -> dict[str, float]:
    """Of all windows together, the least and the most of one, and how many seconds they were."""
    each = [window[counted] / window["seconds"] for window in windows]
    seconds = sum(window["seconds"] for window in windows)
    return {
        "value": sum(window[counted] for window in windows) / seconds,
        "low": min(each),
        "high": max(each),
        "windows": len(each),
        "seconds": seconds,
        "answers": sum(window["answers"] for window in windows),
    }


def agreement(said: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, float]:
    """Share of the questions answered by both where both say the same."""
    both = said.keys() & ours.keys()
    return {
        "value": statistics.fmean(said[name] == ours[name] for name in both) if both else float("nan"),
        "n": len(both),
    }


def command(about: str | None, seconds: float) -> float:
    """Seconds of a window, from the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of a window (default {seconds:g})")
    return float(parser.parse_args().seconds)
