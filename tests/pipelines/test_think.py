"""The stage `think` on a tiny model: every way of the models that were asked, resumed where it stopped, none where none is wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import Paths, resolve, think
from tests import tiny_twin
from twinforge.artifact import answers_of
from twinforge.files import read_table, write_table
from twinforge.model.base import load_base
from twinforge.reasoning import thinking
from twinforge.recipe import Slice, read_slice
from twinforge.records import ANSWER, QUESTION

WAYS = ("again", "checked", "cot", "react", "reflected", "sc")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_twin.shared().parents[1], tmp_path_factory.mktemp("think") / "project"))


@pytest.fixture
def paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.chdir(root)
    monkeypatch.setattr(thinking, "MOST", 3)
    return Paths("toy")


def ask(paths: Paths, sample: int) -> None:
    """Resolve the recipe for so many questions."""
    profile = Path("recipes/profiles/cpu.yaml")
    values = yaml.safe_load(profile.read_text())
    values["budget"]["slow_sample"] = sample
    profile.write_text(yaml.safe_dump(values))
    resolve.main("toy")


def recipe(paths: Paths) -> Slice:
    return read_slice(paths.recipe("think"))


def answers(paths: Paths) -> dict[str, pd.DataFrame]:
    return {file.stem: read_table(file, ANSWER) for file in sorted(paths.thoughts.glob("*-*.parquet"))}


def test_every_way_answers_the_same_questions_at_its_cost(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(paths, 6)
    test = read_table(paths.questions("test"), QUESTION)
    network, tokenizer = load_base(recipe(paths).model, recipe(paths).compute)
    write_table(answers_of(network, tokenizer, test, 8), paths.answers_of("llm"), ANSWER)
    think.main("toy")
    made = answers(paths)
    assert list(made) == [f"llm-{way}" for way in WAYS]  # the base was not asked
    asked = set(made["llm-cot"]["question"])
    assert (
        len(asked) >= 6 and asked <= set(test["id"]) and all(set(rows["question"]) == asked for rows in made.values())
    )
    cost = {name: rows["tokens"].mean() for name, rows in made.items()}
    assert (
        cost["llm-sc"] > 2 * cost["llm-cot"]
        and cost["llm-react"] > cost["llm-cot"]
        and cost["llm-checked"] > cost["llm-reflected"]
    )
    assert 0.6 < cost["llm-again"] / cost["llm-reflected"] < 1.4  # the control spends as much
    transcripts = read_table(paths.thoughts / "transcripts.parquet", think.TRANSCRIPT)
    counts = transcripts["way"].value_counts()
    assert counts["llm-sc"] == 5 * len(asked) and counts["llm-react"] == len(asked)
    react = transcripts[transcripts["way"] == "llm-react"]["text"]
    assert react.str.contains("Observation: no line begins with Action:").any()  # a random model writes no call
    monkeypatch.setattr(thinking, "_part", lambda *_: pytest.fail("thought again"))
    shutil.rmtree(paths.thoughts)
    think.main("toy")  # as after a kill at the end
    for name, rows in answers(paths).items():
        pd.testing.assert_frame_equal(rows, made[name])


def test_what_is_checked_is_told_by_readings_alone(paths: Paths) -> None:
    ask(paths, 6)
    test = read_table(paths.questions("test"), QUESTION)
    desk = think.Desk.of(recipe(paths), paths, test)
    assert all(not len(state.outcomes) for state in desk.states.values())
    later = test[(test["template"] == "later-level") & test["truth"].notna()]
    told = [desk.checked(row) for _, row in later.iterrows()]
    said = pd.Series(told).str.extract(r"at (\S+) m")[0].astype(float).clip(0, 5).round(1)
    np.testing.assert_allclose(said, later["rule"], atol=0.11)  # rounded twice
    assert (np.abs(said - later["truth"].to_numpy()) > 0.11).mean() > 0.2
    assert {"Example", "Action"} <= {word.strip(":") for word in desk.examples["later-level"].split()}


def test_none_is_asked_where_none_is_wanted(paths: Paths) -> None:
    ask(paths, 0)
    think.main("toy")
    assert answers(paths) == {} and not len(read_table(paths.thoughts / "transcripts.parquet", think.TRANSCRIPT))
