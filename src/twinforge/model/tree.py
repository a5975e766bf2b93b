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

    def fan(self, lines: Sequence[Sequence[int]]) -> Branch:
        """This branch with lines of tokens side by side behind its end, each read at its own end too."""
        ids, parents, reads = [self.ids], [self.parents], [self.reads]
        end = start = len(self.ids)
        for line in lines:
            ids.append(np.asarray(line))
            parents.append(np.array([end - 1, *range(start, start + len(line) - 1)]))
            start += len(line)
            reads.append(np.array([start - 1]))
        return Branch(*(np.concatenate(part).astype(int) for part in (ids, parents, reads)))

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
    slots (cells,): token of each cell, tree by tree, a context's cells before those of its lanes (any for an `empty` one);
    places (tokens,): each token's cell; width: cells of a context, and length: of a lane, which holds one long branch or
    several short ones; bias (trees, width + lanes * length, width + length): 0 where a cell sees a context's or its own
    lane's, else the lowest number; reads: as `logits_to_keep`, for the last layer (`reads.only_reads`);
    trees: as given, for models that run their paths apart (`model.apart`).
    """
    width = max(len(tree.context) for tree in trees)
    length = max(len(branch.ids) for tree in trees for branch in tree.branches)
    lanes = [_lanes([len(branch.ids) for branch in tree.branches], length) for tree in trees]
    cells = width + length * (1 + max(lane for places in lanes for lane, _ in places))
    slots = np.full(len(trees) * cells, -1)
    of_tree = slots.reshape(len(trees), cells)
    sees = np.zeros((len(trees), cells, width + length), dtype=bool)
    sees[:, :width, :width] = np.tri(width, dtype=bool)
    ids, positions, reads, start = [], [], [], 0
    for t, tree in enumerate(trees):
        n = len(tree.context)
        ids.append(tree.context)
        positions.append(np.arange(n))
        of_tree[t, :n] = start + np.arange(n)
        sees[t, width:, :n] = True
        start += n
        for branch, (lane, offset) in zip(tree.branches, lanes[t], strict=True):
            n, cell, column = len(branch.ids), width + lane * length + offset, width + offset
            ids.append(branch.ids)
            positions.append(len(tree.context) + branch.depths)
            reads.append(start + branch.reads)
            of_tree[t, cell : cell + n] = start + np.arange(n)
            sees[t, cell : cell + n, column : column + n] = branch.sees
            start += n
    places = np.empty(start, dtype=int)
    places[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
    lowest = torch.finfo(torch.bfloat16).min
    bias = torch.zeros(sees.shape, dtype=torch.bfloat16).masked_fill_(~torch.from_numpy(sees), lowest)
    layout: Layout = {
        "slots": torch.from_numpy(slots.clip(min=0)).to(device),
        "empty": torch.from_numpy(np.flatnonzero(slots < 0)).to(device),
        "places": torch.from_numpy(places).to(device),
        "bias": bias.to(device),
        "width": width,
        "reads": torch.from_numpy(np.concatenate(reads)).long().to(device),
        "trees": tuple(trees),
    }
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids)).long()[None].to(device),
        "position_ids": torch.from_numpy(np.concatenate(positions)).long()[None].to(device),
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "logits_to_keep": layout["reads"],
        "tree": layout,
    }


def _lanes(lengths: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Lane and offset of each branch: longest first, each into the first lane of `length` cells that has room."""
    filled: list[int] = []
    found = [(0, 0)] * len(lengths)
    for branch in sorted(range(len(lengths)), key=lambda b: -lengths[b]):
        lane = next((i for i, used in enumerate(filled) if used + lengths[branch] <= length), len(filled))
        if lane == len(filled):
            filled.append(0)
        found[branch] = lane, filled[lane]
        filled[lane] += lengths[branch]
    return found
