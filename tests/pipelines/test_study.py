"""Studies by the public command: killed and resumed with stand-ins for the stages, and measured on the toy with a tiny model.

The last is the slow one: twelve real stages, each a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.studies import ROW
from pipelines import Paths, evaluate
from tests.pipelines.test_dvc import Project, build, commit
from tests.tiny_twin import save_base
from tests.toy_recipe import RECIPE
from twinforge.files import read_json, read_table, write_json

PROJECT = Path(__file__).parents[2]


def start(project: Project, *words: str) -> subprocess.Popen[str]:
    """The command, in a session of its own so that all that it started can be killed with it."""
    environment = {**project.env, "PYTHONPATH": f"{project.root / 'src'}:{PROJECT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.study", *words], cwd=project.root, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def study(project: Project, *words: str) -> tuple[int, str]:
    started = start(project, *words)
    told = started.communicate()[0]
    return started.returncode, told


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = build(tmp_path_factory.mktemp("project"), ["alpha"])
    for name in ("study", "variants"):
        shutil.copy(PROJECT / "pipelines" / f"{name}.py", project.root / "pipelines")
    commit(project)
    return project


def test_a_killed_study_goes_on_at_the_stage_it_had_come_to(stand_ins: Project) -> None:
    hold = stand_ins.root / "hold-train"
    hold.touch()
    started = start(stand_ins, "alpha", "learning")
    wait_for(stand_ins.root / ".scratch/alpha/studies/learning/1-8/dvc.lock", "curate@alpha", started)
    os.killpg(started.pid, signal.SIGKILL)
    assert "Running stage 'curate@alpha'" in started.communicate()[0]
    hold.unlink()
    code, told = study(stand_ins, "alpha", "learning")
    variants = told.split("study learning: variant ")[1:]
    assert [text.split(",")[0] for text in variants] == ["'1/8'", "'1/4'", "'1/2'", "'1'"]
    assert "Running stage 'curate" not in variants[0] and "Running stage 'train" in variants[0]
    for text in variants[1:]:  # other questions, the same lake
        assert "Stage 'lake@alpha' is cached" in text and "Running stage 'curate" in text
    assert code == 2 and told.splitlines()[-1].startswith(
        "error: .scratch/alpha/studies/learning/1-8/data/curated/alpha/test.parquet: not a"
    )
    assert stand_ins.run("git", "status", "--porcelain") == "" and stand_ins.run("git", "stash", "list") == ""


def test_a_variant_that_fails_is_named(stand_ins: Project) -> None:
    (stand_ins.root / "pipelines/integrate.py").write_text("raise SystemExit(3)\n")
    code, told = study(stand_ins, "alpha", "learning")
    assert code == 2 and told.splitlines()[-1].startswith("error: variant '1/8': stopped, see above;")


def test_a_mistake_in_any_variant_starts_none(stand_ins: Project) -> None:
    recipe = stand_ins.root / "recipes/alpha.yaml"
    recipe.write_text(recipe.read_text() + "study: {sizes: {small: {lake.dayz: 9}}}\n")
    code, told = study(stand_ins, "alpha", "scale")
    assert code == 2 and "Running stage" not in told
    assert (
        "error: variant 'small' of recipes/alpha.yaml" in told
        and "lake.dayz = 9: no such key; did you mean lake.days?" in told
    )


def wait_for(path: Path, text: str, started: subprocess.Popen[str], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or text not in path.read_text():
        assert started.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_what_scale_measured_goes_into_the_metrics_where_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    assert evaluate.studied(paths) == {} and "no reports/studies/toy/scale.json" in capsys.readouterr().out
    measures = {"large": {"all": {"accuracy": {"twin": {"value": 0.5}}}}}
    write_json({"study": "scale", "variants": {}, "measures": measures}, paths.study("scale"))
    assert evaluate.studied(paths) == {"scale": measures} and capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the code with the toy as a sector of its own, and a profile of a tiny model."""
    root = tmp_path_factory.mktemp("toy")
    for folder in ("src/twinforge", "eval", "pipelines"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "recipes/profiles").mkdir(parents=True)
    for file in ("dvc.yaml", ".dvcignore", "recipes/base.yaml"):
        shutil.copy(PROJECT / file, root / file)
    plugin = root / "src/twinforge/sectors/toy"
    plugin.mkdir()
    for name in ("__init__", "dimensions"):
        (plugin / f"{name}.py").write_text("# the toy's code lies elsewhere\n")
    sector = yaml.safe_load(RECIPE)
    sector["lake"] |= {"days": 20, "shift_days": 0}
    sector["curate"] |= {"max_context_tokens": 2048}
    sector |= {"experts": {"rounds": 3, "min_leaf": 5}, "evaluate": {"resamples": 100}, "lora": {"layers": 1}}
    sector["study"] = {"changes": {"train.mask": 0.0}, "sizes": {}, "adapters": [["forecast"]]}
    profile: dict[str, Any] = {
        "model": {"base": str(save_base(root / "base"))},
        "compute": {"device": "cpu", "precision": "fp32", "batch_trees": 8},
        "budget": {"states_per_day": 2, "few_shot_sample": 0, "probe_states": 1},
    }
    (root / "recipes/toy.yaml").write_text(yaml.safe_dump(sector))
    for name in ("cpu", "study"):
        (root / f"recipes/profiles/{name}.yaml").write_text(yaml.safe_dump(profile))
    return Project(root)


def test_a_study_measures_its_variants(toy: Project) -> None:
    code, told = study(toy, "toy", "scale")
    assert code == 0, told
    paths = Paths("toy", toy.root)
    found, rows = read_json(paths.study("scale")), read_table(paths.study_rows("scale"), ROW)
    whole, few = (found["measures"][name] for name in ("as it is", "1 skill"))
    assert set(whole) >= {"all", "forecast", "what-if", "diagnosis"} and set(few) == {"all", "forecast"}
    assert set(few["forecast"]["accuracy"]) == {"twin", "llm", "boost", "rule"}
    asked = rows[(rows["variant"] == "1 skill") & (rows["model"] == "twin")]
    assert few["all"]["accuracy"]["twin"]["n"] == len(asked) > 0
    assert few["all"]["accuracy"]["twin"]["value"] == pytest.approx(asked["right"].mean())
    assert "error_end" in whole["all"] and "error_end" not in few["all"]
    facts = found["variants"]
    assert facts["as it is"]["states"] >= facts["1 skill"]["states"] > 0
    assert facts["as it is"]["questions"] > 3 * facts["1 skill"]["questions"]
    assert facts["as it is"]["assets"] == {"cause": 3, "pump": 2, "tank": 2}
    assert {file.name for file in paths.study("scale").parent.iterdir()} == {"scale.json", "scale.png", "scale.svg"}
