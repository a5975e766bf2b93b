"""Accuracy against wall time, beside LLaMA-Factory: `make bench-accuracy`, after `make bench-train` (hours, in the background).

LLaMA-Factory trains for an hour in one run, a checkpoint every ten minutes; twinforge trains whole runs of a quarter to two and a
half passes. Both learn from the same choice and number questions of train, from the same base, with LoRA of the same rank, each with
its own settings; every adapter then answers the same questions of test, in the same way. Loading isn't counted. It goes on
where it was cut off. Writes benchmarks/results/accuracy.json, docs/performance/accuracy.png and the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import set_seed

from benchmarks import plots, tables
from benchmarks.machine import machine
from benchmarks.peers.environments import SCRATCH, python_of
from benchmarks.questions import learnt
from benchmarks.setting import PATHS, Setting, read, setting, write
from benchmarks.speed import environment
from eval.bootstrap import episode_weights, interval, ratio_draws
from pipelines import told_in_one_line
from twinforge.errors import UserError
from twinforge.files import read_json, sha256, write_json
from twinforge.model.adapter import load_adapter, save_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import load_base
from twinforge.records import is_right
from twinforge.training.checkpoints import run_key
from twinforge.training.finetune import fine_tune, prepare

MINUTES, POINTS = 60.0, 6  # of the peer's run, and checkpoints in it
EPOCHS = (0.25, 0.5, 1.25, 2.5)
BAR = 5.0  # minutes until the peer's accuracy after an hour
OURS, FACTORY = "twinforge", "LLaMA-Factory"
ANSWER_TREES = 4  # a forward pass


def main() -> None:
    minutes = _minutes()
    here, train, test = setting("train"), read("train"), read("test")
    questions = write(here.prompt, learnt(train), "train")
    rate = _peer_rate()
    told = {"minutes": minutes, "rate": rate, "precision": here.precision}
    key = run_key(told, *map(sha256, (questions.table, PATHS.recipe("train"))))
    scratch = SCRATCH / "accuracy" / key
    asked = test[test["kind"].isin(["choice", "number"])].reset_index(drop=True)
    with alone(SCRATCH / "accuracy.lock") as lock:
        ours = [_ours(here, learnt(train), asked, epochs, scratch) for epochs in EPOCHS]
        steps = max(POINTS, round(minutes * 60 * rate / 8))
        theirs = _theirs(here, str(questions.lines), asked, steps, scratch, lock)
    result = {
        "machine": machine(), "precision": here.precision, "rank": here.recipe.lora.r, "minutes": minutes,
        "questions": questions.count, "test": len(asked), "points": {OURS: ours, FACTORY: theirs}, "bars": [_bar(ours, theirs)],
    }  # fmt: skip
    full = minutes >= MINUTES
    plots.accuracy(result, (plots.FOLDER if full else SCRATCH) / "accuracy.png")
    tables.publish("accuracy", result, full)


def _minutes() -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of the peer's run (default {MINUTES:g})")
    return float(parser.parse_args().minutes)


def _peer_rate() -> float:
    """LLaMA-Factory's answers a second on this machine: it has to know the number of its steps beforehand."""
    for path in (tables.RESULTS / "train.json", SCRATCH / "train.json"):
        if path.is_file():
            return float(read_json(path)["ways"][FACTORY]["answers/s"]["value"])
    raise UserError(f"{tables.RESULTS / 'train.json'}: no such file; `make bench-train` first")


def _ours(here: Setting, train: pd.DataFrame, test: pd.DataFrame, epochs: float, scratch: Path) -> dict[str, Any]:
    """A whole run of so many passes."""
    point, folder = scratch / f"twinforge-{epochs:g}.json", scratch / f"twinforge-{epochs:g}"
    if not point.is_file():
        recipe = here.recipe
        values = {**vars(recipe), "budget": recipe.budget.model_copy(update={"epochs": epochs})}
        recipe = type(recipe)(values)
        set_seed(recipe.seed)
        model, tokenizer = load_base(recipe.model, recipe.compute)
        trained = fine_tune(prepare(model, tokenizer, train, recipe), folder)
        save_adapter(trained.model, tokenizer, recipe.model.base, folder / "adapter")
        record = trained.record
        spent = {"seconds": record["lower_seconds"] + record["seconds"], "answers": record["answers"]}
        write_json({**spent, **_judged(here, folder / "adapter", test)}, point)
    print(f"{OURS}, {epochs:g} passes: {read_json(point)}", flush=True)
    return dict(read_json(point))


def _theirs(
    here: Setting, lines: str, test: pd.DataFrame, steps: int, scratch: Path, lock: int
) -> list[dict[str, Any]]:
    """Every checkpoint of the peer's run."""
    out, job = scratch / "llamafactory", scratch / "llamafactory.json"
    told = {
        "base": str(here.base.absolute()), "precision": here.precision, "rank": here.recipe.lora.r, "questions": lines,
        "out": str(out.absolute()), "steps": steps, "save_steps": max(1, steps // POINTS),
    }  # fmt: skip
    write_json(told, job)
    if not (out / "run" / "adapter_model.safetensors").is_file():
        command = [str(python_of("llamafactory")), "-m", "benchmarks.peers.run_llamafactory_long", str(job)]
        with open(scratch / "llamafactory.log", "a") as log:
            if subprocess.run(
                command, stdout=log, stderr=log, pass_fds=[lock], env=environment("llamafactory")
            ).returncode:
                raise UserError(f"{FACTORY} failed: see {scratch / 'llamafactory.log'}")
    found = []
    for spent in out.glob("run/checkpoint-*/spent.json"):
        point = scratch / f"{spent.parent.name}.json"
        if not point.is_file():
            write_json({**read_json(spent), **_judged(here, spent.parent, test)}, point)
        found.append(read_json(point))
        print(f"{FACTORY}: {found[-1]}", flush=True)
    return sorted(found, key=lambda one: one["seconds"])


def _judged(here: Setting, adapter: Path, test: pd.DataFrame) -> dict[str, Any]:
    """Share of right answers that an adapter gives, with a 95 % interval over whole episodes."""
    model, _ = load_base(here.recipe.model, here.recipe.compute)
    tuned, ids = load_adapter(model, adapter), test["id"].tolist()
    answers = answer(tuned, here.prompt, plan(here.prompt, test), ids, ANSWER_TREES, adapter.name)
    right = np.array([is_right(p, row) for p, (_, row) in zip(answers["p"], test.iterrows(), strict=True)], float)
    by_episode = pd.Series(right).groupby(test["episode"].to_numpy()).agg(["sum", "count"])
    weights = episode_weights(len(by_episode), 2000, 0)
    draws = ratio_draws(by_episode[["sum"]].to_numpy(float), by_episode[["count"]].to_numpy(float), weights)
    low, high = interval(draws[:, 0], len(by_episode))
    return {"accuracy": float(right.mean()), "low": low, "high": high, "n": len(right)}


def _bar(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Minutes until ours reaches what the peer has at its end; none where it never does."""
    reached = [one["seconds"] / 60 for one in ours if one["accuracy"] >= theirs[-1]["accuracy"]]
    what = f"minutes until {FACTORY}'s accuracy after {theirs[-1]['seconds'] / 60:.0f}"
    value = min(reached, default=None)
    return {"what": what, "value": value, "sense": "at most", "bar": BAR, "kept": value is not None and value <= BAR}


@contextmanager
def alone(path: Path) -> Iterator[int]:
    """One such run at a time; yields the lock's descriptor, for a process that shall hold it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path}: such a run is going on; wait for it, or end it and run again to go on") from error
        yield file.fileno()


if __name__ == "__main__":
    with told_in_one_line():
        main()
