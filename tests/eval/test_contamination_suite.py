"""The contamination suite counts doubles that were put there, and tells one who learnt by heart from one who did not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence
from eval.probes import PROBE
from eval.probes.contamination import blanked, canaries, without
from eval.suites.contamination import CANARY, QUESTIONS, run
from tests.eval import synthetic
from tests.eval.states import states

DOUBLED = 0.3


@pytest.fixture(scope="module")
def test_rows() -> pd.DataFrame:
    frame = synthetic.questions(30, 8, unanswerable=0)
    return frame.assign(
        facts=[f"P now {i}" for i in range(len(frame))], context=[f"test {c}" for c in frame["context"]]
    )


@pytest.fixture(scope="module")
def train(test_rows: pd.DataFrame) -> pd.DataFrame:
    """Other states; three in ten test lines stand there in capitals."""
    frame = synthetic.questions(20, 8, "train", seed=5).assign(
        context=lambda rows: "train " + rows["context"], facts="P ?"
    )
    doubled = test_rows.sample(frac=DOUBLED, random_state=0)
    return pd.concat(
        [frame, doubled.assign(context="train, else", facts=doubled["facts"].str.upper() + " ")], ignore_index=True
    )


def cells(test_rows: pd.DataFrame, train: pd.DataFrame, **answers: pd.DataFrame) -> dict[str, Any]:
    result = run(Evidence(test_rows, answers, {}, 0.1, 300, 1, train=train))
    assert len(result.table) == len(answers) * len(test_rows)
    return result.measures["test"]["all"]


def test_doubles_are_counted_whatever_case_and_blanks(test_rows: pd.DataFrame, train: pd.DataFrame) -> None:
    cell = cells(test_rows, train, twin=synthetic.answers(test_rows, 0.8))
    assert cell["same_line"][QUESTIONS]["value"] == pytest.approx(DOUBLED, abs=0.01)
    assert cell["same_state"][QUESTIONS]["value"] == 0


def test_states_that_are_alike_are_found(test_rows: pd.DataFrame, train: pd.DataFrame) -> None:
    long = " ".join(f"L{i}=50" for i in range(30))
    rows, known = test_rows.assign(context=f"{long} L31=1 L32=2"), train.assign(context=f"{long} L31=9 L32=8")
    cell = cells(rows, known, twin=synthetic.answers(rows, 0.8))
    assert cell["near_state"][QUESTIONS]["value"] == 1 and cell["same_state"][QUESTIONS]["value"] == 0
    apart = cells(rows, train, twin=synthetic.answers(rows, 0.8))
    assert apart["near_state"][QUESTIONS]["value"] == 0


def test_who_knows_doubles_by_heart_gains_on_them_and_others_do_not(
    test_rows: pd.DataFrame, train: pd.DataFrame
) -> None:
    known = set(train["facts"].str.casefold().str.strip())
    doubled = test_rows["facts"].str.casefold().isin(known).to_numpy()
    heart = synthetic.answers(test_rows, np.where(doubled, 1.0, 0.6), confidence=0.9)
    gain = cells(test_rows, train, heart=heart, fair=synthetic.answers(test_rows, 0.7))["double_gain"]
    assert gain["heart"]["value"] == pytest.approx(0.4, abs=0.08) and gain["heart"]["p"] < 0.01
    assert gain["heart"]["value"] > gain["heart"]["null_high"]
    assert gain["fair"]["null_low"] <= gain["fair"]["value"] <= gain["fair"]["null_high"] and gain["fair"]["p"] > 0.05


def test_a_canary_sings_only_of_what_was_learnt_by_heart() -> None:
    frame = pd.concat(
        [canaries(states(60, 20, seed), split) for seed, split in enumerate(("train", "test"))], ignore_index=True
    )
    frame["id"] = [f"{probe}-{i}" for i, probe in enumerate(frame["probe"])]
    frame["episode"] = frame["probe"] + frame["episode"]
    assert set(frame.columns) == set(PROBE.names) and set(frame["probe"]) == {"train", "test"}
    by_heart = _says(frame, np.where(frame["probe"] == "train", 0.9, 0.1), refusing=0.9)
    empty = states(4, 4).assign(split="test", context="else")
    evidence = Evidence(
        empty, {}, {}, 0.1, 300, 1, probes=frame, probe_answers={"llm": by_heart, "fair": _says(frame, np.full(len(frame), 0.3))},
        train=empty.assign(context="other"),
    )  # fmt: skip
    cell = run(evidence).measures["test"][CANARY]
    assert cell["canary_train"]["llm"]["value"] == pytest.approx(0.9, abs=0.08)  # though it refuses
    assert cell["canary_gain"]["llm"]["low"] > 0.5
    assert cell["canary_gain"]["fair"]["low"] < 0 < cell["canary_gain"]["fair"]["high"]


def _says(frame: pd.DataFrame, rate: np.ndarray, refusing: float = 0.0) -> pd.DataFrame:
    rng, vectors = np.random.default_rng(3), []
    for (_, row), share in zip(frame.iterrows(), rate, strict=True):
        size = len(row["options"]) if row["kind"] == "choice" else round(row["high"] / row["step"]) + 1
        truth = int(row["truth"] / (row["step"] if row["kind"] == "number" else 1))
        said = truth if rng.random() < share else (truth + size // 2) % size
        vectors.append(np.append((1 - refusing) * np.eye(size)[said], refusing))
    return pd.DataFrame({"question": frame["id"], "p": vectors, "tokens": 1, "seconds": 0.0})


def test_what_is_blanked_and_what_stays() -> None:
    text = "A: Tue Oct 1 h, rating 112 %.\nP: MW demand 117. U 0.913-0.972. Fullest L103=89 L106=86.\nC: residual L104+2 L18-2."
    assert blanked(text) == (
        "A: Tue Oct 1 h, rating 112 %.\nP: MW demand ?. U ?-?. Fullest L103=? L106=?.\nC: residual L104+? L18-?."
    )
    assert without("P now 85, C then 93.5") == "P now ?, C then ?"


def test_nothing_learnt_is_no_suite(test_rows: pd.DataFrame) -> None:
    assert run(Evidence(test_rows, {"twin": synthetic.answers(test_rows, 0.8)}, {}, 0.1, 100, 1)).measures == {}
