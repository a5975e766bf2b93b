"""TRL's trainer on context trees: our loss, whole checkpoints, a progress bar, and a stop at the first bad number."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional
from tqdm import tqdm
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from twinforge.errors import UserError
from twinforge.model.adapter import one_precision
from twinforge.model.lower import Lower, upper_only
from twinforge.training.checkpoints import keep_newest, latest, seal
from twinforge.training.trees import Lesson, collate

_PART = "part"  # where a checkpoint is written before it is moved into place


def tree_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, answers: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of the answers' tokens: mean over a question's tokens, then over the batch's questions.

    Parameters
    ----------
    logits : (reads, vocabulary); targets, weights : (reads,), as `trees.Lesson`; answers : number of questions.
    """
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * weights).sum() / answers


class TreeTrainer(SFTTrainer):
    """Trains a PEFT model on lessons; checkpoints in `run` are whole or not there, and `resume` goes on from the last.

    lower : what the layers below the adapter make of the lessons' trees, if it is kept (see `model.lower`).
    label : name on the progress bar.

    Raises
    ------
    UserError
        The loss is not a number: names the step and the batch's questions; the last good checkpoint stays.
    """

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        lessons: Sequence[Lesson],
        arguments: SFTConfig,
        lower: Lower | None = None,
        label: str = "train",
    ) -> None:
        self._lessons, self._lower = lessons, lower
        self._done = {"answers": 0, "tokens": 0}
        self._seconds, self._since = 0.0, time.perf_counter()
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"lesson": list(range(len(lessons)))}),
            data_collator=self._collate,
            processing_class=tokenizer,
        )
        for parameter in model.parameters():  # TRL makes them bf16 on a four-bit base: small steps would be lost
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self._progress = Progress(label)
        self.add_callback(self._progress)

    def _collate(self, rows: Sequence[dict[str, int]]) -> dict[str, Any]:
        chosen = [self._lessons[row["lesson"]] for row in rows]
        self._named = [question for lesson in chosen for question in lesson.questions]
        batch = collate(chosen)
        return self._lower.inputs([row["lesson"] for row in rows], batch) if self._lower else batch

    def resume(self) -> None:
        """Train to the end, from the last whole checkpoint of the run if there is one."""
        run = Path(self.args.output_dir)
        shutil.rmtree(run / _PART, ignore_errors=True)
        found = latest(run)
        if found:
            last = TrainerState.load_from_json(str(found / TRAINER_STATE_NAME)).log_history[-1]
            self._done = {name: last[name] for name in self._done}
            self._seconds = last["seconds"]
        self._since = time.perf_counter()
        upper = upper_only(self.model, self._lower.at) if self._lower else nullcontext()
        try:
            with upper:
                self.train(resume_from_checkpoint=str(found) if found else None)
        finally:
            self._progress.close()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The mean loss of the batch's questions; see `tree_loss`."""
        targets, weights, answers, tokens = (inputs.pop(name) for name in ("targets", "weights", "answers", "tokens"))
        with one_precision(self.model):
            logits = model(**inputs, use_cache=False).logits[0]
        loss = tree_loss(logits, targets, weights, answers)
        if not torch.isfinite(loss):
            raise UserError(
                f"train: step {self.state.global_step + 1}: the loss is {loss.item()} on the questions {self._named}; "
                "lower train.lr or look at these questions (the last good checkpoint is kept)"
            )
        self._done["answers"] += int(answers)
        self._done["tokens"] += int(tokens)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add to each entry of the learning curve what was done since the run's first start, in whichever process."""
        if "loss" in logs:
            logs |= self._done | {"seconds": self._seconds + time.perf_counter() - self._since}
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        self.args.output_dir = str(run / _PART)
        try:
            Trainer._save_checkpoint(self, model, trial)  # TRL's own would also write a model card each time
        finally:
            self.args.output_dir = str(run)
        seal(run / _PART / name, run / name)
        keep_newest(run)


class Progress(TrainerCallback):
    """A bar with the loss, answers a second and the time left."""

    def __init__(self, label: str) -> None:
        self._label = label

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self._label, unit="step")
        self._first: tuple[float, float] | None = None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        if not logs or "answers" not in logs:
            return
        self._bar.update(state.global_step - self._bar.n)
        shown = {"loss": f"{logs['loss']:.3f}"}
        if self._first is None:
            self._first = logs["answers"], logs["seconds"]
        elif logs["seconds"] > self._first[1]:
            rate = (logs["answers"] - self._first[0]) / (logs["seconds"] - self._first[1])
            shown["answers/s"] = f"{rate:.1f}"
        self._bar.set_postfix(shown)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if hasattr(self, "_bar"):
            self._bar.close()
