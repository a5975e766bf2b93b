"""Intervals: they hold the truth as often as they say, with whole episodes resampled, and not when rows are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.bootstrap import basic_interval, episode_weights, interval, ratio_draws, share_interval, smallest_difference


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 10_000))
def test_weights_draw_as_many_episodes_as_there_are(episodes: int, resamples: int, seed: int) -> None:
    weights = episode_weights(episodes, resamples, seed)
    assert weights.shape == (resamples, episodes)
    assert (weights.sum(1) == episodes).all()


def clustered(rng: np.random.Generator, episodes: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """0/1 rows whose rate varies by episode around .7."""
    rate = rng.beta(7, 3, episodes)
    return rng.binomial(rows, rate).astype(float), np.full(episodes, float(rows))


def held(by_rows: bool, episodes: int, repeats: int = 300) -> float:
    rng, hits = np.random.default_rng(5), 0
    for i in range(repeats):
        sums, counts = clustered(rng, episodes, rows=30)
        if by_rows:
            flat = np.concatenate([[1.0] * int(s) + [0.0] * int(c - s) for s, c in zip(sums, counts, strict=True)])
            sums, counts = flat, np.ones_like(flat)
        draws = ratio_draws(sums[:, None], counts[:, None], episode_weights(len(sums), 300, i))[:, 0]
        low, high = interval(draws, len(sums))
        hits += low <= 0.7 <= high
    return hits / repeats


@pytest.mark.parametrize("episodes", [10, 40])
def test_interval_holds_the_truth_as_often_as_it_says(episodes: int) -> None:
    assert 0.91 <= held(by_rows=False, episodes=episodes) <= 0.985


def test_control_rows_taken_as_independent_hold_it_too_seldom() -> None:
    assert held(by_rows=True, episodes=10, repeats=60) < 0.8


def test_no_interval_from_one_episode_and_none_from_nothing() -> None:
    assert np.isnan(interval(np.array([0.5, 0.5]), episodes=1)).all()
    assert np.isnan(interval(np.array([np.nan]), episodes=5)).all()


def test_a_share_without_failures_still_has_an_interval() -> None:
    low, high = share_interval(1.0, np.ones(100), n=60, episodes=20)
    assert high == 1.0 and low == pytest.approx(0.025 ** (1 / 60))
    assert share_interval(0.0, np.zeros(100), n=60, episodes=20) == pytest.approx((0.0, 1 - low))


def test_basic_interval_takes_an_upward_bias_off_and_holds_the_value() -> None:
    low, high = basic_interval(0.05, np.linspace(0.06, 0.10, 1001), episodes=1000)
    assert 0 <= low < 0.01 and high == 0.05


def test_the_smallest_difference_is_the_textbooks_and_never_below_what_a_share_allows() -> None:
    """(1.96 + 0.84) standard errors for many episodes; a share that never differed still has the error of its n."""
    textbook = smallest_difference(0.05, 10**6, 10**6)
    assert textbook == pytest.approx(2.802 * 0.05, rel=1e-3)
    assert smallest_difference(0.05, 100, 10**6, share=False) == pytest.approx(2.802 * 0.05, rel=1e-3)
    none = smallest_difference(0.0, 100, 10**6)
    assert none is not None and none == pytest.approx(2.802 * np.sqrt(none * (1 - none) / 100), rel=1e-3)
    assert smallest_difference(0.0, 100, 50, share=False) is None
    assert smallest_difference(0.05, 100, 1) is None
    few = smallest_difference(0.05, 10**6, 5)
    assert few is not None and few > 1.3 * (textbook or 0)
