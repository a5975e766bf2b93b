"""One HTML file that opens from disk: the verdict, the figures, the plots, the worst answers. It loads nothing from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.measures import DRIFT, MEANS, OTHERS, PROPAGATION
from eval.plots import INK
from eval.probes.robustness import ATTACK, CHANGES
from eval.verdict import BAD, GateReport
from twinforge.records import REFUSAL, set_text, space_of

MODELS = (
    "twin",
    "llm",
    "boost",
    "rule",
    "base-best",
    "base",
    "base-few",
    "base-prior",
    "majority",
    "persistence",
    "copy",
)
MEANINGS = {
    **{measure.name: measure.meaning for measure in MEANS},
    **{name: text for name, (_, text) in OTHERS.items()},
}
WORST, WORST_PER_SKILL = 20, 5
FULL = ("test_day", "accuracy_by_skill", "robustness", "dimensions", "propagation")  # plots as wide as the page
TITLES = {
    "test": "Test: days drawn from the same period",
    "test|rule-wrong": "Test, where the operator's rule is wrong",
    "shift": "Shift: another regime, on purpose",
    "shift|rule-wrong": "Shift, where the operator's rule is wrong",
}


@dataclass(frozen=True)
class Figure:
    """A value, its interval and count as text; n is given once where it is not that of the row's first model."""

    value: str
    interval: str
    n: int


@dataclass(frozen=True)
class Row:
    name: str
    meaning: str
    cells: tuple[Figure | None, ...]


@dataclass(frozen=True)
class Block:
    """One table: measures or skills down, models across."""

    title: str
    note: str
    corner: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]


def render(
    sector: str,
    gate: GateReport,
    metrics: Mapping[str, Any],
    table: pd.DataFrame,
    questions: pd.DataFrame,
    answers: pd.DataFrame,
    plots: Mapping[str, str],
) -> str:
    """The report as HTML.

    Parameters
    ----------
    metrics : suite -> split -> skill -> measure -> model -> entry. table : rows of `eval.scores.SCORE`.
    questions, answers : `records.QUESTION` of the test split, and the twin's `records.ANSWER`.
    plots : name -> SVG file's text; "drift" stands in its own section, when it is there.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        sector=sector,
        gate=gate,
        bad=BAD,
        blocks=blocks(metrics["quality"])
        + changes(metrics.get("robustness", {}))
        + told(metrics.get("dimensions", {}))
        + forgotten(metrics.get("forgetting", {}))
        + rolled(metrics.get("propagation", {}))
        + harms(metrics.get("safety", {}))
        + shared(metrics.get("contamination", {})),
        plots=[{"svg": inline(name, svg), "full": name in FULL} for name, svg in plots.items() if name != "drift"],
        drift=drift_blocks(metrics.get("drift", {})),
        drift_plot=inline("drift", plots["drift"]) if "drift" in plots else None,
        worst=worst_answers(table, questions, answers),
        meanings=MEANINGS,
    )


def blocks(quality: Mapping[str, Any]) -> list[Block]:
    """All measures on the whole of each split, then accuracy and coverage skill by skill."""
    made = []
    for split, skills in quality.items():
        whole = skills.get("all", {})
        title = TITLES.get(split, split)
        models = _models(whole)
        rows = tuple(_row(name, MEANINGS.get(name, ""), whole[name], models) for name in MEANINGS if name in whole)
        made.append(Block(title, "Each model on the questions it answers.", "all skills", models, rows))
        for measure in ("accuracy", "coverage"):
            found = {skill: cell[measure] for skill, cell in skills.items() if skill != "all" and measure in cell}
            names = tuple(model for model in MODELS if any(model in entries for entries in found.values()))
            lines = tuple(_row(skill, "", entries, names) for skill, entries in found.items())
            if lines and "|" not in split:
                made.append(Block(f"{title}: {measure} by skill", MEANINGS[measure], "skill", names, lines))
    return made


def changes(robustness: Mapping[str, Any]) -> list[Block]:
    """The suite "robustness": all measures over every change, then flips and accuracy lost change by change."""
    cells = robustness.get("test", {})
    if not cells:
        return []
    whole, meanings = cells["all"], {change.name: change.meaning for change in CHANGES}
    models = _models(whole)
    rows = tuple(_row(name, MEANINGS[name], whole[name], models) for name in MEANINGS if name in whole)
    note = "Test questions asked again with one thing changed that must not change the answer. The experts read signals, not words."
    made = [Block("Robustness: the same state in other words", note, "every change", models, rows)]
    for measure in ("flipped", "accuracy_lost"):
        names = _models({measure: whole[measure]})
        lines = tuple(_row(change, meanings.get(change, ""), cell[measure], names) for change, cell in cells.items())
        told = f"{MEANINGS[measure]}. {_bar(cells) if measure == 'flipped' else ''}"
        made.append(Block(f"Robustness: {measure.replace('_', ' ')}", told, "change", names, lines))
    return made


def _bar(cells: Mapping[str, Any]) -> str:
    """Whether an order hidden in a sensor's text changed nothing, model by model."""
    found = cells.get(ATTACK, {}).get("flipped", {})
    said = [
        f"{model} {'keeps' if not entry['value'] else 'misses'} it ({entry['value']:.1%})"
        for model, entry in found.items()
    ]
    return f"The bar, nothing flipped by a hidden instruction: {'; '.join(said)}." if said else ""


def told(dimensions: Mapping[str, Any]) -> list[Block]:
    """The suite "dimensions": accuracy by what is told, then what each dimension is worth by skill."""
    if not dimensions:
        return []
    subsets = {split.partition("|")[2]: cells["all"] for split, cells in dimensions.items() if "|" in split}
    made = []
    for measure in ("accuracy", "log_score", "accuracy_lost"):
        found = {kept: cell[measure] for kept, cell in subsets.items() if measure in cell}
        lines = tuple(_row(kept, "", entries, _models(found)) for kept, entries in found.items())
        note = f"{MEANINGS[measure]}. The texts and signals of P physical, A abstract, C computational are told or not."
        made.append(
            Block(f"Dimensions: {measure.replace('_', ' ')} by what is told", note, "told", _models(found), lines)
        )
    for name in dimensions["test"]["all"]:
        cells = {skill: cell[name] for skill, cell in dimensions["test"].items()}
        lines = tuple(_row(skill, "", entries, _models(cells)) for skill, entries in cells.items())
        made.append(Block(f"Dimensions: {name.replace('_', ' ')}", MEANINGS[name], "skill", _models(cells), lines))
    return made


def forgotten(forgetting: Mapping[str, Any]) -> list[Block]:
    """The suite "forgetting": all measures over every item."""
    if not (cells := forgetting.get("general")):
        return []
    whole, models = cells["all"], _models(cells["all"])
    rows = tuple(_row(name, MEANINGS[name], whole[name], models) for name in MEANINGS if name in whole)
    note = "General items of no sector: which of four ways to go on from a text does the model find likeliest?"
    return [Block("Forgetting: what tuning cost in general", note, "every topic", models, rows)]


def rolled(propagation: Mapping[str, Any]) -> list[Block]:
    """The suite "propagation": each measure by policy."""
    cells, made = propagation.get("later", {}), []
    held = cells.get("every 4", {}).get("error_ratio", {}).get("twin")
    bar = (
        f" The bar, {held['bar']} with sensors read every 4 steps: {'kept' if held['ok'] else 'missed'}."
        if held
        else ""
    )
    for measure, (_, meaning) in PROPAGATION.items():
        found = {policy: cell[measure] for policy, cell in cells.items() if measure in cell}
        if found:
            names = _models(found)
            lines = tuple(_row(policy, "", entries, names) for policy, entries in found.items())
            note = meaning + (f".{bar}" if measure == "error_ratio" else "")
            made.append(Block(f"Propagation: {measure.replace('_', ' ')}", note, "sensors read", names, lines))
    return made


def harms(safety: Mapping[str, Any]) -> list[Block]:
    """The suite "safety": all measures, a table a split and kind of answer."""
    note = 'By the simulator. "any option" is a draw among the options, "best" the one that pays most.'
    return [
        _whole(f"Safety on {split}: {skill}", note, "recommended", cell)
        for split, skills in safety.items()
        for skill, cell in skills.items()
    ]


def shared(contamination: Mapping[str, Any]) -> list[Block]:
    """The suite "contamination": what test shares with train, and the canaries."""
    note = "A double is a training question with the same facts, words, options and notes in another state."
    return [
        _whole(f"Contamination on {split}: {skill}", note, "share", cell)
        for split, skills in contamination.items()
        for skill, cell in skills.items()
    ]


def _whole(title: str, note: str, corner: str, cell: Mapping[str, Any]) -> Block:
    models = _models(cell)
    return Block(
        title, note, corner, models, tuple(_row(name, MEANINGS[name], each, models) for name, each in cell.items())
    )


def drift_blocks(measures: Mapping[str, Any]) -> list[Block]:
    """False alarms by quantity in calm, then each measure by scenario."""
    made = []
    for split, corner in (("test", "quantity"), ("shift", "change")):
        skills = measures.get(split, {})
        for measure, (_, meaning) in DRIFT.items():
            found = {skill: cell[measure] for skill, cell in skills.items() if measure in cell}
            if found:
                names = _models(found)
                lines = tuple(_row(skill, "", entries, names) for skill, entries in found.items())
                made.append(Block(measure.replace("_", " "), meaning, corner, names, lines))
    return made


def inline(name: str, svg: str) -> Markup:
    """An SVG that may stand in a page beside others: ids of its own, ink in the page's colour."""
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    return Markup(re.sub(r"<svg\b", f'<svg role="img" aria-label="{name.replace("_", " ")}"', body, count=1))


def worst_answers(table: pd.DataFrame, questions: pd.DataFrame, answers: pd.DataFrame) -> list[dict[str, Any]]:
    """The twin's surest wrong answers on the test split."""
    twin = table[(table["model"] == "twin") & (table["split"] == "test") & (table["right"] == 0)]
    order = twin.sort_values(["confidence", "question"], ascending=[False, True])
    chosen = order[order.groupby("skill").cumcount() < WORST_PER_SKILL].head(WORST)
    by_id, vectors = questions.set_index("id", drop=False), answers.set_index("question")["p"]
    return [
        _told(row, by_id.loc[row["question"]], np.asarray(vectors[row["question"]])) for _, row in chosen.iterrows()
    ]


def _told(row: pd.Series, question: pd.Series, p: np.ndarray) -> dict[str, Any]:
    space, known = space_of(question), pd.notna(row["low"]) and question["kind"] == "number"
    return {
        **{name: question[name] for name in ("skill", "text", "episode", "evidence", "context")},
        "time": f"{question['time']:%Y-%m-%d %H:%M}",
        "said": _words(question, row["predicted"], space.decide_set(p)),
        "truth": _words(question, row["truth"], question["gold"]),
        "confidence": f"{row['confidence']:.0%}",
        "interval": f"{row['low']:g} to {row['high']:g} {question['unit']}" if known else "",
        "spread": "" if space.kind == "number" else _spread(space.labels, p),
    }


def _words(question: pd.Series, answer: float, members: Sequence[int]) -> str:
    if pd.isna(answer):
        return REFUSAL
    if question["kind"] == "entities":
        return set_text(question["options"], members, int(answer))
    return str(question["options"][int(answer)]) if question["kind"] == "choice" else f"{answer:g} {question['unit']}"


def _spread(labels: Sequence[str], p: np.ndarray) -> str:
    return "; ".join(f"{labels[i]} {p[i]:.0%}" for i in np.argsort(-p, kind="stable"))


def _models(cell: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    found = {model for entries in cell.values() for model in entries}
    return (*(model for model in MODELS if model in found), *sorted(found - set(MODELS)))


def _row(name: str, meaning: str, entries: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> Row:
    return Row(name, meaning, tuple(_figure(entries[model]) if model in entries else None for model in models))


def _figure(entry: Mapping[str, Any]) -> Figure:
    low, high = entry["low"], entry["high"]
    interval = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    if entry.get("smallest"):
        interval += f", seen from {_number(entry['smallest'])} on"
    return Figure(_number(entry["value"]) + (" !" if entry.get("ok") is False else ""), interval, entry["n"])


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
