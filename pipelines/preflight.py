"""Preflight: what the train stage would read and take, before a machine is paid for. Writes nothing; `twinforge preflight`."""

from __future__ import annotations

from transformers.utils import logging

from pipelines import Paths
from twinforge.claims import REPORT
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.model.base import load_base
from twinforge.recipe import load_recipe
from twinforge.records import QUESTION
from twinforge.sectors import load_sector
from twinforge.training.augment import augmented
from twinforge.training.finetune import prepare
from twinforge.training.show import show
from twinforge.training.trial import preflight


def look(file: str, profile: str | None) -> int:
    """Print what training by a recipe would take; 0 where it could start, 1 where it would be refused.

    Raises
    ------
    UserError
        The recipe has mistakes, or the sector's questions were not curated yet.
    """
    logging.disable_progress_bar()
    recipe = load_recipe(file, profile)
    paths = Paths(recipe.sector)
    questions = paths.questions("train")
    if not questions.is_file():
        raise UserError(f"{questions}: no such file; run `dvc repro curate@{recipe.sector}` first")
    train = read_table(questions, QUESTION)
    model, tokenizer = load_base(recipe.model, recipe.compute)
    rows = train[~train["validation"]]
    learnt = augmented(rows, load_sector(recipe.module).keep, recipe.train, recipe.seed)
    course = prepare(model, tokenizer, train, recipe, learnt, read_table(paths.reports_of("train"), REPORT))
    found = preflight(course, paths.scratch)
    show(found, f"preflight of {file}")
    return 1 if found.refusals else 0
