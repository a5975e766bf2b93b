"""Architectures whose attention can't take a context tree: each of its paths is run as a sequence of its own.

Their own attention stays as it is (sliding windows, soft caps, ALiBi, dropout, or none at all, as in state-space models). What a
caller gives and gets is the same as for a tree; it takes longer, since every question carries its context.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from twinforge.errors import UserError
from twinforge.model.tree import Branch, Tree, pack

ROWS = 16  # sequences a forward pass
NARROW = 2048  # a sliding window below this may be shorter than a tree; a longer tree than a wider window is refused
OFF = 0.05  # of the logits' spread: bf16 rounds to a fraction of it, a wrong mask is off by most of it


def takes_trees(network: PreTrainedModel) -> bool:
    """Whether a small tree gives what its paths give, each run as a sequence; and no dropout forbids it in training.

    Of weights in pieces (ZeRO-3), which can't be run before training starts, it is taken for granted.
    """
    window = getattr(network.config.get_text_config(), "sliding_window", None)
    if any(hasattr(weight, "ds_id") for weight in network.parameters()):
        return True
    if window and window < NARROW:
        return False
    tree = Tree(np.arange(5, 11), (Branch.line([3, 4, 5], [1, 2]), Branch.line([6, 7], [1])))
    packed = pack([tree], network.device)
    was = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            network.train()(**packed, use_cache=False)
            together = network.eval()(**packed, use_cache=False).logits[0].float()
            apart = _logits(network.forward, [tree], network.device)[0].float()
    except (UserError, ValueError, TypeError, RuntimeError, KeyError, IndexError, AttributeError):
        return False  # each architecture fails in its own way on what it doesn't know
    finally:
        network.train(was)
    return bool((together - apart).abs().mean() < OFF * apart.std())


def run_apart(network: PreTrainedModel) -> None:
    """Have the model's forward pass run a pack of trees (`tree.pack`) path by path; any other pass stays as it is."""
    if network._supports_attention_backend:
        network.set_attn_implementation("eager")
    else:  # it only asks which masks it is to be given
        network.config._attn_implementation = "eager"
    inner = network.forward

    @functools.wraps(inner)
    def forward(*args: Any, tree: Any = None, **words: Any) -> Any:
        if tree is None:
            return inner(*args, **words)
        return CausalLMOutput(logits=_logits(inner, tree["trees"], network.device))

    network.forward = forward
    network.apart = True


def is_apart(model: Any) -> bool:
    """Whether `run_apart` was done to a model, or to the base below its adapter."""
    network = model.get_base_model() if isinstance(model, PeftModel) else model
    return bool(getattr(network, "apart", False))


def _logits(forward: Any, trees: Any, device: torch.device) -> torch.Tensor:
    """Logits (1, reads, vocabulary) of all reads of the trees, in their order; each path runs padded to the longest at its end."""
    rows: list[np.ndarray] = []
    places: list[int] = []
    owners: list[int] = []
    for tree in trees:
        for branch in tree.branches:
            paths, of_path, offsets = _paths(branch)
            owners += [len(rows) + path for path in of_path]
            places += [len(tree.context) + offset for offset in offsets]
            rows += [np.concatenate([tree.context, branch.ids[path]]) for path in paths]
    found: list[torch.Tensor] = [torch.empty(0)] * len(owners)
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        mine = [read for read, row in enumerate(owners) if start <= row < start + len(chunk)]
        kept = sorted({places[read] for read in mine})
        logits = _pass(forward, chunk, kept, device)
        for read in mine:
            found[read] = logits[owners[read] - start, kept.index(places[read])]
    return torch.stack(found)[None]


def _pass(forward: Any, rows: list[np.ndarray], kept: list[int], device: torch.device) -> torch.Tensor:
    """Logits (rows, kept, vocabulary) at the places `kept` of each row."""
    sizes = torch.tensor([len(row) for row in rows])
    longest = int(sizes.max())
    ids = torch.stack([torch.from_numpy(np.pad(row, (0, longest - len(row)))).long() for row in rows]).to(device)
    mask = (torch.arange(longest)[None] < sizes[:, None]).long().to(device)
    at = torch.tensor(kept, device=device)
    if "logits_to_keep" in inspect.signature(forward).parameters:
        found: torch.Tensor = forward(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=at).logits
        return found
    found = forward(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return found.index_select(1, at)


def _paths(branch: Branch) -> tuple[list[np.ndarray], list[int], list[int]]:
    """The fewest paths on which all reads of a branch lie, each as its tokens' places; and of each read its path and place there."""
    sees, reads = branch.sees, list(branch.reads)
    ends = [read for read in dict.fromkeys(reads) if not any(sees[other, read] for other in reads if other != read)]
    paths = [np.flatnonzero(sees[end]) for end in ends]
    of_path = [next(path for path, end in enumerate(ends) if sees[end, read]) for read in reads]
    return paths, of_path, [int(np.searchsorted(paths[p], read)) for p, read in zip(of_path, reads, strict=True)]
