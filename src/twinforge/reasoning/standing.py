"""What statements stand on: the twin's own answers, pooled from those of its parts, beside how surely the text was written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from twinforge.agents.integration import Integration
from twinforge.claims import kinds_of
from twinforge.conformal.statements import Signs


def pool_tables(
    integration: Integration, questions: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> dict[str, np.ndarray]:
    """Question id -> the pool of the vectors of all models that answered it.

    questions : rows of `records.QUESTION`, each answered by one model at least. tables : model -> its answers (`records.ANSWER`).
    """
    vectors = {model: dict(zip(table["question"], table["p"], strict=True)) for model, table in tables.items()}
    pooled = {}
    for row in questions.itertuples():
        parts = {model: np.asarray(found[row.id]) for model, found in vectors.items() if row.id in found}
        pooled[str(row.id)] = integration.pool(parts, f"{row.asked}/{row.kind}")
    return pooled


def signs_of(claims: pd.DataFrame, backing: np.ndarray) -> Signs:
    """What speaks for and against claims (rows of `claims.CLAIM`). backing : (n,) of each, from `backing.chances`."""
    return Signs(kinds_of(claims), claims["log"].to_numpy(float), claims["entropy"].to_numpy(float), backing)
