"""Lower layers run once: the same answers, the same adapter, and no cut where an architecture can't be cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import GraniteConfig, GraniteForCausalLM

from tests.model.tiny import COMPUTE, questions, section, tiny_model, tokenizer
from tests.training.runs import TRAIN
from twinforge.model import lower
from twinforge.model.answers import answer, plan
from twinforge.model.attention import CONTEXT_TREE
from twinforge.model.lower import frozen_below, lower_states
from twinforge.model.prompt import Prompt
from twinforge.training.finetune import adapt, fine_tune, prepare

PROMPT = Prompt.of(tokenizer())
FRAME = questions(5)
ASKED = plan(PROMPT, FRAME)
TREES = [asked.tree for asked in ASKED]


def lora(layers: int = 1) -> Any:
    return section(r=4, alpha=8.0, dropout=0.0, layers=layers, targets=["q_proj", "v_proj", "down_proj"], rslora=False)


def adapted(family: str = "llama", layers: int = 1) -> PeftModel:
    model = adapt(tiny_model(family, len(tokenizer())), lora(layers)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "llama-tied-linear-rope"])
def test_base_and_adapter_answer_the_same_from_kept_states(family: str) -> None:
    model, ids = adapted(family), FRAME["id"].tolist()
    kept = lower_states(model, TREES, 2)
    assert kept and kept.at == frozen_below(model) == 2
    assert [len(state) for state in kept.states] == [tree.tokens for tree in TREES] and (kept.seconds > 0).all()
    whole, cut = (answer(model, PROMPT, ASKED, ids, 3, lower=each) for each in (None, kept))
    with model.disable_adapter():
        base, base_cut = (answer(model, PROMPT, ASKED, ids, 3, lower=each) for each in (None, kept))
    for left, right in ((whole, cut), (base, base_cut)):
        assert max(np.abs(p - q).max() for p, q in zip(left["p"], right["p"], strict=True)) < 1e-5
    assert max(np.abs(p - q).max() for p, q in zip(whole["p"], base["p"], strict=True)) > 1e-2
    assert (cut["seconds"] > kept.seconds.min() / 10).all()


def test_training_on_kept_states_gives_the_same_adapter(tmp_path: Path) -> None:
    recipe = section(
        seed=3,
        lora=lora(),
        train=TRAIN,
        budget=section(epochs=3),
    )
    frame, made = questions(8, validation=0.25), {}
    for name, room in (("kept", 1.0), ("anew", 0.0)):
        recipe.compute = section(**{**vars(COMPUTE), "kept_gib": room})
        model = tiny_model("llama", len(tokenizer()))
        done = fine_tune(prepare(model, tokenizer(), frame, recipe), tmp_path / name)
        assert (done.record["lower_seconds"] > 0) is bool(room)
        assert (tmp_path / name / "lower").exists() is bool(room)
        made[name] = {n: p.detach() for n, p in done.model.named_parameters() if p.requires_grad}
    assert max(p.abs().max() for n, p in made["kept"].items() if "lora_B" in n) > 1e-2
    for name, parameter in made["kept"].items():
        torch.testing.assert_close(parameter, made["anew"][name], atol=1e-4, rtol=1e-3)


def test_finished_parts_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower, "KEPT_BATCHES", 1)
    model = adapted()
    first = lower_states(model, TREES, 2, keep=tmp_path)
    assert first and len(list(tmp_path.iterdir())) == 3
    (tmp_path / "000004.safetensors").unlink()
    ran: list[int] = []
    run = lower._run_lower
    monkeypatch.setattr(lower, "_run_lower", lambda m, at, trees: ran.append(len(trees)) or run(m, at, trees))
    again = lower_states(model, TREES, 2, keep=tmp_path)
    assert ran == [1, 1]  # the check that the network can be cut, and the part that was lost
    assert again and all(torch.equal(a, b) for a, b in zip(first.states, again.states, strict=True))


def test_nothing_is_kept_where_it_would_not_be_the_same() -> None:
    assert lower_states(adapted(layers=0), TREES, 2) is None  # adapted from the first layer on
    shape = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 6}
    config = GraniteConfig(
        vocab_size=len(tokenizer()), embedding_multiplier=12.0, attn_implementation=CONTEXT_TREE, **shape
    )
    model = adapt(GraniteForCausalLM(config), lora())  # it scales whatever it is given in place of token ids
    model.eval()
    assert lower_states(model, TREES, 2) is None
