"""The frozen lower layers, run once: an adapter sits on the upper ones, so what comes before them never changes.

Training passes over the same trees, and base and tuned model asked the same questions, start from kept states instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from tqdm import tqdm

from twinforge.files import replacing
from twinforge.model.adapter import one_precision
from twinforge.model.apart import is_apart
from twinforge.model.tree import Tree, pack

KEPT_BATCHES = 8  # batches a kept part


class _Done(nn.Module):
    """Stands where a layer's work is done elsewhere: gives back the states it is given."""

    def forward(self, states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return states


@dataclass(frozen=True)
class Lower:
    """What the layers below layer `at` make of some trees.

    states : (tokens, hidden) of each tree, in the order of its tokens in a pack.
    seconds : spent on each tree.
    """

    at: int
    states: tuple[torch.Tensor, ...]
    seconds: np.ndarray

    def inputs(self, trees: Sequence[int], packed: dict[str, Any]) -> dict[str, Any]:
        """A pack of some of the trees with their states in place of token ids."""
        rest = {name: value for name, value in packed.items() if name != "input_ids"}
        device = packed["input_ids"].device
        return {**rest, "inputs_embeds": torch.cat([self.states[tree] for tree in trees])[None].to(device)}


def frozen_below(model: PeftModel) -> int:
    """The lowest layer that the adapter is on: all below it are the base's own. 0 when it is on all."""
    layers = model.peft_config["default"].layers_to_transform
    return min(layers) if isinstance(layers, Sequence) and len(layers) else 0


@contextmanager
def upper_only(model: Any, at: int) -> Iterator[None]:
    """Within, a forward pass takes `Lower.inputs` and runs layer `at` and those above it."""
    with _without(model, range(at)):
        yield


def lower_states(
    model: PeftModel, trees: Sequence[Tree], batch_trees: int, label: str = "", keep: Path | None = None
) -> Lower | None:
    """Run the layers below the adapter over trees; None where there are none, or the architecture can't be cut there.

    Parameters
    ----------
    batch_trees : trees a forward pass.
    label : name on the progress bar; "" shows none.
    keep : folder for finished parts; a call that was cut off goes on from there. One folder for exactly one call.
    """
    at = frozen_below(model)
    if not at or not trees or is_apart(model) or not _can_cut(model, at, trees[0]):
        return None
    states: list[torch.Tensor] = []
    seconds: list[float] = []
    size = batch_trees * KEPT_BATCHES
    if keep:
        _share_out(
            lambda start: _kept(model, at, trees[start : start + size], batch_trees, keep, start), len(trees), size
        )
    with tqdm(total=len(trees), desc=label, unit="state", disable=not label) as bar:
        for start in range(0, len(trees), size):
            part = _kept(model, at, trees[start : start + size], batch_trees, keep, start)
            states += [part[str(i)] for i in range(len(part) - 1)]
            seconds += part["seconds"].tolist()
            bar.update(len(part) - 1)
    return Lower(at, tuple(states), np.array(seconds))


def _share_out(part: Callable[[int], Any], count: int, size: int) -> None:
    """Where several processes train together: have each make its share of the parts, for all to read."""
    if distributed.is_available() and distributed.is_initialized():
        for start in range(distributed.get_rank() * size, count, distributed.get_world_size() * size):
            part(start)
        distributed.barrier()


def _kept(
    model: PeftModel, at: int, trees: Sequence[Tree], batch_trees: int, keep: Path | None, start: int
) -> dict[str, torch.Tensor]:
    path = keep / f"{start:06}.safetensors" if keep else None
    if path and path.is_file():
        return load_file(path)
    states, seconds = [], []
    for first in range(0, len(trees), batch_trees):
        batch = trees[first : first + batch_trees]
        begin = time.perf_counter()
        states += _run_lower(model, at, batch)
        spent = time.perf_counter() - begin
        seconds += [spent * tree.tokens / sum(t.tokens for t in batch) for tree in batch]
    part = {str(i): tensor for i, tensor in enumerate(states)} | {"seconds": torch.tensor(seconds)}
    if path:
        with replacing(path) as partial:
            save_file(part, partial)
    return part


def _run_lower(model: PeftModel, at: int, trees: Sequence[Tree]) -> list[torch.Tensor]:
    decoder = _decoder(model)
    inputs = pack(trees, device=model.device)
    inputs.pop("logits_to_keep")
    layers = range(at, len(decoder.layers))
    with _without(model, layers, norm=True), torch.no_grad(), one_precision(model):
        states = decoder(**inputs, use_cache=False).last_hidden_state[0].cpu()
    return [part.clone() for part in states.split([tree.tokens for tree in trees])]


def _can_cut(model: PeftModel, at: int, tree: Tree) -> bool:
    """Whether the upper layers on the lower ones' states give what the whole gives (some architectures scale inputs)."""
    decoder = _decoder(model)
    if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        return False
    packed = pack([tree], device=model.device)
    lower = Lower(at, tuple(_run_lower(model, at, [tree])), np.zeros(1))
    with torch.no_grad(), one_precision(model):
        whole = model(**packed, use_cache=False).logits
        with upper_only(model, at):
            cut = model(**lower.inputs([0], packed), use_cache=False).logits
    return torch.allclose(whole.float(), cut.float(), rtol=1e-3, atol=1e-3)


def _decoder(model: PeftModel) -> Any:
    return model.get_base_model().get_decoder()


@contextmanager
def _without(model: PeftModel, layers: range, norm: bool = False) -> Iterator[None]:
    decoder = _decoder(model)
    taken = {layer: decoder.layers[layer] for layer in layers}
    last = decoder.norm
    try:
        for layer in layers:
            decoder.layers[layer] = _Done()
        if norm:
            decoder.norm = _Done()
        yield
    finally:
        for layer, module in taken.items():
            decoder.layers[layer] = module
        decoder.norm = last
