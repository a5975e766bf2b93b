"""A peer's environment is made once, and again when its pins change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.environments import python_of

PINS = Path("benchmarks/peers").resolve()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would be run to make environments; only the folder is made."""
    run: list[tuple[str, ...]] = []

    def note(*command: str) -> None:
        run.append(command)
        if "venv" in command:
            (Path(command[-1]) / "lib/python3.11/site-packages").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(environments, "_run", note)
    monkeypatch.chdir(tmp_path)
    (tmp_path / environments._PINS).mkdir(parents=True)
    (tmp_path / environments._PINS / "trl.txt").write_text("trl==1.16.0\n")
    return run


def test_made_once_and_again_when_pins_change(commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    python = python_of("trl")
    assert python == Path(".scratch/bench/trl/bin/python").absolute()
    assert [command[1:4] for command in commands] == [
        ("-m", "venv", "--clear"),
        ("-m", "pip", "install"),
        ("-m", "pip", "install"),
    ]
    assert commands[1][-1].startswith("torch==2.") and "+" not in commands[1][-1] and "--no-deps" in commands[2]
    python_of("trl")
    assert len(commands) == 3
    (environments._PINS / "trl.txt").write_text("trl==1.17.0\n")
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cpu")
    python_of("trl")
    assert len(commands) == 6 and "https://example.org/cpu" in commands[4]


@pytest.mark.parametrize(("peer", "named"), [("llamafactory", "llamafactory==0.9.5"), ("lm_eval", "lm_eval==0.4.13"), ("trl", "trl=="), ("decision", "transformers==")])  # fmt: skip
def test_every_package_is_pinned_but_torch(peer: str, named: str) -> None:
    lines = [line for line in (PINS / f"{peer}.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines) and any(
        line.startswith(named) for line in lines
    )
    assert not any(line.startswith(("torch==", "torchvision", "torchaudio", "nvidia")) for line in lines)
