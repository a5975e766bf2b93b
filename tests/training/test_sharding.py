"""Weights and optimiser in pieces: the configurations, and with DeepSpeed installed the same adapter as one process makes."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl import SFTConfig

from tests.training.runs import start
from tests.training.test_processes import COUNT, SAME, alone, ended, same_adapter, same_course, tiny, whole
from twinforge.errors import UserError
from twinforge.training.checkpoints import latest
from twinforge.training.sharding import installed, options

__all__ = ["tiny", "whole"]
HERE = importlib.util.find_spec("deepspeed") is not None


@pytest.mark.skipif(not HERE, reason="DeepSpeed is not installed (`pip install 'twinforge[cluster]'`)")
@pytest.mark.parametrize("stage", ["zero-2", "zero-3"])
def test_in_pieces_killed_and_resumed_the_same_is_learnt(
    tiny: Path, whole: SimpleNamespace, tmp_path: Path, stage: str
) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    compute = {**COUNT, "sharding": stage, **({"kept_gib": 0.0} if stage == "zero-3" else {})}
    said = ended(start(tiny, run, target, "kill at step 5", compute=compute, **SAME), run, within=200)
    assert said.startswith("error: train: process 1 of 2 was killed (SIGKILL)")
    assert latest(run) == run / "checkpoint-4"
    shutil.copytree(run, tmp_path / "one")
    again = start(tiny, run, target, compute=compute, **SAME)
    assert again.communicate()[1].count("log score") == 2 and again.returncode == 0  # of the steps 6 and 8
    same_course(json.loads((target / "record.json").read_text()), whole.record)
    same_adapter(target, whole.adapter)
    same_course(alone(tiny, tmp_path / "one", tmp_path / "by-one"), whole.record)
    same_adapter(tmp_path / "by-one", whole.adapter)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for sharding in ("zero-2", "zero-3"):
        with pytest.raises(UserError, match=rf"compute.sharding: {sharding}: .*pip install 'twinforge\[cluster\]'"):
            installed(sharding)
    installed("fsdp")
    installed("none")


@pytest.mark.parametrize(("sharding", "stage"), [("zero-2", 2), ("zero-3", 3)])
def test_zero_says_what_is_in_pieces_and_guesses_nothing(sharding: str, stage: int) -> None:
    told = options(sharding, batch_trees=16, grad_clip=0.5, bf16=True)
    config = told["deepspeed"]
    assert config["zero_optimization"]["stage"] == stage and "auto" not in json.dumps(config)
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_clipping"]) == (16, 0.5)
    assert told["bf16"] is config["bf16"]["enabled"] is True


def test_fsdp_is_understood_by_the_trainer(tmp_path: Path) -> None:
    told: Any = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options("fsdp", 16, 1.0, True))
    expected = {
        "fsdp_version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
    }
    assert expected.items() <= told.fsdp_plugin_args.items()
    assert options("none", 16, 1.0, True) == {} and torch.device("cpu") == told.device
