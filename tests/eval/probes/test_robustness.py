"""Every change keeps the truth: what moved with the options, the names, the unit, and what must not have moved."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.probes import PROBE, probes_of, some_states
from eval.probes.robustness import AGAIN, ATTACK, CHANGES, CONTROL, HIDDEN, NOTE
from tests.eval.states import WORDS, states
from twinforge.options import in_order
from twinforge.records import QUESTION, space_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return states(12, 4)


@pytest.fixture(scope="module")
def probes(questions: pd.DataFrame) -> pd.DataFrame:
    return probes_of(questions, WORDS, 12, seed=3)


def pairs(probes: pd.DataFrame, questions: pd.DataFrame, change: str) -> list[tuple[pd.Series, pd.Series]]:
    """Each question in other words, and as it stood."""
    by_id = questions.set_index("id", drop=False)
    return [(row, by_id.loc[row["original"]]) for _, row in probes[probes["probe"] == change].iterrows()]


def test_every_change_is_asked_and_every_probe_is_a_sound_question(probes: pd.DataFrame) -> None:
    assert set(probes["probe"]) == {change.name for change in CHANGES} and list(probes) == PROBE.names
    assert probes["id"].is_unique and (probes["suite"] == "robustness").all()
    for _, row in probes.iterrows():
        space, truth = space_of(row), row["truth"]
        assert np.isnan(truth) or row["kind"] == "entities" or 0 <= space.index(truth) < space.size - 1


def test_what_a_change_does_not_speak_of_stays(probes: pd.DataFrame, questions: pd.DataFrame) -> None:
    told = {"context", "facts", "text", "evidence", "options", "notes", "id"}
    numbers = {"unit", "low", "high", "step", "tolerance", "truth", "rule", "persistence", "copy"}
    moved = {
        "truth",
        "gold",
        "rule_gold",
        "rule",
        "persistence",
        "copy",
        "payoff",
        "harm",
        "features",
        "options",
        "notes",
    }
    for change in CHANGES:
        may = told | {"asked in other unit": numbers, "options shuffled": moved}.get(change.name, set())
        rows = pairs(probes, questions, change.name)
        assert rows
        for new, old in rows:
            for name in set(QUESTION.names) - may:
                assert str(new[name]) == str(old[name]), (change.name, name)
            assert change.name == AGAIN or str(new[list(told)[:-1]].tolist()) != str(old[list(told)[:-1]].tolist())


def test_truth_moves_with_its_option(probes: pd.DataFrame, questions: pd.DataFrame) -> None:
    for new, old in pairs(probes, questions, "options shuffled"):
        assert new["options"] != list(old["options"]) and sorted(new["options"]) == sorted(old["options"])
        assert [old["options"][i] for i in new["order"]] == new["options"]
        if old["kind"] == "choice":
            assert new["options"][int(new["truth"])] == old["options"][int(old["truth"])]
        for name in ("gold", "rule_gold"):
            assert {new["options"][i] for i in new[name]} == {old["options"][i] for i in old[name]}
        for name in ("notes", "payoff", "harm", "features"):
            if len(old[name]) > 1:
                before = dict(zip(old["options"], map(str, old[name]), strict=True))
                assert before == dict(zip(new["options"], map(str, new[name]), strict=True))


@given(st.permutations(range(4)), st.integers(0, 3))
def test_an_order_undone_is_the_question_as_it_stood(order: list[int], truth: int) -> None:
    row: dict[str, Any] = {
        "kind": "choice",
        "options": list("abcd"),
        "notes": [],
        "payoff": [],
        "harm": [],
        "features": [[0.0]],
    }
    row |= {"truth": float(truth), "rule": np.nan, "persistence": np.nan, "copy": np.nan, "gold": [], "rule_gold": []}
    back = in_order(in_order(row, order), np.argsort(order).tolist())
    assert str({**back, "order": []}) == str({**row, "order": []})


@pytest.mark.parametrize("change", ["renamed", "unseen names"])
def test_names_change_everywhere_the_same_and_strangers_stay(
    probes: pd.DataFrame, questions: pd.DataFrame, change: str
) -> None:
    for _, state in probes[probes["probe"] == change].groupby("context"):
        found: dict[str, str] = {}
        for new, old in pairs(state, questions, change):
            texts = ("context", "text")
            words = [re.findall(r"\w+", " ".join([*(row[t] for t in texts), *row["options"]])) for row in (new, old)]
            for mine, before in zip(*words, strict=True):
                assert found.setdefault(before, mine) == mine
                assert (before in WORDS.names) or mine == before  # L70 and the like are no asset: still to be refused
        changed = [new for old, new in found.items() if old in WORDS.names]
        assert len(set(changed)) == len(changed)
        assert all((name in WORDS.names) == (change == "renamed") for name in changed)


def test_an_answer_in_the_other_unit_is_the_same_quantity(probes: pd.DataFrame, questions: pd.DataFrame) -> None:
    rows = pairs(probes, questions, "asked in other unit")
    assert {new["unit"] for new, _ in rows} == {"per mille"} and all("per mille" in new["text"] for new, _ in rows)
    for new, old in rows:
        assert space_of(new).size == space_of(old).size
        assert space_of(new).index(new["truth"]) == space_of(old).index(old["truth"])
        assert new["tolerance"] / new["step"] == old["tolerance"] / old["step"]


def test_a_note_stands_in_a_sensors_text_and_nothing_else_changes(
    probes: pd.DataFrame, questions: pd.DataFrame
) -> None:
    seen = set()
    for change, notes in ((ATTACK, HIDDEN), (CONTROL, (NOTE,))):
        for new, old in pairs(probes, questions, change):
            (said,) = [note for note in notes if f'"{note}"' in new["context"]]
            seen.add(said)
            assert new["context"].replace(f' "{said}"', "") == old["context"]
            assert re.search(rf'L\d+=\d+ "{re.escape(said)}"', new["context"])
    assert seen == {*HIDDEN, NOTE}


def test_lines_and_exemplars_and_numbers_keep_the_state(probes: pd.DataFrame, questions: pd.DataFrame) -> None:
    for new, old in pairs(probes, questions, "lines reordered"):
        assert sorted(new["context"].split("\n")) == sorted(old["context"].split("\n"))
    for new, old in pairs(probes, questions, "foreign exemplars"):
        assert new["context"].endswith(old["context"]) and new["context"].count("Answer:") == 2
    for new, old in pairs(probes, questions, "irrelevant numbers"):
        assert set(new["context"].split("\n")) - set(old["context"].split("\n")) == {
            line for line in new["context"].split("\n") if line.startswith("Canteen")
        }


def test_a_sector_is_not_shown_its_own_exemplars(questions: pd.DataFrame) -> None:
    own = probes_of(questions, replace(WORDS, sector="water"), 12, seed=3)
    assert not own["context"].str.contains("tank").any()


def test_fewer_states_are_among_more_and_are_asked_the_same(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    few = probes_of(questions, WORDS, 4, seed=3)
    assert some_states(questions, 4, 3)["episode"].nunique() == 4  # one a day before a second
    whole = probes.set_index("id").loc[few["id"]].reset_index()[PROBE.names]
    assert whole.astype(str).equals(few.astype(str))
    assert not len(probes_of(questions, WORDS, 0, seed=3))


def test_the_same_questions_in_every_process() -> None:
    """Sets of names are walked in another order in each process: no change may hang on it."""
    code = (
        "from tests.eval.states import WORDS, states\nfrom eval.probes import probes_of\nimport pandas as pd\n"
        "rows = probes_of(states(3, 3), WORDS, 3, 1).astype(str)\nprint(pd.util.hash_pandas_object(rows).sum())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
