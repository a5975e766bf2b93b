"""Intervals for numbers: quantiles of a mass, MAPIE's threshold, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from twinforge.conformal.number import band, cqr, interval, quantiles, scores
from twinforge.conformal.threshold import threshold_of

VALUES = np.arange(0.0, 121.0)


def answers(n: int, rng: np.random.Generator, claimed: float = 3.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Discretised normal masses of standard deviation `claimed`, truths of standard deviation 6, some refusal."""
    centre = rng.uniform(30, 90, n)
    truth = np.clip(np.round(centre + rng.normal(0, 6, n)), 0, 120)
    edges = np.concatenate([[-np.inf], VALUES[:-1] + 0.5, [np.inf]])
    mass = np.diff(norm.cdf((edges[None, :] - centre[:, None]) / claimed), axis=1)
    refusal = rng.uniform(0, 0.3, n)
    return list(np.column_stack([mass * (1 - refusal)[:, None], refusal])), truth


def test_quantiles_of_a_uniform_mass() -> None:
    p = np.append(np.full(10, 0.08), 0.2)  # a fifth of it refuses, which doesn't move the quantiles
    assert quantiles(p, np.arange(10.0), [0.0, 0.25, 0.5, 1.0]) == pytest.approx([-0.5, 2.0, 4.5, 9.5], abs=1e-6)


def test_a_full_refusal_has_the_whole_range() -> None:
    p = np.append(np.zeros(10), 1.0)
    assert quantiles(p, np.arange(10.0), [0.05, 0.95]) == pytest.approx([0.0, 9.0])


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0.001, 0.999))
def test_quantiles_ascend(mass: list[float], level: float) -> None:
    found = quantiles(np.array([*mass, 0.3]), np.arange(5.0), [0.0, level / 2, level, 1.0])
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 80), st.integers(20, 400), st.floats(0.5, 30))
def test_equals_mapie(seed: int, n: int, per_mille: int, claimed: float) -> None:
    alpha = per_mille / 1000
    p, truth = answers(n, np.random.default_rng(seed), claimed)
    quantile = band(p, [VALUES] * n, alpha)
    assert cqr(quantile, truth, alpha) == pytest.approx(threshold_of(scores(quantile, truth), alpha), abs=1e-12)


@pytest.mark.parametrize("claimed", [1.0, 6.0, 20.0])
def test_coverage_of_over_and_underconfident_masses(claimed: float) -> None:
    """Whatever spread the mass claims, intervals cover 90 %: between 89.2 and 91.5 over 200 repetitions."""
    rng = np.random.default_rng(7)
    p, truth = answers(4000, rng, claimed)
    quantile = band(p, [VALUES] * len(p), 0.1)
    s = scores(quantile, truth)
    covered = []
    for _ in range(200):
        order = rng.permutation(len(s))
        threshold = threshold_of(s[order[:199]], 0.1)
        ends = np.array([interval(quantile[i], VALUES, threshold) for i in order[199:299]])
        y = truth[order[199:299]]
        covered.append(((ends[:, 0] <= y) & (y <= ends[:, 1])).mean())
    assert 0.892 < np.mean(covered) < 0.915


def test_uncalibrated_quantiles_fail() -> None:
    """The control: an overconfident mass's own quantiles cover far too little."""
    p, truth = answers(500, np.random.default_rng(1), 2.0)
    assert (scores(band(p, [VALUES] * 500, 0.1), truth) <= 0).mean() < 0.6


def test_infinite_threshold_is_the_whole_grid() -> None:
    p, truth = answers(5, np.random.default_rng(0))
    threshold = cqr(band(p, [VALUES] * 5, 0.1), truth, 0.1)
    assert math.isinf(threshold)
    assert interval(np.array([40.0, 50.0, 45.0]), VALUES, threshold) == (0.0, 120.0)
    assert math.isinf(cqr(np.empty((0, 3)), np.empty(0), 0.1))


def test_a_negative_threshold_never_turns_an_interval_over() -> None:
    assert interval(np.array([40.0, 50.0, 44.0]), VALUES, -8.0) == (45.0, 45.0)
