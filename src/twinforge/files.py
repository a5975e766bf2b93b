"""Writing and reading files so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from twinforge.errors import UserError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `target` to write a file or a folder at; on success it takes `target`'s place.

    On any error the temporary is removed and what stood at `target` is untouched.

    Raises
    ------
    UserError
        The folder can't be written or the disk is full.
    """
    target = Path(target)
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        yield part
        _swap(part, target)
    except OSError as error:
        raise UserError(_explain(error, target)) from error
    finally:
        _remove(part)


def _swap(part: Path, target: Path) -> None:
    if part.is_dir() and target.is_dir():
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        os.replace(target, old)
        os.replace(part, target)
        shutil.rmtree(old)
    else:
        os.replace(part, target)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # what an error leaves behind must not hide it
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Remove what killed processes left beside `target`."""
    for left in target.parent.glob(f".{target.name}.*-*"):
        kind, _, pid = left.name.rpartition(".")[2].partition("-")
        if kind in ("part", "old") and pid.isdigit() and not psutil.pid_exists(int(pid)):
            _remove(left)


def _explain(error: OSError, target: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"{target}: the disk is full; free some space and run again (nothing was half-written)"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return f"{target}: can't be written ({error.strerror}); give yourself the right to write there or choose another folder"
    return f"{target}: {error.strerror or error}"


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON, in place of what stood at `path`."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `UserError` that names it when it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that writes it (`dvc repro`)") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run `dvc repro` again") from error


def write_table(frame: pd.DataFrame, path: Path, schema: pa.Schema) -> None:
    """Write `frame` as parquet under `schema` (columns in its order; missing or extra columns are an error)."""
    if (names := set(frame.columns)) != set(schema.names):
        raise UserError(
            f"{path}: columns missing {sorted(set(schema.names) - names)}, unknown {sorted(names - set(schema.names))}"
        )
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    with replacing(path) as part:
        pq.write_table(table, part, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read parquet and hold it against `schema`; raises `UserError` that names the file and the columns."""
    path = Path(path)
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that writes it (`dvc repro`)") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: not a readable parquet file ({error}); delete it and run `dvc repro` again"
        ) from error
    if missing := sorted(set(schema.names) - set(table.column_names)):
        raise UserError(f"{path}: columns missing: {', '.join(missing)}")
    try:
        return table.select(schema.names).cast(schema).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{path}: a column has the wrong type ({error})") from error


def kept(path: Path | None, schema: pa.Schema, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table that lies at `path`, else what `make` makes, which then lies there; None keeps nothing."""
    if path and path.is_file():
        return read_table(path, schema)
    made = make()
    if path:
        write_table(made, path, schema)
    return made


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
