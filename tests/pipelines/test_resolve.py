from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import Paths, resolve
from twinforge.errors import UserError
from twinforge.recipe import STAGES, read_slice

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(PROJECT / "recipes", tmp_path / "recipes")
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_writes_one_sound_slice_a_stage(project: Path) -> None:
    resolve.main("energy")
    written = {path.stem for path in Paths("energy").recipe("lake").parent.iterdir()}
    assert written == set(STAGES)
    assert all(read_slice(Paths("energy").recipe(stage)).sector == "energy" for stage in STAGES)


def test_a_comment_changes_no_slice_and_a_value_only_its_readers(project: Path) -> None:
    resolve.main("energy")
    before = slices()
    recipe = project / "recipes/energy.yaml"
    recipe.write_text("# new\n" + recipe.read_text())
    resolve.main("energy")
    assert slices() == before
    with recipe.open("a") as file:
        file.write("\nevaluate: {resamples: 321}\n")
    resolve.main("energy")
    assert {stage for stage, text in slices().items() if text != before[stage]} == {"evaluate", "package"}


def slices() -> dict[str, str]:
    return {stage: Paths("energy").recipe(stage).read_text() for stage in STAGES}


def test_a_mistake_writes_nothing(project: Path) -> None:
    (project / "recipes/energy.yaml").write_text("sector: energy\nlora: {rank: 4}\n")
    with pytest.raises(UserError, match="recipes/energy.yaml:2"):
        resolve.main("energy")
    assert not (project / "data").exists()


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", "PATH": "/usr/bin:/bin"}
    run = [sys.executable, "-m", "pipelines.resolve", *words]
    return subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True)


def test_the_command_line(project: Path) -> None:
    helped = command("--help", cwd=project)
    assert helped.returncode == 0
    assert "python -m pipelines.resolve" in helped.stdout and "recipes/SECTOR.yaml" in helped.stdout
    wrong = command("atlantis", cwd=project)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: unknown sector 'atlantis'") and "Traceback" not in wrong.stderr
    assert command(cwd=project).returncode == 2
