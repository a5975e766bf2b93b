"""Attention over context trees without a mask over the whole: each context attends to itself, each branch to both.

A batch is one packed row of tokens, no padding: what is dense in a transformer (projections, feed-forward) runs on real
tokens only. Here the row is laid out for attention: contexts as (trees, length), branches as (trees, branches,
length). Contexts attend causally; a branch token attends to its tree's whole context and to its ancestors in its own
branch, by two plain batched products under one softmax. So the cost is that of the context once and of the branches
against it, never of branches against each other.

Registered with transformers as the attention implementation `CONTEXT_TREE`. A forward pass that carries no `tree` is
ordinary scaled-dot-product attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from twinforge.errors import UserError

CONTEXT_TREE = "context_tree"
Layout = dict[str, torch.Tensor]  # made by tree.pack: slots, places, empty, contexts, bias


class _LayOut(torch.autograd.Function):
    """Rows of the packed row, one to each cell of the padded blocks (an empty cell gets any row: nothing reads it).

    Both ways are gathers: what autograd would do backward is a scatter, ten times slower on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slots: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        (places,) = ctx.saved_tensors
        return grad.index_select(0, places), None, None


class _PackUp(torch.autograd.Function):
    """The way back: the cells' rows as one packed row, the empty cells left out."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layout: tuple[torch.Tensor, ...]) -> torch.Tensor:
        slots, places, empty = layout
        ctx.save_for_backward(slots, empty)
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        slots, empty = ctx.saved_tensors
        return grad.index_select(0, slots).index_fill_(0, empty, 0), None


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
    """
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    _admit(module, kwargs, tree)
    slots, places, bias = tree["slots"], tree["places"], tree["bias"]
    trees, width = tree["contexts"].shape
    heads = query.shape[1]
    q, k, v = (_LayOut.apply(x[0].transpose(0, 1), slots, places) for x in (query, key, value))
    cut = trees * width
    blocks = [x[:cut].view(trees, width, *x.shape[1:]).transpose(1, 2) for x in (q, k, v)]
    context = _causal(blocks[0], blocks[1], blocks[2], scaling, dropout)
    branches = _branches(q[cut:], k, v, trees, width, bias, scaling or query.shape[-1] ** -0.5, dropout)
    laid = torch.cat([context.transpose(1, 2).reshape(cut, heads, -1), branches])
    return _PackUp.apply(laid, (slots, places, tree["empty"])).unsqueeze(0), None


def _admit(module: torch.nn.Module, kwargs: dict[str, Any], tree: Layout) -> None:
    window = kwargs.get("sliding_window")
    if (window and window < tree["contexts"].shape[1] + tree["bias"].shape[-1]) or any(
        kwargs.get(name) is not None for name in ("softcap", "s_aux", "position_bias")
    ):
        raise UserError(
            f"{type(module).__name__}: this architecture's attention (sliding window, soft cap, sinks or position bias) "
            "can't take context trees; choose a base with plain attention, such as Llama, Qwen2, Qwen3 or SmolLM"
        )


def _causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float | None, dropout: float) -> torch.Tensor:
    """Causal attention of (trees, heads, length, size); shorter contexts are padded at the right, so no mask is due."""
    groups = q.shape[1] // k.shape[1]
    return functional.scaled_dot_product_attention(
        q, repeat_kv(k, groups), repeat_kv(v, groups), is_causal=True, scale=scaling, dropout_p=dropout
    )


def _branches(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    trees: int,
    width: int,
    bias: torch.Tensor,
    scaling: float,
    dropout: float,
) -> torch.Tensor:
    """Branch tokens against their tree's context and their own branch; (trees * branches * length, heads, size)."""
    branches, length = bias.shape[1:3]
    heads, size = q.shape[1:]
    shared = k.shape[1]
    group = heads // shared
    cut = trees * width
    q = (q * scaling).view(trees, branches, length, shared, group, size).permute(0, 3, 1, 4, 2, 5)
    q = q.reshape(trees * shared, branches * group * length, size)
    kc, vc = (x[:cut].view(trees, width, shared, size).transpose(1, 2).reshape(-1, width, size) for x in (k, v))
    kb, vb = (
        x[cut:].view(trees, branches, length, shared, size).permute(0, 3, 1, 2, 4).reshape(-1, length, size)
        for x in (k, v)
    )
    rows = trees * shared * branches
    seen = torch.cat(
        [
            (q @ kc.transpose(1, 2)).view(rows, group * length, width),
            q.view(rows, group * length, size) @ kb.transpose(1, 2),
        ],
        dim=-1,
    ).view(trees, shared, branches, group, length, width + length)
    seen += bias[:, None, :, None].to(seen.dtype)
    p = functional.dropout(torch.softmax(seen, dim=-1), dropout)
    p = p.view(rows, group * length, width + length)
    out = (p[..., :width].reshape(trees * shared, -1, width) @ vc).view(rows, group * length, size)
    out = out + p[..., width:] @ vb
    out = out.view(trees, shared, branches, group, length, size).permute(0, 2, 4, 1, 3, 5)
    return out.reshape(trees * branches * length, heads, size)


AttentionInterface.register(CONTEXT_TREE, tree_attention)
AttentionMaskInterface.register(CONTEXT_TREE, sdpa_mask)
