"""Three steps of the real training before it starts, to know what the whole will take; nothing is left of them."""

from __future__ import annotations

import gc
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.trainer_utils import SaveStrategy

from twinforge.model.base import longest
from twinforge.model.lower import Lower, lower_states
from twinforge.training.finetune import Course, arguments, lower_bytes
from twinforge.training.memory import NEVER_KEPT, Peak, free_disk, ran_out, room, smaller
from twinforge.training.preflight import GIB, Counts, Preflight, Room, Trial, count, faults, forecast, gib, notes
from twinforge.training.trainer import TreeTrainer

FEWER = f"lower budget.states_per_day or curate.questions_per_state, or {NEVER_KEPT}"
STEPS = 3  # the first on the largest trees, where the peak shows; the others on usual ones, for the time


def preflight(course: Course, scratch: Path) -> Preflight:
    """Check what is to be learnt, try three steps, and say what the whole will take and whether it fits.

    The course is left as it was: weights, gradients and random numbers. `scratch` is where checkpoints and kept states
    would go; nothing is written there.

    Raises
    ------
    UserError
        The base model's tokenizer can't tell the answers' labels or digits apart.
    """
    course.prompt.reply_ids()
    rows = course.train[~course.train["validation"]]
    counts = count(course.lessons, rows["context"].nunique())
    wrong, odd = faults(rows, course.lessons, longest(course.model)), tuple(notes(rows))
    if wrong:
        return Preflight(counts, tuple(wrong), odd)
    device, compute = course.model.device.type, course.recipe.compute
    if compute.processes > 1:
        return _untried(course, counts, odd)
    try:
        tried = trial(course)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        step = f"memory: {gib(room(device))} are not enough for one step on the largest trees"
        return Preflight(counts, (f"{step}; {smaller(compute)}",), odd)
    kept = lower_bytes(course) if tried.lower_tokens else 0
    trained = sum(p.numel() for p in course.model.parameters() if p.requires_grad)
    ahead = forecast(counts, tried, course.steps, compute.batch_trees, kept, trained, device == "cpu")
    rooms = [
        Room("memory", ahead.peak, room(device), smaller(compute) + (f"; or {FEWER}" if kept else "")),
        _room_to_keep(kept, compute.kept_gib),
        Room("disk", ahead.disk, free_disk(scratch), f"free some, {FEWER}" if kept else "free some"),
    ]
    if device != "cpu":
        rooms.append(Room("the machine's own memory, for kept lower states", kept, room("cpu"), FEWER))
    return Preflight(counts, (), odd, ahead, tuple(rooms))


def _untried(course: Course, counts: Counts, odd: tuple[str, ...]) -> Preflight:
    """What can be said where several processes will train: a step of this one alone would tell nothing of theirs."""
    compute = course.recipe.compute
    kept = lower_bytes(course) if compute.kept_gib else 0
    note = f"{compute.processes} processes will train: neither time nor memory is forecast"
    return Preflight(counts, (), (*odd, note), rooms=(_room_to_keep(kept, compute.kept_gib),))


def _room_to_keep(kept: int, kept_gib: float) -> Room:
    return Room("kept lower states", kept, int(kept_gib * GIB), f"raise compute.kept_gib, {FEWER}")


def trial(course: Course) -> Trial:
    """Run the lower layers on the largest and on some usual trees, and then `STEPS` training steps at a rate of 0."""
    compute, lessons, device = course.recipe.compute, course.lessons, course.model.device.type
    picked = pick([one.tree.tokens for one in lessons], compute.batch_trees, compute.answer_batch_trees)
    trees = [lessons[i].tree for i in (*picked.large, *picked.usual)]
    started = time.perf_counter()
    with _left_as_it_was(course.model), tempfile.TemporaryDirectory() as folder, Peak(device) as peak:
        kept = lower_states(course.model.eval(), trees, compute.answer_batch_trees) if compute.kept_gib else None
        seconds = _steps(course, picked, kept, Path(folder))
    tokens = np.array([tree.tokens for tree in trees])
    usual = slice(len(picked.large), None)
    return Trial(
        lower_seconds=float(kept.seconds[usual].sum()) if kept else 0.0,
        lower_tokens=int(tokens[usual].sum()) if kept else 0,
        step_seconds=seconds,
        step_tokens=int(tokens[picked.steps[picked.batch :]].sum()),
        peak=peak.bytes,
        kept=sum(states.nbytes for states in kept.states) if kept else 0,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class Picked:
    """Which trees are tried: the `large` and the `usual` ones by index, and the trees a step.

    steps : places in (*large, *usual) of the trees that the steps take, in their order.
    """

    large: tuple[int, ...]
    usual: tuple[int, ...]
    batch: int

    @property
    def steps(self) -> list[int]:
        return [*range(self.batch), *range(len(self.large), len(self.large) + (STEPS - 1) * self.batch)]


def pick(tokens: Sequence[int], batch_trees: int, answer_batch_trees: int) -> Picked:
    """The largest trees for the peak, and some spread evenly over all sizes, those near the middle first, for the time."""
    order = np.argsort(-np.asarray(tokens), kind="stable")
    batch = min(batch_trees, len(order))
    spread = max((STEPS - 1) * batch, answer_batch_trees)
    shares = sorted((np.arange(spread) + 0.5) / spread, key=lambda share: abs(share - 0.5))
    usual = order[(np.array(shares) * len(order)).astype(int)]
    return Picked(tuple(order[: max(batch, answer_batch_trees)].tolist()), tuple(usual.tolist()), batch)


def _steps(course: Course, picked: Picked, kept: Lower | None, folder: Path) -> float:
    """Seconds that the steps after the first take, by the trainer that will train."""
    told: Any = arguments(course.recipe, STEPS, folder, course.model.device.type, course.model.dtype)
    told.learning_rate = 0.0  # the optimiser does all its work and moves nothing
    told.per_device_train_batch_size = picked.batch
    told.train_sampling_strategy = "sequential"
    told.save_strategy = SaveStrategy.NO
    chosen = (*picked.large, *picked.usual)
    lessons = [course.lessons[chosen[place]] for place in picked.steps]
    if kept:
        kept = Lower(kept.at, tuple(kept.states[place] for place in picked.steps), kept.seconds[picked.steps])
    trainer = TreeTrainer(course.model, course.tokenizer, lessons, told, kept, "trial")
    trainer.resume()
    seconds = [entry["seconds"] for entry in trainer.state.log_history if "answers" in entry]
    return float(seconds[-1] - seconds[0])


@contextmanager
def _left_as_it_was(model: Any) -> Iterator[None]:
    """Give back the random numbers and leave no gradient behind."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            model.zero_grad(set_to_none=True)
            gc.collect()  # trainer and model know each other
