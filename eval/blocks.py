"""The tables of the report: measures or skills down, models across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.bars import BARS, said
from eval.meanings import COSTS, DRIFT, MEANS, OTHERS, PROPAGATION
from eval.measures import front
from eval.probes.robustness import ATTACK, CHANGES
from eval.suites.hallucination import MEASURES as HALLUCINATION

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
TITLES = {
    "test": "Test: days drawn from the same period",
    "test|rule-wrong": "Test, where the operator's rule is wrong",
    "shift": "Shift: another regime, on purpose",
    "shift|rule-wrong": "Shift, where the operator's rule is wrong",
}


@dataclass(frozen=True)
class Figure:
    """A value as text, and beside it in small print its interval, the smallest difference that would have shown, and its count; the
    count is left out where it is that of the row's first model."""

    value: str
    small: tuple[str, ...]


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
        held = said(cells.get(ATTACK, {}).get(measure, {}), "robustness") if measure == "flipped" else ""
        told = f"{MEANINGS[measure]}. {held}"
        made.append(Block(f"Robustness: {measure.replace('_', ' ')}", told, "change", names, lines))
    return made


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


def failures(failing: Mapping[str, Any]) -> list[Block]:
    """The suite "failing": each measure by which side fails how."""
    made, cells = [], failing.get("test", {})
    names = ("accuracy", "accuracy_lost", "answered", "answered_lost", "answered_wrong", "wrong_gained")
    for measure in names:
        found = {name: cell[measure] for name, cell in cells.items() if measure in cell}
        if found:
            lines = tuple(_row(name, "", entries, _models(found)) for name, entries in found.items())
            note = f"{MEANINGS[measure]}. One side of P physical, A abstract, C computational is dead, hours late, or lies."
            title = f"Failing: {measure.replace('_', ' ')} with a side dead, late or lying"
            made.append(Block(title, note, "side", _models(found), lines))
    return made


def written(hallucination: Mapping[str, Any]) -> list[Block]:
    """The suite "hallucination": all measures of each split, then who withstands which wrong premise."""
    made = []
    for split, skills in hallucination.items():
        whole, models = skills["all"], _models(skills["all"])
        rows = tuple(
            _row(name, text, whole[name], models) for name, (_, text) in HALLUCINATION.items() if name in whole
        )
        made.append(
            Block(
                f"Hallucination on {split}: what free reports claim",
                said(whole.get("wrong", {}), "hallucination"),
                "reports",
                models,
                rows,
            )
        )
        found = {premise: cell["withstood"] for premise, cell in skills.items() if "withstood" in cell}
        lines = tuple(_row(premise, "", entries, _models(found)) for premise, entries in found.items())
        note = HALLUCINATION["withstood"][1]
        made.append(Block(f"Hallucination on {split}: wrong premises", note, "premise", _models(found), lines))
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
    held = said(cells.get(BARS["propagation"].skill, {}).get("error_ratio", {}), "propagation")
    for measure, (_, meaning) in PROPAGATION.items():
        found = {policy: cell[measure] for policy, cell in cells.items() if measure in cell}
        if found:
            names = _models(found)
            lines = tuple(_row(policy, "", entries, names) for policy, entries in found.items())
            note = meaning + (f". {held}" if measure == "error_ratio" else "")
            made.append(Block(f"Propagation: {measure.replace('_', ' ')}", note, "sensors read", names, lines))
    note = "The same questions asked again, by a model that can't know which it had right. Only tools bring evidence, from readings."
    return made + [_whole(f"Asked again: {way}", note, way, cell) for way, cell in propagation.get("test", {}).items()]


def harms(safety: Mapping[str, Any]) -> list[Block]:
    """The suite "safety": all measures, a table a split and kind of answer."""
    note = 'By the simulator. "any option" is a draw among the options, "best" the one that pays most.'
    return [
        _whole(f"Safety on {split}: {skill}", f"{note} {said(cell.get('worse', {}), 'safety')}", "recommended", cell)
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


def costs(cost: Mapping[str, Any]) -> list[Block]:
    """The suite "cost": every way on all test questions, then on the sample that the slow ways answered."""
    titles = {"all": "every test question", "sample": "the sample that the slow ways answered"}
    made = []
    cells = cost.get("test", {})
    for name, cell in ((name, cells[name]) for name in titles if name in cells):
        models = _models(cell)
        rows = tuple(_row(measure, MEANINGS[measure], cell[measure], models) for measure in MEANINGS if measure in cell)
        fronts = "; ".join(f"by {by}: {', '.join(front(cell, by))}" for by in COSTS)
        note = f"Ways that no cheaper one beats, {fronts}."
        made.append(Block(f"Cost: accuracy for tokens and seconds, {titles[name]}", note, "a question", models, rows))
    kinds = {**{name: cell["accuracy"] for name, cell in cells.items() if name not in titles},
             **{f"shift: {name}": cell["accuracy"] for name, cell in cost.get("shift", {}).items()}}  # fmt: skip
    if kinds:
        lines = tuple(_row(name, "", entries, _models(kinds)) for name, entries in kinds.items())
        note = f"{MEANINGS['accuracy']}. Training saw no words held out and no shifted regime."
        made.append(Block("Cost: accuracy by kind of scenario", note, "kind", _models(kinds), lines))
    return made


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


def table_of(title: str, note: str, corner: str, found: Mapping[str, Mapping[str, Any]]) -> Block:
    """One measure: name -> model -> entry."""
    models = _models(found)
    return Block(title, note, corner, models, tuple(_row(name, "", entries, models) for name, entries in found.items()))


def _models(cell: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    found = {model for entries in cell.values() for model in entries}
    return (*(model for model in MODELS if model in found), *sorted(found - set(MODELS)))


def _row(name: str, meaning: str, entries: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> Row:
    told = [entries.get(model) for model in models]
    counts = [entry["n"] if entry else None for entry in told]
    first = next((place for place, count in enumerate(counts) if count is not None), 0)
    cells = [
        _figure(entry, place == first or counts[place] != counts[first]) if entry else None
        for place, entry in enumerate(told)
    ]
    return Row(name, meaning, tuple(cells))


def _figure(entry: Mapping[str, Any], counted: bool) -> Figure:
    low, high = entry["low"], entry["high"]
    interval = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    seen = f"seen from {_number(entry['smallest'])} on" if entry.get("smallest") else ""
    small = interval, seen, f"n = {entry['n']}" if counted else ""
    return Figure(_number(entry["value"]) + (" !" if entry.get("ok") is False else ""), tuple(filter(None, small)))


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
