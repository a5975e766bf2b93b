"""Fine-tuning from a recipe: LoRA on the upper layers, context trees, one answer after another, and a record of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig

from twinforge.errors import UserError
from twinforge.model.answers import answer, plan, sample_states
from twinforge.model.apart import is_apart
from twinforge.model.lora import fused
from twinforge.model.lower import Lower, lower_states
from twinforge.model.prompt import Prompt
from twinforge.records import is_right, membership, space_of
from twinforge.training.checks import PREFIX, SCORE, Checks, Entry, best, checks_in
from twinforge.training.memory import NEVER_KEPT, Peak, ran_out, smaller
from twinforge.training.processes import group
from twinforge.training.sharding import options
from twinforge.training.trainer import TreeTrainer
from twinforge.training.trees import Lesson, lessons

VALIDATED = 100  # questions of the validation share that a check asks


@dataclass(frozen=True)
class Course:
    """What is to be learnt, and the model that will: base, fresh adapter on it, trees.

    train : records.QUESTION, the train split; lessons : of what is learnt.
    """

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    train: pd.DataFrame
    lessons: Sequence[Lesson]
    steps: int
    recipe: Any


@dataclass(frozen=True)
class Trained:
    """An adapter on its base, and what is worth telling about the run that made it (JSON-ready).

    weights : the file that holds the adapter, where the model itself is in pieces, one a process; else None.
    """

    model: PeftModel
    record: dict[str, Any]
    weights: Path | None = None


def prepare(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    recipe: Any,
    learnt: pd.DataFrame | None = None,
    reports: pd.DataFrame | None = None,
) -> Course:
    """Put a fresh adapter on the base and make trees of what is to be learnt.

    Parameters
    ----------
    model, tokenizer : from `model.base.load_base`.
    train : records.QUESTION, the train split.
    recipe : the train stage's slice: seed, lora, train, compute, budget.epochs.
    learnt : the rows of `train` outside its validation share as they are learnt (`augment.augmented`); None: as they stand.
    reports : claims.REPORT, the train split's, where the sector writes reports.

    Raises
    ------
    UserError
        No question to learn from, or a layer count or target the base does not have.
    """
    prompt = Prompt.of(tokenizer)
    learnt = train[~train["validation"]] if learnt is None else learnt
    lesson = lessons(prompt, learnt, recipe.train.number_weight, reports, recipe.train.report_weight)
    steps = max(1, math.ceil(math.ceil(len(lesson) / recipe.compute.batch_trees) * recipe.budget.epochs))
    torch.manual_seed(recipe.seed)
    adapted = adapt(model, recipe.lora, recipe.compute.gradient_checkpointing)
    return Course(adapted, tokenizer, prompt, train, lesson, steps, recipe)


def fine_tune(course: Course, run: Path, report_to: Sequence[str] = ()) -> Trained:
    """Train the adapter of `course`; it is that of the best check on the validation share.

    run : scratch folder of exactly this run (`checkpoints.run_key`); a run that was cut off goes on from there.
    report_to : trackers that are `trackers.ready`.

    Raises
    ------
    UserError
        The loss is not a number, the disk is full, or memory is: says what to do; the last checkpoint stays.
    """
    started = time.perf_counter()
    adapted, recipe = course.model, course.recipe
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    with Peak(adapted.device.type) as peak, _memory_told(recipe.compute):
        lower = _lower(course, run)
        told: Any = arguments(recipe, course.steps, run, adapted.device.type, adapted.dtype)
        told.report_to = list(report_to)
        checks = _checks(course, run, lower is not None)
        trainer = TreeTrainer(adapted, course.tokenizer, course.lessons, told, lower, checks=checks)
        trainer.resume()
        adapted.eval()
    log = trainer.state.log_history
    curve = [entry for entry in log if "answers" in entry]
    chosen = best(log)
    record = {
        "precision": str(adapted.dtype).removeprefix("torch."),
        "device": adapted.device.type,
        "run_as": "separate sequences" if is_apart(adapted) else "context trees",
        "processes": group().count,
        "trainable_parameters": trained,
        "steps": trainer.state.global_step,
        "best_step": chosen["step"] if chosen else trainer.state.global_step,
        "questions": sum(len(one.questions) for one in course.lessons),
        "answers": curve[-1]["answers"],
        "tokens": curve[-1]["tokens"],
        "seconds": curve[-1]["seconds"],
        "lower_seconds": float(lower.seconds.sum()) if lower else 0.0,
        "seconds_here": time.perf_counter() - started,
        "peak_bytes": peak.bytes,
        "validation": _told(chosen) if chosen else {"n": 0},
        "checks": [{"step": entry["step"], **_told(entry)} for entry in checks_in(log)],
        "curve": [
            {name: entry[name] for name in ("step", "loss", "learning_rate", "answers", "seconds")} for entry in curve
        ],
    }
    return Trained(adapted, record, trainer.weights)


def lower_bytes(course: Course) -> int:
    """What the lower layers' states of all lessons take, in bytes."""
    tokens = sum(one.tree.tokens for one in course.lessons)
    return int(tokens * course.model.config.hidden_size * course.model.dtype.itemsize)


def _lower(course: Course, run: Path) -> Lower | None:
    """What the frozen lower layers make of the lessons, if it fits in `compute.kept_gib`."""
    compute = course.recipe.compute
    if lower_bytes(course) > compute.kept_gib * 2**30:
        return None
    trees = [one.tree for one in course.lessons]
    return lower_states(course.model.eval(), trees, compute.answer_batch_trees, "lower layers", run / "lower")


def adapt(model: PreTrainedModel, lora: Any, gradient_checkpointing: bool = False) -> PeftModel:
    """Put a fresh LoRA adapter (Hu et al. 2021) on the top `lora.layers` layers (0: on all), as the recipe says."""
    count = model.config.num_hidden_layers
    if lora.layers > count:
        raise UserError(f"lora.layers: {lora.layers}: the base has {count} layers; give {count} at most, or 0 for all")
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        use_rslora=lora.rslora,
        layers_to_transform=list(range(count - lora.layers, count)) if lora.layers else None,
        task_type="CAUSAL_LM",
    )
    quantised = getattr(model, "is_loaded_in_4bit", False)
    if quantised:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=gradient_checkpointing)
    try:
        return get_peft_model(model, fused(config, quantised))
    except ValueError as error:
        raise UserError(f"lora.targets: {list(lora.targets)}: {error}") from error


def arguments(recipe: Any, steps: int, run: Path, device: str, dtype: torch.dtype) -> SFTConfig:
    """What the trainer is told; the same recipe and seed give the same run."""
    batch, sharding = recipe.compute.batch_trees, recipe.compute.sharding if group().count > 1 else "none"
    pieces = options(sharding, batch, recipe.train.grad_clip, dtype == torch.bfloat16)
    return SFTConfig(
        output_dir=str(run),
        max_steps=steps,
        per_device_train_batch_size=batch,  # in a group too: see `Group.share`
        learning_rate=recipe.train.lr,
        lr_scheduler_type=recipe.train.schedule,
        warmup_steps=math.ceil(steps * recipe.train.warmup),
        weight_decay=recipe.train.weight_decay,
        max_grad_norm=recipe.train.grad_clip,
        gradient_checkpointing=recipe.compute.gradient_checkpointing,
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_strategy="steps",
        save_steps=recipe.compute.save_every,
        save_total_limit=None,  # ours: whole checkpoints only
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        run_name=run.name,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
        packing=False,
        max_length=None,
        ddp_find_unused_parameters=False,
        # the model itself is loaded in bf16 where that is faster; the adapter stays in fp32
        **{"bf16": False, **pieces},
    )


@contextmanager
def _memory_told(compute: Any) -> Iterator[None]:
    """Say what to lower where memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        kept = f"; or {NEVER_KEPT}" if compute.kept_gib else ""
        raise UserError(f"train: out of memory; {smaller(compute)}{kept} (the last checkpoint is kept)") from error


def _checks(course: Course, run: Path, upper: bool) -> Checks | None:
    """How to check on some `VALIDATED` questions (whole states) of the validation share; None where there are none.

    upper : whether training runs the upper layers only; then checks do too, on lower states kept beside the run's.
    """
    rows, recipe = course.train[course.train["validation"]], course.recipe
    if rows.empty:
        return None
    chosen = sample_states(rows, VALIDATED, recipe.seed)
    asked, at_once = plan(course.prompt, chosen), recipe.compute.answer_batch_trees
    trees = [one.tree for one in asked]
    lower = lower_states(course.model.eval(), trees, at_once, keep=run / "lower-checks") if upper else None

    def score() -> dict[str, float]:
        ids = chosen["id"].tolist()
        return _scores(answer(course.model.eval(), course.prompt, asked, ids, at_once, lower=lower)["p"], chosen)

    return Checks(recipe.train.check_every, recipe.train.patience, score)


def _scores(answers: pd.Series, asked: pd.DataFrame) -> dict[str, float]:
    """Mean log score and share of right answers, in all and by skill."""
    pairs = list(zip(answers, (question for _, question in asked.iterrows()), strict=True))
    right = pd.Series([float(is_right(p, question)) for p, question in pairs], index=asked["skill"])
    log_score = float(np.mean([_log_score(p, question) for p, question in pairs]))
    by_skill = {f"accuracy_{skill}": float(share) for skill, share in right.groupby(level=0).mean().items()}
    return {"n": len(right), "accuracy": float(right.mean()), "log_score": log_score, **by_skill}


def _told(check: Entry) -> dict[str, Any]:
    """A check of the run's log as the record has it."""
    skill = f"{PREFIX}accuracy_"
    return {
        "n": check[f"{PREFIX}n"],
        "accuracy": check[f"{PREFIX}accuracy"],
        "log_score": check[SCORE],
        "by_skill": {name.removeprefix(skill): share for name, share in check.items() if name.startswith(skill)},
    }


def _log_score(p: np.ndarray, question: pd.Series) -> float:
    """Log-probability of the truth; of a set, of all that happened."""
    if question["kind"] == "entities":
        happened = membership(question)
        told = np.where(happened == 1, p, 1 - p)[~np.isnan(happened)]
    else:
        told = p[[space_of(question).index(question["truth"])]]
    return float(np.log(np.maximum(told, 1e-12)).sum())
