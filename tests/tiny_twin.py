"""A whole packaged twin of the toy sector over a tiny random Llama: real stages, no download, no training."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.toy_recipe import RECIPE

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CELL = {"low": 0.4, "high": 0.6, "n": 30, "better": "higher"}
METRICS = {
    "quality": {
        "test": {
            "all": {
                "accuracy": {"twin": {"value": 0.5, **CELL}, "llm": {"value": 0.3, **CELL}},
                "coverage": {"twin": {"value": 0.9, **CELL}},
            }
        }
    }
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, with ChatML's marks and template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHAT,
    )


def save_base(folder: Path, seed: int = 0) -> Path:
    """A random Llama of hidden size 32 with its tokenizer, as a folder."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 8, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=8192, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path) -> None:
    """A LoRA with random weights in both factors, so that it changes every answer."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(folder)


def write_recipe(root: Path, base: Path, days: int = 14) -> None:
    """The toy's recipe and a profile that names the tiny base."""
    sector: dict[str, Any] = yaml.safe_load(RECIPE)
    sector["lake"] |= {"days": days, "shift_days": 2}
    sector["curate"]["max_context_tokens"] = 2048
    sector["experts"] = {"rounds": 5, "min_leaf": 5}
    profile = {"model": {"base": str(base)}, "compute": {"device": "cpu", "precision": "fp32"}}
    profile["budget"] = {"states_per_day": 4, "epochs": 1.0}
    (root / "recipes" / "profiles").mkdir(parents=True)
    (root / "recipes" / "toy.yaml").write_text(yaml.safe_dump(sector), encoding="utf-8")
    (root / "recipes" / "profiles" / "cpu.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")


def build(root: Path) -> Path:
    """Run the stages under `root`, a random adapter in place of training; returns the packaged twin's folder."""
    from eval.scores import SCORE, score
    from pipelines import Paths, calibrate, curate, integrate, lake, package, resolve, write
    from twinforge.artifact import answers_of
    from twinforge.drift.reference import Reference
    from twinforge.files import read_table, write_json, write_table
    from twinforge.model.base import load_base
    from twinforge.recipe import read_slice
    from twinforge.records import ANSWER, QUESTION, SPLITS
    from twinforge.training.experts import NAMES, fit_experts

    base = save_base(root / "base")
    write_recipe(root, base)
    with contextlib.chdir(root):
        paths = Paths("toy")
        for stage in (resolve, lake, curate):
            stage.main("toy")
        save_adapter(base, paths.adapter)
        recipe = read_slice(paths.recipe("package"))
        tables = {split: read_table(paths.questions(split), QUESTION) for split in SPLITS}
        experts = fit_experts(tables["train"], recipe.experts, recipe.seed)
        experts.save(paths.experts)
        test = tables["test"].groupby("episode").head(10).head(20)  # of two days, so that twins can be compared
        asked = [
            tables["train"][tables["train"]["validation"]],
            tables["calibration"].head(80),
            test,
        ]
        network, tokenizer = load_base(recipe.model, recipe.compute)
        rows = pd.concat(asked, ignore_index=True)
        write_table(answers_of(network, tokenizer, rows, 8), paths.answers_of("llm"), ANSWER)
        for name in NAMES:
            write_table(experts.answer(name, rows), paths.answers_of(name), ANSWER)
        write.main("toy")
        integrate.main("toy")
        calibrate.main("toy")
        Reference(2000).save(paths.drift_reference)
        write_json(METRICS, paths.metrics)
        twin = read_table(paths.twin_answers, ANSWER)
        scored = score(test.assign(split="test"), twin[twin["question"].isin(test["id"])], "twin", 0.1)
        write_table(scored, paths.suites / "quality.parquet", SCORE)
        write_json({"steps": 0, "note": "no training"}, paths.training)
        package.main("toy")
    return root / "twins" / "toy"


@functools.cache
def shared() -> Path:
    """One twin for all tests of a run; nothing may be changed in it (copy it first). Its base is `shared().parents[1] / "base"`."""
    holder = tempfile.TemporaryDirectory(prefix="tiny-twin-")
    _KEPT.append(holder)
    return build(Path(holder.name))


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the interpreter ends
