"""Anyone's predictions: texts and distributions are read the same, and every mistake is named with its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.predictions import read_predictions
from tests.eval.states import states
from twinforge.errors import UserError
from twinforge.records import space_of

SAID = [
    {"answer": "Middle"},
    {"answer": 41, "unit": "%"},
    {"answer": "unknown"},
    {"answer": None},
    {"answer": "{D2, D4}"},
]


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return states(2, 2)


def rows(questions: pd.DataFrame) -> list[dict[str, Any]]:
    """An answer to each of the five questions of the first state."""
    said = [dict(row) for row in SAID]
    said[3]["answer"] = questions["options"].iloc[3][2]
    said[4]["answer"] = [questions["options"].iloc[4][i] for i in (0, 3)]
    return [{"question": f"q{i:05}", **row} for i, row in enumerate(said)]


def jsonl(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return file


def test_what_is_said_becomes_all_the_mass(tmp_path: Path, questions: pd.DataFrame) -> None:
    found = read_predictions(jsonl(tmp_path, rows(questions)), questions)
    assert found.said and found.answers["question"].tolist() == [f"q{i:05}" for i in range(5)]
    said = [space_of(q).decide(p) for (_, q), p in zip(questions.iterrows(), found.answers["p"], strict=False)]
    assert said[0] == 1 and said[1] == 41 and np.isnan(said[2]) and said[3] == 2 and said[4] == 2
    assert space_of(questions.iloc[4]).decide_set(found.answers["p"].iloc[4]) == (0, 3)


def test_sets_and_numbers_in_words(tmp_path: Path, questions: pd.DataFrame) -> None:
    first, last = questions["options"].iloc[4][0], questions["options"].iloc[4][4]
    for text, members in ((f"{{{last}, {first}}}", (0, 4)), (first, (0,)), ("none", ()), ("", ())):
        p = read_predictions(jsonl(tmp_path, [{"question": "q00004", "answer": text}]), questions).answers["p"].iloc[0]
        assert space_of(questions.iloc[4]).decide_set(p) == members and p[-1] == 0
    for text, value in (("41 %", 41), ("40.6", 41), ("900", 200), (0, 0)):
        p = read_predictions(jsonl(tmp_path, [{"question": "q00001", "answer": text}]), questions).answers["p"].iloc[0]
        assert space_of(questions.iloc[1]).decide(p) == value


def test_distributions_come_from_parquet_too(tmp_path: Path, questions: pd.DataFrame) -> None:
    file = tmp_path / "mine.parquet"
    p = [0.25, 0.25, 0.4, 0.1]
    pd.DataFrame({"question": ["q00000"], "p": [p], "tokens": [7], "seconds": [0.5]}).to_parquet(file)
    found = read_predictions(file, questions)
    assert not found.said and found.answers["p"].iloc[0].tolist() == p and found.answers["tokens"].iloc[0] == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {1: {"question": "nowhere"}, 4: {"question": "q9"}},
            r"questions that don't exist: rows 2 \(nowhere\), 5 \(q9\)",
        ),
        ({2: {"question": "q00001"}}, r"questions answered twice: rows 2 \(q00001\), 3 \(q00001\)"),
        ({1: {"unit": "MW"}}, r"answers in other units: row 2 \(MW instead of %\)"),
        ({0: {"unit": "%"}}, r"answers in other units: row 1 \(% instead of no unit\)"),
        ({0: {"answer": "huge"}}, r"don't allow: row 1 \('huge' is none of low, middle, high, unknown\)"),
        ({1: {"answer": "much"}}, r"don't allow: row 2 \('much' is neither a number of % nor 'unknown'\)"),
        ({1: {"answer": "nan"}}, r"row 2 \('nan' is not finite\)"),
        ({4: {"answer": "D99"}}, r"row 5 \('D99' is none of"),
        ({0: {"answer": None}}, r"row 1 \('' is none of"),
    ],
)
def test_mistakes_name_their_rows(
    tmp_path: Path, questions: pd.DataFrame, change: dict[int, dict[str, Any]], said: str
) -> None:
    lines = [{**row, **change.get(i, {})} for i, row in enumerate(rows(questions))]
    with pytest.raises(UserError, match=rf"mine\.jsonl: .*{said}"):
        read_predictions(jsonl(tmp_path, lines), questions)


def test_all_mistakes_are_said_at_once_and_no_more_than_a_few_rows(tmp_path: Path, questions: pd.DataFrame) -> None:
    lines = [{"question": f"x{i}", "answer": 1} for i in range(9)] + [{"question": "q00001", "answer": 1}] * 2
    with pytest.raises(UserError, match=r"rows 1 \(x0\), .*5 \(x4\) and 4 more; questions answered twice: rows 10 "):
        read_predictions(jsonl(tmp_path, lines), questions)


@pytest.mark.parametrize(
    ("p", "said"),
    [
        ([0.5, 0.5], "p holds 2 numbers, 4 are due"),
        ([0.5, 0.6, 0.0, 0.0], "no distribution"),
        ([1.5, -0.5, 0.0, 0.0], "no distribution"),
        ("abc", "no list of numbers"),
    ],
)
def test_a_broken_distribution_is_named(tmp_path: Path, questions: pd.DataFrame, p: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"row 1 \(.*{said}"):
        read_predictions(jsonl(tmp_path, [{"question": "q00000", "p": p}]), questions)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"question": "q00000"}', r"columns missing: answer or p; it has question"),
        ("a.jsonl", '{"answer": 1}', r"columns missing: question; it has answer"),
        ("a.jsonl", "", r"columns missing: question, answer or p; it has none"),
        ("a.jsonl", '{"question": 1', r"row 1 is not JSON"),
        ("a.jsonl", "[1]", r"row 1 is not a JSON object"),
        ("a.parquet", "PAR1", r"can't be read"),
        ("a.csv", "question,answer", r"give a \.parquet or a \.jsonl file"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, questions: pd.DataFrame, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name}: .*{said}"):
        read_predictions(tmp_path / name, questions)
    with pytest.raises(UserError, match=r"no\.jsonl: no such file"):
        read_predictions(tmp_path / "no.jsonl", questions)
