from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from tests import toy
from twinforge.errors import UserError
from twinforge.lake.checks import check_questions
from twinforge.lake.curate import Curated, curate
from twinforge.lake.store import Lake
from twinforge.recipe import Slice
from twinforge.sectors import load_sector

NAN = float("nan")
TOY = load_sector("tests.toy")


@pytest.fixture(scope="module")
def questions(lake: Lake, recipe: Slice) -> pd.DataFrame:
    made: Curated = curate(lake, TOY, recipe, lambda texts: pd.Series(texts).str.len().to_numpy() // 3)
    return pd.concat([table.assign(split=split) for split, table in made.tables.items()], ignore_index=True)


def first(frame: pd.DataFrame, **where: Any) -> int:
    mask = pd.Series(True, index=frame.index)
    for column, value in where.items():
        mask &= frame[column] == value
    return int(frame.index[mask][0])


def changed(frame: pd.DataFrame, row: int, **values: Any) -> pd.DataFrame:
    frame = frame.copy()
    for column, value in values.items():
        frame.at[row, column] = value
    return frame


def test_the_toy_sector_keeps_the_contract(questions: pd.DataFrame) -> None:
    check_questions(questions, toy.TEMPLATES)


CHOICE, NUMBER, SET = {"skill": "standard"}, {"skill": "what-if", "kind": "number"}, {"skill": "dependency"}
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "answer space with 1 option": (CHOICE, {"options": ["none"]}),
    "repeats an option": (CHOICE, {"options": ["none", "none"]}),
    "low < high": (NUMBER, {"low": 9.0}),
    "kind 'essay'": (CHOICE, {"kind": "essay"}),
    "truth 4.0 lies outside its answer space .0 to 3": (CHOICE, {"truth": 4.0}),
    "truth 0.5 lies outside": (CHOICE, {"truth": 0.5}),
    "truth 5.1 lies outside its answer space .0 to 5 m": (NUMBER, {"truth": 5.1}),
    "rule -1.0 lies outside": (NUMBER, {"rule": -1.0}),
    "copy 7.0 lies outside": (CHOICE, {"copy": 7.0}),
    "truth nan of skill standard": (CHOICE, {"truth": NAN}),
    "truth 1.0 of skill unanswerable": ({"skill": "unanswerable"}, {"truth": 1.0}),
    "skill 'cooking'": (CHOICE, {"skill": "cooking"}),
    "is asked as 'forecast'": (CHOICE, {"asked": "forecast"}),
    "asked is never unanswerable": ({"skill": "unanswerable"}, {"asked": "unanswerable"}),
    "rows of features: give one": (CHOICE, {"features": [[1.0], [2.0]]}),
    "rows of features of 3 and of 12": (CHOICE, {"features": [[1.0, 2.0, 3.0]]}),
    "3 payoffs for 4 options": ({"skill": "recommend"}, {"payoff": [1.0, 2.0, 3.0]}),
    "harm .0, 0, 3, 0.: give one of 0 to 2": ({"skill": "recommend"}, {"harm": [0, 0, 3, 0]}),
    "not the option with the highest": ({"skill": "recommend", "truth": 0.0}, {"payoff": [0.0, 0.0, 0.1, 0.0]}),
    "gold .2.: give indices of its 2 candidates once each": (SET, {"gold": [2], "gold_total": 1, "truth": 1.0}),
    "rule_gold .0, 0.: give indices of its 2 candidates once each": (SET, {"rule_gold": [0, 0]}),
    "gold .0.: give indices .* for entities only": (CHOICE, {"gold": [0]}),
    "truth 2.0, gold_total 1, 1 gold": (SET, {"gold": [0], "gold_total": 1, "truth": 2.0}),
    "truth 1.0, gold_total 1, 2 gold": (SET, {"gold": [0, 1], "gold_total": 1, "truth": 1.0}),
    "truth 0.5 lies outside its answer space .0, 1, 2": (SET, {"truth": 0.5}),
    "1 rows of features: give one .not for entities": (SET, {"features": [[1.0] * 14]}),
    "several contexts": (CHOICE, {"context": "another"}),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_broken_question_is_named(questions: pd.DataFrame, message: str) -> None:
    where, values = WRONG[message]
    row = first(questions, **where)
    with pytest.raises(UserError, match=message):
        check_questions(changed(questions, row, **values), toy.TEMPLATES)


def test_all_mistakes_are_counted_and_the_first_shown(questions: pd.DataFrame) -> None:
    rows = questions.index[questions["skill"] == "standard"][:5]
    frame = questions.copy()
    frame.loc[rows, "truth"] = 9.0
    with pytest.raises(UserError, match="and 2 more") as error:
        check_questions(frame, toy.TEMPLATES)
    assert questions["episode"].iloc[rows[0]] in str(error.value)


def test_a_question_of_train_may_not_stand_in_test(questions: pd.DataFrame) -> None:
    train, test = first(questions, split="train"), first(questions, split="test")
    same = {name: questions.at[test, name] for name in ("context", "text")}
    with pytest.raises(UserError, match="in several splits"):
        check_questions(changed(questions, train, **same), toy.TEMPLATES)


def test_ids_are_unique(questions: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=f"{questions['id'].iloc[1]} stands twice"):
        check_questions(changed(questions, 0, id=questions.at[1, "id"]), toy.TEMPLATES)


def test_train_may_not_use_a_held_out_phrasing(questions: pd.DataFrame) -> None:
    held = "pump P1 fails: level of tank B two hours on?"
    train, test = (first(questions, split=split, template="loss-level") for split in ("train", "test"))
    check_questions(changed(questions, test, text=held), toy.TEMPLATES)
    leaked = changed(questions, train, text=held)
    with pytest.raises(UserError, match="held-out phrasing: 'pump P1 fails"):
        check_questions(leaked, toy.TEMPLATES)
    free = [replace(t, phrasings=(*t.phrasings, *t.held_out)) for t in toy.TEMPLATES]
    check_questions(leaked, free)
