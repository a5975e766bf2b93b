"""From results to tables in README.md and docs/performance.md; figures of shortened runs stay out of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import SCRATCH
from pipelines.readme import README, fill
from twinforge.card import table
from twinforge.files import read_json, write_json

RESULTS, PAGE = Path("benchmarks/results"), Path("docs/performance.md")
OURS = "twinforge"
_HEAD = ("answers/s", "least to most", "times", "tokens/s", "of the peak", "memory, GiB")


def publish(name: str, result: Mapping[str, Any], full: bool) -> None:
    """Keep a run's result, print its table and, of a full run, put it into the pages."""
    told = TABLES[name](result)
    print(told)
    if not full:
        write_json(result, SCRATCH / f"{name}.json")
        print(f"not published: shorter than a full run; kept as {SCRATCH / name}.json")
        return
    write_json(result, RESULTS / f"{name}.json")
    fill(f"bench-{name}", told, PAGE)
    both = [RESULTS / f"{one}.json" for one in ("train", "answer")]
    if all(path.is_file() for path in both):
        fill("speed", short_table(*map(read_json, both)), README)


def train_table(result: Mapping[str, Any]) -> str:
    """All ways; ours also by passes. `times` is against LLaMA-Factory."""
    ways = result["ways"]
    against = ways["LLaMA-Factory"]["answers/s"]["value"]
    rows = [(_named(name, way), *_cells(way, against)) for name, way in ways.items()]
    ours = ways[OURS]
    parts = [
        (f"{OURS}, {words}", *_speed(ours[part], against), "", "", "")
        for part, words in (("first", "first pass"), ("later", "later passes"))
    ]
    return "\n\n".join([table(("way", *_HEAD), [rows[0], *parts, *rows[1:]]), _below(result)])


def answer_table(result: Mapping[str, Any]) -> str:
    """All ways by questions a state. `times` is against the harness."""
    rows = []
    for many, ways in result["ways"].items():
        against = ways["lm-evaluation-harness"]["answers/s"]["value"]
        for name, way in ways.items():
            same = f"{way['as ours']['value']:.1%} of {way['as ours']['n']}" if name != OURS else ""
            rows.append((many, _named(name, way), *_cells(way, against), same))
    return "\n\n".join([table(("questions a state", "way", *_HEAD, "says the same"), rows), _below(result)])


def accuracy_table(result: Mapping[str, Any]) -> str:
    """Every run or checkpoint by its minutes of training."""
    rows = [
        (name, f"{one['seconds'] / 60:.1f}", str(one["answers"]), f"{100 * one['accuracy']:.1f} [{100 * one['low']:.0f}, {100 * one['high']:.0f}]")
        for name, points in result["points"].items()
        for one in points
    ]  # fmt: skip
    head = ("way", "minutes", "answers trained", f"accuracy on {result['test']} questions of `test`, %")
    return "\n\n".join(
        ["![Accuracy against minutes of training](performance/accuracy.png)", table(head, rows), _below(result)]
    )


def size_table(result: Mapping[str, Any]) -> str:
    """Answers a second by size: ours, the peer's, and how many times."""
    rows = []
    for one in result["points"]:
        ours, theirs = (f"{one[name]:.2f}" if one[name] else "does not fit" for name in ("ours", "theirs"))
        times = f"{one['ours'] / one['theirs']:.1f}" if one["ours"] and one["theirs"] else ""
        rows.append((one["work"], one["axis"], str(one["at"]), ours, theirs, times))
    parts = [
        "![Answers a second against size](performance/size.png)",
        table(("", "size", "", "twinforge", "peer", "times"), rows),
    ]
    return "\n\n".join([*parts, _below(result)])


def profile_table(result: Mapping[str, Any]) -> str:
    """Milliseconds a tree by part, the largest first, beside what the frozen model's products would take at the peak."""
    parts = result["parts"]
    named = {part for one in parts.values() for part in one if part not in ("all", "at the peak")}
    order = sorted(named, key=lambda part: -sum(one.get(part, 0.0) for one in parts.values()))
    rows = [(part, *(f"{one.get(part, 0.0):.0f}" for one in parts.values())) for part in order]
    rows.append(("**all**", *(f"**{one['all']:.0f}**" for one in parts.values())))
    rows.append(("the model's products at the peak", *(f"{one['at the peak']:.0f}" for one in parts.values())))
    head = ("ms a tree", *parts)
    below = f"Trees of {result['tokens a tree']:.0f} tokens on average, {result['states']} states."
    return "\n\n".join([table(head, rows), below, _below(result)])


TABLES = {
    "train": train_table, "answer": answer_table, "accuracy": accuracy_table, "size": size_table, "profile": profile_table,
}  # fmt: skip


def short_table(train: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """What README.md shows of both."""
    groups = [("trained", train["ways"], "LLaMA-Factory")]
    groups += [(f"scored, {many} a state", ways, "lm-evaluation-harness") for many, ways in answer["ways"].items()]
    rows = [
        (kind, _named(name, way), *_speed(way["answers/s"], ways[against]["answers/s"]["value"]), _memory(way))
        for kind, ways, against in groups
        for name, way in ways.items()
    ]
    return table(("", "way", "answers/s", "least to most", "times", "memory, GiB"), rows)


def _named(name: str, way: Mapping[str, Any]) -> str:
    package = {"LLaMA-Factory": "llamafactory", "TRL SFTTrainer": "trl", "lm-evaluation-harness": "lm-eval"}.get(name)
    version = way["versions"].get(package or "transformers") if name != OURS else None
    return f"{name} {version}" if version else name


def _speed(rate: Mapping[str, float], against: float) -> tuple[str, str, str]:
    return f"{rate['value']:.1f}", f"{rate['low']:.1f} to {rate['high']:.1f}", f"{rate['value'] / against:.1f}"


def _cells(way: Mapping[str, Any], against: float) -> tuple[str, ...]:
    return *_speed(way["answers/s"], against), f"{way['tokens/s']:.0f}", f"{way['of the peak']:.0%}", _memory(way)


def _memory(way: Mapping[str, Any]) -> str:
    return f"{way['peak_bytes'] / 2**30:.1f}"


def _below(result: Mapping[str, Any]) -> str:
    """The bars, and what it was measured on."""
    on = result["machine"]
    where = f"{on['processor']}, {on['cores']} cores, {result['precision']}, load before {on['load before']}; torch {on['torch']}"
    if "peak flop/s" in result:
        where += f"; matrix products at most {result['peak flop/s'] / 1e9:.0f} GFLOP/s"
    if "seconds a window" in result:
        where += f"; windows of {result['seconds a window']:g} s"
    return "\n".join([*(f"- {_bar(bar)}" for bar in result["bars"]), "", where + "."])


def _bar(bar: Mapping[str, Any]) -> str:
    value = "never" if bar["value"] is None else f"{bar['value']:.1f}"
    return f"{value} {bar['what']}; {bar['sense']} {bar['bar']:g} wanted: {'kept' if bar['kept'] else 'MISSED'}"
