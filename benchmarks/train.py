"""Training beside LLaMA-Factory and TRL: `make bench-train`, after `dvc repro curate@energy` (20 minutes on two cores).

The same questions, base model and LoRA rank; each in its own process and environment, in alternating windows. Writes
benchmarks/results/train.json, prints the table and puts it into README.md and docs/performance.md.
`--seconds 20` makes windows short, to see whether it runs: then nothing is written but .scratch/bench/train.json.
"""

from __future__ import annotations

from typing import Any

from benchmarks import tables
from benchmarks.machine import machine, peak_flops
from benchmarks.peers.environments import SCRATCH
from benchmarks.questions import learnt
from benchmarks.setting import Questions, Setting, read, setting, write
from benchmarks.speed import Figures, Way, command, measured, rate
from pipelines import told_in_one_line

SECONDS = 180.0
OURS, FACTORY, TRL = "twinforge", "LLaMA-Factory", "TRL SFTTrainer"
ROUNDS = ((OURS, FACTORY, TRL), (OURS, FACTORY))  # TRL, the slower peer, once: twenty minutes are soon over
BAR = 12.0  # times LLaMA-Factory's answers a second


def main() -> None:
    seconds = command(__doc__, SECONDS)
    here = setting("train")
    questions = write(here.prompt, learnt(read("train")), "train")
    about: dict[str, Any] = {"machine": machine(), "peak flop/s": peak_flops(here.dtype)}
    figures = measured(ways(here, questions), [[(name, "train") for name in names] for names in ROUNDS], seconds)
    result = {**about, **summary(figures, here, questions, about["peak flop/s"]), "seconds a window": seconds}
    tables.publish("train", result, full=seconds >= SECONDS)


def ways(here: Setting, questions: Questions) -> list[Way]:
    """Ours and the two peers, on one set of questions."""
    shared = {"base": str(here.base.absolute()), "precision": here.precision, "rank": here.recipe.lora.r}
    ours = {"recipe": str(here.recipe_file), "table": str(questions.table)}
    told = [
        {**shared, "questions": str(questions.lines), "out": str((SCRATCH / "out" / peer).absolute())}
        for peer in ("llamafactory", "trl")
    ]
    return [
        Way(OURS, "", "benchmarks.peers.run_twinforge_train", ours),
        Way(FACTORY, "llamafactory", "benchmarks.peers.run_llamafactory", told[0]),
        Way(TRL, "trl", "benchmarks.peers.run_trl", told[1]),
    ]


def summary(figures: dict[str, Figures], here: Setting, questions: Questions, peak: float) -> dict[str, Any]:
    """Answers and tokens a second, share of the peak (4·N flop a token) and memory of each way, and whether the bar is met."""
    found: dict[str, Any] = {}
    for name, one in figures.items():
        windows = [{"tokens": w["answers"] * questions.tokens, **w} for w in one.windows["train"]]
        tokens = rate(windows, "tokens")["value"]
        found[name] = {
            "answers/s": rate(windows), "tokens/s": tokens, "of the peak": 4 * here.outside * tokens / peak,
            "peak_bytes": one.peak_bytes, "versions": dict(one.versions), "windows": windows,
        }  # fmt: skip
    for part in ("first", "later"):
        found[OURS][part] = rate([window[part] for window in found[OURS]["windows"]])
    times = found[OURS]["answers/s"]["value"] / found[FACTORY]["answers/s"]["value"]
    return {
        "ways": found, "precision": here.precision, "rank": here.recipe.lora.r, "parameters outside the embedding": here.outside,
        "questions": questions.count, "states": questions.states, "tokens of a question alone": questions.tokens,
        "bars": [{"what": f"times {FACTORY}'s answers a second", "value": times, "sense": "at least", "bar": BAR, "kept": times >= BAR}],
    }  # fmt: skip


if __name__ == "__main__":
    with told_in_one_line():
        main()
