"""Answering beside lm-evaluation-harness and `pipeline("decision")`: `make bench-answer`, after `dvc repro curate@energy`
(20 minutes on two cores).

The same choice questions and base model, 6 and 24 questions a state; each in its own process and environment, in alternating
windows. Writes benchmarks/results/answer.json, prints the table and puts it into README.md and docs/performance.md.
`--seconds 20` makes windows short, to see whether it runs: then nothing is written but .scratch/bench/answer.json.
"""

from __future__ import annotations

from typing import Any

from benchmarks import tables
from benchmarks.machine import machine, peak_flops
from benchmarks.questions import asked
from benchmarks.setting import Questions, Setting, read, setting, write
from benchmarks.speed import Figures, Way, agreement, command, measured, rate
from pipelines import told_in_one_line
from twinforge.sectors.energy import TEMPLATES

SECONDS = 90.0  # a window; two of each kind are three minutes
OURS, HARNESS, DECISION = "twinforge", "lm-evaluation-harness", 'pipeline("decision")'
BARS = {"6": 5.0, "24": 10.0}  # times the harness's answers a second, by questions a state
ROUND = ((OURS, "6"), (HARNESS, "6"), (DECISION, "6"), (OURS, "24"), (HARNESS, "24"))
BATCH = 8  # questions a forward pass of the harness


def main() -> None:
    seconds = command(__doc__, SECONDS)
    here, train = setting("answer"), read("train")
    train = train[~train["validation"]]
    questions = {many: write(here.prompt, asked(train, int(many), TEMPLATES), f"answer-{many}") for many in BARS}
    about: dict[str, Any] = {"machine": machine(), "peak flop/s": peak_flops(here.dtype)}
    figures = measured(ways(here, questions), [list(ROUND)] * 2, seconds)
    result = {**about, **summary(figures, here, questions, about["peak flop/s"]), "seconds a window": seconds}
    tables.publish("answer", result, full=seconds >= SECONDS)


def ways(here: Setting, questions: dict[str, Questions]) -> list[Way]:
    """Ours and the two peers, on sets of questions."""
    lines = {many: str(one.lines) for many, one in questions.items()}
    shared = {"base": str(here.base.absolute()), "precision": here.precision, "questions": lines, "batch": BATCH}
    ours = {"recipe": str(here.recipe_file), "tables": {many: str(one.table) for many, one in questions.items()}}
    return [
        Way(OURS, "", "benchmarks.peers.run_twinforge_answer", ours),
        Way(HARNESS, "lm_eval", "benchmarks.peers.run_lm_eval", shared),
        Way(DECISION, "decision", "benchmarks.peers.run_decision", shared),
    ]


def summary(figures: dict[str, Figures], here: Setting, questions: dict[str, Questions], peak: float) -> dict[str, Any]:
    """Answers and tokens a second, share of the peak (2·N flop a token) and memory of each way, by questions a state; how
    often a peer says what ours says; and whether the bars are met."""
    found: dict[str, Any] = {many: {} for many in questions}
    said = {name: _said(one) for name, one in figures.items()}
    for name, one in figures.items():
        for many, each in one.windows.items():
            windows = [{"tokens": w["answers"] * questions[many].tokens, **w} for w in each]
            tokens = rate(windows, "tokens")["value"]
            found[many][name] = {
                "answers/s": rate(windows), "tokens/s": tokens, "of the peak": 2 * here.outside * tokens / peak,
                "peak_bytes": one.peak_bytes, "versions": dict(one.versions), "as ours": agreement(said[name], said[OURS]),
                "windows": [{key: value for key, value in window.items() if key != "said"} for window in windows],
            }  # fmt: skip
    bars = []
    for many, bar in BARS.items():
        times = found[many][OURS]["answers/s"]["value"] / found[many][HARNESS]["answers/s"]["value"]
        what = f"times the harness's answers a second, {many} questions a state"
        bars.append({"what": what, "value": times, "sense": "at least", "bar": bar, "kept": times >= bar})
    return {
        "ways": found, "precision": here.precision, "parameters outside the embedding": here.outside, "bars": bars,
        "questions": {many: one.count for many, one in questions.items()},
        "states": {many: one.states for many, one in questions.items()},
        "tokens of a question alone": {many: one.tokens for many, one in questions.items()},
    }  # fmt: skip


def _said(one: Figures) -> dict[str, str]:
    return {
        question: label for windows in one.windows.values() for w in windows for question, label in w["said"].items()
    }


if __name__ == "__main__":
    with told_in_one_line():
        main()
