"""Texts as mean input embeddings, held against the model's own layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny_twin import save_base
from twinforge.errors import UserError
from twinforge.reasoning.embedding import text_vectors

TEXTS = ["What does L12 carry?", "Which clause is broken?"]


def test_vectors_are_the_means_of_the_models_own_embeddings(tmp_path: Path) -> None:
    folder = save_base(tmp_path)
    layer = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = text_vectors(folder, TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
        np.testing.assert_allclose(vector, layer(ids).detach().numpy().mean(0), rtol=1e-5, atol=1e-6)
    assert text_vectors(folder, []).shape == (0, found.shape[1])


def test_weights_in_another_format_are_read_too(tmp_path: Path) -> None:
    whole = text_vectors(save_base(tmp_path), TEXTS)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    np.testing.assert_allclose(text_vectors(tmp_path, TEXTS), whole, rtol=0.02, atol=1e-3)


def test_weights_without_embeddings_are_refused(tmp_path: Path) -> None:
    save_base(tmp_path)
    save_file({"lm_head.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="no input embeddings"):
        text_vectors(tmp_path, TEXTS)
