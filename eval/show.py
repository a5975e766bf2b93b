"""A suite's measures of one model as a terminal's tables: intervals, counts, and the paired difference to the twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from eval.meanings import COSTS, MEANS, OTHERS
from eval.suites.hallucination import MEASURES as HALLUCINATION

NEED_DISTRIBUTION = ("log_score", "brier", "interval_score", "calibration_error")
LEADS = ("accuracy_lead", "llm_lead")
SHARES = ("accuracy_original", "accuracy", "abstention")
BROAD = (*(measure.name for measure in MEANS), *OTHERS)


def tables(suite: str, measures: Mapping[str, Any], model: str, said: bool) -> list[Table]:
    """The tables of a suite for `model`; `said`: it gave no distributions, so measures of these are left out."""
    if suite == "robustness":
        return [_changes(measures["test"], name) for name in (model, "twin")]
    if suite == "hallucination":
        return [_reports(split, skills["all"], model) for split, skills in measures.items()]
    made = []
    for split, skills in measures.items():
        if model in skills["all"].get("accuracy", {}):
            made += [_measures(split, skills["all"], model, said), _skills(split, skills, model)]
    return made


def figure(entry: Mapping[str, Any] | None) -> str:
    """A value and its interval."""
    if not entry:
        return ""
    low, high = entry["low"], entry["high"]
    return f"{entry['value']:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _measures(split: str, cell: Mapping[str, Any], model: str, said: bool) -> Table:
    table = _table(f"{split}: {model}, all skills", "measure", "value, 95 %", "n")
    for name in BROAD:
        entry = cell.get(name, {}).get(model)
        told = entry and name not in LEADS and not (said and name in NEED_DISTRIBUTION)
        if told and not (name in COSTS and not entry["value"]):  # nothing was said of it
            table.add_row(name, figure(entry), str(entry["n"]))
    return table


def _reports(split: str, cell: Mapping[str, Any], model: str) -> Table:
    table = _table(f"{split}: {model}, free reports", "measure", "n", "value, 95 %", "twin", "what it is")
    for name, (_, meaning) in HALLUCINATION.items():
        if entry := cell.get(name, {}).get(model):
            table.add_row(name, str(entry["n"]), figure(entry), figure(cell[name].get("twin")), meaning)
    return table


def _skills(split: str, skills: Mapping[str, Any], model: str) -> Table:
    table = _table(f"{split}: accuracy by skill", "skill", "n", model, "twin minus it, paired", "seen from")
    for skill, cell in skills.items():
        if entry := cell["accuracy"].get(model):
            lead = cell.get("accuracy_lead", {}).get(model)
            table.add_row(skill, str(entry["n"]), figure(entry), figure(lead), seen_from(lead))
    return table


def _changes(cells: Mapping[str, Any], model: str) -> Table:
    head = ("change", "n", "as it stood", "in other words", "lost", "loss seen from", "flipped", "refused")
    table = _table(f"test: {model}", *head)
    for change, cell in cells.items():
        if model in cell["accuracy"]:
            before, after, refused = (f"{cell[name][model]['value']:.3f}" for name in SHARES)
            lost, flipped = cell["accuracy_lost"][model], cell["flipped"][model]
            figures = (before, after, figure(lost), seen_from(lost), figure(flipped), refused)
            table.add_row(change, str(lost["n"]), *figures)
    return table


def seen_from(entry: Mapping[str, Any] | None) -> str:
    """The smallest difference that the sample would have shown."""
    smallest = (entry or {}).get("smallest")
    return "" if smallest is None else f"{smallest:.3f}"


def _table(title: str, *head: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for at, name in enumerate(head):
        table.add_column(name, overflow="fold", justify="left" if not at else "right")
    return table
