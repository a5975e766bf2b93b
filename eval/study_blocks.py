"""The tables of the studies in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from eval.blocks import Block, table_of, told
from eval.studies import Measured


def ablate_blocks(measured: Measured) -> list[Block]:
    return [replace(block, title=f"Tuned for each subset: {block.title}") for block in told(measured.measures)]


def scale_blocks(measured: Measured) -> list[Block]:
    notes = {
        "accuracy": "share right, all skills that are asked",
        "tokens": "tokens a question",
        "seconds": "seconds a question",
        "error_first": "mean error in the first four steps fed its own answers",
        "error_end": "the same in the last four",
    }
    return _blocks("Scale", measured, notes)


def learning_blocks(measured: Measured) -> list[Block]:
    notes = {
        "accuracy": "share right",
        "log_score": "nats",
        "accuracy_gained": "accuracy less that of the share before, paired",
    }
    return _blocks("Learning curves", measured, notes)


def _blocks(title: str, measured: Measured, notes: Mapping[str, str]) -> list[Block]:
    """One table a measure over all skills, variants down."""
    cells = {name: skills["all"] for name, skills in measured.measures.items()}
    found = {measure: {name: cell[measure] for name, cell in cells.items() if measure in cell} for measure in notes}
    return [
        table_of(f"{title}: {measure.replace('_', ' ')}", notes[measure], "variant", entries)
        for measure, entries in found.items()
        if entries
    ]


BLOCKS: dict[str, Callable[[Measured], list[Block]]] = {
    "ablate": ablate_blocks,
    "scale": scale_blocks,
    "learning": learning_blocks,
}
