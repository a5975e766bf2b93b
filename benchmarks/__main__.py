"""Answers a second, trained and scored, beside the usual ways: `make bench`, after `dvc repro curate@energy`.

On the same choice questions of the energy sector, the same base model and number format, in alternating rounds:

- scored: context trees against transformers' `pipeline("decision")`, which reads the state again for every question;
- trained: context trees against TRL's SFTTrainer on prompt and completion, the same LoRA on the same layers. Lower layers are
  run in every pass here; a second pass over kept lower states is faster still (`docs/context-tree.md`).

Writes benchmarks/results/speed.json, prints the table and puts it into README.md.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback, pipeline
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

from pipelines import Paths
from pipelines.readme import fill
from twinforge.export import decision_request
from twinforge.files import read_table, write_json
from twinforge.model.adapter import one_precision
from twinforge.model.answers import answer, plan
from twinforge.model.base import base_folder, load_base
from twinforge.model.few_shot import answer_ids
from twinforge.model.prompt import Prompt
from twinforge.recipe import read_slice
from twinforge.records import QUESTION
from twinforge.training.finetune import adapt
from twinforge.training.trainer import tree_loss
from twinforge.training.trees import collate, lessons

ROUNDS = 3
STATES = 4  # a round
RESULT = Path("benchmarks/results/speed.json")


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    paths = Paths("energy")
    recipe = read_slice(paths.recipe("train"))
    frame = read_table(paths.questions("train"), QUESTION)
    choices = frame[frame["kind"] == "choice"].reset_index(drop=True)
    rounds = [of_states(choices, i * STATES, STATES) for i in range(ROUNDS + 1)]  # the first is warm-up
    scored = compare({"context tree": scorer(recipe), 'pipeline("decision")': peer_scorer(recipe)}, rounds)
    trained = compare({"context tree": trainer(recipe), "TRL SFTTrainer": peer_trainer(recipe)}, rounds)
    result = {
        "scored": scored,
        "trained": trained,
        "machine": machine(),
        "questions": len(rounds[-1]),
        "rounds": ROUNDS,
    }
    write_json(result, RESULT)
    fill("speed", table(result))
    print(table(result))


def of_states(frame: pd.DataFrame, first: int, count: int) -> pd.DataFrame:
    """All questions of some states."""
    contexts = frame["context"].drop_duplicates().iloc[first : first + count]
    return frame[frame["context"].isin(contexts)].reset_index(drop=True)


def compare(ways: dict[str, Callable[[pd.DataFrame], float]], rounds: list[pd.DataFrame]) -> dict[str, Any]:
    """Answers a second of each way: the median over rounds, and the least and most; `ratio` of the first to the second."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number, rows in enumerate(rounds):
        for name, way in ways.items():
            seconds = way(rows)
            if number:
                rates[name].append(len(rows) / seconds)
    found = {name: {"median": statistics.median(r), "low": min(r), "high": max(r)} for name, r in rates.items()}
    ours, theirs = (entry["median"] for entry in found.values())
    return {"answers/s": found, "ratio": ours / theirs}


def scorer(recipe: Any) -> Callable[[pd.DataFrame], float]:
    model, tokenizer = load_base(recipe.model, recipe.compute)
    prompt = Prompt.of(tokenizer)

    def run(rows: pd.DataFrame) -> float:
        start = time.perf_counter()
        answer(model, prompt, plan(prompt, rows), rows["id"].tolist(), recipe.compute.answer_batch_trees)
        return time.perf_counter() - start

    return run


def peer_scorer(recipe: Any) -> Callable[[pd.DataFrame], float]:
    model, tokenizer = load_base(recipe.model, recipe.compute)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        Prompt.of(tokenizer).save(Path(folder))
        decide = pipeline("decision", model=folder, dtype=model.dtype, device=model.device)

    def run(rows: pd.DataFrame) -> float:
        start = time.perf_counter()
        for _, row in rows.iterrows():
            decide(decision_request(row))
        return time.perf_counter() - start

    return run


def trainer(recipe: Any) -> Callable[[pd.DataFrame], float]:
    model, tokenizer = load_base(recipe.model, recipe.compute)
    adapted, prompt = adapt(model, recipe.lora).train(), Prompt.of(tokenizer)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.train.lr)

    def run(rows: pd.DataFrame) -> float:
        start = time.perf_counter()
        made = lessons(prompt, rows)
        for first in range(0, len(made), recipe.compute.batch_trees):
            batch = collate(made[first : first + recipe.compute.batch_trees])
            targets, weights, answers = (batch.pop(name) for name in ("targets", "weights", "answers"))
            batch.pop("tokens")
            with one_precision(adapted):
                logits = adapted(**batch, use_cache=False).logits[0]
            tree_loss(logits, targets, weights, answers).backward()
            torch.nn.utils.clip_grad_norm_(parameters, recipe.train.grad_clip)
            optimiser.step()
            optimiser.zero_grad()
        return time.perf_counter() - start

    return run


def peer_trainer(recipe: Any) -> Callable[[pd.DataFrame], float]:
    ours, tokenizer = load_base(recipe.model, recipe.compute)
    model = AutoModelForCausalLM.from_pretrained(base_folder(recipe.model), dtype=ours.dtype)  # with its own attention
    prompt, adapted = Prompt.of(tokenizer), adapt(model, recipe.lora)

    def run(rows: pd.DataFrame) -> float:
        data = Dataset.from_list([example(prompt, row) for _, row in rows.iterrows()])
        clock = _Clock()
        with tempfile.TemporaryDirectory() as folder:
            options = SFTConfig(
                output_dir=folder, num_train_epochs=1, per_device_train_batch_size=8, learning_rate=recipe.train.lr, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=model.device.type == "cpu", bf16=False,
                gradient_checkpointing=False, max_length=None, dataset_kwargs={"skip_prepare_dataset": True},
            )  # fmt: skip
            SFTTrainer(
                model=adapted, args=options, train_dataset=data, processing_class=tokenizer, callbacks=[clock]
            ).train()
        return clock.seconds

    return run


def example(prompt: Prompt, row: pd.Series) -> dict[str, list[int]]:
    """One question as TRL takes it: its tokens, and those of the answer as labels."""
    asked = prompt.context_ids(row["context"]) + prompt.question_ids(row)
    told = answer_ids(prompt, row)
    return {"input_ids": asked + told, "labels": [-100] * len(asked) + told}


class _Clock(TrainerCallback):
    """Seconds between the start and the end of training."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._start = time.perf_counter()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = time.perf_counter() - self._start


def machine() -> dict[str, Any]:
    """What it was measured on."""
    versions = {name: __import__(name).__version__ for name in ("torch", "transformers", "trl", "peft")}
    return {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(), **versions}


def table(result: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = ["| | way | answers/s (median of rounds) | least to most | ratio |", "| --- | --- | --- | --- | --- |"]
    for kind in ("scored", "trained"):
        for name, rate in result[kind]["answers/s"].items():
            ratio = f"{result[kind]['ratio']:.1f}" if name == "context tree" else "1"
            lines.append(
                f"| {kind} | {name} | {rate['median']:.1f} | {rate['low']:.1f} to {rate['high']:.1f} | {ratio} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
