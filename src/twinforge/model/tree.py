"""The context tree: one state's tokens, and many questions branching off where it ends.

A branch is itself a small tree: its question is a line, and the digits of a number fan out behind it. A token sees the
context and its own ancestors, so every path from the root is exactly the sequence it would be alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from twinforge.model.attention import Layout


@dataclass(frozen=True)
class Branch:
    """Tokens behind a context.

    Attributes
    ----------
    ids : (n,) token ids.
    parents : (n,) index of the token each one follows, -1 for the context's end; a parent comes before its children.
    reads : (m,) tokens at which the next token's distribution is read.
    """

    ids: np.ndarray
    parents: np.ndarray
    reads: np.ndarray

    @classmethod
    def line(cls, ids: Sequence[int], reads: Sequence[int]) -> Branch:
        """A plain sequence, read at the positions `reads`."""
        return cls(np.asarray(ids), np.arange(len(ids)) - 1, np.asarray(reads))

    @property
    def depths(self) -> np.ndarray:
        """(n,) distance of each token from the context's end, from 0."""
        depths = np.zeros(len(self.ids), dtype=int)
        for token, parent in enumerate(self.parents):
            depths[token] = depths[parent] + 1 if parent >= 0 else 0
        return depths

    @property
    def sees(self) -> np.ndarray:
        """(n, n) whether a token (row) sees another of its branch: itself and its ancestors."""
        sees = np.eye(len(self.ids), dtype=bool)
        for token, parent in enumerate(self.parents):
            if parent >= 0:
                sees[token] |= sees[parent]
        return sees


@dataclass(frozen=True)
class Tree:
    """A context's token ids and the branches that share it."""

    context: np.ndarray
    branches: tuple[Branch, ...]

    @property
    def tokens(self) -> int:
        """Tokens a forward pass handles."""
        return len(self.context) + sum(len(branch.ids) for branch in self.branches)


def pack(trees: Sequence[Tree], device: str | torch.device = "cpu") -> dict[str, Any]:
    """Keyword arguments of a causal language model's forward pass over several trees in one row without padding.

    Returns
    -------
    dict with `input_ids`, `position_ids` (1, tokens); `logits_to_keep` (reads,), the places of every branch's reads, tree
    by tree; `attention_mask`, a (1, 1, 1, 1) stand-in that keeps transformers from building a causal mask; and `tree`,
    the layout that `attention.tree_attention` takes:
    slots (cells,): token of each cell of the padded blocks (any for an `empty` one); places (tokens,): each token's cell;
    contexts (trees, width): the contexts' block of slots, -1 where empty; bias (trees, branches, length, width + length):
    0 where a branch's token sees, else the lowest number.
    """
    width = max(len(tree.context) for tree in trees)
    most = max(len(tree.branches) for tree in trees)
    length = max(len(branch.ids) for tree in trees for branch in tree.branches)
    contexts = np.full((len(trees), width), -1)
    cells = np.full((len(trees), most, length), -1)
    sees = np.zeros((len(trees), most, length, width + length), dtype=bool)
    ids, positions, reads, start = [], [], [], 0
    for t, tree in enumerate(trees):
        ids.append(tree.context)
        positions.append(np.arange(len(tree.context)))
        contexts[t, : len(tree.context)] = start + np.arange(len(tree.context))
        sees[t, ..., : len(tree.context)] = True
        start += len(tree.context)
        for b, branch in enumerate(tree.branches):
            n = len(branch.ids)
            ids.append(branch.ids)
            positions.append(len(tree.context) + branch.depths)
            reads.append(start + branch.reads)
            cells[t, b, :n] = start + np.arange(n)
            sees[t, b, :n, width : width + n] = branch.sees
            start += n
    slots = np.concatenate([contexts.ravel(), cells.ravel()])
    places = np.empty(start, dtype=int)
    places[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
    bias = torch.zeros(sees.shape).masked_fill_(~torch.from_numpy(sees), torch.finfo(torch.bfloat16).min)
    layout: Layout = {
        "slots": torch.from_numpy(slots.clip(min=0)).to(device),
        "empty": torch.from_numpy(np.flatnonzero(slots < 0)).to(device),
        "places": torch.from_numpy(places).to(device),
        "contexts": torch.from_numpy(contexts).to(device),
        "bias": bias.to(device),
    }
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids)).long()[None].to(device),
        "position_ids": torch.from_numpy(np.concatenate(positions)).long()[None].to(device),
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "logits_to_keep": torch.from_numpy(np.concatenate(reads)).long().to(device),
        "tree": layout,
    }
