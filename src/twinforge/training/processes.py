"""Training in several processes on one machine: started together, ended together, and one error for whatever ends them.

PyTorch's elastic launcher starts them and watches; accelerate, DeepSpeed or FSDP join what they learn (`training.sharding`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from twinforge.errors import UserError

T = TypeVar("T")
GRACE = 10  # seconds that the others have to end when one has failed, before they are killed
PATIENCE = timedelta(days=1)  # a process that died is seen by the launcher; the others may wait long for a slow one
_AGAIN = "run again: it goes on from the last checkpoint"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them: the `rank`-th of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    def share(self, batch: Sequence[T]) -> tuple[list[T], int]:
        """What of a step's batch falls to this process, and what it weighs.

        It weighs `count`, since gradients and losses are averaged over the processes. Where there is less than one each,
        some are given what another has, at a weight of 0: every process takes part in every step.
        """
        mine = list(batch[self.rank :: self.count])
        return (mine, self.count) if mine else (list(batch[:1]), 0)

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def told(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held)
        return held[0]


def group() -> Group:
    """The group this process trains in; alone, where it was not started by `launch`."""
    if distributed.is_available() and distributed.is_initialized():
        return Group(distributed.get_rank(), distributed.get_world_size())
    return Group()


def launched() -> bool:
    """Whether this process is one of those that `launch` started."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def take_part(work: Callable[[], None], device: str) -> None:
    """Join the group, do its work, and end this process: with 0, or with 1 and what was raised told to `launch`.

    device : "cpu" or "cuda", where each process takes the GPU of its number.
    """
    if sys.platform == "linux":  # no orphan where the launcher is killed
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    handler = get_error_handler()
    handler.initialize()
    try:
        _join(device)
        work()
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:
        handler.record_exception(error)
        if not isinstance(error, UserError):  # a mistake of ours: where it was is told too
            traceback.print_exc()
        _leave(1)
    except KeyboardInterrupt:  # the launcher was interrupted, and says so
        _leave(130)
    _leave(0)


def _join(device: str) -> None:
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)


def _leave(code: int) -> None:
    """End at once: a library that waits for a process which is gone must not keep this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def launch(command: Sequence[str], count: int, device: str, logs: Path) -> None:
    """Run `command` in `count` processes, each of which calls `take_part`; return when all are done.

    What the first writes is seen as it comes; what the others write goes to files under `logs`.

    Raises
    ------
    UserError
        There are fewer GPUs; or a process failed: its own error where it is the user's, else its number, what
        ended it and what to do. The others are ended too.
    KeyboardInterrupt
        It was interrupted; the processes have ended.
    """
    if device == "cuda" and torch.cuda.device_count() < count:
        raise UserError(f"compute.processes: {count}: {torch.cuda.device_count()} GPUs here; write as many at most")
    shutil.rmtree(logs, ignore_errors=True)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        logs_specs=DefaultLogsSpecs(str(logs), redirects=dict.fromkeys(range(1, count), Std.ALL)),
        run_id="train",
        role="train",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        signals_to_handle=",".join(each.name for each in _SIGNALS),
        shutdown_timeout=GRACE,
    )
    try:
        with _quiet():
            elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        raise UserError(cause(error.failures, count)) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + error.sigval)


def cause(failures: Mapping[int, ProcessFailure], count: int) -> str:
    """What to tell of processes that failed, by rank: of the one that brought the others down.

    That is one that was killed, else one with an error for the user, else the first in time: those that then waited
    for it fail too, with errors of their own.
    """
    rank, failure = min(failures.items(), key=lambda item: _order(item[1]))
    who = f"train: process {rank} of {count}"
    if _killed(failure):
        return (
            f"{who} was killed ({failure.signal_name()}), as happens where memory runs out; "
            f"lower compute.batch_trees or compute.processes if it happens twice, and {_AGAIN}"
        )
    told = _told(failure)
    if told.startswith(f"{UserError.__name__}: "):
        return told.partition(": ")[2]
    return f"{who} failed: {told.splitlines()[0]} (its traceback: {failure.error_file}); {_AGAIN}"


def _order(failure: ProcessFailure) -> tuple[bool, bool, float]:
    return not _killed(failure), not _told(failure).startswith(UserError.__name__), _when(failure)


def _when(failure: ProcessFailure) -> float:
    """When it told its error, in ns: the launcher's own time is in whole seconds. First, if it ended without a word; last, if
    the launcher ended it."""
    if failure.exitcode == -signal.SIGTERM:
        return float("inf")
    return Path(failure.error_file).stat().st_mtime_ns if Path(failure.error_file).is_file() else 0


def _killed(failure: ProcessFailure) -> bool:
    """Whether by another than the launcher, who sends SIGTERM."""
    return failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM


def _told(failure: ProcessFailure) -> str:
    """What it raised, or, where it couldn't say, how it ended."""
    message = failure.message
    return message["message"] if isinstance(message, dict) else f"exit code {failure.exitcode}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the launcher from telling failures itself, and this process's signal handlers as they are."""
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for each, handler in before.items():
            signal.signal(each, handler)
