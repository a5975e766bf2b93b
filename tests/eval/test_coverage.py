"""The coverage band: a twin that keeps its promise fails about one time in twenty, one that does not is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eval.coverage import bands
from eval.measures import Sample

SKILLS = ("a", "b", "c", "d", "e", "f", "g")


def split(
    rng: np.random.Generator, thresholds: np.ndarray | None, shift: float, episodes: int, rows: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Normal scores with an episode effect; thresholds are the calibration rows' own 90 % quantiles where none is given."""
    effect = rng.normal(0, 0.4, (episodes, 1, 1))
    scores = effect + rng.normal(0, 1, (episodes, len(SKILLS), rows)) + shift
    if thresholds is None:
        n = episodes * rows
        flat = np.sort(scores.transpose(1, 0, 2).reshape(len(SKILLS), n), axis=1)
        thresholds = flat[:, int(np.ceil((n + 1) * 0.9)) - 1]
    index = pd.MultiIndex.from_product(
        [[f"e{i:02}" for i in range(episodes)], SKILLS, range(rows)], names=["episode", "skill", "row"]
    )
    covered = (scores <= thresholds[None, :, None]).astype(float).reshape(-1)
    return pd.DataFrame({"covered": covered}, index=index).reset_index(), thresholds


def failed(shift: float, repeats: int, episodes: int = 20, rows: int = 8) -> float:
    """How often any skill, or the whole, is found too low."""
    rng, count = np.random.default_rng(11), 0
    for i in range(repeats):
        calibration, thresholds = split(rng, None, 0.0, episodes, rows)
        test, _ = split(rng, thresholds, shift, episodes, rows)
        plans = [Sample.of(frame["episode"], 200, 2 * i + j) for j, frame in enumerate((test, calibration))]
        count += any(not band.ok for band in bands(test, calibration, 0.1, plans[0], plans[1]).values())
    return count / repeats


def test_a_kept_promise_seldom_fails() -> None:
    assert 0.01 <= failed(shift=0.0, repeats=200) <= 0.08


def test_a_broken_promise_is_found() -> None:
    assert failed(shift=0.7, repeats=20) >= 0.9


def test_more_questions_make_a_narrower_band_around_the_promise() -> None:
    widths = []
    for rows in (5, 40):
        rng = np.random.default_rng(3)
        calibration, thresholds = split(rng, None, 0.0, 20, rows)
        test, _ = split(rng, thresholds, 0.0, 20, rows)
        found = bands(test, calibration, 0.1, *(Sample.of(frame["episode"], 300, 1) for frame in (test, calibration)))
        assert set(found) == {*SKILLS, "all"}
        assert all(band.low < 0.9 < band.high <= 1 for band in found.values())
        widths.append(found["a"].high - found["a"].low)
    assert widths[1] < 0.8 * widths[0]


def test_without_calibration_rows_only_the_test_rows_count() -> None:
    rng = np.random.default_rng(3)
    calibration, thresholds = split(rng, None, 0.0, 20, 8)
    test, _ = split(rng, thresholds, 0.0, 20, 8)
    plan = Sample.of(test["episode"], 300, 1)
    alone = bands(test, calibration.head(0), 0.1, plan, Sample.of([], 300, 2))
    both = bands(test, calibration, 0.1, plan, Sample.of(calibration["episode"], 300, 2))
    assert alone["all"].low > both["all"].low


@pytest.mark.parametrize("covered", [1.0, 0.0])
def test_all_or_nothing_has_a_band_too(covered: float) -> None:
    test = pd.DataFrame({"episode": ["a", "b", "c"] * 20, "skill": "x", "covered": covered})
    plan = Sample.of(test["episode"], 100, 1)
    assert bands(test, test.head(0), 0.1, plan, Sample.of([], 100, 2))["x"].ok is bool(covered)
