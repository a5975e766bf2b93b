"""A chosen tracker is told where to write, or named when it is missing; MLflow gets what TensorBoard gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.model.tiny import questions, save_tiny
from tests.training.runs import base, recipe
from twinforge.errors import UserError
from twinforge.training.finetune import fine_tune, prepare
from twinforge.training.trackers import PACKAGES, ready


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENSORBOARD_LOGGING_DIR", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # what a test sets is taken back


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_one_is_named_with_the_install(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"train.report_to: {name}: not installed; `pip install {PACKAGES[name]}`"):
        ready([name], tmp_path, "twin")


def test_mlflow_gets_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    ready(["mlflow"], tmp_path / "logs", "twin")
    course = prepare(*base(save_tiny(tmp_path / "tiny")), questions(4, validation=0.25), recipe())
    record = fine_tune(course, tmp_path / "run", ["mlflow"]).record
    (run,) = mlflow.search_runs(experiment_names=["twin"], output_format="list")
    told = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in told] == pytest.approx([entry["loss"] for entry in record["curve"]])
    assert run.data.metrics["eval_log_score"] == pytest.approx(record["validation"]["log_score"])
    assert run.info.status == "FINISHED"
