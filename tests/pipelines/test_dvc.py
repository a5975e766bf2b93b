"""The real dvc.yaml, run by DVC in a copy of the project whose stages are stand-ins: what reruns, and what must not."""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SECTOR = """
from pydantic import BaseModel
class Settings(BaseModel):
    size: int = 1
NAME = SIGNALS = CLAUSES = TEMPLATES = episodes = episode_count = knowledge = questions = keep = None
"""
STAND_IN = """
import hashlib, json, sys, time
from pathlib import Path
from pipelines import run

DEPS, OUTS, SLEEP = {deps!r}, {outs!r}, Path({sleep!r})

def main(sector):
    while SLEEP.exists():
        time.sleep(0.05)
    deps = [Path(dep.replace("SECTOR", sector)) for dep in DEPS]
    files = [f for d in deps for f in (sorted(d.rglob("*")) if d.is_dir() else [d]) if f.is_file()]
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    for out in OUTS:
        path = Path(out.replace("SECTOR", sector))
        if path.name == "summary.json":
            text = json.dumps(dict(accuracy=dict(twin=int(digest[:4], 16))))
        elif path.name == "learning.csv":
            text = "step,nats,model\\n1,2.0,training loss\\n9,1.0,training loss\\n9,1.5,validation\\n"
        else:
            text = digest
        if not path.suffix:
            path.mkdir(parents=True, exist_ok=True)
            splits = ["train", "calibration", "test", "shift"]
            names = dict(curated=[*splits, "backing/links", *(f"reports/{{s}}" for s in splits)], lake=["knowledge"]).get(path.parent.name, ["part"])
            for name in names:
                (path / (name + ".parquet")).parent.mkdir(exist_ok=True)
                (path / (name + ".parquet")).write_text(text)
            if path.name == "plots":
                (path / "part.parquet").unlink()
                (path / "reliability.csv").write_text("model,confidence,accuracy\\ntwin,0.5,0.5\\ntwin,0.9,0.9\\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

if __name__ == "__main__":
    run(main)
"""


# Code that can't change a stage's values; `resolve` alone declares the recipe, stages that load a sector its protocol.
PLUMBING = (
    "eval/__init__.py", "pipelines/__init__.py", "pipelines/tidy.py", "src/twinforge/__init__.py", "src/twinforge/errors.py",
    "src/twinforge/files.py", "src/twinforge/recipe/", "src/twinforge/sectors/__init__.py",
)  # fmt: skip
RUNNING = {f"src/twinforge/model/{name}.py" for name in ("apart", "attention", "reads", "tree")}
EXEMPT = {"curate": RUNNING, "drift": RUNNING, "package": RUNNING}
# they take a tokenizer, weights as they lie and their hash by model/base.py; how the model runs is nothing to them


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def env(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        git = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        cache = {"DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site"), "DVC_NO_ANALYTICS": "1"}
        return {**os.environ, **git, **cache, "PATH": path, "PYTHONPATH": str(self.root / "src")}

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words)

    def repro(self, *targets: str) -> list[str]:
        """The stages that ran."""
        return re.findall(r"Running stage '(\S+)'", self.dvc("repro", *targets))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def build(root: Path, sectors: list[str]) -> Project:
    """A copy of the project's plumbing with stand-ins for every stage but `resolve`."""
    for folder in ("src/twinforge", "eval", "recipes/profiles", "reports/studies", ".dvc"):
        ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
        shutil.copytree(PROJECT / folder, root / folder, ignore=ignore)
    for file in ("dvc.yaml", ".dvcignore", ".gitignore", "recipes/base.yaml"):
        shutil.copy(PROJECT / file, root / file)
    (root / "pipelines").mkdir()
    for name in ("__init__", "resolve", "tidy"):
        shutil.copy(PROJECT / "pipelines" / f"{name}.py", root / "pipelines")
    plots = (root / "dvc.yaml").read_text().replace("reports/energy/", f"reports/{sectors[0]}/")
    (root / "dvc.yaml").write_text(plots)
    (root / "params.yaml").write_text(yaml.safe_dump({"sectors": sectors, "profile": "cpu"}))
    for sector in sectors:
        plugin = root / "src/twinforge/sectors" / sector
        plugin.mkdir()
        (plugin / "__init__.py").write_text(SECTOR)
        (plugin / "dimensions.py").write_text("")
        text = f"# a comment\nsector: {sector}\nlora:\n  r: 16\nevaluate:\n  resamples: 500\n"
        (root / "recipes" / f"{sector}.yaml").write_text(text)
    for name, stage in stages().items():
        if name != "resolve":
            paths = {key: [path.replace("${item.sector}", "SECTOR") for path in stage[key]] for key in ("deps", "outs")}
            sleep = str(root / f"hold-{name}")
            (root / "pipelines" / f"{name}.py").write_text(STAND_IN.format(**paths, sleep=sleep))
    project = Project(root)
    project.run("git", "init", "-q")
    commit(project)
    return project


def stages() -> dict[str, dict[str, list[str]]]:
    """Stage -> deps and all outs, as dvc.yaml words them."""
    written: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    found = {}
    for name, stage in written.items():
        outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        found[name] = {
            "deps": stage["deps"],
            "outs": [out if isinstance(out, str) else next(iter(out)) for out in outs],
        }
    return found


def commit(project: Project) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "work")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    built = build(tmp_path_factory.mktemp("project"), ["alpha", "beta"])
    ran = built.repro()
    assert sorted(ran) == sorted(f"{stage}@{sector}" for stage in stages() for sector in ("alpha", "beta"))
    commit(built)
    yield built


def test_no_out_lies_inside_another() -> None:
    outs = [Path(out) for stage in stages().values() for out in stage["outs"]]
    assert not [(a, b) for a in outs for b in outs if a != b and a in b.parents]
    assert len(outs) == len(set(outs))


def test_every_module_that_shapes_an_out_is_declared() -> None:
    for name, stage in stages().items():
        declared = {dep.split("/${item.sector}")[0] if "sectors" in dep else dep for dep in stage["deps"]}
        missing = {file for file in code_of(name) if not any(f"{file}/".startswith(f"{dep}/") for dep in declared)}
        assert missing == EXEMPT.get(name, set()), name


def code_of(stage: str) -> set[str]:
    """Project files that a stage's module imports, through others too, less the plumbing."""
    found: set[str] = set()
    todo = [f"pipelines/{stage}.py"]
    while todo:
        file = todo.pop()
        if file not in found and not file.startswith(PLUMBING):
            found.add(file)
            todo += [each for name in imports(PROJECT / file) if (each := file_of(name))]
    return found


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    path = module.replace(".", "/")
    places = (f"{folder}{path}{end}" for folder in ("src/", "") for end in (".py", "/__init__.py"))
    return next((place for place in places if (PROJECT / place).is_file()), None)


def test_nothing_changed_runs_nothing_in_five_seconds(project: Project) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert project.repro() == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # not the wall: others may run too
    assert spent < 5


def test_git_sees_no_pipeline_outs_but_the_small_ones(project: Project) -> None:
    tracked = project.run("git", "ls-files").split()
    names = ("learning.csv", "metrics.json", "summary.json", "gate.json", "plots/reliability.csv")
    kept = {f"reports/alpha/{name}" for name in names}
    assert {file for file in tracked if "/alpha/" in file and not file.startswith("src/")} == kept


def test_a_comment_reruns_at_most_resolve(project: Project) -> None:
    project.edit("recipes/alpha.yaml", "# a comment", "# another comment")
    assert set(project.repro()) <= {"resolve@alpha"}


def test_a_value_reruns_its_readers_in_its_sector_only(project: Project) -> None:
    project.edit("recipes/alpha.yaml", "r: 16", "r: 8")
    ran = project.repro()
    assert ran[:2] == ["resolve@alpha", "train@alpha"]
    assert not [stage for stage in ran if stage.endswith("@beta") or stage in ("lake@alpha", "curate@alpha")]
    project.edit("recipes/beta.yaml", "resamples: 500", "resamples: 600")
    rerun = {"resolve@beta", "evaluate@beta", "gate@beta", "report@beta", "package@beta"}
    assert set(project.repro()) == rerun
    commit(project)


def test_experiments_and_diffs(project: Project) -> None:
    out = project.dvc("exp", "run", "-S", "recipes/alpha.yaml:lora.r=32")
    ran = re.findall(r"Running stage '(\S+)'", out)
    assert ran[:2] == ["resolve@alpha", "train@alpha"]
    assert "lora.r" in project.dvc("params", "diff")
    changed = json.loads(project.dvc("metrics", "diff", "--json"))["reports/alpha/summary.json"]
    assert changed["accuracy.twin"]["diff"] != 0
    project.dvc("plots", "show")
    page = (project.root / "dvc_plots/index.html").read_text()
    assert "As often right as it is sure" in page and "strokeDash" in page
    assert "Learning" in page and "training loss" in page
    commit(project)


def test_kill_9_needs_no_hand_work(project: Project) -> None:
    hold = project.root / "hold-train"
    hold.touch()
    project.edit("recipes/alpha.yaml", "r: 32", "r: 4")
    command = [sys.executable, "-m", "dvc", "repro", "train@alpha"]
    run = subprocess.Popen(
        command, cwd=project.root, env=project.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stage = wait_for_stage(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    psutil.wait_procs([stage], timeout=5)
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE
    assert (project.root / ".dvc/tmp/rwlock").read_text() != "{}"
    hold.unlink()
    project.run(sys.executable, "-m", "pipelines.tidy")
    assert project.repro("train@alpha") == ["train@alpha"]
    assert project.repro("train@alpha") == []


def wait_for_stage(pid: int) -> psutil.Process:
    for _ in range(400):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended between being listed and being asked
                if "pipelines.train" in child.cmdline():
                    return child
        time.sleep(0.05)
    raise AssertionError("the stage never started")
