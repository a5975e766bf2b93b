"""The tasks that lm-evaluation-harness reads: their keys are its own, their prompts ours, their scores right on scripted replies."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.model.tiny import questions as tiny_questions
from tests.model.tiny import tokenizer
from tests.tiny_twin import shared
from twinforge.cli import main
from twinforge.errors import UserError
from twinforge.files import write_table
from twinforge.model.few_shot import answer_ids
from twinforge.model.prompt import Prompt
from twinforge.records import QUESTION, SLACK
from twinforge.tasks import export_tasks

KEYS = {  # of lm_eval.config.task.TaskConfig 0.4.13; it refuses others
    *("task", "custom_dataset", "dataset_kwargs", "test_split", "doc_to_text", "doc_to_target", "doc_to_choice"),
    *("process_results", "description", "target_delimiter", "num_fewshot", "metric_list", "output_type"),
    *("generation_kwargs", "metadata"),
}
GROUP_KEYS = {"group", "task", "aggregate_metric_list"}


class Loader(yaml.SafeLoader):
    """Reads `!function module.name` as the harness does: a name in a module beside the file."""


Loader.add_constructor("!function", lambda loader, node: f"!{loader.construct_scalar(node)}")


@pytest.fixture(scope="module")
def asked() -> pd.DataFrame:
    return tiny_questions(6)


@pytest.fixture
def folder(tmp_path: Path, asked: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    counts = export_tasks(asked, "toy", tmp_path / "first")
    assert counts == {"choice": 18, "number": 12, "entities": 6}
    return (tmp_path / "first").rename(tmp_path / "moved")


def loaded(folder: Path, kind: str) -> dict[str, Any]:
    return dict(yaml.load((folder / f"twinforge_toy_{kind}.yaml").read_text(), Loader))  # noqa: S506


def functions(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_harness", folder / "harness.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def docs(folder: Path, kind: str, tmp_path: Path) -> list[dict[str, Any]]:
    told = loaded(folder, kind)
    module, name = told["custom_dataset"].removeprefix("!").split(".")
    assert (folder / f"{module}.py").is_file()
    made = getattr(functions(folder), name)(**told["metadata"], **told["dataset_kwargs"])
    return list(made[told["test_split"]])


def test_keys_are_the_harness_own(folder: Path) -> None:
    group = yaml.safe_load((folder / "twinforge_toy.yaml").read_text())
    assert set(group) == GROUP_KEYS and group["group"] == "twinforge_toy"
    for name in group["task"]:
        told = loaded(folder, name.removeprefix("twinforge_toy_"))
        assert set(told) <= KEYS and told["task"] == name
        assert set(told["metric_list"][0]) == {"metric", "aggregation", "higher_is_better"}
    assert loaded(folder, "choice")["output_type"] == "multiple_choice"
    assert loaded(folder, "number")["generation_kwargs"]["until"] == ["\n"]


def test_a_model_there_sees_what_it_sees_here(folder: Path, asked: pd.DataFrame, tmp_path: Path) -> None:
    prompt, by_id = Prompt.of(tokenizer()), asked.set_index("id", drop=False)
    for kind in ("choice", "number"):
        told = loaded(folder, kind)
        assert told["description"] == "{{system}}" and told["target_delimiter"] == ""
        for doc in docs(folder, kind, tmp_path):
            turns = [
                {"role": "system", "content": doc["system"]},
                {"role": "user", "content": doc[told["doc_to_text"]]},
            ]
            seen = tokenizer().apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            row = by_id.loc[doc["id"]]
            assert seen == prompt.context_ids(row["context"]) + prompt.question_ids(row)
            target = doc["labels"][doc["target"]] if kind == "choice" else doc["target"]
            meant = prompt.tokenizer.decode(answer_ids(prompt, row), skip_special_tokens=True)
            assert float(target) == float(meant) if kind == "number" and target != "?" else target == meant


def test_numbers_are_right_within_their_tolerance(folder: Path, tmp_path: Path) -> None:
    judge = functions(folder).within
    found = docs(folder, "number", tmp_path)
    for doc in found:
        truth, tolerance = doc["truth"], doc["tolerance"]
        assert judge(doc, [doc["target"]]) == {"acc": 1.0} and judge(doc, ["no idea"]) == {"acc": 0.0}
        for off, right in ((tolerance, 1.0), (tolerance + 0.01, 0.0)):
            inside = doc["low"] <= truth - off
            assert not inside or judge(doc, [f"about {truth - off + SLACK:.4f} m"]) == {"acc": right}
        assert judge(doc, ["?"]) == {"acc": 0.0}
    refused = {**found[0], "truth": None}
    assert judge(refused, [" ? "]) == {"acc": 1.0} and judge(refused, ["3"]) == {"acc": 0.0} == judge(refused, [""])


def test_what_cannot_be_written_is_said(tmp_path: Path, asked: pd.DataFrame) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/note").touch()
    with pytest.raises(UserError, match="something else already"):
        export_tasks(asked, "toy", tmp_path / "mine")
    with pytest.raises(UserError, match="no choice or number"):
        export_tasks(asked[asked["kind"] == "entities"], "toy", tmp_path / "none")


def test_the_command_writes_them(
    tmp_path: Path, asked: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(asked, Path("data/curated/toy/test.parquet"), QUESTION)
    for arguments, code in (([], 2), (["--tasks", "out"], 0), (["--tasks", "out"], 0)):
        with pytest.raises(SystemExit) as done:
            main(["export", str(shared()), *arguments])
        assert done.value.code == code
    page = capsys.readouterr()
    assert "--merged OUT, --tasks OUT, or both" in page.err and "30 questions; 6 that ask for sets" in page.out
    assert np.isin(["twinforge_toy.yaml", "harness.py"], [file.name for file in Path("out").iterdir()]).all()
