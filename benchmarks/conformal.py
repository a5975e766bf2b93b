"""Guarantees beside MAPIE, crepes and TorchCP: their speed and memory, and where they go wrong: `make bench-conformal`.

`python -m benchmarks.conformal --wrong` shows only where they go wrong (seconds). Writes benchmarks/results/conformal.json,
prints the tables and puts them into docs/mapie.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import conformal_speed as speed
from benchmarks.conformal_steps import BAR, Step, stepped
from benchmarks.conformal_wrong import Case, cases
from benchmarks.machine import processor
from pipelines import readme
from twinforge.card import table
from twinforge.files import read_json, write_json

RESULT, PAGE = Path("benchmarks/results/conformal.json"), Path("docs/mapie.md")
ROWS, QUERIES, ROUNDS = 1_000_000, 100_000, 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--wrong", action="store_true", help="only where MAPIE and crepes go wrong")
    arguments.add_argument("--rows", type=int, default=ROWS, help="of options and of numbers, calibrated and predicted")
    arguments.add_argument("--queries", type=int, default=QUERIES, help="of entities")
    given = arguments.parse_args()
    full = (given.rows, given.queries) == (ROWS, QUERIES)
    wrong = cases()
    print(wrong_table(wrong))
    result: dict[str, Any] = {"wrong": {case.name: asdict(case) for case in wrong}, "machine": machine()}
    if given.wrong:
        kept = read_json(RESULT) if RESULT.exists() else {}
        write_json({**result, **kept, "wrong": result["wrong"]}, RESULT)  # the machine is that of the speeds
        fill("conformal-wrong", wrong_table(wrong))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with warnings.catch_warnings(record=True):
        steps = stepped()
    found, notes = speed.measured(given.rows, given.queries, ROUNDS)
    verdicts = speed.verdicts(found, full) + [
        f"{one.name}: {one.microseconds:.1f} microseconds, {BAR:g} allowed: {speed.kept(one.microseconds, BAR)}"
        for one in steps
        if one.way == "twinforge"
    ]
    told = speed_table(found, steps, given.rows, given.queries, notes)
    print(told, *verdicts, sep="\n")
    if not full:
        print("not written: smaller than the full size")
        return
    result |= {
        "speed": [asdict(one) for one in found], "steps": [asdict(one) for one in steps], "bars": verdicts, "notes": notes,
        "rows": given.rows, "queries": given.queries, "rounds": ROUNDS,
    }  # fmt: skip
    write_json(result, RESULT)
    fill("conformal-wrong", wrong_table(wrong))
    fill("conformal-speed", told)


def wrong_table(wrong: list[Case]) -> str:
    rows = [(case.name, case.asked, case.theirs, case.ours, case.due) for case in wrong]
    return table(("", "asked", "theirs", "ours", "due"), rows)


def speed_table(found: list[speed.Speed], steps: list[Step], rows: int, queries: int, notes: list[str]) -> str:
    size = f"{rows:,} rows calibrated and {rows:,} predicted, {queries:,} queries likewise; one core"
    head = ("", "way", "seconds (median)", "least to most", "memory, times the input", "what it made")
    stream = [
        (f"a step of {one.name}", one.way, f"{one.microseconds:.1f}", f"{one.low:.1f} to {one.high:.1f}")
        for one in steps
    ]
    parts = [
        f"{size}.\n\n{table(head, speed.rows_of(found))}",
        table(("", "way", "microseconds (median)", "least to most"), stream),
        f"{machine()['processor']}, Python {machine()['python']}.",
        *notes,
    ]
    return "\n\n".join(parts)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    names = ("numpy", "scipy", "scikit-learn", "torch", "mapie", "crepes")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor(), "cores used": 1, "load before": load, "python": platform.python_version(),
        **{name: version(name) for name in names}, "torchcp": speed.TORCHCP,
    }  # fmt: skip


def fill(name: str, figures: str) -> None:
    """Put figures into docs/mapie.md, between `<!-- name -->` and `<!-- /name -->`."""
    readme.fill(name, figures, PAGE, f"/{name}")


if __name__ == "__main__":
    main()
