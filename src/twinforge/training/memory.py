"""Memory in use and memory there is: the resident set on a CPU, CUDA's own count on a GPU. In bytes."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import psutil
import torch

EVERY = 0.02  # seconds between two looks at the resident set


class Peak:
    """The most memory in use while it is entered: `bytes`.

    On a CPU this is the process's resident set, looked at every `EVERY` seconds; on CUDA what its tensors took, as torch
    counts it. CUDA has one such count: don't enter one within another there.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Peak:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            self.bytes = resident()
            self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._cuda:
            self.bytes = torch.cuda.max_memory_allocated()
        else:
            self._ended.set()
            self._watch.join()
            self.bytes = max(self.bytes, resident())

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            self.bytes = max(self.bytes, resident())


def resident() -> int:
    """What this process holds of the machine's memory."""
    return int(psutil.Process().memory_info().rss)


def room(device: str) -> int:
    """What this process may come to hold: what is free, and what it holds already."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    return int(psutil.virtual_memory().available) + resident()


def free_disk(folder: Path) -> int:
    """Free bytes where `folder` lies, or will."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free
