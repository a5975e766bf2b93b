"""A run's learning curve as a small table to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twinforge.files import replacing

POINTS = 100  # of the loss, each the mean of as many steps: single steps jump too much to be read


def learning(curve: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `step`, `nats`, `model`: the training loss (nats a token) and minus the checks' log score (nats an answer).

    curve, checks : as `finetune.Trained.record` has them.
    """
    told = pd.DataFrame(curve)[["step", "loss"]]
    parts = told.groupby(np.arange(len(told)) * min(POINTS, len(told)) // len(told))
    loss = [{"step": p["step"].iloc[-1], "nats": p["loss"].mean(), "model": "training loss"} for _, p in parts]
    found = [{"step": c["step"], "nats": -c["log_score"], "model": "validation"} for c in checks]
    return pd.DataFrame([*loss, *found])


def write_learning(curve: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write `learning` as CSV."""
    with replacing(path) as part:
        learning(curve, checks).to_csv(part, index=False, float_format="%.4f")
