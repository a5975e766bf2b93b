"""The last layer's feed-forward part for the tokens that are read alone: nobody looks at what it would make of the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def only_reads(model: PreTrainedModel) -> None:
    """Have passes over context trees (a keyword `tree` with `reads`, see `tree.pack`) skip in the last layer what no answer needs.

    Every other pass, and an architecture whose layers have no `mlp`, is left as it is. Hooks only: no module is renamed, so
    adapters and files keep their names; gradient checkpointing calls them again with the same tree.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if not layers or not isinstance(getattr(layers[-1], "mlp", None), nn.Module):
        return
    now: dict[str, Any] = {}  # of the pass that is running: reads, and the shape of the states

    def layer(module: nn.Module, args: Any, words: dict[str, Any]) -> None:
        now["reads"] = (words.get("tree") or {}).get("reads")

    def before(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if now["reads"] is None:
            return None
        now["shape"] = args[0].shape
        return args[0].index_select(1, now["reads"]), *args[1:]

    def after(module: nn.Module, args: Any, made: torch.Tensor) -> torch.Tensor:
        if now["reads"] is None:
            return made
        return made.new_zeros(now["shape"]).index_copy(1, now["reads"], made)

    layers[-1].register_forward_pre_hook(layer, with_kwargs=True)
    layers[-1].mlp.register_forward_pre_hook(before)
    layers[-1].mlp.register_forward_hook(after)
