"""Weights and optimiser in pieces, one a process: DeepSpeed's ZeRO or FSDP, made from the recipe; and put together again to be kept.

A checkpoint of DeepSpeed's own can only be read by as many processes as wrote it. Ours holds the whole adapter and the whole
optimiser, as one process alone writes them, so any number of processes goes on from it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from trl import SFTTrainer

from twinforge.errors import UserError
from twinforge.model.base import pick_device, pick_dtype
from twinforge.training.processes import group

STAGES = {"zero-2": 2, "zero-3": 3}
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's running means, by the names torch and DeepSpeed share


def installed(sharding: str) -> None:
    """See that what `compute.sharding` asks for is installed; raises `UserError`."""
    if sharding in STAGES and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"compute.sharding: {sharding}: needs the package deepspeed; `pip install 'twinforge[cluster]'`, or take none"
        )


def zero(stage: int, batch_trees: int, grad_clip: float, bf16: bool) -> dict[str, Any]:
    """DeepSpeed's configuration (Rajbhandari et al. 2020, arXiv:1910.02054): what is in pieces, and nothing left to be guessed.

    The batch size is the trainer's nominal one: each process is handed the whole batch and takes its share.
    """
    return {
        "train_micro_batch_size_per_gpu": batch_trees,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": grad_clip,
        "bf16": {"enabled": bf16},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": bf16,
            "contiguous_gradients": True,
            **({"stage3_param_persistence_threshold": 0} if stage == 3 else {}),
        },
        "steps_per_print": 2**31,
    }


def fsdp() -> dict[str, Any]:
    """FSDP's configuration (Zhao et al. 2023, arXiv:2304.11277), version 2: each layer in pieces, put together while it runs."""
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
    }


def options(sharding: str, batch_trees: int, grad_clip: float, bf16: bool) -> dict[str, Any]:
    """What the trainer's arguments say of `compute.sharding`; nothing for "none"."""
    if sharding in STAGES:
        return {"deepspeed": zero(STAGES[sharding], batch_trees, grad_clip, bf16), "bf16": bf16}
    return {"fsdp": True, "fsdp_config": fsdp()} if sharding == "fsdp" else {}


@contextmanager
def in_pieces(recipe: Any) -> Iterator[None]:
    """Within, a base is loaded in pieces where the recipe asks for that (ZeRO-3): no process ever holds the whole of it.

    To be entered before `load_base` and left after the last pass: transformers and PEFT look whether it is on.
    """
    if recipe.compute.sharding != "zero-3" or group().count == 1:
        yield
        return
    from transformers.integrations import HfDeepSpeedConfig

    bf16 = pick_dtype(recipe.compute.precision, pick_device(recipe.compute.device)) == torch.bfloat16
    held = HfDeepSpeedConfig(zero(3, recipe.compute.batch_trees, recipe.train.grad_clip, bf16))
    yield
    del held


def _of_groups(rates: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A scheduler's state for so many groups of weights, all of one rate: those without weights DeepSpeed leaves out."""
    return {name: value[:1] * count if isinstance(value, list) else value for name, value in rates.items()}


class GroupTrainer(SFTTrainer):
    """TRL's trainer, alone as it is; in a group every process is handed the whole batch, and checkpoints are whole."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """As TRL's, but not dealt out to the processes: each takes its share of a batch itself (`Group.share`)."""
        loader = super().get_train_dataloader()
        if group().count > 1:
            dealt = loader.batch_sampler
            dealt.num_processes, dealt.process_index, dealt.even_batches = 1, 0, False
        return loader

    @property
    def in_pieces(self) -> bool:
        """Whether weights or optimiser are in pieces, one a process."""
        return bool(self.is_deepspeed_enabled or self.is_fsdp_enabled)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As the trainer's; what it holds is noted before DeepSpeed takes it apart."""
        made = super().create_optimizer(model)
        self._groups = [{**each, "params": list(each["params"])} for each in made.param_groups]
        return made

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter, in fp32 and whole."""
        if not self.is_deepspeed_enabled:
            return super().save_model(output_dir, _internal_call)
        from deepspeed.utils import safe_get_full_fp32_param

        trained = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        self._save(output_dir, state_dict={name: safe_get_full_fp32_param(weight).cpu() for name, weight in trained})

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_deepspeed_enabled:
            return super()._save_optimizer_and_scheduler(output_dir)
        held = self._whole_optimizer()
        if self.args.should_save:
            torch.save(held, Path(output_dir, OPTIMIZER_NAME))
            rates = _of_groups(self.lr_scheduler.state_dict(), len(self._groups))
            torch.save(rates, Path(output_dir, SCHEDULER_NAME))

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        if not (resume_from_checkpoint and self.is_deepspeed_enabled):
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        self._load_from_checkpoint(resume_from_checkpoint)  # before DeepSpeed takes the weights apart
        made = super()._prepare_for_training(max_steps, train_dataloader, None)
        self._take_apart(torch.load(Path(resume_from_checkpoint, OPTIMIZER_NAME), weights_only=True))
        rates = torch.load(Path(resume_from_checkpoint, SCHEDULER_NAME), weights_only=True)
        self.lr_scheduler.load_state_dict(_of_groups(rates, len(self._inner.param_groups)))
        return made

    def _prepare_input(self, data: Any) -> Any:
        """Move to the device, as it is: for DeepSpeed the trainer would round what questions weigh to bf16."""
        return send_to_device(data, self.args.device) if self.is_deepspeed_enabled else super()._prepare_input(data)

    def _whole_optimizer(self) -> dict[str, Any]:
        """What torch's AdamW of one process would hold, as its `state_dict`."""
        from deepspeed.utils import safe_get_full_optimizer_state

        step = next(iter(self._inner.state.values()))["step"]
        state: dict[int, dict[str, torch.Tensor]] = {}
        groups = []
        (rate,) = set(self.lr_scheduler.get_last_lr())
        for each in self._groups:
            places = range(len(state), len(state) + len(each["params"]))
            for place, weight in zip(places, each["params"], strict=True):
                means = {name: safe_get_full_optimizer_state(weight, name).cpu() for name in MOMENTS}
                state[place] = {"step": step.cpu().clone(), **means}
            groups.append({**each, "lr": rate, "params": list(places)})
        return {"state": state, "param_groups": groups}

    def _take_apart(self, held: Mapping[str, Any]) -> None:
        """Give DeepSpeed's pieces what `_whole_optimizer` put together."""
        from deepspeed.utils import safe_set_full_optimizer_state

        zero = self.model_wrapped.optimizer
        pieces = getattr(zero, "fp32_partitioned_groups_flat", None) or zero.single_partition_of_fp32_groups
        for piece in pieces:  # DeepSpeed has them made by the first step only
            means = {name: torch.zeros_like(piece) for name in MOMENTS}
            self._inner.state[piece] = {"step": held["state"][0]["step"].to(piece.device), **means}
        for each in self._inner.param_groups:
            each["lr"] = held["param_groups"][0]["lr"]
        if hasattr(zero, "_lazy_init_hp_params_optimizer_state"):
            zero._lazy_init_hp_params_optimizer_state()
        weights = (weight for each in self._groups for weight in each["params"])
        for place, weight in enumerate(weights):
            for name in MOMENTS:
                safe_set_full_optimizer_state(weight, held["state"][place][name].to(self.args.device), name)

    @property
    def _inner(self) -> torch.optim.Optimizer:
        """Torch's optimiser, which works on DeepSpeed's pieces."""
        inner: torch.optim.Optimizer = self.model_wrapped.optimizer.optimizer
        return inner
