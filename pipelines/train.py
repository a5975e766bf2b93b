"""Train: the experts, and the adapter that makes the base model the language-model part of the twin.

Reads the train split and its reports; writes models/SECTOR/{experts,blind,adapter}/ and training.json. In blind/ are the experts of a twin
that lacks its physical or its abstract side, fitted on what is left. The adapter learns some states without some of
their dimensions, and choices in another order (`train.mask`, `train.shuffle`). First a preflight says what the adapter's
training will take and refuses what won't fit; training.json has its forecast beside what came of it. Checkpoints go to the scratch folder,
so a run that was cut off goes on where it stopped; a changed recipe, data or base starts anew. With `compute.processes` above 1
the stage starts so many for the adapter, each of them this module again.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import set_seed
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.claims import REPORT
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, sha256, write_json
from twinforge.model.adapter import save_adapter
from twinforge.model.base import base_folder, load_base, pick_device, weights_hash
from twinforge.recipe import Slice, read_slice
from twinforge.records import QUESTION
from twinforge.sectors import load_sector
from twinforge.sectors.dimensions import BLIND, Keep, letters
from twinforge.training.augment import augmented
from twinforge.training.checkpoints import forget_others, latest, run_key
from twinforge.training.experts import fit_experts
from twinforge.training.finetune import Course, fine_tune, prepare
from twinforge.training.learning import write_learning
from twinforge.training.preflight import Forecast
from twinforge.training.processes import group, launch, launched, take_part
from twinforge.training.sharding import in_pieces, installed
from twinforge.training.show import show
from twinforge.training.trackers import ready
from twinforge.training.trial import preflight


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("train"))
    compute = recipe.compute
    if launched():  # as one of several processes, which the stage started below
        take_part(lambda: _adapter(_read(paths, recipe)), pick_device(compute.device))
    task = _read(paths, recipe)
    ready(recipe.train.report_to, paths.logs / task.scratch.name, f"twinforge-{sector}")
    installed(compute.sharding)
    fit_experts(task.train, recipe.experts, recipe.seed).save(paths.experts)
    for kept in BLIND:
        fit_experts(task.keep(task.train, kept), recipe.experts, recipe.seed).save(paths.blind_experts(letters(kept)))
    forget_others(task.scratch)
    if compute.processes == 1:
        _adapter(task)
    else:
        command = [sys.executable, "-m", "pipelines.train", sector]
        launch(command, compute.processes, pick_device(compute.device), task.scratch / "processes")


@dataclass(frozen=True)
class _Task:
    """What is to be learnt, and where. hashes : of data, reports and base; scratch : folder of exactly this run."""

    paths: Paths
    recipe: Slice
    keep: Keep
    train: pd.DataFrame
    learnt: pd.DataFrame
    hashes: dict[str, str]
    scratch: Path


def _read(paths: Paths, recipe: Slice) -> _Task:
    questions, requests = paths.questions("train"), paths.reports_of("train")
    train = read_table(questions, QUESTION)
    keep = load_sector(recipe.module).keep
    learnt = augmented(train[~train["validation"]], keep, recipe.train, recipe.seed)
    said = learnt.drop(columns="features").to_json(orient="records")
    hashes = {"data": sha256(questions), "reports": sha256(requests), "base": weights_hash(base_folder(recipe.model))}
    key = run_key(_deciding(recipe), said, *hashes.values())
    return _Task(paths, recipe, keep, train, learnt, hashes, paths.scratch / "train" / key)


def _adapter(task: _Task) -> None:
    """Train it; of several processes the first writes what there is to write."""
    paths, recipe, scratch = task.paths, task.recipe, task.scratch
    set_seed(recipe.seed)
    with in_pieces(recipe):
        model, tokenizer = load_base(recipe.model, recipe.compute)
        course = prepare(
            model, tokenizer, task.train, recipe, task.learnt, read_table(paths.reports_of("train"), REPORT)
        )
        ahead = _ahead(course, scratch) if group().first else None
        trained = fine_tune(course, scratch, recipe.train.report_to)
        if group().first:
            save_adapter(trained.model, tokenizer, recipe.model.base, paths.adapter, trained.weights)
    if not group().first:
        return
    record = {"base": recipe.model.base, "recipe": _values(recipe), "hashes": task.hashes, **trained.record}
    if ahead:
        taken = trained.record["lower_seconds"] + trained.record["seconds"], trained.record["peak_bytes"]
        print(f"train: {ahead.told(*taken)}")
        record["preflight"] = ahead.beside(*taken)
    write_learning(trained.record["curve"], trained.record["checks"], paths.learning)
    write_json(record, paths.training)


def _ahead(course: Course, scratch: Path) -> Forecast | None:
    """What the run will take, where that can be told; a run that goes on from a checkpoint was told at its start.

    Raises
    ------
    UserError
        It would fail or doesn't fit: says why.
    """
    told = scratch / "forecast.json"
    if latest(scratch):
        return Forecast(**read_json(told)) if told.is_file() else None
    found = preflight(course, scratch)
    show(found, "preflight")
    if found.refusals:
        raise UserError(f"train: not started, nothing is lost: {'; '.join(found.refusals)}")
    if found.forecast:
        write_json(asdict(found.forecast), told)
    return found.forecast


def _values(recipe: object) -> dict[str, Any]:
    """The values that were read, as plain data (the experts' own left out)."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in vars(recipe).items()
        if name != "experts"
    }


def _deciding(recipe: object) -> dict[str, Any]:
    """Those of them that decide what the adapter becomes: who watches doesn't, nor in how many processes."""
    left_out = {"train": {"report_to"}, "compute": {"processes", "sharding"}}
    return {
        name: {key: each for key, each in value.items() if key not in left_out[name]} if name in left_out else value
        for name, value in _values(recipe).items()
    }


if __name__ == "__main__":
    run(main)
