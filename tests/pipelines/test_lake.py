"""The lake and curate stages, run as a user runs them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipelines.curate
import pipelines.lake
from tests.toy_recipe import write_toy
from twinforge.errors import UserError
from twinforge.files import read_json, read_table
from twinforge.records import QUESTION, SPLITS, STANDARD

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"lake": {"days": 20, "shift_days": 2}, "budget": {"states_per_day": 3}}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    write_toy(root, **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        pipelines.lake.main("toy")
    return root


@pytest.fixture
def project(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a lake, its files shared by hard links, and a tokenizer that counts words."""
    subprocess.run(["cp", "-rl", f"{simulated}/.", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        pipelines.curate, "token_counter", lambda _: lambda texts: np.array([len(t.split()) for t in texts])
    )
    return tmp_path


def stage(name: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", f"pipelines.{name}", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_stages_write_what_the_next_ones_read(project: Path) -> None:
    pipelines.curate.main("toy")
    assert names(project / "data/lake/toy") == [
        "episodes.parquet", "knowledge.parquet", "observations", "outcomes", "report.json", "standards.parquet",
    ]  # fmt: skip
    assert read_table(project / "data/lake/toy/standards.parquet", STANDARD)["clause"].tolist() == ["T-1", "T-2", "T-3"]
    check = read_json(project / "data/lake/toy/report.json")["check"]
    assert 0 < check["drain"]["error_m"] < 0.05
    tables = {split: read_table(project / f"data/curated/toy/{split}.parquet", QUESTION) for split in SPLITS}
    counts = read_json(project / "data/curated/toy/report.json")["questions"]["count"]
    assert all(len(table) == sum(counts[split].values()) > 20 for split, table in tables.items())


def test_both_stages_give_the_same_bytes_again(project: Path) -> None:
    def digest() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(project.glob("data/[lc]*/toy/**/*.*"))}

    pipelines.curate.main("toy")
    before = digest()
    pipelines.lake.main("toy")
    pipelines.curate.main("toy")
    assert len(before) == 17 and digest() == before


def test_the_base_model_counts_the_tokens(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    model = write_toy(tmp_path / "project", model={"base": str(tmp_path)}).model
    assert pipelines.curate.token_counter(model)(["one two, three", "one"]).tolist() == [4, 1]


def test_an_unknown_sector_is_one_line_and_exit_2(project: Path) -> None:
    for name in ("lake", "curate"):
        process = stage(name, project, "atlantis")
        out, said = process.communicate(timeout=60)
        assert process.returncode == 2 and out == ""
        assert said.startswith("error: ") and "atlantis" in said and len(said.splitlines()) == 1
    assert "atlantis" not in names(project / "data/lake")


def test_a_corrupt_lake_is_one_line_and_exit_2(project: Path) -> None:
    path = project / "data/lake/toy/outcomes/000.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(b"\x00" * 100 + content[100:-20])
    process = stage("curate", project, "toy")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert (
        said.count("error: ") == 1
        and "outcomes/000.parquet: not a readable parquet file" in said
        and "Traceback" not in said
    )
    assert not (project / "data/curated").exists()


def test_a_lake_that_curation_empties_is_one_error(project: Path) -> None:
    path = project / "data/lake/toy/observations/000.parquet"
    readings = pq.read_table(path)
    path.unlink()
    pq.write_table(readings.set_column(4, "value", [[float("nan")] * len(readings)]), path)
    with pytest.raises(UserError, match="no question is left for train, validation, calibration, test"):
        pipelines.curate.main("toy")
    assert not (project / "data/curated/toy").exists()


@pytest.mark.parametrize(("run", "target"), [(pipelines.lake.main, "lake"), (pipelines.curate.main, "curated")])
def test_a_full_disk_leaves_what_was_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, run: Any, target: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pipelines.curate.main("toy")
    before = {path: path.stat().st_mtime_ns for path in project.glob(f"data/{target}/**/*")}
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match=rf"data/{target}/toy: the disk is full"):
        run("toy")
    assert {path: path.stat().st_mtime_ns for path in project.glob(f"data/{target}/**/*")} == before


def test_an_unwritable_folder_is_one_error(project: Path) -> None:
    (project / "data/curated").write_text("in the way")
    with pytest.raises(UserError, match="data/curated/toy"):
        pipelines.curate.main("toy")
    assert (project / "data/curated").read_text() == "in the way"


def test_a_killed_stage_is_simply_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path, **{**SMALL, "lake": {"days": 3000, "shift_days": 2}})
    process = stage("lake", tmp_path, "toy")
    shards = tmp_path / "data/lake"
    deadline = time.monotonic() + 60
    while not list(shards.glob(".toy.part-*/outcomes/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (shards / "toy").exists()
    write_toy(tmp_path, **SMALL)
    monkeypatch.chdir(tmp_path)
    pipelines.lake.main("toy")
    assert len(pd.read_parquet(shards / "toy" / "episodes.parquet")) == 22
