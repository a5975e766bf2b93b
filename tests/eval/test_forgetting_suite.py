"""The forgetting suite finds losses that are known by construction; the items are as its page says."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence
from eval.probes.general import GENERAL, items
from eval.suites.forgetting import ITEM, run
from twinforge.errors import UserError


def general(rates: Mapping[str, float], seed: int = 0, copies: int = 1) -> pd.DataFrame:
    """Scripted answers to the items: each model is right at its rate, and 1 / rate nats surprised."""
    asked, rng = pd.concat([items()] * copies, ignore_index=True), np.random.default_rng(seed)
    parts = []
    for model, rate in rates.items():
        right = rng.random(len(asked)) < rate
        logs = [[-1 / rate, *([-1 / rate + (-1 if hit else 1)] * 3)] for hit in right]
        parts.append(asked[["topic"]].assign(item=[f"item-{i:04}" for i in range(len(asked))], model=model, logs=logs))
    return pd.concat(parts, ignore_index=True)[GENERAL.names]


def evidence(rows: pd.DataFrame) -> Evidence:
    return Evidence(pd.DataFrame(), {}, {}, 0.1, 400, 1, general=rows)


def test_finds_what_was_lost() -> None:
    result = run(evidence(general({"base": 0.8, "llm": 0.5}, copies=20)))
    cell = result.measures["general"]["all"]
    assert cell["accuracy"]["base"]["value"] == pytest.approx(0.8, abs=0.03)
    lost = cell["accuracy_forgotten"]["llm"]
    assert (
        lost["value"] == pytest.approx(0.3, abs=0.05)
        and lost["low"] > 0
        and lost["high"] - lost["low"] < 0.08
        and 0.02 < lost["smallest"] < 0.08
    )
    assert cell["surprise_gained"]["llm"]["value"] == pytest.approx(1 / 0.5 - 1 / 0.8)
    assert "base" not in cell["accuracy_forgotten"] and len(result.table) == 2 * 20 * len(items())
    assert list(result.table.columns) == ITEM.names


def test_a_model_that_lost_nothing_shows_no_loss() -> None:
    rows = general({"base": 0.7})
    cell = run(evidence(pd.concat([rows, rows.assign(model="llm")]))).measures["general"]["all"]
    assert cell["accuracy_forgotten"]["llm"]["value"] == 0 == cell["surprise_gained"]["llm"]["value"]


def test_one_that_finds_all_alike_is_at_chance_or_below() -> None:
    rows = general({"base": 0.9, "llm": 0.9})
    same = rows["model"] == "llm"
    rows.loc[same, "logs"] = pd.Series([[-3.0, -3.0 + 1e-9, -3.0, -3.0]] * same.sum(), index=rows.index[same])
    assert run(evidence(rows)).measures["general"]["all"]["accuracy"]["llm"]["value"] == 0


def test_bad_input_is_named() -> None:
    rows = general({"base": 0.7, "llm": 0.7})
    with pytest.raises(UserError, match="'item-0000'.*twice"):
        run(evidence(pd.concat([rows, rows.head(1)])))
    with pytest.raises(UserError, match="must answer all"):
        run(evidence(rows.drop(index=0)))
    with pytest.raises(UserError, match="'base' too"):
        run(evidence(rows[rows["model"] == "llm"]))


def test_the_items_are_whole() -> None:
    asked = items()
    assert len(asked) == asked["text"].nunique() >= 80 and asked["topic"].nunique() >= 6
    for text, ways in zip(asked["text"], asked["continuations"], strict=True):
        assert len(ways) == 4 == len(set(ways)) and all(way.strip() for way in ways) and "\\n" not in text
