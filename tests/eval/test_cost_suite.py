"""The cost suite: what a way buys is known by construction, and spending more buys nothing by itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from eval import blocks, curves, pages
from eval.evidence import Evidence, Result
from eval.measures import front
from eval.suites.cost import WAY, run
from tests.eval import synthetic

WAYS = {"rule": (0.6, 0, 1e-5), "llm": (0.8, 90, 0.1), "base": (0.3, 90, 0.1), "twin": (0.9, 90, 0.2)}


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return synthetic.questions(30, 8)


def spent(rows: pd.DataFrame, tokens: int, seconds: float) -> pd.DataFrame:
    return rows.assign(tokens=tokens, seconds=seconds)


def measured(questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame]) -> Result:
    return run(Evidence(questions, answers, {}, 0.1, 400, 1))


@pytest.fixture(scope="module")
def answers(questions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    rates = enumerate(WAYS.items())
    return {m: spent(synthetic.answers(questions, rate, seed=i), t, s) for i, (m, (rate, t, s)) in rates}


def test_what_each_way_buys_over_the_best_that_costs_no_more(
    questions: pd.DataFrame, answers: dict[str, pd.DataFrame]
) -> None:
    result = measured(questions, answers)
    cell = result.measures["test"]["all"]
    assert set(result.measures["test"]) == {"all"} and list(result.table.columns) == WAY.names
    assert {m: (cell["tokens"][m]["value"], round(cell["seconds"][m]["value"], 9)) for m in WAYS} == {
        m: (tokens, seconds) for m, (_, tokens, seconds) in WAYS.items()
    }
    for model, by, gain in (
        ("llm", "seconds", 0.2), ("base", "seconds", -0.5), ("twin", "seconds", 0.1), ("llm", "tokens", -0.1), ("twin", "tokens", 0.1)
    ):  # fmt: skip
        found = cell[f"bought_{by}"][model]
        assert (
            found["low"] < gain < found["high"] and found["high"] - found["low"] < 0.14 and found["n"] == len(questions)
        )
    assert "rule" not in cell["bought_seconds"] and "rule" not in cell["bought_tokens"]  # nothing is cheaper
    assert front(cell, "seconds") == ["rule", "llm", "twin"] and front(cell, "tokens") == ["rule", "twin"]


def test_spending_more_buys_nothing_by_itself(questions: pd.DataFrame, answers: dict[str, pd.DataFrame]) -> None:
    again = spent(answers["llm"], 900, 9.0)
    refuses = spent(synthetic.always(questions, -1), 901, 10.0)
    cell = measured(questions, {"llm": answers["llm"], "again": again, "refuses": refuses}).measures["test"]["all"]
    assert cell["bought_tokens"]["again"]["value"] == 0.0 and cell["bought_seconds"]["again"]["high"] == 0.0
    assert cell["bought_tokens"]["refuses"]["high"] < -0.4
    assert front(cell, "tokens") == ["llm"] == front(cell, "seconds")


def test_equals_are_not_told_apart(questions: pd.DataFrame) -> None:
    same = {f"m{i}": spent(synthetic.answers(questions, 0.7, seed=i), 10 + i, 1.0 + i) for i in range(4)}
    cell = measured(questions, same).measures["test"]["all"]
    for found in cell["bought_tokens"].values():
        assert found["low"] < 0.03 and found["value"] < 0.05  # the best of several others is hard to beat by chance


def test_slow_ways_are_compared_on_their_sample(questions: pd.DataFrame, answers: dict[str, pd.DataFrame]) -> None:
    asked = questions[questions["episode"].isin(questions["episode"].unique()[:6])]
    few = spent(synthetic.answers(asked, 0.5), 400, 0.8)
    partly = spent(synthetic.answers(asked.head(9), 1.0), 1, 0.0)
    result = measured(questions, {**answers, "base-few": few, "persistence": partly})
    whole, sample = result.measures["test"]["all"], result.measures["test"]["sample"]
    assert "base-few" not in whole["accuracy"] and set(sample["accuracy"]) == {*WAYS, "base-few"}
    assert {entry["n"] for entry in sample["accuracy"].values()} == {len(asked)}
    assert sample["bought_tokens"]["base-few"]["high"] < 0
    points = curves.of_costs(result.measures)
    assert set(points["n"]) == {len(asked)} and set(points["cost"]) == {"tokens", "seconds"}
    assert points.loc[points["front"], "value"].groupby(points["cost"]).apply(lambda v: v.is_monotonic_increasing).all()


def test_thoughts_are_ways_among_the_others_on_their_sample(
    questions: pd.DataFrame, answers: dict[str, pd.DataFrame]
) -> None:
    asked = questions[questions["episode"].isin(questions["episode"].unique()[:10])]
    thoughts = {
        "llm-cot": spent(synthetic.answers(asked, 0.8, seed=7), 250, 1.0),  # thinks, and is no better for it
        "llm-react": spent(synthetic.answers(asked, 0.99, seed=8), 500, 2.0),  # its tools help
        "base-sc": spent(synthetic.always(asked, -1), 900, 5.0),  # refuses
        "llm-checked": spent(synthetic.answers(asked, 1.0), 1, 0.0),  # asked again: measured elsewhere
    }
    result = run(Evidence(questions, answers, {}, 0.1, 400, 1, thoughts=thoughts))
    sample = result.measures["test"]["sample"]
    assert set(sample["accuracy"]) == {*WAYS, "llm-cot", "llm-react", "base-sc"}
    assert not {"llm-cot", "llm-react"} & set(result.measures["test"]["all"]["accuracy"])
    bought = sample["bought_tokens"]
    assert bought["llm-cot"]["value"] < 0 < bought["llm-react"]["low"] and bought["base-sc"]["high"] < -0.5
    assert front(sample, "tokens") == ["rule", "twin", "llm-react"]


def test_accuracy_stands_by_kind_of_scenario(questions: pd.DataFrame) -> None:
    words = np.where(np.arange(len(questions)) % 3 == 0, "And if L12 goes?", "L7 trips: what then?")
    later = synthetic.questions(12, 4, "shift", seed=9)
    both = pd.concat([questions.assign(text=words), later], ignore_index=True)
    held = (both["text"] == "And if L12 goes?").to_numpy()
    shift = (both["split"] == "shift").to_numpy()
    rates = np.where(shift, 0.5, np.where(held, 0.6, 0.9))
    llm, base = synthetic.answers(both, rates), synthetic.answers(questions, 0.3)
    train = questions.head(3).assign(text="L99 trips: what then?")
    regimes = {name: "late" if i % 2 else "future" for i, name in enumerate(later["episode"].unique())}
    given = Evidence(both, {"llm": llm, "base": base}, {}, 0.1, 400, 1, train=train, regimes=regimes)
    measures = run(given).measures
    seen, other = (measures["test"][name]["accuracy"] for name in ("words of training", "words held out"))
    assert seen["llm"]["low"] < 0.9 < seen["llm"]["high"] and other["llm"]["low"] < 0.6 < other["llm"]["high"]
    assert seen["llm"]["n"] + other["llm"]["n"] == len(questions) and set(other) == {"llm", "base"}
    assert set(measures["shift"]) == {"late", "future"} and set(measures["shift"]["late"]) == {"accuracy"}
    for cell in measures["shift"].values():
        assert (
            set(cell["accuracy"]) == {"llm"} and cell["accuracy"]["llm"]["low"] < 0.5 < cell["accuracy"]["llm"]["high"]
        )
    assert [block.title for block in blocks.costs(measures)][-1] == "Cost: accuracy by kind of scenario"
    told = pages.costs(measures)
    assert told.count("**Right by kind of scenario, %**") == 1 and "| shift: late |" in told


def test_other_splits_are_left_out_and_nothing_asked_is_nothing_measured(questions: pd.DataFrame) -> None:
    later = synthetic.questions(4, 4, "shift")
    both = pd.concat([questions, later], ignore_index=True)
    result = measured(both, {"llm": synthetic.answers(both, 0.7)})
    assert result.measures["test"]["all"]["accuracy"]["llm"]["n"] == len(questions) == len(result.table)
    assert measured(later, {"llm": synthetic.answers(later, 0.7)}).measures == {"test": {}}
    assert not len(curves.of_costs({"test": {}})) and np.isfinite(result.table["right"]).all()
