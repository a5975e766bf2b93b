"""What can't take context trees runs their paths apart: the same results, training and answers, and it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tests.model.test_tree import alone, random_tree
from tests.model.tiny import COMPUTE, FAMILIES, questions, save_tiny, section, tiny_model, tokenizer
from tests.training.runs import base, recipe
from twinforge.model import base as loading
from twinforge.model.answers import answer, plan
from twinforge.model.apart import is_apart, run_apart, takes_trees
from twinforge.model.base import load_base
from twinforge.model.prompt import Prompt
from twinforge.model.tree import Tree, pack
from twinforge.training.finetune import Trained, fine_tune, prepare

LIKE_LLAMA = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "initializer_range": 0.15,
}
NEO: dict[str, Any] = {
    "hidden_size": 48,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
}
ODD = {
    "its own attention": GPTNeoConfig(window_size=8, initializer_range=0.15, **NEO),
    "no attention": MambaConfig(hidden_size=48, num_hidden_layers=2),
    "alibi": BloomConfig(hidden_size=48, n_layer=2, n_head=4, initializer_range=0.15),
    "a soft cap": Gemma2Config(**LIKE_LLAMA),
    "a narrow window": MistralConfig(sliding_window=4, **LIKE_LLAMA),
    "dropout": LlamaConfig(attention_dropout=0.1, **LIKE_LLAMA),
}


def saved(folder: Path, config: Any) -> Path:
    config.vocab_size, config.eos_token_id, config.bos_token_id = len(tokenizer()), 2, 1
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def trees() -> list[Tree]:
    rng = np.random.default_rng(1)
    return [random_tree(rng, branches) for branches in (3, 1, 5)]


@pytest.mark.parametrize("family", FAMILIES)
def test_forced_apart_results_and_gradients_are_those_of_trees(family: str) -> None:
    together, apart = tiny_model(family), tiny_model(family)
    assert takes_trees(together) and not is_apart(together)
    run_apart(apart)
    logits = [model(**pack(trees()), use_cache=False).logits[0].log_softmax(-1) for model in (together, apart)]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=0)
    for found in logits:
        found[:, 7].sum().backward()
    for ours, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert (ours.grad - theirs.grad).norm() <= 1e-4 * ours.grad.norm() + 1e-7


@pytest.mark.parametrize("what", ODD)
def test_what_takes_no_trees_is_told_and_answers_as_sequences_do(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path / "base", ODD[what])
    model, _ = load_base(section(base=str(folder), revision=None, quantization="none"), COMPUTE)
    assert (
        is_apart(model)
        and capsys.readouterr().err.strip().splitlines()[-1] == f"{folder}: {type(model).__name__} {loading.APART}"
    )
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        found, expected = model(**pack(trees()), use_cache=False).logits[0].log_softmax(-1), alone(plain, trees())
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def trained(folder: Path, run: Path, **changes: Any) -> tuple[Trained, list[np.ndarray]]:
    model, words = base(folder)
    course = prepare(model, words, questions(9, validation=0.3), recipe(3, compute={"kept_gib": 0.0}, **changes))
    done, asked = fine_tune(course, run), questions(2, seed=9)
    return done, list(answer(done.model, course.prompt, plan(course.prompt, asked), asked["id"].tolist(), 2)["p"])


def test_it_is_trained_and_asked_like_any_other(tmp_path: Path) -> None:
    folder = saved(tmp_path / "base", ODD["its own attention"])
    done, told = trained(
        folder, tmp_path / "run", lora={"dropout": 0.0, "targets": ["q_proj", "k_proj", "v_proj"], "layers": 1}
    )
    losses = [entry["loss"] for entry in done.record["curve"]]
    assert done.record["run_as"] == "separate sequences" and done.record["lower_seconds"] == 0
    assert np.mean(losses[-3:]) < losses[0] - 0.3 and done.record["checks"]
    fresh, words = base(folder)
    asked = questions(2, seed=9)
    before = answer(fresh, Prompt.of(words), plan(Prompt.of(words), asked), asked["id"].tolist(), 2)["p"]
    assert max(np.abs(p - q).max() for p, q in zip(told, before, strict=True)) > 1e-2


def test_apart_the_same_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny, same = save_tiny(tmp_path / "tiny"), {"dropout": 0.0}
    together, told = trained(tiny, tmp_path / "together", lora=same)
    monkeypatch.setattr(loading, "takes_trees", lambda network: False)
    apart, again = trained(tiny, tmp_path / "apart", lora=same)
    assert (together.record["run_as"], apart.record["run_as"]) == ("context trees", "separate sequences")
    ours, theirs = ([entry["loss"] for entry in done.record["curve"]] for done in (together, apart))
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert max(np.abs(p - q).max() for p, q in zip(told, again, strict=True)) < 1e-4


def test_a_wrong_mask_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model: PreTrainedModel = tiny_model()
    inner = model.forward
    monkeypatch.setattr(model, "forward", lambda **words: inner(**{**words, **({"position_ids": words["position_ids"] * 0} if "tree" in words else {})}))  # fmt: skip
    assert not takes_trees(model)


def test_another_position_is_understood() -> None:
    config = GPT2Config(vocab_size=300, n_embd=48, n_layer=2, n_head=4, attn_pdrop=0.0, initializer_range=0.15)
    config._attn_implementation = "context_tree"
    assert takes_trees(AutoModelForCausalLM.from_config(config))  # learnt positions, read by number
