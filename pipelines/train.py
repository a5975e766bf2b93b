"""Train: the experts, and the adapter that makes the base model the language-model part of the twin.

Reads the train split and its reports; writes models/SECTOR/{experts,blind,adapter}/ and training.json. In blind/ are the experts of a twin
that lacks its physical or its abstract side, fitted on what is left. The adapter learns some states without some of
their dimensions, and choices in another order (`train.mask`, `train.shuffle`). First a preflight says what the adapter's
training will take and refuses what won't fit; training.json has its forecast beside what came of it. Checkpoints go to the scratch folder,
so a run that was cut off goes on where it stopped; a changed recipe, data or base starts anew.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import set_seed
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.claims import REPORT
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, sha256, write_json
from twinforge.model.adapter import save_adapter
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.recipe import read_slice
from twinforge.records import QUESTION
from twinforge.sectors import load_sector
from twinforge.sectors.dimensions import BLIND, letters
from twinforge.training.augment import augmented
from twinforge.training.checkpoints import forget_others, latest, run_key
from twinforge.training.experts import fit_experts
from twinforge.training.finetune import Course, fine_tune, prepare
from twinforge.training.learning import write_learning
from twinforge.training.preflight import Forecast
from twinforge.training.show import show
from twinforge.training.trackers import ready
from twinforge.training.trial import preflight


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("train"))
    questions, requests = paths.questions("train"), paths.reports_of("train")
    train = read_table(questions, QUESTION)
    keep = load_sector(recipe.module).keep
    learnt = augmented(train[~train["validation"]], keep, recipe.train, recipe.seed)
    said = learnt.drop(columns="features").to_json(orient="records")
    hashes = {"data": sha256(questions), "reports": sha256(requests), "base": weights_hash(base_folder(recipe.model))}
    key = run_key(_deciding(recipe), said, *hashes.values())
    ready(recipe.train.report_to, paths.logs / key, f"twinforge-{sector}")
    fit_experts(train, recipe.experts, recipe.seed).save(paths.experts)
    for kept in BLIND:
        fit_experts(keep(train, kept), recipe.experts, recipe.seed).save(paths.blind_experts(letters(kept)))

    scratch = paths.scratch / "train" / key
    forget_others(scratch)
    set_seed(recipe.seed)
    model, tokenizer = load_base(recipe.model, recipe.compute)
    course = prepare(model, tokenizer, train, recipe, learnt, read_table(requests, REPORT))
    ahead = _ahead(course, scratch)
    trained = fine_tune(course, scratch, recipe.train.report_to)
    save_adapter(trained.model, tokenizer, recipe.model.base, paths.adapter)
    taken = trained.record["lower_seconds"] + trained.record["seconds"], trained.record["peak_bytes"]
    print(f"train: {ahead.told(*taken)}")
    record = {"base": recipe.model.base, "recipe": _read(recipe), "hashes": hashes, **trained.record}
    write_learning(trained.record["curve"], trained.record["checks"], paths.learning)
    write_json({**record, "preflight": ahead.beside(*taken)}, paths.training)


def _ahead(course: Course, scratch: Path) -> Forecast:
    """What the run will take; a run that goes on from a checkpoint was told at its start.

    Raises
    ------
    UserError
        It would fail or doesn't fit: says why.
    """
    told = scratch / "forecast.json"
    if latest(scratch):
        return Forecast(**read_json(told))
    found = preflight(course, scratch)
    show(found, "preflight")
    if found.forecast is None or found.refusals:
        raise UserError(f"train: not started, nothing is lost: {'; '.join(found.refusals)}")
    write_json(asdict(found.forecast), told)
    return found.forecast


def _read(recipe: object) -> dict[str, Any]:
    """The values that were read, as plain data (the experts' own left out)."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in vars(recipe).items()
        if name != "experts"
    }


def _deciding(recipe: object) -> dict[str, Any]:
    """Those of them that decide what the adapter becomes."""
    read = _read(recipe)
    return {**read, "train": {name: value for name, value in read["train"].items() if name != "report_to"}}


if __name__ == "__main__":
    run(main)
