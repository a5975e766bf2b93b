"""Bars: kept and missed are said only beyond chance, and every bar names a figure that its suite makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.bars import BARS, Bar, finding, hold, said
from eval.measures import Sample, share_entry
from eval.probes.robustness import ATTACK
from eval.suites import SUITES
from twinforge.files import read_json
from twinforge.recipe.judging import BarSuite

METRICS = Path(__file__).parents[2] / "reports/energy/metrics.json"
MOST, LEAST = (
    Bar("s", "test", "all", "wrong", "twin", 0.05, "what"),
    Bar("s", "test", "all", "found", "twin", 0.9, "what", True),
)
NONE = Bar("s", "test", "all", "flipped", "twin", 0.0, "what")


def measured(rate: float, seed: int, episodes: int = 40, rows: int = 10) -> dict[str, Any]:
    """A share over episodes that are not all alike, as a suite gives it."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(20 * rate, 20 * (1 - rate), episodes) if 0 < rate < 1 else np.full(episodes, rate)
    frame = pd.DataFrame({"episode": [f"day-{i}" for i in range(episodes) for _ in range(rows)]})
    hit = rng.random(len(frame)) < np.repeat(chance, rows)
    return share_entry("flipped", frame, pd.Series(hit.astype(float)), Sample.of(frame["episode"], 400, seed))


def rates(rate: float, bar: Bar, runs: int = 150) -> dict[str, float]:
    return pd.Series([finding(measured(rate, i), bar) for i in range(runs)]).value_counts(normalize=True).to_dict()


@pytest.mark.parametrize("bar", [MOST, LEAST])
def test_a_twin_right_at_its_bar_is_seldom_said_to_miss_it_or_keep_it(bar: Bar) -> None:
    found = rates(bar.limit, bar)
    assert found.get("missed", 0) <= 0.09 and found.get("kept", 0) <= 0.09 and found["unclear"] >= 0.85


@pytest.mark.parametrize(("bar", "good", "bad"), [(MOST, 0.01, 0.15), (LEAST, 0.97, 0.75)])
def test_one_far_from_it_is_judged(bar: Bar, good: float, bad: float) -> None:
    kept, missed = rates(good, bar, 40), rates(bad, bar, 40)
    assert kept.get("kept", 0) >= 0.9 and "missed" not in kept
    assert missed.get("missed", 0) >= 0.9 and "kept" not in missed


def test_a_bar_of_nothing_is_missed_by_a_single_case_and_kept_by_none() -> None:
    assert rates(0.0, NONE, 5) == {"kept": 1.0}
    one = {"value": 1 / 300, "low": 0.0, "high": 0.01, "n": 300}
    assert finding(one, NONE) == "missed" and finding(one, MOST) == "kept"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_finding_turns_with_the_direction(low: float, high: float, limit: float, higher: bool) -> None:
    low, high = sorted((low, high))
    entry = {"value": (low + high) / 2, "low": low, "high": high, "n": 9}
    mirrored = {"value": 1 - entry["value"], "low": 1 - high, "high": 1 - low, "n": 9}
    bar, other = (
        Bar("s", "t", "k", "m", "twin", level, "", way) for level, way in ((limit, higher), (1 - limit, not higher))
    )
    if 0 < limit < 1 and 0 < 1 - limit < 1 and min(abs(limit - low), abs(limit - high)) > 1e-9:
        assert finding(entry, bar) == finding(mirrored, other)


def test_no_interval_no_verdict() -> None:
    assert finding({"value": 0.9, "low": None, "high": None, "n": 3}, MOST) == "unclear"


def test_every_bar_names_a_figure_of_its_suite() -> None:
    metrics = read_json(METRICS)
    assert set(BARS) == set(get_args(BarSuite)) and set(BARS) < set(SUITES)
    assert BARS["robustness"].skill == ATTACK
    for suite in BARS:
        held = hold(metrics, suite)
        assert held.finding != "not measured" and held.n > 0
        assert hold({**metrics, suite: {}}, suite).finding == "not measured"


def test_it_is_said_of_every_model() -> None:
    cells = {
        "twin": {"value": 0.0, "low": 0.0, "high": 0.01, "n": 280},
        "llm": {"value": 0.01, "low": 0, "high": 0.02, "n": 280},
    }
    assert said(cells, "robustness").endswith("hidden instruction, at most 0 %: twin kept (0.0 %), llm missed (1.0 %).")
    assert said({}, "robustness") == ""
