"""The train and answer stages, run as a user runs them, on the toy sector and a tiny random base."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pipelines.answer
import pipelines.curate
import pipelines.lake
import pipelines.probe
import pipelines.train
from eval.probes import PROBE
from pipelines import Paths
from tests.model.tiny import save_tiny
from tests.toy_recipe import write_toy
from twinforge.claims import REPORT
from twinforge.cli import main
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, sha256
from twinforge.records import ANSWER, QUESTION, space_of
from twinforge.training.experts import NAMES

ROOT = Path(__file__).parents[2]
PATHS = Paths("toy")


def settings(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    chosen: dict[str, dict[str, Any]] = {
        "lake": {"days": 12, "shift_days": 2},
        "lora": {"layers": 2},
        "train": {"lr": 0.01},
        "experts": {"rounds": 5},
        "model": {"base": "tiny"},
        "compute": {"device": "cpu", "precision": "fp32", "batch_trees": 2, "save_every": 2},
        "budget": {"few_shot_sample": 12, "shots": 2, "states_per_day": 3, "epochs": 1.0},
    }
    return {name: {**values, **changes.get(name, {})} for name, values in chosen.items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything up to `train` has run."""
    root = tmp_path_factory.mktemp("project")
    save_tiny(root / "tiny")
    write_toy(root, **settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        pipelines.lake.main("toy")
        pipelines.curate.main("toy")
    return root


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    write_toy(project, **settings())
    return project


def stage(name: str, root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", f"pipelines.{name}", "toy"]
    return subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)


def preflight(*words: str) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as done:
        main(["preflight", *words])
    return int(done.value.code or 0)


@pytest.fixture(scope="module")
def trained(project: Path) -> dict[str, Any]:
    write_toy(project, **settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        pipelines.train.main("toy")
        record = read_json(PATHS.training)
        record["adapter"] = sha256(PATHS.adapter / "adapter_model.safetensors")
    return record


def test_train_writes_the_adapter_the_experts_and_a_record(trained: dict[str, Any], here: Path) -> None:
    assert (PATHS.adapter / "adapter_config.json").is_file() and any(PATHS.experts.iterdir())
    train = read_table(PATHS.questions("train"), QUESTION)
    asked, most = most_learnt()
    assert asked < trained["answers"] == trained["questions"] <= most
    assert trained["validation"]["n"] == int(train["validation"].sum())
    assert trained["hashes"]["data"] == sha256(PATHS.questions("train")) and trained["base"] == "tiny"
    assert trained["curve"][-1]["loss"] < trained["curve"][0]["loss"]
    assert len(list((PATHS.scratch / "train").iterdir())) == 1  # its own: cut off at its end, the stage is done at once
    drawn = pd.read_csv(PATHS.learning)
    loss, checks = (drawn[drawn["model"] == name] for name in ("training loss", "validation"))
    assert np.allclose(loss["nats"], [entry["loss"] for entry in trained["curve"]], atol=1e-4)
    assert checks["step"].tolist() == [trained["steps"]] == [trained["best_step"]]
    assert np.allclose(checks["nats"], -trained["validation"]["log_score"], atol=1e-4)


def test_it_can_be_watched_and_that_changes_nothing(trained: dict[str, Any], here: Path) -> None:
    (run,) = PATHS.logs.iterdir()
    events = EventAccumulator(str(run)).Reload()
    shown = {event.step: event.value for event in events.Scalars("train/loss")}
    assert shown == pytest.approx({entry["step"]: entry["loss"] for entry in trained["curve"]}, rel=1e-6)
    assert events.Scalars("eval/log_score")[-1].value == pytest.approx(trained["validation"]["log_score"], rel=1e-6)
    (scratch,) = (PATHS.scratch / "train").iterdir()
    shutil.rmtree(PATHS.scratch)
    shutil.rmtree(PATHS.logs)
    write_toy(here, **settings(train={"report_to": []}))
    pipelines.train.main("toy")
    assert sha256(PATHS.adapter / "adapter_model.safetensors") == trained["adapter"]
    assert not PATHS.logs.exists() and scratch.is_dir()  # the same run by its key: who watches is no part of it


def test_forecast_and_what_came_of_it_stand_side_by_side(trained: dict[str, Any], here: Path) -> None:
    told = trained["preflight"]
    assert told["seconds"]["actual"] == trained["lower_seconds"] + trained["seconds"]
    assert told["peak_bytes"]["actual"] == trained["peak_bytes"] > 0
    assert all(told[name]["predicted"] > 0 for name in ("seconds", "peak_bytes")) and told["kept_bytes"] > 0


def most_learnt() -> tuple[int, int]:
    """Questions that are learnt, and these with the reports on their states: one on a masked state is left out."""
    requests, train = read_table(PATHS.reports_of("train"), REPORT), read_table(PATHS.questions("train"), QUESTION)
    asked = int((~train["validation"]).sum())
    return asked, asked + int(requests["context"].isin(train.loc[~train["validation"], "context"]).sum())


def test_preflight_as_a_command(trained: dict[str, Any], here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(str(path) for path in here.rglob("*") if "__pycache__" not in path.parts)
    assert preflight("recipes/toy.yaml") == 0
    page = capfd.readouterr().out
    assert f"{trained['questions']:,}" in page and "memory" in page and "refused" not in page
    assert sorted(str(path) for path in here.rglob("*") if "__pycache__" not in path.parts) == before
    write_toy(here, **settings(compute={"kept_gib": 1e-6}))
    assert preflight("toy") == 1
    assert "refused: kept lower states: 0.00 GiB needed" in capfd.readouterr().out
    assert preflight("toy", "--profile", "huge") == 2
    whole = PATHS.curated.rename(PATHS.curated.with_name("away"))
    try:
        assert preflight("toy") == 2
    finally:
        whole.rename(PATHS.curated)
    said = capfd.readouterr().err
    assert "unknown profile 'huge'" in said and "run `dvc repro curate@toy` first" in said


def test_a_run_that_does_not_fit_is_not_started(here: Path) -> None:
    shutil.rmtree(PATHS.scratch / "train", ignore_errors=True)
    write_toy(here, **settings(compute={"kept_gib": 1e-6}))
    with pytest.raises(
        UserError, match=r"train: not started, nothing is lost: kept lower states: .*raise compute.kept_gib"
    ):
        pipelines.train.main("toy")
    assert not list(PATHS.scratch.glob("train/*"))


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on_to_the_same_adapter(
    trained: dict[str, Any], here: Path, by: signal.Signals
) -> None:
    shutil.rmtree(PATHS.scratch)
    process = stage("train", here)
    while not list(PATHS.scratch.glob("train/*/checkpoint-4")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(by)
    said = process.communicate()[1]
    if by == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in said
        assert said.splitlines()[-1] == "interrupted; run again to go on"
    assert list(PATHS.scratch.glob("train/*/checkpoint-*"))
    started = stage("train", here)
    assert "train:   0%" not in started.communicate()[1] and started.returncode == 0
    assert sha256(PATHS.adapter / "adapter_model.safetensors") == trained["adapter"]
    assert read_json(PATHS.training)["answers"] == trained["answers"]


def test_another_recipe_never_resumes(trained: dict[str, Any], here: Path) -> None:
    run = pipelines.train.run_key({"sector": "toy"}, "data", "base")
    (PATHS.scratch / "train" / run / "checkpoint-4").mkdir(parents=True)
    write_toy(here, **settings(lora={"r": 4, "layers": 2}))
    pipelines.train.main("toy")
    assert read_json(PATHS.training)["trainable_parameters"] == trained["trainable_parameters"] / 4
    write_toy(here, **settings())
    pipelines.train.main("toy")
    assert sha256(PATHS.adapter / "adapter_model.safetensors") == trained["adapter"]


def test_bad_input_is_one_error(here: Path) -> None:
    (here / "empty").mkdir(exist_ok=True)
    write_toy(here, **settings(model={"base": "empty"}))
    process = stage("train", here)
    assert process.communicate()[1].strip().splitlines()[-1].startswith("error: model.base: empty: no config.json")
    assert process.returncode == 2
    write_toy(here, **settings(lora={"layers": 9}))
    with pytest.raises(UserError, match="the base has 3 layers"):
        pipelines.train.main("toy")


def test_a_corrupt_table_is_named(here: Path) -> None:
    path = PATHS.questions("train")
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    try:
        with pytest.raises(UserError, match=r"train.parquet: not a readable parquet file"):
            pipelines.train.main("toy")
    finally:
        path.write_bytes(whole)


def test_every_model_answers_what_it_is_judged_by(trained: dict[str, Any], here: Path) -> None:
    pipelines.answer.main("toy")
    tables = {
        split: read_table(PATHS.questions(split), QUESTION) for split in ("train", "calibration", "test", "shift")
    }
    judged = pd.concat([tables["train"][tables["train"]["validation"]], *list(tables.values())[1:]])
    answers = {
        name: read_table(PATHS.answers_of(name), ANSWER) for name in ("llm", "base", "base-prior", "base-few", *NAMES)
    }
    assert answers["llm"]["question"].tolist() == judged["id"].tolist()
    assert (
        answers["base"]["question"].tolist()
        == answers["base-prior"]["question"].tolist()
        == tables["test"]["id"].tolist()
    )
    few = tables["test"].set_index("id").loc[answers["base-few"]["question"]]
    assert 12 <= len(few) <= 12 + tables["test"]["context"].value_counts().max()
    spaces = {row["id"]: space_of(row) for table in tables.values() for _, row in table.iterrows()}
    for name, table in answers.items():
        assert "entities" in {spaces[question].kind for question in table["question"]} or name in (
            "persistence",
            "copy",
        )
        for question, p in zip(table["question"], table["p"], strict=True):
            assert len(p) == spaces[question].size and 0 <= p.min() <= p.max() <= 1
            assert np.isclose(p.sum(), 1) or spaces[question].kind == "entities"
        assert (table["tokens"] > 0).all() == (name not in NAMES)
    both = answers["llm"].merge(answers["base"], on="question")
    assert np.mean([np.abs(a - b).max() > 0.01 for a, b in zip(both["p_x"], both["p_y"], strict=True)]) > 0.9


def test_answers_cut_off_are_not_lost(trained: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PATHS.answers_of("llm").is_file():
        pipelines.answer.main("toy")
    before = read_table(PATHS.answers_of("llm"), ANSWER)
    shutil.rmtree(PATHS.scratch / "answer", ignore_errors=True)
    answer = pipelines.answer.answer

    def interrupted(*arguments: Any) -> Any:
        if "llm" in arguments:
            raise KeyboardInterrupt
        return answer(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipelines.answer, "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipelines.answer.main("toy")
    kept = sorted(path.parent.name for path in PATHS.scratch.glob("answer/*/*/*.parquet"))
    assert set(kept) == {"base", "base-few", "base-on-train", "llm-test"}
    stamps = {path: path.stat().st_mtime_ns for path in PATHS.scratch.glob("answer/*/*/*.parquet")}
    pipelines.answer.main("toy")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    monkeypatch.undo()
    after = read_table(here / PATHS.answers_of("llm"), ANSWER)
    for p, q in zip(before["p"], after["p"], strict=True):
        np.testing.assert_allclose(p, q, atol=1e-6)


def test_probes_without_dimensions_are_answered_by_those_who_learnt_to(trained: dict[str, Any], here: Path) -> None:
    write_toy(here, **settings(budget={"probe_states": 2}))
    pipelines.probe.main("toy")
    asked = read_table(PATHS.probe_questions, PROBE)
    assert set(read_table(PATHS.probe_answers, ANSWER)["question"]) == set(asked["id"])
    less = asked[asked["suite"] == "dimensions"].set_index("id")
    reworded = asked[asked["suite"] == "robustness"]
    assert less.groupby("original").size().eq(7).all() and set(less["original"]) == set(reworded["original"])
    for name in ("boost", "rule"):
        told = read_table(PATHS.probe_expert(name), ANSWER).set_index("question")["p"]
        seen = asked.set_index("id").loc[told.index]
        assert set(seen["suite"]) == {"dimensions", "failing"} and (name == "boost" or seen["rule_defined"].all())
        assert set(seen.loc[seen["suite"] == "dimensions", "probe"]) == {"C", "PC", "AC"}
        assert all(len(p) == space_of(row).size for p, (_, row) in zip(told, seen.iterrows(), strict=True))
    write_toy(here, **settings(budget={"probe_states": 0}))
    pipelines.probe.main("toy")
    assert not len(read_table(PATHS.probe_questions, PROBE)) and not len(
        read_table(PATHS.probe_expert("boost"), ANSWER)
    )
