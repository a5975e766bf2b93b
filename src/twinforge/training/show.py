"""A preflight as a person reads it in a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinforge.training.preflight import Preflight, gib, minutes

WIDTH = 120  # of what is written to a file or a job's log


def show(found: Preflight, title: str) -> None:
    """Print the table, then what is odd and what would be refused, a line each."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_header=False)
    for _ in range(2):
        table.add_column()
    table.add_column(style="dim")
    for row in rows(found):
        table.add_row(*row)
    console.print(table)
    for note in found.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    for refusal in found.refusals:
        console.print(f"refused: {escape(refusal)}", soft_wrap=True)


def rows(found: Preflight) -> Iterator[tuple[str, str, str]]:
    """What is said, how much, and what it is made of."""
    counts, ahead = found.counts, found.forecast
    yield "states", f"{counts.states:,}", "of the train split, its validation share left out"
    yield "questions", f"{counts.questions:,}", f"in {counts.trees:,} trees"
    yield "tokens", f"{counts.tokens:,}", f"a tree {counts.tokens / counts.trees:,.0f}, at most {counts.tree_max:,}"
    mean = counts.branch_tokens / counts.questions
    yield "a question", f"{mean:,.0f}", f"tokens behind its state, at most {counts.branch_max:,}"
    yield "learnt", f"{counts.supervised / counts.tokens:.1%}", f"{counts.supervised:,} tokens are supervised"
    if ahead:
        parts = f"training steps {minutes(ahead.step_seconds)}"
        if ahead.kept:
            parts = f"lower layers once {minutes(ahead.lower_seconds)}, {parts}"
        yield "time", minutes(ahead.seconds), f"{parts}; loading left out"
        yield "trial", minutes(ahead.trial_seconds), "what these figures cost"
    for room in found.rooms:
        yield room.what, gib(room.need), f"of {gib(room.there)}"
