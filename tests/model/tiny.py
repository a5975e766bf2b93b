"""Tiny random models with SmolLM2's real tokenizer, and small question tables, for the tests of model and training."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.synthetic import question
from twinforge.model.attention import CONTEXT_TREE
from twinforge.model.base import BUNDLED, base_folder
from twinforge.model.reads import only_reads

_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "initializer_range": 0.15,
    "attn_implementation": CONTEXT_TREE,
}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama-tied-linear-rope": (
        LlamaConfig,
        LlamaForCausalLM,
        {
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        },
    ),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "llama-of-32s": (LlamaConfig, LlamaForCausalLM, {"hidden_size": 64, "num_attention_heads": 4}),  # nf4 on a CPU
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16}),
}


def tiny_model(family: str = "llama", vocabulary: int = 300, seed: int = 0) -> PreTrainedModel:
    """A random model in fp32, large enough weights that attention matters."""
    torch.manual_seed(seed)
    config, model, more = FAMILIES[family]
    made = model(config(**{"vocab_size": vocabulary, **_SHAPE, **more})).eval()
    only_reads(made)  # as `load_base` does
    return made


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """SmolLM2's tokenizer."""
    return AutoTokenizer.from_pretrained(base_folder(SimpleNamespace(base=BUNDLED, revision=None)))


def save_tiny(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    """A folder with a tiny random model and the tokenizer, as a base to load."""
    tiny_model(family, len(tokenizer()), seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def section(**values: Any) -> SimpleNamespace:
    """A recipe section."""
    return SimpleNamespace(**values)


COMPUTE = section(
    device="cpu",
    precision="fp32",
    batch_trees=2,
    answer_batch_trees=3,
    gradient_checkpointing=False,
    kept_gib=1.0,
    save_every=2,
    processes=1,
    sharding="none",
)


def questions(states: int, seed: int = 0, validation: float = 0.0) -> pd.DataFrame:
    """Two numbers stand in each state; asked are a class, a yes or no, a number, a set, and one asset that is not there."""
    rng = np.random.default_rng(seed)
    rows = []
    for state in range(states):
        flow, level = int(rng.integers(0, 100)), int(rng.integers(0, 20)) / 2
        same = {
            "context": f"Flow of line 7: {flow} %.\nLevel of tank A: {level} m."
            + " The pump runs." * int(rng.integers(0, 3)),
            "validation": state < validation * states,
        }
        rows += [
            _row(state, same, "standard", "Is the flow above 50 %?", ["yes", "no"], float(flow <= 50)),
            _row(state, same, "what-if", "How full is tank A?", ["low", "middle", "high"], float(level // 3.5)),
            _row(state, same, "diagnosis", "Is tank B leaking?", ["yes", "no"], np.nan),
            _row(state, same, "forecast", "What is the level of tank A?", (0, 9.5, 0.5, "m"), level),
            _row(
                state, same, "dependency", "What is the flow of line 7?", (0, 105, 5, "%"), float(5 * round(flow / 5))
            ),
            _set(state, same, {"line 7": flow > 50, "tank A": level > 4.75, "tank B": False}),
        ]
    return pd.DataFrame(rows)


def _set(state: int, same: dict[str, Any], full: dict[str, bool]) -> dict[str, Any]:
    gold = [i for i, inside in enumerate(full.values()) if inside]
    values = {"options": list(full), "notes": ["in %", "in m", ""], "gold": gold, "gold_total": len(gold)}
    words = {"text": "Who is more than half full?", "truth": float(len(gold)), "kind": "entities"}
    return question(state, f"day-{state // 3}", "dependency", **words, **values, **same)


def _row(state: int, same: dict[str, Any], asked: str, text: str, space: Any, truth: float) -> dict[str, Any]:
    if isinstance(space, list):
        values: dict[str, Any] = {"kind": "choice", "options": space}
    else:
        low, high, step, unit = space
        values = {"kind": "number", "low": low, "high": high, "step": step, "unit": unit, "tolerance": step}
    return question(state, f"day-{state // 3}", asked, text=text, truth=truth, **values, **same)
