"""A small training run in a process of its own, or in several, and what may happen to it at an exact place."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import torch

from tests.model.tiny import COMPUTE, questions, section
from twinforge.errors import UserError
from twinforge.files import write_json
from twinforge.model.adapter import save_adapter
from twinforge.model.base import load_base
from twinforge.training import trainer
from twinforge.training.finetune import fine_tune, prepare
from twinforge.training.processes import group, launch, launched, take_part
from twinforge.training.sharding import in_pieces

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = section(r=8, alpha=16.0, dropout=0.1, layers=2, targets=TARGETS, rslora=False)
TRAIN = section(
    lr=1e-2,
    warmup=0.1,
    weight_decay=0.0,
    schedule="cosine",
    grad_clip=1.0,
    number_weight=1.0,
    report_weight=4.0,
    check_every=0,
    patience=3,
)
MIB = 2**20


def recipe(
    epochs: float = 1.0, lora: dict[str, Any] | None = None, compute: dict[str, Any] | None = None, **train: Any
) -> SimpleNamespace:
    """A recipe's train slice."""
    return section(
        seed=3,
        lora=section(**{**vars(LORA), **(lora or {})}),
        train=section(**{**vars(TRAIN), **train}),
        compute=section(**{**vars(COMPUTE), **(compute or {})}),
        budget=section(epochs=epochs),
    )


def base(folder: Path) -> tuple[Any, Any]:
    return load_base(section(base=str(folder), revision=None, quantization="none"), COMPUTE)


def contrary(states: int) -> pd.DataFrame:
    """Questions whose validation share has other truths than the rest: the more is learnt, the worse it is answered."""
    frame = questions(states, validation=0.3)
    asked = frame["validation"] & (frame["kind"] == "choice") & frame["truth"].notna()
    frame.loc[asked, "truth"] = 1 - frame.loc[asked, "truth"].clip(upper=1)
    return frame


def start(tiny: Path, run: Path, target: Path, happens: str = "", **changes: Any) -> subprocess.Popen[str]:
    """Train in a process of its own; what `happens`: "kill at step 3", "kill in save 4", "disk of 20000 bytes", "memory",
    "fail at step 3". With `compute={"processes": 2}` it starts these, and it happens in the last of them."""
    code = f"from tests.training.runs import child; child({str(tiny)!r}, {str(run)!r}, {str(target)!r}, {happens!r}, {changes!r})"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(["src", ".", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
    }
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


def child(tiny: str, run: str, target: str, happens: str, changes: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    asked = recipe(**{"epochs": 2, **changes})

    def work() -> None:
        if group().rank == asked.compute.processes - 1:
            _arrange(happens)
        with in_pieces(asked):
            model, tokenizer = base(Path(tiny))
            done = fine_tune(prepare(model, tokenizer, contrary(26), asked), Path(run))
            if group().first:
                save_adapter(done.model, tokenizer, "base", Path(target), done.weights)
                write_json(done.record, Path(target, "record.json"))
                print(f"checks: {[check['step'] for check in done.record['checks']]}", file=sys.stderr)

    if launched():
        take_part(work, "cpu")
    try:
        if asked.compute.processes == 1:
            work()
        else:
            launch([sys.executable, "-c", sys.orig_argv[-1]], asked.compute.processes, "cpu", Path(run, "processes"))
    except UserError as error:
        sys.exit(f"error: {error}")


def _arrange(happens: str) -> None:
    what, _, where = happens.rpartition(" ")
    if what == "kill at step":
        _before("training_step", lambda step: _kill() if step == int(where) else None)
    elif what == "fail at step":
        _before("training_step", lambda step: _fail() if step == int(where) else None)
    elif what == "kill in save":
        seal = trainer.seal
        trainer.seal = lambda part, to: _kill() if to.name == f"checkpoint-{where}" else seal(part, to)
    elif happens.startswith("disk of"):
        _before("training_step", lambda step: _limit("FSIZE", int(what.split()[-1])) if step == 5 else None)
    elif happens == "memory":
        _before("training_step", lambda step: _outgrow() if step == 3 else None)


def _before(method: str, do: Any) -> None:
    """Have every training step begin with `do(steps done)`."""
    inner = getattr(trainer.TreeTrainer, method)

    def outer(self: Any, *args: Any, **kwargs: Any) -> Any:
        do(self.state.global_step)
        return inner(self, *args, **kwargs)

    setattr(trainer.TreeTrainer, method, outer)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise ValueError("a mistake of ours\nin two lines")


def _outgrow() -> None:
    """Want more memory than the process may have."""
    _limit("AS", psutil.Process().memory_info().vms + MIB)
    torch.ones(64 * MIB)


def _limit(name: str, size: int) -> None:
    kind = getattr(resource, f"RLIMIT_{name}")
    resource.setrlimit(kind, (size, resource.getrlimit(kind)[1]))
