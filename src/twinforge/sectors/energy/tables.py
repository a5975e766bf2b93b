"""Rows of the lake's tables, collected block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass
class Table:
    """Rows of one parquet schema, collected block by block."""

    blocks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, assets: Sequence[str] | np.ndarray, values: Sequence[float] | np.ndarray, **same: Any) -> None:
        """One row an asset; `same` holds for every one of them (a sequence gives one value a row)."""
        if len(assets):
            self.blocks.append({"asset": np.asarray(assets, object), "value": np.asarray(values, float), **same})

    def readings(self) -> dict[tuple[str, str], float]:
        """(asset, quantity) -> value, of all rows that have one."""
        return {
            (str(asset), block["quantity"]): float(value)
            for block in self.blocks
            for asset, value in zip(block["asset"], block["value"], strict=True)
            if value == value
        }

    def frame(self, episode: str, names: Sequence[str]) -> pd.DataFrame:
        """All rows, with the columns `names`."""
        sizes = [len(block["asset"]) for block in self.blocks]
        columns = {
            name: np.concatenate([_column(block[name], n) for block, n in zip(self.blocks, sizes, strict=True)])
            for name in names
            if name != "episode"
        }
        return pd.DataFrame({"episode": episode, **columns})[list(names)]


def _column(value: Any, n: int) -> np.ndarray:
    """`n` values: those given, or one repeated."""
    if isinstance(value, pd.Timestamp):
        return np.full(n, value.to_datetime64(), "datetime64[ms]")
    if isinstance(value, str):
        return np.full(n, value, object)
    return np.broadcast_to(np.asarray(value), (n,)) if np.ndim(value) == 0 else np.asarray(value)
