"""The tables of the studies' pages in docs/, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eval.pages import detectors, percent
from eval.studies import SHOWN, TUNED, WHOLE, Measured
from twinforge.card import table
from twinforge.sectors.dimensions import LETTERS


def ablate(measured: Measured, metrics: Mapping[str, Any]) -> str:
    """What each dimension is worth by skill: to twins tuned for each subset, and to the one twin that was masked."""
    tuned, masked = measured.measures, metrics.get("dimensions", {})
    head = (
        "skill",
        "n",
        "told nothing",
        *(f"{name}, tuned" for name in LETTERS),
        "told all",
        *(f"{name}, masked" for name in LETTERS),
    )
    parts = []
    for model in TUNED:
        rows = []
        for skill, cells in tuned["test"].items():
            credits = [cells[f"accuracy_credit_{name}"][model] for name in LETTERS]
            none, whole = (_share(tuned[f"test|{kept}"][skill]["accuracy"][model]) for kept in ("none", "PAC"))
            other = masked.get("test", {}).get(skill, {})
            beside = [percent(other[f"accuracy_credit_{name}"][model], 1) if other else "" for name in LETTERS]
            rows.append(
                (skill, str(credits[0]["n"]), none, *(percent(credit, 1) for credit in credits), whole, *beside)
            )
        parts.append(
            f"**`{model}`: what each dimension adds, tuned for each subset and masked at answering time; percent**\n\n"
            + table(head, rows)
        )
    rows = [
        (split.partition("|")[2], *(_kept(cells["all"], model) for model in TUNED))
        for split, cells in tuned.items()
        if "|" in split
    ]
    return "\n\n".join(
        [*parts, "**Right by what they were tuned for, all skills, %**\n\n" + table(("told", *TUNED), rows)]
    )


def _kept(cell: Mapping[str, Any], model: str) -> str:
    lost = cell.get("accuracy_lost", {}).get(model)
    return _share(cell["accuracy"][model]) + (f", loses {percent(lost, 1)}" if lost else "")


def _share(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['value']:.1f}"


def scale(measured: Measured, metrics: Mapping[str, Any]) -> str:
    """What each system and adapter is, how often it is right, what it costs, and how its errors grow."""
    cells = {name: skills["all"] for name, skills in measured.measures.items()}
    by_skill = {
        f"{skill}, {name}": skills[skill]
        for skill in _shared(measured)
        for name, skills in measured.measures.items()
        if skill in skills
    }
    return "\n\n".join(
        [
            "**The variants**\n\n" + _variants(measured),
            detectors("Right, all skills that are asked, %", cells, "accuracy", 100, SHOWN, 1),
            detectors("Right by skill, %", by_skill, "accuracy", 100, SHOWN, 1),
            detectors("Tokens a question", cells, "tokens", 1, SHOWN[:2]),
            detectors("Seconds a question", cells, "seconds", 1, SHOWN[:2], 3),
            detectors("Mean error in the first four hours fed its own answers, points", cells, "error_first", 1, SHOWN),
            detectors("The same in the last four", cells, "error_end", 1, SHOWN),
        ]
    )


def _shared(measured: Measured) -> list[str]:
    """Skills that more than one variant is asked, in the order of the whole."""
    counts = [skill for skills in measured.measures.values() for skill in skills if skill != "all"]
    return [skill for skill in measured.measures[WHOLE] if counts.count(skill) > 1]


def learning(measured: Measured, metrics: Mapping[str, Any]) -> str:
    """Accuracy and log score by the states learnt, what the last doubling brought, and accuracy by skill."""
    names = {name: f"{name} ({facts['states']})" for name, facts in measured.facts.items()}
    cells = {names[name]: skills["all"] for name, skills in measured.measures.items()}
    by_skill = {
        f"{skill}, {names[name]}": skills[skill]
        for skill in next(iter(measured.measures.values()))
        for name, skills in measured.measures.items()
        if skill != "all" and skill in skills
    }
    last = list(measured.measures.values())[-1]
    return "\n\n".join(
        [
            "**The variants**\n\n" + _variants(measured),
            detectors("Right by the share (and number) of the states learnt, %", cells, "accuracy", 100, SHOWN, 1),
            detectors("Log score, nats", cells, "log_score", 1, SHOWN, 2),
            detectors("What the last doubling gained, points", last, "accuracy_gained", 100, SHOWN, 1),
            detectors("Right by skill, %", by_skill, "accuracy", 100, SHOWN, 1),
        ]
    )


def _variants(measured: Measured) -> str:
    rows = [
        (
            name,
            ", ".join(f"{count} {kind}" for kind, count in facts["assets"].items()),
            str(len(facts["skills"])),
            f"{facts['states']:,}",
            f"{facts['questions']:,}",
            f"{facts['context_tokens']:.0f}",
            f"{facts['training_seconds']:.0f}",
        )
        for name, facts in measured.facts.items()
    ]
    return table(
        ("variant", "assets", "skills asked", "states learnt", "questions learnt", "tokens a state", "training, s"),
        rows,
    )


PAGES: dict[str, Callable[[Measured, Mapping[str, Any]], str]] = {
    "ablate": ablate,
    "scale": scale,
    "learning": learning,
}
