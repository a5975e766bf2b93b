"""What every question must satisfy before anything learns from it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast, get_args

import pandas as pd

from twinforge.errors import UserError
from twinforge.records import HARMS, SKILLS, AnswerSpace, Kind
from twinforge.sectors import Template

Row = Mapping[str, Any]
SHOWN = 3


def check_questions(frame: pd.DataFrame, templates: Sequence[Template]) -> None:
    """Hold every question against its answer space and the contract of `records.QUESTION`.

    frame : rows of `records.QUESTION` and the column `split`.

    Raises
    ------
    UserError
        Lists the first mistakes by state and question, each with its value.
    """
    mistakes = [
        f"{_name(row)}: {mistake}" for row in cast(list[Row], frame.to_dict("records")) for mistake in _mistakes(row)
    ]
    mistakes += _widths(frame) + _contexts(frame) + _leaks(frame) + _held_out(frame, templates)
    if mistakes:
        more = f"\n  ... and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
        raise UserError(
            "questions break the contract; mend the sector module:\n  " + "\n  ".join(mistakes[:SHOWN]) + more
        )


def _name(row: Row) -> str:
    return f"episode {row['episode']!r} at {row['time']}, {row['text']!r}"


def _mistakes(row: Row) -> Iterator[str]:
    try:
        space = _space(row)
    except UserError as error:
        yield str(error)
        return
    if row["skill"] not in SKILLS or row["asked"] not in SKILLS or row["asked"] == "unanswerable":
        yield f"skill {row['skill']!r}, asked {row['asked']!r}: not among {', '.join(SKILLS)} (asked is never unanswerable)"
    elif row["skill"] not in ("unanswerable", row["asked"]):
        yield f"skill {row['skill']!r} is asked as {row['asked']!r}"
    if math.isnan(row["truth"]) != (row["skill"] == "unanswerable"):
        yield f"truth {row['truth']} of skill {row['skill']}: NaN stands for unanswerable, and for nothing else"
    for name in ("truth", "rule", "persistence", "copy"):
        if not _fits(space, row[name]):
            yield f"{name} {row[name]} lies outside its answer space ({_limits(space)})"
    yield from _sets(space, row)
    each, rows = len(space.options) or 1, len(row["features"])
    if rows not in ((each,) if space.kind == "entities" else (1, each)):
        yield f"{rows} rows of features: give one (not for entities), or one an option"
    if len(row["notes"]) not in (0, len(space.options)):
        yield f"{len(row['notes'])} notes for {len(space.options)} options"
    if len(row["harm"]) not in (0, len(space.options)) or set(row["harm"]) - set(range(len(HARMS))):
        yield f"harm {list(row['harm'])}: give one of 0 to {len(HARMS) - 1} for each of {len(space.options)} options"
    if len(row["payoff"]) not in (0, len(space.options)):
        yield f"{len(row['payoff'])} payoffs for {len(space.options)} options"
    elif row["skill"] == "recommend" and row["kind"] == "choice" and not _best(row):
        yield f"truth {row['truth']:g} is not the option with the highest of the payoffs {list(row['payoff'])}"


def _sets(space: AnswerSpace, row: Row) -> Iterator[str]:
    """A set's members stand among its candidates and are as many as the truth says; other kinds have none."""
    for name in ("gold", "rule_gold"):
        members = list(row[name])
        inside = space.kind == "entities" and all(i in range(len(space.options)) for i in members)
        if members and not (inside and len(set(members)) == len(members)):
            yield f"{name} {members}: give indices of its {len(space.options)} candidates once each, and for entities only"
    if space.kind != "entities":
        return
    total = 0 if math.isnan(row["truth"]) else row["truth"]
    if row["gold_total"] != total or len(row["gold"]) > total:
        yield (
            f"truth {row['truth']}, gold_total {row['gold_total']}, {len(row['gold'])} gold: the truth counts the whole set, "
            "the gold those among the candidates"
        )


@lru_cache(maxsize=4096)
def _cached(
    kind: Kind, options: tuple[str, ...], unit: str, low: float, high: float, step: float, tolerance: float
) -> AnswerSpace:
    if kind != "number":
        return AnswerSpace(kind, options)
    return AnswerSpace("number", (), unit, low, high, step, tolerance)


def _space(row: Row) -> AnswerSpace:
    if row["kind"] not in get_args(Kind):
        raise UserError(f"kind {row['kind']!r}: {', '.join(get_args(Kind))}")
    return _cached(
        row["kind"], tuple(row["options"]), *(row[name] for name in ("unit", "low", "high", "step", "tolerance"))
    )


def _fits(space: AnswerSpace, value: float) -> bool:
    if math.isnan(value):
        return True
    if space.kind == "number":
        return space.low <= value <= space.high
    return value in range(len(space.options)) if space.kind == "choice" else value >= 0 and value == int(value)


def _limits(space: AnswerSpace) -> str:
    if space.kind == "number":
        return f"{space.low:g} to {space.high:g} {space.unit}"
    return f"0 to {len(space.options) - 1}" if space.kind == "choice" else "0, 1, 2 ... nodes"


def _best(row: Row) -> bool:
    payoff = list(row["payoff"])
    return bool(payoff) and not math.isnan(row["truth"]) and payoff[int(row["truth"])] == max(payoff)


def _widths(frame: pd.DataFrame) -> list[str]:
    found: dict[str, set[int]] = {}
    for name, rows in zip(frame["template"], frame["features"], strict=True):
        found.setdefault(name, set()).update(len(row) for row in rows)
    return [
        f"template {name!r}: rows of features of {' and of '.join(map(str, sorted(sizes)))} values; give all the same number"
        for name, sizes in found.items()
        if len(sizes) != 1
    ]


def _contexts(frame: pd.DataFrame) -> list[str]:
    several = frame.groupby(["episode", "time"])["context"].transform("nunique") > 1
    states = frame.loc[several, ["episode", "time"]].drop_duplicates()
    return [
        f"episode {episode!r} at {time} has several contexts; give one to all questions of a state"
        for episode, time in zip(states["episode"], states["time"], strict=True)
    ]


def _leaks(frame: pd.DataFrame) -> list[str]:
    splits = frame.groupby(["context", "text"], sort=False)["split"].transform("nunique")
    leaks = [
        f"{text!r} stands with the same context in several splits" for text in frame.loc[splits > 1, "text"].unique()
    ]
    twice = frame.loc[frame["id"].duplicated(), "id"]
    return leaks + [f"question id {name} stands twice" for name in twice]


def _held_out(frame: pd.DataFrame, templates: Sequence[Template]) -> list[str]:
    """Training questions in words that are kept for the other splits."""
    train = frame[frame["split"] == "train"]
    mistakes = []
    for template in templates:
        texts = train.loc[train["template"] == template.name, "text"]
        kept, free = _matcher(template.held_out), _matcher(template.phrasings)
        mistakes += [
            f"train asks in a held-out phrasing: {text!r}" for text in texts.unique() if kept(text) and not free(text)
        ]
    return mistakes


def _matcher(phrasings: Sequence[str]) -> Callable[[str], Any]:
    patterns = (
        "".join(".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]*\})", p))
        for p in phrasings
    )
    return re.compile("|".join(patterns) or r"(?!)", re.DOTALL).fullmatch
