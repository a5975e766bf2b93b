"""Checkpoints that are whole or not there: written aside, listed with their hashes, and moved into place at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinforge.files import sha256, write_json

_LIST = "whole.json"


def run_key(recipe: Mapping[str, Any], *hashes: str) -> str:
    """Name of a run's scratch folder: changes with any recipe value it reads, with its data or its base weights."""
    text = json.dumps([recipe, *hashes], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seal(folder: Path, target: Path) -> None:
    """Move a finished checkpoint from `folder` to `target`, with the list of its files' hashes."""
    write_json({str(p.relative_to(folder)): sha256(p) for p in _files(folder)}, folder / _LIST)
    for path in _files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    os.replace(folder, target)


def latest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run; torn ones are passed over and removed."""
    for folder in sorted(run.glob("checkpoint-*"), key=_step, reverse=True):
        if _whole(folder):
            return folder
        shutil.rmtree(folder)
    return None


def keep_newest(run: Path, count: int = 2, best: int | None = None) -> None:
    """Remove all but the newest checkpoints (two: should the disk lose the last one) and that of the step `best`."""
    for folder in sorted(run.glob("checkpoint-*"), key=_step, reverse=True)[count:]:
        if _step(folder) != best:
            shutil.rmtree(folder)


def forget_others(run: Path) -> None:
    """Remove the scratch folders of other runs beside `run`; its own stays, so that a stage cut off at its end is done at once."""
    for other in run.parent.glob("*"):
        if other != run:
            shutil.rmtree(other, ignore_errors=True)


def _whole(folder: Path) -> bool:
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        return bool(listed) and all(sha256(folder / name) == digest for name, digest in listed.items())
    except (OSError, ValueError, AttributeError):
        return False


def _step(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _LIST)
