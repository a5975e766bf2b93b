"""The train stage in two processes, by the same command: the same adapter, written once; and it goes on alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pipelines.train
from tests.pipelines.test_train import PATHS, here, project, settings, stage
from tests.toy_recipe import write_toy
from twinforge.files import read_json, sha256

__all__ = ["here", "project"]
TWO = {"compute": {"processes": 2, "batch_trees": 2}}
ADAPTER = "adapter_model.safetensors"


def test_two_processes_write_what_one_does(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipelines.train.main("toy")
    one, record = load_file(PATHS.adapter / ADAPTER), read_json(PATHS.training)
    shutil.rmtree(PATHS.scratch)
    shutil.rmtree(PATHS.logs)
    shutil.rmtree(PATHS.adapter)
    write_toy(here, **settings(**TWO))
    process = stage("train", here)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "2 processes will train: neither time nor memory is forecast" in " ".join(capfd.readouterr().out.split())
    two, again = load_file(PATHS.adapter / ADAPTER), read_json(PATHS.training)
    assert max(float(weight.abs().max()) for weight in one.values()) > 1e-3
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=0)
    assert (again["processes"], record["processes"]) == (2, 1) and "preflight" not in again
    assert [e["loss"] for e in again["curve"]] == pytest.approx([e["loss"] for e in record["curve"]], abs=1e-4)
    assert again["recipe"]["compute"]["processes"] == 2 and again["hashes"] == record["hashes"]
    assert len(list(PATHS.logs.glob("*/events*"))) == 1 and PATHS.learning.is_file()  # trackers hear one of them
    before = sha256(PATHS.adapter / ADAPTER)
    write_toy(here, **settings())
    pipelines.train.main("toy")  # by the same key: there is nothing left to learn
    assert sha256(PATHS.adapter / ADAPTER) == before and read_json(PATHS.training)["steps"] == record["steps"]
