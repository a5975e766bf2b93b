"""Asking a packaged twin: stored states, states from files, text only, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.tiny_twin import shared
from twinforge.artifact import Twin
from twinforge.errors import UserError
from twinforge.reasoning.ask import Reply, ask, demo
from twinforge.reasoning.said import in_words
from twinforge.reasoning.show import claim_text, show_reply, summary, truth_text
from twinforge.reasoning.situation import situation, stored
from twinforge.records import REFUSAL, AnswerSpace, set_text

WORDING = "How high is tank B 2 h after pump P1 is lost?"


@pytest.fixture(scope="module")
def twin() -> Twin:
    return Twin.open(shared(), str(shared().parents[1] / "base"))


@pytest.fixture(scope="module")
def replies(twin: Twin) -> list[Reply]:
    return demo(twin)


def readings(twin: Twin, number: str = "1") -> pd.DataFrame:
    episode, moment = stored(twin)[number]
    return twin.states[(twin.states["episode"] == episode) & (twin.states["time"] == moment)]


def test_the_demo_answers_every_example_in_order(twin: Twin, replies: list[Reply]) -> None:
    assert [reply.question["id"] for reply in replies] == twin.examples["id"].tolist()
    for reply in replies:
        assert reply.speaker == "twin"
        assert {"llm", "boost", "twin"} <= set(reply.parts)
        for p in reply.parts.values():
            assert p.shape == (reply.space.size,)
            assert p.sum() == pytest.approx(1, abs=1e-4) or reply.space.kind == "entities"


def test_sets_are_held_against_the_truth(replies: list[Reply]) -> None:
    for reply in replies:
        claim, truth = reply.claim, float(reply.question["truth"])
        assert claim is not None and claim.level == pytest.approx(0.9)
        if math.isnan(truth):
            assert claim.covers == claim.refusal
        elif reply.space.kind == "choice":
            assert claim.covers == (reply.space.options[int(truth)] in claim.labels)
        elif reply.space.kind == "entities":
            assert claim.covers == ({reply.space.options[i] for i in reply.question["gold"]} <= set(claim.labels))
        else:
            assert claim.covers == (claim.low <= truth <= claim.high)
        assert truth_text(reply) and claim_text(reply)
    assert f"{sum(bool(r.claim and r.claim.covers) for r in replies)} of 10 sets hold the truth" in summary(replies)


def test_a_stored_state_is_asked_with_experts_and_truth(twin: Twin) -> None:
    reply = ask(twin, WORDING, "2")
    assert reply.match is not None and reply.match.skill.name == "loss-level"
    assert reply.question["text"] == "How high will tank B stand 2 h after pump P1 is lost?"
    assert reply.speaker == "twin" and "boost" in reply.parts
    assert reply.truth_known and not math.isnan(reply.question["truth"])
    assert reply.question["evidence"]


def test_a_stored_question_asked_again_is_the_same_question(twin: Twin) -> None:
    """Readings, context and features rebuilt from the folder equal those the pipeline made."""
    numbers = {key: number for number, key in stored(twin).items()}
    rows = twin.examples[(twin.examples["template"] == "clause") | (twin.examples["template"] == "fault")]
    assert len(rows)
    for _, row in rows.iterrows():
        reply = ask(twin, row["text"], numbers[(row["episode"], row["time"])])
        assert reply.question["context"] == row["context"]
        np.testing.assert_allclose(np.array(list(reply.question["features"][0])), np.array(list(row["features"][0])))
        np.testing.assert_equal(reply.question["truth"], row["truth"])


def test_readings_from_a_file_give_the_twins_answer_without_a_truth(twin: Twin, tmp_path: Path) -> None:
    table = readings(twin, "2")
    table.to_parquet(tmp_path / "state.parquet")
    table[["asset", "quantity", "value"]].to_json(tmp_path / "state.json", orient="records")
    expected = ask(twin, WORDING, "2").parts
    for name in ("state.parquet", "state.json"):
        reply = ask(twin, WORDING, str(tmp_path / name))
        assert not reply.truth_known and reply.claim is not None and reply.claim.covers is None
        assert reply.parts.keys() == expected.keys()
        np.testing.assert_allclose(reply.parts["boost"], expected["boost"])


def test_a_set_is_answered_in_names(twin: Twin) -> None:
    for number in stored(twin):
        reply = ask(twin, "Who has no running source left when valve V1 is lost?", number)
        if not math.isnan(reply.question["truth"]):
            break
    assert reply.space.kind == "entities" and reply.question["gold_total"] == len(reply.question["gold"])
    assert reply.claim is not None and set(reply.claim.labels) <= {"farm", "town"}
    held = reply.claim.covers
    assert held == ({reply.space.options[i] for i in reply.question["gold"]} <= set(reply.claim.labels))
    assert truth_text(reply) in ("{town}", "{farm, town}", "{} (no one)")
    assert claim_text(reply).startswith("{")
    for model, words in reply.said.items():
        assert words in ("{town}", "{farm}", "{farm, town}", "{} (no one)", REFUSAL), model
    console = Console(record=True, width=100)
    show_reply(reply, console)
    shown = console.export_text()
    assert "90% set" in shown and f"truth       {truth_text(reply)}" in shown


def test_text_alone_is_answered_by_the_language_model_and_says_so(twin: Twin, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"context": "tank A 2 m; tank B 1.2 m; pump P1 on"}), encoding="utf-8")
    reply = ask(twin, WORDING, str(path))
    assert reply.speaker == "llm" and set(reply.parts) == {"llm"}
    assert any("answers alone" in note for note in reply.notes)
    said = pd.DataFrame({"question": [reply.question["id"]], "p": [reply.parts["llm"]]})
    llm = twin.calibration.sets(reply.question.to_frame().T, said, "llm").iloc[0]
    assert reply.claim is not None and (reply.claim.low, reply.claim.high) == (llm["low"], llm["high"])


def test_options_that_depend_on_readings_need_readings(twin: Twin, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"context": "tank B 1.2 m"}), encoding="utf-8")
    with pytest.raises(UserError, match="options depend on the readings"):
        ask(twin, "Which action brings tank B closest to 2 m in 2 h?", str(path))


def test_an_unknown_asset_is_a_fair_question(twin: Twin) -> None:
    reply = ask(twin, "How high will tank B stand 2 h after pump P9 is lost?", "1")
    assert math.isnan(reply.question["truth"])
    assert truth_text(reply) == REFUSAL


BAD = [
    ("state.json", "[]", "missing: asset, quantity, value"),
    ("state.json", "{}", "a state is a table"),
    ("state.json", '[{"asset": "a", "quantity": "q"}]', "missing: value"),
    ("state.json", '[{"asset": "a", "quantity": "q", "value": "high"}]', "column value"),
    ("state.json", '[{"asset":"a","quantity":"q","value":1},{"asset":"a","quantity":"q","value":2}]', "stands twice"),
    ("state.json", "not json", "not JSON"),
    ("state.parquet", "not parquet", "not a readable parquet"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_a_bad_state_is_named(twin: Twin, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        situation(twin, str(tmp_path / name))
    assert name in str(error.value)


def test_no_such_state(twin: Twin) -> None:
    with pytest.raises(UserError, match="neither a file nor a stored state"):
        situation(twin, "99")


def test_answers_in_words() -> None:
    choice, number = AnswerSpace("choice", ("a", "b")), AnswerSpace("number", (), "%", 0, 4, 1, 1)
    assert in_words(choice, np.array([0.2, 0.5, 0.3])) == "b"
    assert in_words(choice, np.array([0.2, 0.3, 0.5])) == REFUSAL
    assert in_words(number, np.array([0.1, 0.1, 0.5, 0.0, 0.0, 0.3])) == "2 %"
    assert in_words(number, np.array([0.1, 0.1, 0.2, 0.0, 0.0, 0.6])) == REFUSAL
    nodes = AnswerSpace("entities", ("D5", "D6", "D7"))
    assert in_words(nodes, np.array([0.9, 0.5, 0.6, 0.5])) == "{D5, D7}"
    assert in_words(nodes, np.array([0.1, 0.5, 0.2, 0.0])) == "{} (no one)"
    assert in_words(nodes, np.array([0.9, 0.5, 0.6, 0.6])) == REFUSAL
    assert set_text(nodes.options, [1], 3) == "{D6, 2 more}" and set_text(nodes.options, [], 1) == "{1 more}"
