"""Where the time goes, by torch's profiler: `make bench-profile`, after `dvc repro curate@energy` (a minute).

Eight states of the energy sector, every question of each: the lower layers run once, training steps on the upper ones, answers
from the upper ones. Writes benchmarks/results/profile.json and the table in docs/performance.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import tables
from benchmarks.machine import machine, peak_flops
from benchmarks.setting import Setting, read, setting
from pipelines import told_in_one_line
from twinforge.model.adapter import one_precision
from twinforge.model.base import load_base
from twinforge.model.lower import lower_states, upper_only
from twinforge.training.finetune import adapt
from twinforge.training.trainer import tree_loss
from twinforge.training.trees import collate, lessons

STATES = 8
ELEMENTWISE = (
    "mul",
    "add",
    "silu",
    "neg",
    "pow",
    "rsqrt",
    "sub",
    "div",
    "sqrt",
    "mean",
    "sum",
    "lerp",
    "fill",
    "cos",
    "sin",
)


def main() -> None:
    here = setting("train")
    model, tokenizer = load_base(here.recipe.model, here.recipe.compute)
    adapted = adapt(model, here.recipe.lora)
    rows = read("train")
    chosen = rows[rows["context"].isin(rows["context"].drop_duplicates()[:STATES])]
    made = lessons(here.prompt, chosen)
    trees = [one.tree for one in made]
    lower = lower_states(adapted.eval(), trees, here.recipe.compute.answer_batch_trees)
    if lower is None:
        raise SystemExit("the recipe's adapter sits on every layer; set lora.layers")
    batches = [lower.inputs([i], collate([one])) for i, one in enumerate(made)]
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=here.recipe.train.lr)

    def run_lower() -> float:
        done = lower_states(adapted.eval(), trees, here.recipe.compute.answer_batch_trees)
        return float(done.seconds.sum()) if done else 0.0  # without its first look whether the model can be cut

    def forward(batch: dict[str, Any]) -> torch.Tensor:
        inputs = {name: batch[name] for name in batch if name not in ("targets", "weights", "answers", "tokens")}
        with one_precision(adapted):
            return adapted(**inputs, use_cache=False).logits[0]

    def train() -> float:
        adapted.train()
        start = time.perf_counter()
        for batch in batches:
            tree_loss(forward(batch), batch["targets"], batch["weights"], batch["answers"]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, here.recipe.train.grad_clip)
            optimiser.step()
            optimiser.zero_grad()
        return time.perf_counter() - start

    def read_answers() -> float:
        adapted.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                forward(batch)
        return time.perf_counter() - start

    count, layers, tokens = len(trees), model.config.num_hidden_layers, sum(tree.tokens for tree in trees)
    upper = (layers - lower.at) / layers
    work = {"lower layers, once": (run_lower, 2 * (1 - upper)), "training, upper": (train, 4 * upper), "answering, upper": (read_answers, 2 * upper)}  # fmt: skip
    about: dict[str, Any] = {"machine": machine(), "peak flop/s": peak_flops(here.dtype)}
    parts = {}
    for name, (work_once, per) in work.items():
        with upper_only(adapted, lower.at) if name != "lower layers, once" else nullcontext():
            parts[name] = measured(work_once, count, here.recipe.lora.r, model.config.vocab_size)
        least = per * here.outside * tokens / count / about["peak flop/s"]
        parts[name] |= {"at the peak": 1000 * least}
    result = {**about, "parts": parts, "bars": [], "states": STATES, "tokens a tree": tokens / count, **_about(here)}
    tables.publish("profile", result, full=True)


def measured(work: Callable[[], float], count: int, rank: int, vocabulary: int) -> dict[str, float]:
    """Milliseconds a tree, unprofiled (`all`) and by part, the parts scaled to it: a profiler slows what it watches.

    work : does all once and gives the seconds that count.
    """
    work()
    seconds = work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        work()
    found: dict[str, float] = {}
    for event in seen.key_averages(group_by_input_shape=True):
        sizes = {size for shape in event.input_shapes for size in shape if isinstance(size, int)}
        part = part_of(event.key, sizes, rank, vocabulary)
        found[part] = found.get(part, 0.0) + event.self_cpu_time_total
    scale = 1000 * seconds / count / sum(found.values())
    return {"all": 1000 * seconds / count, **{part: value * scale for part, value in found.items()}}


def part_of(operation: str, sizes: set[int], rank: int, vocabulary: int) -> str:
    """What an operation of the profiler belongs to, by its name and the sizes of what it works on."""
    name = operation.removeprefix("aten::").rstrip("_")
    if name in ("mm", "addmm"):
        return "adapter's products" if rank in sizes else "head" if vocabulary in sizes else "model's products"
    if name in ("bmm", "baddbmm"):
        return "attention's products"
    if "softmax" in name:
        return "softmax"
    if name in ("copy", "cat", "index_select", "index_fill", "contiguous"):
        return "laying out and copying"
    return "elementwise" if name.removesuffix("_backward") in ELEMENTWISE else "the rest"


def _about(here: Setting) -> dict[str, Any]:
    return {"precision": here.precision, "rank": here.recipe.lora.r}


if __name__ == "__main__":
    with told_in_one_line():
        main()
