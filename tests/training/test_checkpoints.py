"""Checkpoints are whole or passed over."""

from pathlib import Path

from twinforge.training.checkpoints import keep_newest, latest, run_key, seal


def written(run: Path, step: int) -> Path:
    part, target = run / "part" / f"checkpoint-{step}", run / f"checkpoint-{step}"
    part.mkdir(parents=True)
    (part / "adapter.safetensors").write_bytes(bytes([step] * 100))
    (part / "deep").mkdir()
    (part / "deep" / "state.json").write_text("{}")
    seal(part, target)
    return target


def test_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    first, second, third, fourth = (written(tmp_path, step) for step in (2, 9, 10, 11))
    (fourth / "whole.json").unlink()
    (third / "adapter.safetensors").write_bytes(b"torn")
    (tmp_path / "part" / "checkpoint-12").mkdir(parents=True)
    assert latest(tmp_path) == second
    assert not third.exists() and not fourth.exists() and first.exists()
    (second / "deep" / "state.json").unlink()
    assert latest(tmp_path) == first


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        written(tmp_path, step)
    keep_newest(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-4"]


def test_the_key_changes_with_recipe_and_data() -> None:
    keys = {run_key({"lr": 1e-3}, "a", "b"), run_key({"lr": 2e-3}, "a", "b"), run_key({"lr": 1e-3}, "a", "c")}
    assert len(keys) == 3 and run_key({"lr": 1e-3}, "a", "b") in keys
