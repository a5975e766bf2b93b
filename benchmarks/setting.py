"""What all ways share: the questions, the base model with its decision files, the number format, the recipe."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from benchmarks.machine import best_dtype
from benchmarks.peers.environments import SCRATCH
from benchmarks.questions import tokens_alone, write_plain
from pipelines import Paths
from twinforge.files import read_table, replacing, write_table
from twinforge.model.base import base_folder
from twinforge.model.prompt import Prompt
from twinforge.recipe import read_slice
from twinforge.recipe.source import dump
from twinforge.records import QUESTION

PATHS = Paths("energy")
_MODEL_FILES = ("*.json", "*.safetensors", "*.jinja")


@dataclass(frozen=True)
class Questions:
    """One set of questions, as a table (ours) and as JSON lines (peers); `tokens`: of one asked alone, on average."""

    table: Path
    lines: Path
    count: int
    states: int
    tokens: float


@dataclass(frozen=True)
class Setting:
    """base : folder of the model, with decision files; outside : its parameters outside the embedding; recipe : `train` or
    `answer`'s slice, on the CPU, in the number format `dtype`, and the file it stands in."""

    base: Path
    outside: int
    prompt: Prompt
    dtype: torch.dtype
    recipe: Any
    recipe_file: Path

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def setting(stage: str, base: Path | None = None) -> Setting:
    """The energy sector's recipe, on the CPU; `base`: another model than the recipe's.

    Raises
    ------
    UserError
        The sector is not curated yet.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    recipe = read_slice(PATHS.recipe(stage))
    folder = base or base_folder(recipe.model)
    prompt = Prompt.of(AutoTokenizer.from_pretrained(folder))
    ready = _with_decision_files(folder, prompt)
    dtype = best_dtype()
    compute = {"device": "cpu", "precision": "bf16" if dtype == torch.bfloat16 else "fp32"}
    values = {name: _plain(value) for name, value in vars(recipe).items()}
    values |= {"model": {**values["model"], "base": str(ready.absolute())}, "compute": {**values["compute"], **compute}}
    if base:
        layers = AutoConfig.from_pretrained(base).num_hidden_layers
        values |= {"lora": {**values["lora"], "layers": round(layers / 3)}} if stage == "train" else {}
    file = SCRATCH / "recipes" / f"{ready.name}-{stage}.yaml"
    dump(values, file)
    return Setting(ready, _outside(ready), prompt, dtype, read_slice(file), file)


def read(split: str) -> pd.DataFrame:
    """Curated questions of a split."""
    return read_table(PATHS.questions(split), QUESTION)


def write(prompt: Prompt, frame: pd.DataFrame, name: str) -> Questions:
    """Put a set of questions where all ways read it."""
    folder = SCRATCH / "questions"
    table, lines = folder / f"{name}.parquet", folder / f"{name}.jsonl"
    write_table(frame, table, QUESTION)
    write_plain(prompt, frame, lines)
    return Questions(table, lines, len(frame), frame["context"].nunique(), tokens_alone(prompt, frame))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _with_decision_files(folder: Path, prompt: Prompt) -> Path:
    """The base model's folder, linked, with the files that `pipeline("decision")` reads beside it."""
    target = SCRATCH / "bases" / folder.name
    with replacing(target) as part:
        part.mkdir(parents=True)
        for pattern in _MODEL_FILES:
            for path in folder.glob(pattern):
                if path.suffix == ".safetensors":
                    (part / path.name).symlink_to(path.absolute())
                else:
                    shutil.copyfile(path, part / path.name)
        prompt.save(part)
    return target


def _outside(folder: Path) -> int:
    """Parameters outside the embedding (tied to the head or not, each counts as one of the embedding's)."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    tables = {id(m.weight): m.weight.numel() for m in (model.get_input_embeddings(), model.get_output_embeddings())}
    return sum(p.numel() for p in model.parameters()) - sum(tables.values())
