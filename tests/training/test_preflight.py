"""The preflight: exact counts, closed-form forecasts, each refusal in words, and no trace in what is trained."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.model.tiny import questions, save_tiny, section, tokenizer
from tests.training.runs import base, recipe
from twinforge.errors import UserError
from twinforge.model.prompt import Prompt
from twinforge.training import trial as trials
from twinforge.training.finetune import Course, fine_tune, lower_bytes, prepare
from twinforge.training.memory import Peak, free_disk, room
from twinforge.training.preflight import Counts, Preflight, Room, Trial, count, faults, forecast, minutes, notes
from twinforge.training.show import show
from twinforge.training.trees import lessons
from twinforge.training.trial import pick, preflight

PROMPT = Prompt.of(tokenizer())
COUNTS = Counts(
    states=5, questions=50, trees=10, tokens=1000, tree_max=150, branch_tokens=600, branch_max=30, supervised=80
)
TRIAL = Trial(lower_seconds=2.0, lower_tokens=400, step_seconds=3.0, step_tokens=200, peak=5000, kept=40, seconds=7.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def course(tiny: Path) -> Course:
    return made(tiny)


def made(tiny: Path, frame: pd.DataFrame | None = None, compute: dict[str, Any] | None = None) -> Course:
    """A tiny model before its training; `compute` changes values of that section."""
    asked = recipe()
    asked.compute = section(**{**vars(asked.compute), **(compute or {})})
    return prepare(*base(tiny), questions(7, validation=0.3) if frame is None else frame, asked)


def test_counts_are_exact() -> None:
    frame = questions(3)
    contexts = [len(PROMPT.context_ids(text)) for text in frame["context"].unique()]
    asked = [len(PROMPT.question_ids(row)) for _, row in frame.iterrows()]
    numbers = (
        [len(f"{level:.1f}") for level in frame["truth"][3::6]],
        [len(f"{flow:.0f}$") for flow in frame["truth"][4::6]],
    )
    given = sum(map(sum, numbers)) - 6  # a number's tokens but for the last are read as well
    sets = [sum(map(len, PROMPT.candidate_ids(row))) for _, row in frame[5::6].iterrows()]
    found = count(lessons(PROMPT, frame), 3)
    assert (found.states, found.questions, found.trees) == (3, 18, 3)
    assert found.branch_tokens == sum(asked) + given + sum(sets)
    assert found.tokens == sum(contexts) + found.branch_tokens
    assert found.supervised == 3 * (3 + 3) + given + 6  # three choices, a set of three, and the numbers
    assert found.branch_max == max(asked[5] + sets[0], asked[11] + sets[1], asked[17] + sets[2])
    assert found.tree_max >= found.tokens / 3


def test_the_forecast_goes_by_tokens() -> None:
    ahead = forecast(COUNTS, TRIAL, steps=8, batch_trees=4, kept=500, trained=10, cpu=True)
    assert ahead.lower_seconds == 1000 * 2.0 / 400
    assert ahead.step_seconds == (8 / 3) * 1000 * 3.0 / 200  # three batches a pass
    assert ahead.seconds == ahead.lower_seconds + ahead.step_seconds
    assert (ahead.peak, ahead.kept, ahead.disk) == (5000 + 500 - 40, 500, 500 + 4 * 12 * 10)
    assert forecast(COUNTS, TRIAL, 8, 4, 500, 10, cpu=False).peak == 5000
    whole = replace(TRIAL, lower_seconds=0.0, lower_tokens=0, kept=0)
    assert forecast(COUNTS, whole, 8, 4, 0, 10, cpu=True).lower_seconds == 0
    assert ahead.told(60, 2**30).startswith("predicted 45 s, took 60 s; memory predicted 0.00 GiB, used 1.00")
    assert ahead.beside(60, 9)["seconds"] == {"predicted": 45.0, "actual": 60}
    assert [minutes(seconds) for seconds in (48, 366, 8640)] == ["48 s", "6.1 min", "2.4 h"]


def test_too_little_room_is_refused_with_number_and_mend() -> None:
    enough, short = Room("disk", 2**30, 2**30, "free some"), Room("memory", 3 * 2**29, 2**30, "lower lora.layers")
    assert not Preflight(COUNTS, (), (), rooms=(enough,)).refusals
    told = Preflight(COUNTS, ("first",), (), rooms=(enough, short)).refusals
    assert told == ("first", "memory: 1.50 GiB needed, 1.00 GiB there; lower lora.layers")


def test_the_largest_trees_come_first_and_usual_ones_after() -> None:
    picked = pick(range(100, 200), batch_trees=2, answer_batch_trees=3)
    assert picked.large == (99, 98, 97) and picked.steps == [0, 1, 3, 4, 5, 6]
    assert sorted(picked.usual) == [12, 37, 62, 87]
    assert pick([5, 7], batch_trees=4, answer_batch_trees=8).batch == 2
    assert pick([5], 1, 1).steps == [0, 1, 2]


def test_same_questions_are_told_of_and_refused_where_their_truths_differ() -> None:
    frame = questions(2)
    twice = pd.concat([frame, frame.iloc[[1, 5]].assign(id=["again-1", "again-5"])], ignore_index=True)
    assert notes(frame) == [] and faults(frame, lessons(PROMPT, frame), 4096) == []
    assert notes(twice) == ["questions asked again with the same truth: 2, e.g. again-1"]
    assert faults(twice, lessons(PROMPT, twice), 4096) == []
    twice.at[12, "truth"] = np.nan
    (told,) = faults(twice, lessons(PROMPT, twice), 4096)
    assert told.startswith(f"questions {frame['id'][1]} and again-1: the same state") and "truth" in told
    assert notes(twice) == ["questions asked again with the same truth: 1, e.g. again-5"]
    other = twice.assign(
        gold=[[0, 1, 2] if name == "again-5" else gold for name, gold in zip(twice["id"], twice["gold"], strict=True)]
    )
    assert "(and 1 more)" in faults(other, lessons(PROMPT, other), 4096)[0]


def test_too_long_for_the_model_names_question_and_tokens() -> None:
    frame = questions(3)
    frame.loc[frame.index[6:12], "context"] = frame["context"][6] + " The pump runs." * 100
    longest = len(PROMPT.context_ids(frame["context"][6]))
    (told,) = faults(frame, lessons(PROMPT, frame), 200)
    assert "(and 5 more)" in told and "reads 200; lower curate.max_context_tokens" in told
    tokens = int(told.split(": ")[1].split(" tokens")[0])
    assert told.split()[1] in frame["id"][6:12].tolist() and tokens > longest > 200
    assert not faults(frame, lessons(PROMPT, frame), tokens)
    assert faults(frame, lessons(PROMPT, frame), tokens - 1)


def test_nothing_to_learn_is_named() -> None:
    frame = questions(2)
    (told,) = faults(frame, lessons(PROMPT, frame, number_weight=0.0), 4096)
    assert told.startswith(f"question {frame['id'][3]} (and 3 more): none of its tokens is learnt")
    assert count(lessons(PROMPT, frame, number_weight=0.0), 2).supervised == 2 * 6


def test_the_adapter_is_the_same_with_and_without(tiny: Path, tmp_path: Path) -> None:
    for compute in ({}, {"kept_gib": 0.0}):
        plain, tried = made(tiny, compute=compute), made(tiny, compute=compute)
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        before = {name: weight.detach().clone() for name, weight in tried.model.named_parameters()}
        seen = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        found = preflight(tried, tmp_path)
        assert found.forecast and not found.refusals and not list(tmp_path.glob("*"))
        assert seen == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
        for name, weight in tried.model.named_parameters():
            assert torch.equal(weight, before[name]) and weight.grad is None
        adapters = []
        for place, course in enumerate((plain, tried)):
            fine_tune(course, tmp_path / f"run-{place}")
            adapters.append({n: p for n, p in course.model.named_parameters() if p.requires_grad})
        for name, weight in adapters[0].items():
            assert torch.equal(weight, adapters[1][name]), name
        assert any(not torch.equal(weight, before[name]) for name, weight in adapters[0].items())
        for place in range(2):
            shutil.rmtree(tmp_path / f"run-{place}")


def test_what_the_trial_measures(tiny: Path) -> None:
    measured = trials.trial(made(tiny))
    assert measured.seconds > measured.step_seconds > 0 and measured.lower_seconds > 0
    assert measured.peak > 2**20 and measured.kept > 0
    whole = trials.trial(made(tiny, compute={"kept_gib": 0.0}))
    assert whole.lower_tokens == whole.kept == 0 and whole.step_tokens == measured.step_tokens


@pytest.mark.parametrize(
    ("change", "compute", "words"),
    [
        (lambda m: m.setattr(trials, "room", lambda device: 2**20), {}, r"memory: .* GiB needed, 0.00 GiB there; lower compute.batch_trees \(now 2\) or lora.layers"),
        (lambda m: m.setattr(trials, "free_disk", lambda folder: 5), {}, r"disk: .* 0.00 GiB there; free some, lower budget.states_per_day"),
        (lambda m: None, {"kept_gib": 1e-7}, r"kept lower states: .*; raise compute.kept_gib, lower budget.* or set compute.kept_gib to 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], compute: Any, words: str
) -> None:
    change(monkeypatch)
    (told,) = preflight(made(tiny, compute=compute), tiny).refusals
    assert pd.Series([told]).str.fullmatch(words + ".*").all(), told


def test_a_trial_that_has_no_room_is_a_refusal(course: Course, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(course: Course) -> Trial:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trials, "trial", full)
    found = preflight(course, tmp_path)
    assert found.forecast is None and "not enough for one step on the largest trees; lower" in found.refusals[0]


def test_faults_come_before_any_step(tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    course = made(tiny)
    course.model.config.max_position_embeddings = 50
    monkeypatch.setattr(trials, "trial", None)
    found = preflight(course, tmp_path)
    assert len(found.refusals) == 1 and "the base model reads 50" in found.refusals[0]


def test_letters_that_look_alike_are_one_line(course: Course, tmp_path: Path) -> None:
    same = type(
        "Same",
        (),
        {
            "unk_token_id": None,
            "eos_token_id": 0,
            "__call__": lambda self, texts, **_: {"input_ids": [[1]] * len(texts)},
        },
    )()
    with pytest.raises(UserError, match="gives some of .* the same token; choose another base model") as told:
        preflight(replace(course, prompt=replace(course.prompt, tokenizer=same)), tmp_path)
    assert "\n" not in str(told.value)


def test_kept_states_are_counted_as_they_are(course: Course) -> None:
    tokens = sum(lesson.tree.tokens for lesson in course.lessons)
    assert lower_bytes(course) == tokens * 48 * 4


def test_the_peak_sees_what_was_there_for_a_moment() -> None:
    with Peak("cpu") as peak:
        before = peak.bytes
        block = np.ones(200 * 2**20 // 8)
        time.sleep(0.2)
        del block
    assert peak.bytes - before > 150 * 2**20
    assert room("cpu") > 0 and free_disk(Path("no/such/folder")) > 0


def test_the_table_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    ahead = forecast(COUNTS, TRIAL, 8, 4, 500, 10, cpu=True)
    room_ = Room("memory", 3 * 2**30, 2**30, "lower lora.layers")
    show(Preflight(COUNTS, (), ("2 questions [a] are asked again",), ahead, (room_,)), "preflight of x.yaml")
    page = capsys.readouterr().out
    for word in (
        "50",
        "in 10 trees",
        "at most 150",
        "8.0%",
        "45 s",
        "lower layers once 5 s",
        "3.00 GiB",
        "of 1.00 GiB",
    ):
        assert word in page, word
    assert "note: 2 questions [a]" in page and "refused: memory: 3.00 GiB needed, 1.00 GiB there; lower lora" in page
