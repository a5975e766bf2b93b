"""Where a run can be watched while it trains: TensorBoard, MLflow or Weights & Biases, through transformers' own callbacks."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from twinforge.errors import UserError

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny", "wandb": "wandb"}


def ready(trackers: Sequence[str], logs: Path, project: str) -> None:
    """See that the trackers are installed, and tell them where to write, through the environment variables they read.

    Parameters
    ----------
    logs : folder of this run's TensorBoard files.
    project : MLflow's experiment and W&B's project, where the user's environment names none.

    Raises
    ------
    UserError
        A package is missing: names it.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"train.report_to: {name}: not installed; `pip install {PACKAGES[name]}`, or take {name} out of the list"
            )
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(logs)
    for variable in ("MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        os.environ.setdefault(variable, project)
