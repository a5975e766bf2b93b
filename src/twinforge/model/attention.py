"""Attention over context trees without a mask over the whole: each context attends to itself, each branch to both.

A batch is one packed row of tokens, no padding: what is dense in a transformer (projections, feed-forward) runs on real
tokens only. Here the row is laid out in cells: a tree's context, padded to the longest, and its branches in lanes of
one length. Every cell has scores against its tree's context (one batched product) and a lane's cells have scores
against their own lane (another); both stand in one table under one softmax. So the cost is that of the context once
and of the branches against it, hardly any of branches against each other.

Registered with transformers as the attention implementation `CONTEXT_TREE`. A forward pass that carries no `tree` is
ordinary scaled-dot-product attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from twinforge.errors import UserError

CONTEXT_TREE = "context_tree"
Layout = dict[str, Any]  # made by tree.pack: slots, places, empty, bias, width, reads, trees


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one packed row of context trees, in the form transformers asks for.

    Parameters
    ----------
    query : (1, heads, tokens, size); key, value : (1, key heads, tokens, size).
    tree : the batch's layout from `tree.pack`; None for ordinary attention under `attention_mask`.

    Returns
    -------
    (1, tokens, heads, size), None

    Raises
    ------
    UserError
        The architecture's attention is not plain softmax attention over all that came before.
    """
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    _admit(module, dropout, kwargs, tree)
    scale = scaling or query.shape[-1] ** -0.5
    packed = (x[0].transpose(0, 1) for x in (query * scale, key, value))
    return _TreeAttention.apply(*packed, tree).unsqueeze(0), None


def _admit(module: torch.nn.Module, dropout: float, kwargs: dict[str, Any], tree: Layout) -> None:
    window = kwargs.get("sliding_window")
    odd = any(kwargs.get(name) is not None for name in ("softcap", "s_aux", "position_bias"))
    if dropout or odd or (window and window < tree["bias"].shape[-1]):
        raise UserError(
            f"{type(module).__name__}: this architecture's attention (sliding window, soft cap, sinks, position bias or "
            "dropout) can't take context trees; choose a base with plain attention, such as Llama, Qwen2, Qwen3 or SmolLM"
        )


class _TreeAttention(torch.autograd.Function):
    """softmax(q kᵀ + bias) v over the cells, with its gradient written out: autograd's own would fill and add up a
    full table for every part of a table that is read, and took twice the time."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tree: Layout) -> torch.Tensor:
        cells = _Cells.of(tree, shared=k.shape[1], group=q.shape[1] // k.shape[1])
        with torch.autocast(q.device.type, enabled=False):
            query, key, value = cells.lay(q), cells.lay(k), cells.lay(v)
            table = cells.products(query, key)
            by_cell = table.view(cells.trees, cells.shared, cells.count, cells.group, -1)
            by_cell += tree["bias"][:, None, :, None]
            weights = torch.softmax(table, dim=-1)
            out = cells.weighted(weights, value)
            ctx.save_for_backward(query, key, value, weights, out)
            ctx.cells = cells
            return cells.pack(out)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        query, key, value, weights, out = ctx.saved_tensors
        cells: _Cells = ctx.cells
        with torch.autocast(grad.device.type, enabled=False):
            received = cells.lay(grad, blank=True)
            to_value = cells.gathered(weights, received)
            share = (received.float() * out).sum(-1, keepdim=True)  # = Σ weight · its gradient, a row (Dao et al. 2022)
            table = cells.products(received, value).sub_(share.to(grad.dtype)).mul_(weights)
            to_query, to_key = cells.weighted(table, key), cells.gathered(table, query)
            return cells.pack(to_query), cells.pack(to_key), cells.pack(to_value), None


@dataclass(frozen=True)
class _Cells:
    """Where tokens lie in the cells, and the products between cells that see each other.

    Laid-out tensors are (trees * shared heads, cells * group, size), the group being the query heads that share a key
    head (1 for keys and values); a table is (trees * shared heads, cells * group, width + length): columns for a tree's
    context, then for the row's own lane.
    """

    slots: torch.Tensor
    places: torch.Tensor
    empty: torch.Tensor
    trees: int
    width: int
    length: int
    lanes: int
    shared: int
    group: int

    @classmethod
    def of(cls, tree: Layout, shared: int, group: int) -> _Cells:
        trees, count, columns = tree["bias"].shape
        width = tree["width"]
        length = columns - width
        lanes = (count - width) // length
        return cls(tree["slots"], tree["places"], tree["empty"], trees, width, length, lanes, shared, group)

    @property
    def count(self) -> int:
        return self.width + self.lanes * self.length

    def lay(self, x: torch.Tensor, blank: bool = False) -> torch.Tensor:
        """(tokens, heads, size) in cells; an empty cell holds any token's row, or zeros if `blank`."""
        laid = x.index_select(0, self.slots)
        if blank:
            laid.index_fill_(0, self.empty, 0)
        laid = laid.view(self.trees, self.count, self.shared, -1, x.shape[-1]).transpose(1, 2)
        return laid.reshape(self.trees * self.shared, -1, x.shape[-1])

    def pack(self, laid: torch.Tensor) -> torch.Tensor:
        """The way back, to (tokens, heads, size); what stands in empty cells is dropped."""
        size = laid.shape[-1]
        x = laid.view(self.trees, self.shared, self.count, -1, size).transpose(1, 2)
        return x.reshape(self.trees * self.count, -1, size).index_select(0, self.places)

    def products(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """The table of rows · columnsᵀ; 0 in a context's cells against a lane."""
        cut = self.width * self.group
        table = rows.new_empty(*rows.shape[:2], self.width + self.length)
        table[..., : self.width] = rows @ columns[:, : self.width].transpose(1, 2)
        table[:, :cut, self.width :] = 0
        own = self._own(rows) @ self._own(columns).transpose(1, 2)
        table[:, cut:, self.width :] = own.view(len(rows), -1, self.length)
        return table

    def weighted(self, table: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """table · columns, laid out as the table's rows."""
        out = table[..., : self.width] @ columns[:, : self.width]
        own = self._own(table[..., self.width :]) @ self._own(columns)
        out[:, self.width * self.group :] += own.view(len(table), -1, columns.shape[-1])
        return out

    def gathered(self, table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """tableᵀ · rows, laid out as the table's columns."""
        context = table[..., : self.width].transpose(1, 2) @ rows
        own = self._own(table[..., self.width :]).transpose(1, 2) @ self._own(rows)
        return torch.cat([context, own.view(len(table), -1, rows.shape[-1])], dim=1)

    def _own(self, laid: torch.Tensor) -> torch.Tensor:
        """The lanes' part, one matrix a lane: (trees * shared heads * lanes, length * group, last)."""
        group = laid.shape[1] // self.count
        last = laid.shape[-1]
        return laid[:, self.width * group :].reshape(-1, self.length * group, last)


AttentionInterface.register(CONTEXT_TREE, tree_attention)
AttentionMaskInterface.register(CONTEXT_TREE, sdpa_mask)
