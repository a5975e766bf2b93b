"""Clear what a killed run left in DVC's lock file, and wait for one that is still going on.

DVC forgets a killed run by itself as long as nothing else took its process number. In a container numbers repeat, and a
run killed while it wrote the file leaves it broken; both would need a hand, so `make` runs this first.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

LOCK = Path(".dvc/tmp/rwlock")


def tidy(lock: Path = LOCK, wait_s: float = 1.0) -> None:
    """Return when no DVC runs on the project that `lock` belongs to, its left-overs removed."""
    told = False
    while running := [pid for pid in holders(lock) if is_dvc(pid)]:
        if not told:
            print(f"another run is going on (process {running[0]}); waiting for it to end ...", file=sys.stderr)
            told = True
        time.sleep(wait_s)
    lock.unlink(missing_ok=True)


def holders(lock: Path) -> set[int]:
    """Process numbers that stand in DVC's lock file; none when it is missing or broken."""
    try:
        entries: dict[str, dict[str, Any]] = json.loads(lock.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return set()
    writers = entries.get("write", {}).values()
    readers = (info for infos in entries.get("read", {}).values() for info in infos)
    return {int(info["pid"]) for info in (*writers, *readers) if info}


def is_dvc(pid: int) -> bool:
    """Is this process a DVC that still runs (not only one that took over the number of a killed one)?"""
    try:
        process = psutil.Process(pid)
        words = [Path(word).name for word in process.cmdline()[:3]]
        return process.status() != psutil.STATUS_ZOMBIE and "dvc" in words
    except psutil.Error:
        return False


def parent_dvc() -> int:
    """Process number of the DVC that runs this stage; raises `ProcessLookupError` when there is none."""
    for process in psutil.Process().parents():
        if is_dvc(process.pid):
            return int(process.pid)
    raise ProcessLookupError("no DVC above this process")


if __name__ == "__main__":
    tidy()
