"""One long training run by LLaMA-Factory, as its example has it, with a checkpoint every so many steps; it goes on from the last one."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

from benchmarks.peers.run_llamafactory import settings, write_data
from benchmarks.peers.window import job

SPENT = "spent.json"  # in a checkpoint: written last, so one that has it is whole


class Clock(TrainerCallback):
    """Notes in each checkpoint the seconds of training up to it, those of earlier starts within."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = time.perf_counter()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        seconds = self._before + time.perf_counter() - self._start
        answers = state.global_step * args.per_device_train_batch_size * args.gradient_accumulation_steps
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (folder / SPENT).write_text(json.dumps({"seconds": seconds, "answers": answers}), encoding="utf-8")


def main() -> None:
    told = job()
    write_data(told)
    out = Path(told["out"]) / "run"
    found = sorted(out.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    for torn in [folder for folder in found if not (folder / SPENT).is_file()]:
        shutil.rmtree(torn)
        found.remove(torn)
    before = json.loads((found[-1] / SPENT).read_text())["seconds"] if found else 0.0
    saved = {
        "save_strategy": "steps",
        "save_steps": told["save_steps"],
        "save_total_limit": None,
        "max_steps": told["steps"],
    }
    resumed = {"resume_from_checkpoint": str(found[-1])} if found else {}
    run_exp({**settings(told), **saved, **resumed}, [Clock(before)])


if __name__ == "__main__":
    main()
