"""How fast guaranteed sets are made and what memory they take, beside MAPIE, crepes and TorchCP, on one core.

Every way gets the same arrays in a process of its own (`conformal_ways`); where two should make the same sets, they are compared.
TorchCP is LGPL and no dependency: it goes into an environment of its own under .scratch, or is left out with the reason.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conformal_ways import KAPPA, PART, WAYS
from twinforge.conformal.threshold import Floats

TORCHCP, HOME = "1.2.1", Path(".scratch/torchcp")
ONE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
BARS = {"lac": 2.0, "aps": 2.0, "entities": 5.0}  # seconds that ours may take, at full size
MEMORY = 3.0  # times the input that choices may take beyond it


@dataclass(frozen=True)
class Speed:
    """One way of one task. rows : predicted. seconds : median of the rounds, low to high, for all rows (where fewer were
    predicted, in proportion). memory : peak beyond the input over the input. same : how its sets compare with ours."""

    task: str
    way: str
    rows: int
    seconds: float
    low: float
    high: float
    memory: float | None
    same: str


def measured(rows: int, queries: int, rounds: int) -> tuple[list[Speed], list[str]]:
    """Every way that runs here, and notes on those that don't."""
    found, notes = [], []
    peer = torchcp_python()
    if isinstance(peer, str):
        notes.append(peer)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, array in (
            choices(rows)
            | numbers(rows)
            | queries_of(queries, "", np.random.default_rng(2))
            | queries_of(queries, "new_", np.random.default_rng(3))
        ).items():
            np.save(folder / f"{key}.npy", array)
        for way in WAYS:
            task, library = way.split(".")
            if library == "torchcp" and isinstance(peer, str):
                continue
            python = str(peer) if library == "torchcp" else sys.executable
            told, problem = child(python, way, folder, 1 if way == "lac.crepes" else rounds)
            if problem:
                notes.append(f"{way}: {problem}")
                continue
            count = queries if task == "entities" else rows
            found.append(speed(task, library, count, told, folder))
    return found, notes


def child(python: str, way: str, folder: Path, rounds: int) -> tuple[Mapping[str, Any], str]:
    """What the process told, or its last line of complaint."""
    call = [python, "-m", "benchmarks.conformal_ways", way, str(folder), str(rounds)]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, **ONE})
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def speed(task: str, library: str, rows: int, told: Mapping[str, Any], folder: Path) -> Speed:
    part = PART if (task, library) == ("lac", "crepes") else rows
    seconds = [one * rows / min(part, rows) for one in told["seconds"]]
    memory = None if told["extra"] is None or part < rows else told["extra"] / told["input"]
    return Speed(
        task, library, min(part, rows), statistics.median(seconds), min(seconds), max(seconds), memory,
        compared(task, np.load(folder / f"{task}.{library}.npy"), np.load(folder / f"{task}.twinforge.npy"), folder),
    )  # fmt: skip


def compared(task: str, made: Any, ours: Any, folder: Path) -> str:
    """How far what a library made is from ours; for randomised sets, which differ by chance, coverage and size."""
    if task in ("cqr", "split"):
        return f"ends within {np.abs(made - ours).max():.1e}"
    if task == "entities":
        return f"covers {made.mean():.3f}"
    made, ours = made.astype(bool), ours[: len(made)].astype(bool)
    if task == "aps":
        truth = np.load(folder / "new_label.npy")
        return f"covers {made[np.arange(len(made)), truth].mean():.4f}, {made.sum(axis=1).mean():.3f} options"
    return f"{int((made != ours).sum())} of {made.size} cells differ"


def choices(rows: int) -> dict[str, Any]:
    """Probabilities of five options and truths drawn from them, to calibrate on and to predict."""
    found: dict[str, Any] = {}
    for seed, (p, label) in enumerate((("p", "label"), ("new", "new_label"))):
        rng = np.random.default_rng(seed)
        score = np.exp(2 * rng.normal(size=(rows, KAPPA)))
        found[p] = score / score.sum(axis=1, keepdims=True)
        found[label] = (found[p].cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=KAPPA - 1)
    return found


def numbers(rows: int) -> dict[str, Any]:
    """Lower and upper quantile and median (rows, 3), half as wide as they should be, and truths."""
    rng = np.random.default_rng(4)

    def band() -> tuple[Floats, Floats]:
        centre, scale = rng.normal(60, 10, rows), rng.uniform(2, 8, rows)
        ends = np.column_stack([centre - 0.8 * scale, centre + 0.8 * scale, centre])
        return ends, centre + scale * rng.normal(size=rows)

    (known, truth), (fresh, _) = band(), band()
    return {"band": known, "truth": truth, "new_band": fresh}


def queries_of(count: int, prefix: str, rng: np.random.Generator) -> dict[str, Any]:
    """Queries of 1 to 99 candidates, about one in ten of them gold, the first always."""
    query = np.repeat(np.arange(count), rng.integers(1, 100, count))
    gold = rng.random(len(query)) < 0.1
    gold[np.flatnonzero(np.diff(query, prepend=-1))] = True
    return {f"{prefix}query": query, f"{prefix}score": rng.normal(np.where(gold, 2.0, 0.0)), f"{prefix}gold": gold}


def torchcp_python() -> Path | str:
    """The interpreter of an environment with TorchCP, which sees this one's packages (torch with them); or why there is none."""
    python = HOME / "bin/python"
    try:
        if not python.exists():
            venv.create(HOME, with_pip=True, clear=True)
        site = next((HOME / "lib").glob("python*/site-packages"))
        (site / "project.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
        if not (site / "torchcp").is_dir():
            call = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", f"torchcp=={TORCHCP}"]
            subprocess.run(call, capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, OSError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        return f"TorchCP {TORCHCP} is left out, as it can't be installed: {why}"
    return python.absolute()


def verdicts(found: list[Speed], full: bool) -> list[str]:
    """Whether ours keeps its bars, which are set for the full size."""
    told = []
    for one in found if full else []:
        if one.way != "twinforge" or one.task not in BARS:
            continue
        told.append(f"{one.task}: {one.seconds:.2f} s, {BARS[one.task]:g} allowed: {kept(one.seconds, BARS[one.task])}")
        if one.memory is not None and one.task != "entities":
            told.append(f"{one.task}: {one.memory:.2f} times the input, {MEMORY:g} allowed: {kept(one.memory, MEMORY)}")
    return told


def kept(value: float, bar: float) -> str:
    return "kept" if value <= bar else "MISSED"


def rows_of(found: list[Speed]) -> list[tuple[str, ...]]:
    """Of a table: task, way, seconds, memory, what it made."""
    names = {"twinforge": "twinforge", "mapie": "MAPIE", "torchcp": "TorchCP", "crepes": "crepes"}
    tasks = {
        "lac": "options, LAC", "aps": "options, APS", "aps-plain": "options, APS without chance",
        "cqr": "numbers, CQR", "split": "numbers, split", "entities": "entities, all gold",
    }  # fmt: skip
    return [
        (
            tasks[one.task],
            names[one.way],
            f"{one.seconds:.2f}" if one.seconds < 100 else f"{one.seconds:,.0f} (from {one.rows:,} rows)",
            f"{one.low:.2f} to {one.high:.2f}" if one.low < one.high else "once",
            "" if one.memory is None else f"{one.memory:.2f}",
            one.same if one.way != "twinforge" or one.task in ("aps", "entities") else "",
        )
        for one in found
    ]
