"""A Hugging Face trainer worked in windows: it stops between two steps and waits for the next order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import TrainerCallback

from benchmarks.peers.window import Window


class Steps(TrainerCallback):
    """Counts the questions of each step; when there is no further order, training ends."""

    def __init__(self, windows: Iterator[Window]) -> None:
        self._windows = windows

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._next(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self._window
        self._window.did(args.per_device_train_batch_size * args.gradient_accumulation_steps)
        if self._window.over:
            self._next(control)

    def _next(self, control: Any) -> None:
        self._window = next(self._windows, None)
        control.should_training_stop = self._window is None
