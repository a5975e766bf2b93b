"""TRL's trainer on context trees: our loss, whole checkpoints, a progress bar, and a stop at the first bad number."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME
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
from trl import SFTConfig

from twinforge.errors import UserError
from twinforge.model.adapter import one_precision
from twinforge.model.lower import Lower, upper_only
from twinforge.training.checkpoints import keep_newest, latest, seal
from twinforge.training.checks import PREFIX, SCORE, Checks, best, exhausted
from twinforge.training.memory import PER_WEIGHT, disk_full, free_disk
from twinforge.training.processes import group
from twinforge.training.sharding import GroupTrainer
from twinforge.training.trees import Lesson, collate

MIB = 2**20
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


class TreeTrainer(GroupTrainer):
    """Trains a PEFT model on lessons; checkpoints in `run` are whole or not there, and `resume` goes on from the last.

    In a group of processes each learns from its share of a step's trees; the loss is the mean over all their questions.

    lower : what the layers below the adapter make of the lessons' trees, if it is kept (see `model.lower`).
    label : name on the progress bar.
    checks : made while training; the model ends as it was at the best of them.

    Where the weights are in pieces, they stay so: `weights` is then the file that holds the adapter, whole.

    Raises
    ------
    UserError
        The loss is not a number: names the step and the batch's questions. Or the disk is full: names the folder and the
        space it takes. The last good checkpoint stays.
    """

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        lessons: Sequence[Lesson],
        arguments: SFTConfig,
        lower: Lower | None = None,
        label: str = "train",
        checks: Checks | None = None,
    ) -> None:
        self._lessons, self._lower, self._checks, self._group = lessons, lower, checks, group()
        self.weights: Path | None = None
        self._done = {"answers": 0, "tokens": 0}
        self._seconds, self._since = 0.0, time.perf_counter()
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"lesson": list(range(len(lessons)))}),
            data_collator=self._collate,
            processing_class=tokenizer,
        )
        self.processing_class = None  # or every checkpoint would hold the tokenizer
        for parameter in model.parameters():  # TRL makes them bf16 on a four-bit base: small steps would be lost
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self._progress = Progress(label)
        self.add_callback(self._progress)
        if checks:
            self.add_callback(Due(checks))

    def _collate(self, rows: Sequence[dict[str, int]]) -> dict[str, Any]:
        places = [row["lesson"] for row in rows]
        self._named = [question for place in places for question in self._lessons[place].questions]
        mine, weight = self._group.share(places)
        batch = collate([self._lessons[place] for place in mine])
        batch["weights"] *= weight
        batch["answers"] = torch.tensor(len(self._named))
        batch["tokens"] = torch.tensor(sum(self._lessons[place].tree.tokens for place in places))
        return self._lower.inputs(mine, batch) if self._lower else batch

    def resume(self) -> None:
        """Train to the end, from the last whole checkpoint of the run if there is one."""
        run = Path(self.args.output_dir)
        found = self._group.told(_last(run) if self._group.first else None)
        stopped = bool(found and self._go_on(found))
        self._since = time.perf_counter()
        upper = upper_only(self.model, self._lower.at) if self._lower else nullcontext()
        try:
            if not stopped:
                with upper:
                    self.train(resume_from_checkpoint=str(found) if found else None)
            self._take_best(run)
        except OSError as error:  # a tracker's file, say
            if not disk_full(error):
                raise
            raise self._no_space(run, error) from error
        finally:
            self._progress.close()

    def _go_on(self, found: Path) -> bool:
        """Take over what a checkpoint says was done; True if its last check had ended the training."""
        state = TrainerState.load_from_json(str(found / TRAINER_STATE_NAME))
        last = next(entry for entry in reversed(state.log_history) if "answers" in entry)
        self._done = {name: last[name] for name in self._done}
        self._seconds = last["seconds"]
        if not (self._checks and exhausted(state.log_history, self._checks.patience)):
            return False
        self.state = state
        return True

    def _take_best(self, run: Path) -> None:
        """Give the model the weights of the best check, where that is not the last step."""
        top, last = best(self.state.log_history), self.state.global_step
        step = top["step"] if top else last
        folder = run / f"checkpoint-{step}"
        if self.in_pieces:
            self.weights = folder / SAFETENSORS_WEIGHTS_NAME
        elif step == last:
            return
        if not folder.is_dir():
            raise UserError(f"{folder}: the checkpoint of the best check is gone; delete {run} and train again")
        if not self.in_pieces:
            self._load_from_checkpoint(str(folder))

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Check on the validation share; save where it is the best so far, and stop where patience is at its end."""
        if not self._checks:
            return {}
        started = time.perf_counter()
        self.control.should_evaluate = False  # or the end of an epoch would ask for it again
        scores = {f"{PREFIX}{name}": value for name, value in self._group.told(self._checks.score()).items()}
        self.log(dict(scores))
        log, step = self.state.log_history, self.state.global_step
        top = best(log)
        if top and top["step"] == step:
            self.control.should_save = True
        if top and step < self.state.max_steps and exhausted(log, self._checks.patience):
            self.control.should_training_stop = self.control.should_save = True
            after = f"no better than step {top['step']} in {self._checks.patience} checks"
            self._progress.say(f"stopped at step {step}: {after}; the adapter is that of step {top['step']}")
        self._since += time.perf_counter() - started  # of training the curve tells, not of checks
        return scores

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
            self._group.wait()
            if self._group.first:
                seal(run / _PART / name, run / name)
        except Exception as error:  # each library has its own for a write that failed
            shutil.rmtree(run / _PART, ignore_errors=True)
            if not disk_full(error):
                raise
            raise self._no_space(run, error) from error
        finally:
            self.args.output_dir = str(run)
        top = best(self.state.log_history)
        if self._group.first:
            keep_newest(run, best=top["step"] if top else None)
        self._group.wait()

    def _no_space(self, run: Path, error: Exception) -> UserError:
        need = PER_WEIGHT * sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        found = latest(run)
        again = (
            f"goes on from step {found.name.rpartition('-')[2]}"
            if found
            else "starts anew: no checkpoint was written yet"
        )
        return UserError(
            f"{run}: step {self.state.global_step} can't be saved, the disk is full: a checkpoint takes "
            f"{need / MIB:,.1f} MiB and {free_disk(run) / MIB:,.1f} MiB are free ({error}); free some and run again: it {again}"
        )


def _last(run: Path) -> Path | None:
    """The last whole checkpoint of the run; what was not finished is removed."""
    shutil.rmtree(run / _PART, ignore_errors=True)
    return latest(run)


class Due(TrainerCallback):
    """Asks for a check after the steps at which one is due."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_evaluate = self._checks.due(state.global_step, state.max_steps)


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
        if logs and SCORE in logs:
            right = f"{logs[f'{PREFIX}accuracy']:.0%} of {logs[f'{PREFIX}n']} validation questions right"
            self.say(f"step {state.global_step}: {right}, log score {logs[SCORE]:.3f}")
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

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if hasattr(self, "_bar"):
            self._bar.close()
