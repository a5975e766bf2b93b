"""How likely a model finds each of several ways to go on from a text: one context tree a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from twinforge.model.adapter import one_precision
from twinforge.model.tree import Branch, Tree, pack


def continuation_logs(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    continuations: Sequence[Sequence[str]],
    batch_trees: int,
) -> list[np.ndarray]:
    """Mean log-probability a token of each continuation of each text, in nats.

    The mean, not the sum: a long continuation is not unlikelier for being long.
    """
    trees, targets = [], []
    for text, ways in zip(texts, continuations, strict=True):
        start = tokenizer(text, add_special_tokens=False)["input_ids"]
        told = [tokenizer(way, add_special_tokens=False)["input_ids"] for way in ways]
        # the text's last token leads each branch, to read what follows it
        lines = [[start[-1], *ids[:-1]] for ids in told]
        trees.append(Tree(np.array(start[:-1]), tuple(Branch.line(line, range(len(line))) for line in lines)))
        targets.append(told)
    found: list[np.ndarray] = []
    for first in range(0, len(trees), batch_trees):
        with torch.inference_mode(), one_precision(model):
            logits = model(**pack(trees[first : first + batch_trees], device=model.device), use_cache=False).logits[0]
        logs, at = logits.float().log_softmax(-1).cpu(), 0
        for told in targets[first : first + batch_trees]:
            means = []
            for ids in told:
                rows = logs[at : at + len(ids)]
                means.append(float(rows[torch.arange(len(ids)), torch.tensor(ids)].mean()))
                at += len(ids)
            found.append(np.array(means))
    return found
