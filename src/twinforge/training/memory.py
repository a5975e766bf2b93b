"""Memory in use and memory there is: the resident set on a CPU, CUDA's own count on a GPU. In bytes."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path
from typing import Any

import psutil
import torch

EVERY = 0.02  # seconds between two looks at the resident set
PER_WEIGHT = 12  # bytes in a checkpoint of each trained weight: itself and Adam's two means, in fp32
NEVER_KEPT = "set compute.kept_gib to 0 (slower: the lower layers then run in every pass)"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = ("can't allocate memory", "not enough memory", "bad_alloc", "could not create a memory object")


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


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: on a CPU, torch's are plain `RuntimeError`s."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSED)


def disk_full(error: BaseException) -> bool:
    """Whether an error says that a file can't grow: safetensors and torch tell it in words of their own."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    words = (f"os error {number}" for number in _FULL)
    return any(each in str(error) for each in (*words, "PytorchStreamWriter", "inline_container"))


def smaller(compute: Any) -> str:
    """What to change for a training step to take less memory."""
    fields = [f"compute.batch_trees (now {compute.batch_trees})"] if compute.batch_trees > 1 else []
    more = "" if compute.gradient_checkpointing else ", or set compute.gradient_checkpointing to true"
    return f"lower {' or '.join([*fields, 'lora.layers'])}{more}"
