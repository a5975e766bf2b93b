"""SCORES files: named arrays in .npz or columns in .parquet, checked as they are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twinforge.conformal.choice import ragged
from twinforge.errors import UserError

Array = NDArray[Any]
SHARED = ("grid", "gold_total")  # not a row each


@dataclass(frozen=True)
class Scores:
    """What a file holds, by name."""

    path: Path
    columns: Mapping[str, Array]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def get(self, name: str | None) -> Array | None:
        """The array, or None where it isn't there."""
        return self.columns.get(name) if name else None

    def need(self, *names: str) -> list[Array]:
        """Arrays that must be there, all of the same number of rows.

        Raises
        ------
        UserError
            One is missing, empty or of another length; the file, the name and what there is are named.
        """
        if missing := [name for name in names if name not in self.columns]:
            raise UserError(
                f"{self.path}: {' and '.join(missing)}: missing; it holds {', '.join(self.columns) or 'nothing'}"
            )
        rows = {name: len(self.columns[name]) for name in names if name not in SHARED}
        if len(set(rows.values())) > 1:
            lengths = ", ".join(f"{name} {count}" for name, count in rows.items())
            raise UserError(f"{self.path}: rows differ ({lengths}); give every column one entry a row")
        return [self.columns[name] for name in names]

    def per_row(self, name: str | None, like: str) -> Array | None:
        """An optional array, a row each as in `like`; None where it isn't there."""
        return self.need(like, name)[1] if name and name in self.columns else None


def read_scores(path: Path) -> Scores:
    """Read a .npz or .parquet file.

    Raises
    ------
    UserError
        No such file, neither of the two formats, or Python objects in it (nothing is ever unpickled).
    """
    path = Path(path)
    if path.suffix not in (".npz", ".parquet"):
        raise UserError(f"{path}: {path.suffix or 'no suffix'}; give scores as .npz or .parquet")
    try:
        columns = _npz(path) if path.suffix == ".npz" else _parquet(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, pa.ArrowInvalid, OSError, EOFError) as error:
        raise UserError(f"{path}: can't be read ({error}); write it again") from error
    except ValueError as error:
        raise UserError(
            f"{path}: holds Python objects ({error}); pad rows of different length with NaN, or write .parquet"
        ) from error
    if bad := [name for name, array in columns.items() if array.ndim == 0]:
        raise UserError(f"{path}: {bad[0]} is a single number; give an array")
    return Scores(path, columns)


def _npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _parquet(path: Path) -> dict[str, Array]:
    table = pq.read_table(path)
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            rows = [np.array([np.nan if v is None else v for v in row or []], float) for row in column.to_pylist()]
            found[name] = ragged(rows)[0] if name == "grid" and rows else ragged(rows)
        else:
            found[name] = column.to_numpy()
    return found
