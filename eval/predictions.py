"""Anyone's predictions as answers: a parquet or jsonl file of texts or distributions, held against the questions row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinforge.claims import TEXT
from twinforge.errors import UserError
from twinforge.records import ANSWER, REFUSAL, AnswerSpace, space_of

NOTHING = ("", "{}", "none", "no one", "{} (no one)")  # the empty set in words
REFUSALS = (REFUSAL, "?")
SHOWN = 5


@dataclass(frozen=True)
class Predictions:
    """answers : columns of `records.ANSWER`; said : only what is answered was given, no distribution."""

    answers: pd.DataFrame
    said: bool


def read_predictions(file: Path, questions: pd.DataFrame) -> Predictions:
    """Read predictions.

    Parameters
    ----------
    file : .parquet or .jsonl with the column `question` (an id) and one of `p` (the distribution, as in `records.ANSWER`) and `answer`
        (an option; a number; nodes, as a list or with commas between; "unknown" to refuse). `unit`, where it is given, must be the question's;
        `tokens` and `seconds` are taken over.
    questions : columns of `records.QUESTION`: all that may be answered.

    Raises
    ------
    UserError
        One for all: columns missing, questions that don't exist, answered twice, other units, answers that the question doesn't allow;
        with the rows, counted from 1.
    """
    rows = _rows(file)
    missing = [
        name
        for name, there in (("question", "question" in rows), ("answer or p", {"answer", "p"} & set(rows)))
        if not there
    ]
    if missing:
        raise UserError(f"{file}: columns missing: {', '.join(missing)}; it has {', '.join(rows.columns) or 'none'}")
    if not len(rows):
        raise UserError(f"{file}: holds no rows")
    by_id = questions.drop_duplicates("id").set_index("id", drop=False)
    unknown = ~rows["question"].isin(by_id.index)
    mistakes = [
        _mistake("questions that don't exist", rows["question"], unknown),
        _mistake("questions answered twice", rows["question"], rows["question"].duplicated(keep=False) & ~unknown),
    ]
    asked = rows[~unknown]
    if "unit" in asked:
        due = by_id.loc[asked["question"], "unit"].to_numpy()
        other = asked["unit"].notna() & (asked["unit"] != due) & ~((asked["unit"] == "") & (due == ""))
        told = asked["unit"].astype(str) + " instead of " + pd.Series(due, asked.index).replace("", "no unit")
        mistakes.append(_mistake("answers in other units", told, other))
    column, read = ("p", _distribution) if "p" in asked else ("answer", _vector)
    pairs = zip(asked["question"], asked[column], strict=True)
    vectors = pd.Series([_tried(read, space_of(by_id.loc[q]), value) for q, value in pairs], asked.index, dtype=object)
    wrong = vectors.map(lambda vector: isinstance(vector, str))
    mistakes.append(_mistake("answers that their questions don't allow", vectors.where(wrong, ""), wrong))
    if found := [mistake for mistake in mistakes if mistake]:
        raise UserError(f"{file}: {'; '.join(found)}")
    cost = {name: rows.get(name, 0) for name in ("tokens", "seconds")}
    answers = pd.DataFrame({"question": rows["question"], "p": vectors, **cost})
    return Predictions(answers.astype({"tokens": "int64", "seconds": float})[ANSWER.names], column == "answer")


def read_texts(file: Path, reports: pd.DataFrame) -> pd.DataFrame:
    """Read free texts.

    Parameters
    ----------
    file : .parquet or .jsonl with the columns `question` (the id of a request for a report) and `text`; `tokens`, where it is given, is taken over.
    reports : columns of `claims.REPORT`: all that may be written.

    Returns
    -------
    Rows of `claims.TEXT` of the model named as the file.

    Raises
    ------
    UserError
        One for all: columns missing, requests that don't exist, answered twice, texts that are none; with the rows, counted from 1.
    """
    rows = _rows(file)
    if missing := [name for name in ("question", "text") if name not in rows]:
        raise UserError(f"{file}: columns missing: {', '.join(missing)}; it has {', '.join(rows.columns) or 'none'}")
    unknown = ~rows["question"].isin(reports["id"])
    mistakes = [
        _mistake("requests that don't exist", rows["question"], unknown),
        _mistake("requests answered twice", rows["question"], rows["question"].duplicated(keep=False) & ~unknown),
        _mistake("texts that are none", rows["text"], ~rows["text"].map(lambda text: isinstance(text, str))),
    ]
    if found := [mistake for mistake in mistakes if mistake]:
        raise UserError(f"{file}: {'; '.join(found)}")
    if not len(rows):
        raise UserError(f"{file}: holds no rows")
    nothing = pd.Series([[]] * len(rows), rows.index)
    told = {
        "report": rows["question"],
        "model": file.name,
        "sample": 0,
        "text": rows["text"],
        "starts": nothing,
        "logs": nothing,
    }
    return pd.DataFrame({**told, "entropies": nothing, "tokens": rows.get("tokens", 0)})[TEXT.names]


def _rows(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".parquet":
            return pd.DataFrame(pq.read_table(file).to_pandas())
        if file.suffix == ".jsonl":
            lines = file.read_text(encoding="utf-8").splitlines()
            return pd.DataFrame([_json(file, at, line) for at, line in enumerate(lines, 1) if line.strip()])
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file") from error
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: can't be read ({error})") from error
    raise UserError(f"{file}: give a .parquet or a .jsonl file")


def _json(file: Path, at: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: row {at} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{file}: row {at} is not a JSON object")
    return value


def _mistake(what: str, values: pd.Series, where: pd.Series) -> str:
    """Which rows are wrong in this way, with the values of the first ones; "" where none is."""
    at = np.flatnonzero(where.reindex(values.index, fill_value=False).to_numpy(bool))
    if not len(at):
        return ""
    rows = [f"{values.index[i] + 1} ({values.iloc[i]})" for i in at[:SHOWN]]
    more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
    return f"{what}: row{'s' if len(at) > 1 else ''} {', '.join(rows)}{more}"


def _tried(read: Callable[[AnswerSpace, Any], np.ndarray], space: AnswerSpace, value: Any) -> np.ndarray | str:
    try:
        return read(space, value)
    except ValueError as error:
        return str(error)


def _distribution(space: AnswerSpace, value: Any) -> np.ndarray:
    try:
        p = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError("p is no list of numbers") from error
    if p.shape != (space.size,):
        raise ValueError(f"p holds {p.size} numbers, {space.size} are due")
    whole = p.max(initial=0.0) <= 1 if space.kind == "entities" else abs(p.sum() - 1) < 1e-3
    if not (np.isfinite(p).all() and p.min() >= 0 and whole):
        raise ValueError("p is no distribution")
    return p


def _vector(space: AnswerSpace, value: Any) -> np.ndarray:
    """All mass on what is said. A number outside the range counts as the range's end."""
    words = [str(one).strip() for one in value] if isinstance(value, list | tuple | np.ndarray) else None
    text = ", ".join(words) if words is not None else "" if value is None else str(value).strip()
    p = np.zeros(space.size)
    if text.lower() in REFUSALS:
        p[-1] = 1
    elif space.kind == "choice":
        p[_place(space.options, text)] = 1
    elif space.kind == "entities":
        nodes = [] if text.lower() in NOTHING else text.strip("{}").split(",")
        p[[_place(space.options, node.strip()) for node in nodes]] = 1
    else:
        p[space.index(_number(text, space.unit))] = 1
    return p


def _place(options: Sequence[str], text: str) -> int:
    lower = [option.lower() for option in options]
    if text.lower() not in lower:
        raise ValueError(f"{text!r} is none of {', '.join(options)}, {REFUSAL}")
    return lower.index(text.lower())


def _number(text: str, unit: str) -> float:
    try:
        value = float(text.removesuffix(unit))
    except ValueError as error:
        raise ValueError(f"{text!r} is neither a number{f' of {unit}' if unit else ''} nor {REFUSAL!r}") from error
    if not np.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value
