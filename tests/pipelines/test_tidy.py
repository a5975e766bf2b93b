from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.tidy import holders, tidy


def lock_of(folder: Path, pid: int) -> Path:
    lock = folder / "rwlock"
    info = {"pid": pid, "cmd": "dvc repro"}
    lock.write_text(json.dumps({"write": {"/data": info}, "read": {"/code": [info]}}))
    return lock


def test_a_number_that_another_process_took_over_does_not_block(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, os.getpid())
    assert holders(lock) == {os.getpid()}
    tidy(lock)
    assert not lock.exists()


@pytest.mark.parametrize("text", ["", '{"write": {"/da', "{}"])
def test_a_broken_or_empty_lock_is_removed(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "rwlock"
    lock.write_text(text)
    tidy(lock)
    assert not lock.exists()
    tidy(lock)  # nothing there: nothing to do


def test_waits_for_a_run_that_is_going_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = tmp_path / "dvc"
    fake.write_text("import time; time.sleep(1)")
    run = subprocess.Popen([sys.executable, str(fake)])
    start = time.monotonic()
    tidy(lock_of(tmp_path, run.pid), wait_s=0.05)
    assert time.monotonic() - start > 0.4
    assert f"process {run.pid}" in capsys.readouterr().err
    run.wait()
