"""Train: the experts, and the adapter that makes the base model the language-model part of the twin.

Reads the train split; writes models/SECTOR/{experts,adapter}/ and training.json. Checkpoints go to the scratch folder,
so a run that was cut off goes on where it stopped; a changed recipe, data or base starts anew.
"""

from __future__ import annotations

from transformers import set_seed
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.files import read_table, sha256, write_json
from twinforge.model.adapter import save_adapter
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.recipe import read_slice
from twinforge.records import QUESTION
from twinforge.training.checkpoints import forget_others, run_key
from twinforge.training.experts import fit_experts
from twinforge.training.finetune import fine_tune


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("train"))
    questions = paths.questions("train")
    train = read_table(questions, QUESTION)
    fit_experts(train, recipe.experts, recipe.seed).save(paths.experts)

    hashes = {"data": sha256(questions), "base": weights_hash(base_folder(recipe.model))}
    scratch = paths.scratch / "train" / run_key(_read(recipe), *hashes.values())
    forget_others(scratch)
    set_seed(recipe.seed)
    model, tokenizer = load_base(recipe.model, recipe.compute)
    trained = fine_tune(model, tokenizer, train, recipe, scratch)
    save_adapter(trained.model, tokenizer, recipe.model.base, paths.adapter)
    record = {"base": recipe.model.base, "recipe": _read(recipe), "hashes": hashes, **trained.record}
    write_json(record, paths.training)


def _read(recipe: object) -> dict[str, object]:
    """The values that decide what the adapter becomes, as plain data (the experts' own left out)."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in vars(recipe).items()
        if name != "experts"
    }


if __name__ == "__main__":
    run(main)
