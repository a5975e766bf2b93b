"""The twin's answers to probes: the language model reads the other words, the experts the same signals as before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from twinforge.agents.integration import Integration
from twinforge.records import LLM


def pooled(
    probes: pd.DataFrame, llm: pd.DataFrame, experts: Mapping[str, pd.DataFrame], integration: Integration
) -> pd.DataFrame:
    """Pool the language model's answer to each probe with the experts' to the question that it was made of.

    probes : `eval.probes.PROBE` columns; llm : `records.ANSWER`, answers to probes; experts : model -> `records.ANSWER`, answers to
    the original questions. Returns `records.ANSWER`; tokens and seconds are the language model's.
    """
    known = {model: rows.set_index("question")["p"].to_dict() for model, rows in experts.items()}
    asked = probes.set_index("id").loc[llm["question"]]
    vectors = []
    for (_, probe), own in zip(asked.iterrows(), llm["p"], strict=True):
        parts = {
            model: _in_order(p[probe["original"]], probe["order"])
            for model, p in known.items()
            if probe["original"] in p
        }
        vectors.append(integration.pool({LLM: np.asarray(own), **parts}, f"{probe['asked']}/{probe['kind']}"))
    return llm.assign(p=pd.Series(vectors, index=llm.index, dtype=object))


def _in_order(p: np.ndarray, order: np.ndarray) -> np.ndarray:
    """An answer vector with its options moved as the probe's were, the refusal last as before."""
    return np.asarray(p)[[*map(int, order), -1]] if len(order) else np.asarray(p)
