"""Cost against size, beside LLaMA-Factory (training) and lm-evaluation-harness (answering): `make bench-size` (an hour).

One thing is made larger at a time: questions a state, tokens of a state, or the model (Llama-like, with random weights but for the
smallest: speed doesn't depend on them). Choice questions alone. Each way loads anew for each size and works for one window after
warm-up. Writes benchmarks/results/size.json, docs/performance/size.png and the table of docs/performance.md.
`--seconds 2` makes windows short, to see whether it runs: then nothing is written but .scratch/bench/.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from benchmarks import answer, plots, tables, train
from benchmarks.machine import machine, peak_flops
from benchmarks.peers.environments import SCRATCH
from benchmarks.questions import asked, stretched
from benchmarks.setting import Setting, read, setting, write
from benchmarks.speed import Running, Way, command
from pipelines import told_in_one_line
from twinforge.files import replacing
from twinforge.sectors.energy import TEMPLATES

SECONDS = 30.0
PER_STATE, TOKENS = (1, 2, 4, 8, 16, 32), (100, 250, 500, 1000, 2000)
USUAL = 6  # questions a state where something else is made larger
STATES = 48
SHAPES = {  # hidden, inner, layers, heads, key-value heads
    "360M": (960, 2560, 32, 15, 5),
    "1.7B": (2048, 8192, 24, 32, 32),
    "3B": (2048, 11008, 36, 16, 4),
    "7B": (4096, 11008, 32, 32, 32),
}
ROOM = 1.4  # times its weights that a model takes, in training


@dataclass(frozen=True)
class Size:
    """A point on an axis: `at` in words, `x` as a number."""

    axis: str
    at: str
    x: float
    frame: pd.DataFrame
    base: Path | None = None  # None: the recipe's own


def main() -> None:
    seconds = command(__doc__, SECONDS)
    here = setting("train")
    about = {"machine": machine(), "peak flop/s": peak_flops(here.dtype), "precision": here.precision}
    points = [point for size in sizes(here) for point in both(size, seconds)]
    result = {**about, "points": points, "bars": [], "seconds a window": seconds}
    full = seconds >= SECONDS
    plots.size(result, (plots.FOLDER if full else SCRATCH) / "size.png")
    tables.publish("size", result, full)


def sizes(here: Setting) -> Iterator[Size]:
    """All points, model by model at the end, each made only when it is its turn."""
    frame = read("train")
    frame = frame[~frame["validation"]]
    for many in PER_STATE:
        yield Size("questions a state", str(many), many, some(asked(frame, many, TEMPLATES)))
    usual = some(asked(frame, USUAL, TEMPLATES))
    for tokens in TOKENS:
        yield Size("tokens of a state", str(tokens), tokens, stretched(usual, tokens, here.prompt))
    yield Size("model", f"{here.outside / 1e6:.0f}M", here.outside, usual)
    for name, shape in SHAPES.items():
        base = random_base(here.base, name, shape, here.dtype)
        yield Size("model", name, setting("train", base).outside, usual, base)
        shutil.rmtree(base)


def some(frame: pd.DataFrame) -> pd.DataFrame:
    """The first states."""
    return frame[frame["context"].isin(frame["context"].drop_duplicates().iloc[:STATES])].reset_index(drop=True)


def both(size: Size, seconds: float) -> Iterator[dict[str, Any]]:
    """Answers trained and scored a second, ours and the peer's; 0 where the model does not fit."""
    for work, stage, module in (("trained", "train", train), ("scored", "answer", answer)):
        here = setting(stage, size.base)
        questions = write(here.prompt, size.frame, f"size-{work}")
        given: Any = questions if module is train else {"size": questions}
        found = {"work": work, "axis": size.axis, "at": size.at, "x": size.x}
        needed = ROOM * here.dtype.itemsize * here.outside
        fits = needed < psutil.virtual_memory().available
        for name, way in zip(("ours", "theirs"), module.ways(here, given), strict=False):
            found[name] = once(way, "train" if module is train else "size", seconds) if fits else 0.0
        print(found, flush=True)
        yield found


def once(way: Way, questions: str, seconds: float) -> float:
    """Answers a second of one window, after warm-up, of a process of its own."""
    with Running(way) as running:
        running.window(questions, seconds / 3, kept=False)
        found = running.window(questions, seconds)
    return float(found["answers"] / found["seconds"])


def random_base(like: Path, name: str, shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> Path:
    """A Llama-like model with random weights and the tokenizer of the base `like`."""
    hidden, inner, layers, heads, shared = shape
    config = AutoConfig.from_pretrained(like)
    config.update(
        {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
         "num_key_value_heads": shared, "head_dim": hidden // heads}
    )  # fmt: skip
    target = SCRATCH / "random" / name
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        model = AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    with replacing(target) as part:
        model.save_pretrained(part)
        AutoTokenizer.from_pretrained(like).save_pretrained(part)
    return target


if __name__ == "__main__":
    with told_in_one_line():
        main()
