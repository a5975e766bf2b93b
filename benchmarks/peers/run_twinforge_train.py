"""Training by twinforge: whole runs of the recipe, lower layers, all steps and checkpoints within, on as many states as fill a window."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from transformers import set_seed

from benchmarks.peers.window import Window, job, windows
from twinforge.files import read_table
from twinforge.model.base import load_base
from twinforge.recipe import read_slice
from twinforge.records import QUESTION
from twinforge.training.finetune import fine_tune, prepare

FEWEST = 8  # states of a run


def main() -> None:
    told = job()
    recipe = read_slice(Path(told["recipe"]))
    table = read_table(Path(told["table"]), QUESTION)
    states = table["context"].unique()
    rate = 0.0
    for window in windows("torch", "transformers", "trl", "peft"):
        wanted = rate * window.wanted / (recipe.budget.epochs * len(table) / len(states))
        count = min(max(FEWEST, round(wanted)), len(states))
        set_seed(recipe.seed)
        model, tokenizer = load_base(recipe.model, recipe.compute)
        course = prepare(model, tokenizer, table[table["context"].isin(states[:count])], recipe)
        with tempfile.TemporaryDirectory() as folder:
            record = fine_tune(course, Path(folder)).record
        _tell(window, record, count)
        rate = record["answers"] / (record["lower_seconds"] + record["seconds"])


def _tell(window: Window, record: dict[str, Any], states: int) -> None:
    """The run's figures: first pass over all questions (lower layers within), and what comes after it."""
    first = next(entry for entry in record["curve"] if entry["answers"] >= record["questions"])
    window.did(record["answers"])
    window.tell(
        seconds=record["lower_seconds"] + record["seconds"], tokens=record["tokens"], states=states, steps=record["steps"],
        first={"answers": first["answers"], "seconds": record["lower_seconds"] + first["seconds"]},
        later={"answers": record["answers"] - first["answers"], "seconds": record["seconds"] - first["seconds"]},
    )  # fmt: skip


if __name__ == "__main__":
    main()
