"""The command line: quick help, one line and exit 2 for a mistake, answers on the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny_twin import shared
from twinforge.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def twin() -> Path:
    return shared()


@pytest.fixture(scope="module")
def base() -> str:
    return str(shared().parents[1] / "base")


def run(*arguments: str | Path) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)


def test_help_teaches_and_is_quick() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "twinforge.cli", "--help"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5
    for command in (
        "check",
        "preflight",
        "verify",
        "ask",
        "demo",
        "export",
        "gate",
        "evaluate",
        "compare",
        "twinforge ask twins/energy",
    ):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command", ["check", "preflight", "verify", "ask", "demo", "export", "publish", "gate", "evaluate", "compare"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert command in capsys.readouterr().out


def test_verify_says_whole(twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", twin) == 0
    assert "whole" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", tmp_path / "nothing") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert not said.out


def test_publish_obeys_the_gate(
    twin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("publish", twin, "--tag", "v1.0.0") == 2
    assert "gate.json: no such file" in capsys.readouterr().err
    assert run("publish", twin) == 2
    assert "--to OWNER/NAME" in capsys.readouterr().err


def test_ask_refuses_what_it_was_not_calibrated_on(twin: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", twin, "Who won the cup?", "--base", base) == 2
    assert "nearest it answers" in capsys.readouterr().err


def test_ask_answers(twin: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", twin, "How high is tank B 2 h after pump P1 is lost?", "--base", base, "--state", "2") == 0
    page = capsys.readouterr().out
    for word in ("90% interval", "llm says", "boost says", "twin says", "truth", "asked as"):
        assert word in page


def test_ask_lists_states_and_questions(twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", twin, "--states") == 0
    assert "toy-2024" in capsys.readouterr().out
    assert run("ask", twin, "--questions") == 0
    assert "tank" in capsys.readouterr().out


def test_demo_answers_ten_with_the_truth(twin: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", twin, "--base", base) == 0
    page = capsys.readouterr().out
    assert page.count("evidence") == 10
    assert "of 10 sets hold the truth" in page


def test_export_prints_the_difference(
    twin: Path, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", twin, "--merged", tmp_path / "out", "--base", base) == 0
    told = re.findall(r"(choice|entities|number) (\d\.\de-\d\d) \(\d+ questions\)", capsys.readouterr().out)
    assert [kind for kind, _ in told] == ["choice", "entities", "number"] and all(
        float(nats) < 1e-3 for _, nats in told
    )


def test_check_lists_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("sector: toy\nmodule: tests.toy\ncurate:\n  validatoin: 0.1\n", encoding="utf-8")
    assert run("check", recipe) == 2
    assert "validation" in capsys.readouterr().err
    recipe.write_text("sector: toy\nmodule: tests.toy\n", encoding="utf-8")
    assert run("check", recipe) == 0
    assert "no mistakes" in capsys.readouterr().out


def test_compare_reads_the_scores_of_packaged_twins(twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", twin, twin) == 0
    page = capsys.readouterr().out
    assert "+0.000 [+0.000, +0.000]" in page and "answered by both" in page
    assert run("compare", twin, twin / "nothing.parquet") == 2
    assert "nothing.parquet: no such file" in capsys.readouterr().err
