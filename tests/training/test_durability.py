"""Whatever ends a run, it says what to do in one line, leaves nothing half-written, and goes on to the same adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.model.tiny import save_tiny
from tests.training.runs import start
from twinforge.training.checkpoints import latest

EARLY = {"check_every": 3, "patience": 2}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, torch.Tensor]]:
    """The adapter of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(tiny, folder / "run", folder / "adapter")
    assert process.wait() == 0, process.communicate()[1]
    yield weights(folder / "adapter")


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(adapter / "adapter_model.safetensors"))


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys() and any(tensor.abs().max() > 1e-3 for tensor in ours.values())
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0)


def test_killed_again_and_again_it_ends_with_the_same_adapter(
    tiny: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    for happens, newest in (("kill at step 1", None), ("kill in save 4", 2), ("kill at step 9", 8)):
        killed = start(tiny, run, target, happens)
        assert killed.wait() == -9, killed.communicate()[1]
        found = latest(run)
        assert (found and int(found.name[11:])) == newest and not target.exists()
    for torn in run.glob("checkpoint-8/optimizer.pt"):
        torn.write_bytes(torn.read_bytes()[:-7])  # as if the disk had lost its end: goes on from step 6
    assert start(tiny, run, target).wait() == 0
    same(weights(target), whole)


def test_killed_it_stops_as_early_as_it_would_have(tiny: Path, tmp_path: Path) -> None:
    ended = []
    for name, happens in (("whole", ""), ("cut", "kill at step 7"), ("cut", "kill in save 12"), ("cut", "")):
        process = start(tiny, tmp_path / name, tmp_path / f"{name}-adapter", happens, **EARLY)
        said = process.communicate()[1]
        assert process.returncode == (-9 if happens else 0), said
        ended += [] if happens else [said.splitlines()[-1]]
    assert ended[0] == ended[1] == "checks: [3, 6, 9, 12]", ended  # of 18 steps: 9 and 12 were no better than 6
    ours, theirs = weights(tmp_path / "cut-adapter"), weights(tmp_path / "whole-adapter")
    same(ours, theirs)
    same(ours, weights(tmp_path / "whole" / "checkpoint-6"))
    again = start(tiny, tmp_path / "cut", tmp_path / "again", **EARLY)  # killed after its end, say
    said = again.communicate()[1]
    assert again.returncode == 0 and said.splitlines()[-1] == ended[0] and "stopped at" not in said
    same(weights(tmp_path / "again"), theirs)


@pytest.mark.parametrize("size", [20_000, 60_000])  # below the adapter's file, and between it and the optimiser's
def test_a_full_disk_is_told_and_survived(
    tiny: Path, whole: dict[str, torch.Tensor], tmp_path: Path, size: int
) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    full = start(tiny, run, target, f"disk of {size} bytes")
    last = full.communicate()[1].strip().splitlines()[-1]
    assert full.returncode == 1 and last.startswith(f"error: {run}: step 6 can't be saved, the disk is full: "), last
    assert "0.1 MiB" in last and "MiB are free" in last and last.endswith("it goes on from step 4")
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint-2", "checkpoint-4", "lower", "lower-checks"]
    assert latest(run) == run / "checkpoint-4" and not target.exists()
    assert start(tiny, run, target).wait() == 0
    same(weights(target), whole)


def test_out_of_memory_names_what_to_lower(tiny: Path, tmp_path: Path) -> None:
    full = start(tiny, tmp_path / "run", tmp_path / "adapter", "memory")
    last = full.communicate()[1].strip().splitlines()[-1]
    assert full.returncode == 1 and last.startswith("error: train: out of memory; lower compute.batch_trees (now 2)"), (
        last
    )
    assert "compute.gradient_checkpointing" in last and "compute.kept_gib" in last
    assert latest(tmp_path / "run") == tmp_path / "run" / "checkpoint-2"
