"""Several processes learn what one does, go on from each other's checkpoints, and end together with one error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from tests.model.tiny import save_tiny
from tests.training.runs import base, contrary, recipe, start
from twinforge.errors import UserError
from twinforge.model.adapter import save_adapter
from twinforge.training.checkpoints import latest
from twinforge.training.finetune import fine_tune, prepare
from twinforge.training.processes import Group, cause, launch

SAME = {"lora": {"dropout": 0.0}, "check_every": 3, "patience": 9}  # dropout draws other numbers in other processes
BATCH = 5  # of 18 trees: two processes take 3 and 2, and of an epoch's last step 2 and 1
COUNT = {"batch_trees": BATCH, "processes": 2}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny")


def alone(tiny: Path, run: Path, target: Path) -> dict[str, Any]:
    """Train in this process, from the run's last checkpoint if it has one; the record."""
    model, tokenizer = base(tiny)
    asked = recipe(epochs=2, compute={"batch_trees": BATCH}, **SAME)
    done = fine_tune(prepare(model, tokenizer, contrary(26), asked), run)
    save_adapter(done.model, tokenizer, "base", target)
    return done.record


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    record = alone(tiny, folder / "run", folder / "adapter")
    return SimpleNamespace(record=record, adapter=folder / "adapter")


def same_adapter(ours: Path, theirs: Path) -> None:
    left, right = (load_file(folder / "adapter_model.safetensors") for folder in (ours, theirs))
    assert left.keys() == right.keys() and all(tensor.dtype == torch.float32 for tensor in left.values())
    assert max(float(tensor.abs().max()) for tensor in left.values()) > 1e-2
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=1e-4, rtol=0)


def same_course(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in ("loss", "learning_rate", "answers"):
        assert [one[name] for one in ours["curve"]] == pytest.approx([one[name] for one in theirs["curve"]], abs=1e-4)
    left, right = ([(one["step"], one["log_score"]) for one in record["checks"]] for record in (ours, theirs))
    assert [step for step, _ in left] == [step for step, _ in right]
    assert [score for _, score in left] == pytest.approx([score for _, score in right], abs=1e-4)
    assert all(ours[name] == theirs[name] for name in ("tokens", "steps", "best_step", "trainable_parameters"))


def left_of(run: Path) -> list[int]:
    """Processes that still train in `run`."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if str(run) in " ".join(one.info["cmdline"] or [])]


def waiting_for(run: Path) -> list[int]:
    """Those of them that are there after some seconds."""
    until = time.monotonic() + 10
    while (left := left_of(run)) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def ended(process: subprocess.Popen[str], run: Path, within: float = 60) -> str:
    """The last line it wrote; it ended in so many seconds, and all that it had started with it."""
    said = process.communicate(timeout=within)[1]
    assert not waiting_for(run)
    return said.strip().splitlines()[-1]


def test_two_learn_what_one_does(tiny: Path, whole: SimpleNamespace, tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    process = start(tiny, run, target, compute=COUNT, **SAME)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    record = json.loads((target / "record.json").read_text())
    assert record["processes"] == 2 and whole.record["processes"] == 1
    same_course(record, whole.record)
    same_adapter(target, whole.adapter)
    assert said.count("train: 100%") and not said.count("log score", said.rindex("train: 100%") + 200)
    assert said.count("validation questions right") == len(record["checks"])  # the second is not heard
    assert sorted(path.name for path in run.glob("checkpoint-*")) == [f"checkpoint-{n}" for n in (6, 8)]
    assert len(list((run / "lower").iterdir())) == 1 and not list(run.glob("part/*"))


def test_one_killed_ends_all_and_one_alone_goes_on(tiny: Path, whole: SimpleNamespace, tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    said = ended(start(tiny, run, target, "kill at step 5", compute=COUNT, **SAME), run)
    assert said.startswith(
        "error: train: process 1 of 2 was killed (SIGKILL), as happens where memory runs out; lower"
    ), said
    assert said.endswith("run again: it goes on from the last checkpoint") and "compute.processes" in said
    assert latest(run) == run / "checkpoint-4"
    record = alone(tiny, run, target)
    same_course(record, whole.record)
    same_adapter(target, whole.adapter)


PROGRAM = """
import sys, time
from pathlib import Path
from twinforge.errors import UserError
from twinforge.training.processes import group, launch, launched, take_part

def work():
    {}

if launched():
    take_part(work, "cpu")
try:
    launch([sys.executable, "-c", sys.orig_argv[-1]], 2, "cpu", Path({!r}))
except UserError as error:
    sys.exit(f"error: {{error}}")
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


def together(work: str, folder: Path) -> subprocess.Popen[str]:
    """Two processes that do `work`, and the one that starts them."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    command = [sys.executable, "-c", PROGRAM.format(work, str(folder))]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_users_mistake_in_one_is_told_as_it_is(tmp_path: Path) -> None:
    process = together("if group().rank: raise UserError('train.lr: lower it')\n    group().wait()", tmp_path)
    assert ended(process, tmp_path) == "error: train.lr: lower it" and process.returncode == 1


def test_a_mistake_of_ours_names_the_process_and_where_to_look(tmp_path: Path) -> None:
    said = ended(together("if group().rank: 1 / 0\n    group().wait()", tmp_path), tmp_path)
    assert said.startswith("error: train: process 1 of 2 failed: ZeroDivisionError: division by zero (its traceback: ")
    traceback = json.loads(Path(said.partition("traceback: ")[2].partition(")")[0]).read_text())
    assert "in work" in traceback["message"]["extraInfo"]["py_callstack"]
    (heard,) = tmp_path.glob("*/attempt_0/1/stderr.log")
    assert "ZeroDivisionError" in heard.read_text()


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_none_outlives_the_one_that_started_them(tmp_path: Path, by: signal.Signals) -> None:
    process = together(
        "open(f'{LOGS}/{group().rank}', 'w').close(); time.sleep(99)".replace("{LOGS}", str(tmp_path)), tmp_path
    )
    while len(list(tmp_path.glob("[01]"))) < 2:
        assert process.poll() is None and time.sleep(0.1) is None
    assert len(left_of(tmp_path)) == 3
    process.send_signal(by)
    if by == signal.SIGINT:
        assert ended(process, tmp_path) == "interrupted"
    else:
        process.communicate()
        assert not waiting_for(tmp_path)


def failure(rank: int, code: int, folder: Path, said: str = "", at: int = 0) -> ProcessFailure:
    file = folder / f"{rank}.json"
    if said:
        told = {"message": said, "extraInfo": {"py_callstack": "", "timestamp": "7"}}
        file.write_text(json.dumps({"message": told}))
        os.utime(file, (at, at))
    return ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file=str(file))


def test_the_one_that_brought_the_others_down_is_named(tmp_path: Path) -> None:
    killed = failure(0, -signal.SIGKILL, tmp_path)
    stopped = failure(3, -signal.SIGTERM, tmp_path)
    ours = failure(1, 1, tmp_path, "RuntimeError: Connection closed by peer\nmore", at=7)
    user = failure(2, 1, tmp_path, "UserError: train: lower it", at=9)
    later = failure(4, 1, tmp_path, "RuntimeError: later", at=8)
    assert cause({3: stopped, 2: user, 1: ours, 0: killed}, 5).startswith("train: process 0 of 5 was killed (SIGKILL)")
    assert cause({1: ours, 3: stopped, 2: user}, 5) == "train: lower it"
    told = cause({4: later, 1: ours, 3: stopped}, 5)
    assert told.startswith("train: process 1 of 5 failed: RuntimeError: Connection closed by peer (its traceback: ")
    assert str(tmp_path / "1.json") in told and "more" not in told
    assert cause({3: stopped, 1: failure(5, 9, tmp_path), 4: later}, 5).startswith(
        "train: process 1 of 5 failed: exit code 9"
    )


def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    count = torch.cuda.device_count() + 1
    with pytest.raises(UserError, match=rf"compute.processes: {count}: {count - 1} GPUs here"):
        launch(["no-such-program"], count, "cuda", tmp_path)


@given(st.integers(1, 9), st.integers(1, 20))
def test_shares_are_the_batch_and_weigh_as_much(count: int, size: int) -> None:
    shares = [Group(rank, count).share(range(size)) for rank in range(count)]
    assert sorted(tree for trees, weight in shares if weight for tree in trees) == list(range(size))
    assert all(trees for trees, _ in shares)  # every process takes part
    assert sum(weight * sum(trees) for trees, weight in shares) / count == sum(range(size))
    assert max(len(trees) for trees, _ in shares) - min(len(trees) * bool(weight) for trees, weight in shares) <= 1
