"""Training on context trees: it learns, says what it did, and stops at a bad number."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.model.tiny import COMPUTE, questions, save_tiny, section
from tests.training.runs import LORA, base, recipe
from twinforge.errors import UserError
from twinforge.model.adapter import load_adapter, save_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import load_base
from twinforge.model.prompt import Prompt
from twinforge.training import finetune
from twinforge.training.finetune import adapt, fine_tune, prepare


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny")


def trained(folder: Path, frame: pd.DataFrame, run: Path, **changes: Any) -> finetune.Trained:
    model, tokenizer = base(folder)
    return fine_tune(prepare(model, tokenizer, frame, recipe(**changes)), run)


def test_learns_and_tells_what_it_did(tiny: Path, tmp_path: Path) -> None:
    frame = questions(12, validation=0.25)
    done = trained(tiny, frame, tmp_path / "run", epochs=4)
    record = done.record
    assert record["steps"] == 20 and record["questions"] == 54 and record["answers"] == 4 * 54
    curve = record["curve"]
    assert [entry["step"] for entry in curve] == list(range(1, 21))
    assert curve[0]["learning_rate"] < curve[3]["learning_rate"] > curve[-1]["learning_rate"]
    assert 0.8 * np.log(49152) < curve[0]["loss"] < 1.5 * np.log(49152)  # below: a leak; above: a wrong mask
    assert np.mean([entry["loss"] for entry in curve[-5:]]) < 0.75 * curve[0]["loss"]
    assert record["validation"]["n"] == 18 and 0 <= record["validation"]["accuracy"] <= 1
    assert all(np.isfinite(entry["loss"]) for entry in curve)


def test_only_the_top_layers_are_adapted(tiny: Path) -> None:
    model = adapt(base(tiny)[0], LORA)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(names) == 2 * 2 * 7 and all(".layers.1." in name or ".layers.2." in name for name in names)
    everywhere = adapt(base(tiny)[0], section(**{**vars(LORA), "layers": 0}))
    assert sum(parameter.requires_grad for parameter in everywhere.parameters()) == 3 * 2 * 7
    with pytest.raises(UserError, match=r"lora.layers: 4: the base has 3"):
        adapt(base(tiny)[0], section(**{**vars(LORA), "layers": 4}))
    with pytest.raises(UserError, match="lora.targets"):
        adapt(base(tiny)[0], section(**{**vars(LORA), "targets": ["no_such_proj"]}))


def test_saved_adapter_answers_as_it_did(tiny: Path, tmp_path: Path) -> None:
    frame = questions(4, validation=0.25)
    done, (model, tokenizer) = trained(tiny, frame, tmp_path / "run"), base(tiny)
    prompt = Prompt.of(tokenizer)
    save_adapter(done.model, tokenizer, "the-base", tmp_path / "adapter")
    before = answer(model, prompt, plan(prompt, frame), frame["id"].tolist(), 2)["p"]
    now = answer(load_adapter(model, tmp_path / "adapter"), prompt, plan(prompt, frame), frame["id"].tolist(), 2)["p"]
    then = answer(done.model, prompt, plan(prompt, frame), frame["id"].tolist(), 2)["p"]
    for p, q, untrained in zip(now, then, before, strict=True):
        np.testing.assert_allclose(p, q, atol=1e-6)
        assert np.abs(p - untrained).max() > 1e-3
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert files >= {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "decision_template.jinja"}
    assert not any(str(tiny) in p.read_text() for p in (tmp_path / "adapter").glob("*.json"))
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="train first"):
        load_adapter(base(tiny)[0], tmp_path / "adapter")


def test_a_loss_that_is_no_number_stops_and_names_the_batch(tiny: Path, tmp_path: Path) -> None:
    frame = questions(8)
    with pytest.raises(UserError, match=r"step \d+: the loss is nan on the questions \[.*what-if-choice"):
        trained(tiny, frame, tmp_path / "run", lr=1e38, epochs=3)


def test_four_bit_base_is_the_one_its_adapter_is_scored_on(tmp_path: Path) -> None:
    tiny, frame = save_tiny(tmp_path / "base", "llama-of-32s"), questions(6, validation=0.3)
    network, tokenizer = load_base(section(base=str(tiny), revision=None, quantization="nf4"), COMPUTE)
    prompt, asked = Prompt.of(tokenizer), questions(2, seed=9)
    other = load_base(section(base=str(tiny), revision=None, quantization="nf4"), COMPUTE)[0]
    answer(other, prompt, plan(prompt, asked), asked["id"].tolist(), 2)  # a base that has answered learns the same
    done, again = (
        fine_tune(prepare(model, tokenizer, frame, recipe()), tmp_path / f"run-{number}")
        for number, model in enumerate((network, other))
    )
    for ours, theirs in zip(done.model.parameters(), again.model.parameters(), strict=True):
        if ours.requires_grad:
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    save_adapter(done.model, tokenizer, "base", tmp_path / "adapter")
    then = answer(done.model, prompt, plan(prompt, asked), asked["id"].tolist(), 2)["p"]
    for quantization, same in (("nf4", True), ("none", False)):
        fresh = load_base(section(base=str(tiny), revision=None, quantization=quantization), COMPUTE)[0]
        adapted = load_adapter(fresh, tmp_path / "adapter")
        now = answer(adapted, prompt, plan(prompt, asked), asked["id"].tolist(), 2)["p"]
        off = float(max(np.abs(p - q).max() for p, q in zip(now, then, strict=True)))
        assert (off < 2e-3) is same, off
