"""Texts as vectors, by the base model's own input embeddings: no forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from twinforge.errors import UserError

TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")  # how architectures name it


def text_vectors(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Mean input embedding of each text's tokens, (n, width).

    Raises
    ------
    UserError
        The folder's weights hold no input embeddings under a known name.
    """
    from transformers import AutoTokenizer

    table = _table(folder)
    if not texts:
        return np.zeros((0, table.shape[1]))
    tokens = AutoTokenizer.from_pretrained(folder)(list(texts), add_special_tokens=False)["input_ids"]
    return np.stack([table[ids].mean(0) for ids in tokens])


def _table(folder: Path) -> np.ndarray:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:  # numpy knows no bf16
            for name in weights.keys():  # noqa: SIM118 (not a mapping)
                if name.endswith(TABLES):
                    return np.asarray(weights.get_tensor(name).float().numpy())
    raise UserError(f"{folder}: no input embeddings among {', '.join(TABLES)}; use a base model that has one of them")
