"""Predictive distributions against crepes and by their law on fresh rows, with controls that must fail."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from crepes import ConformalPredictiveSystem
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from twinforge.conformal.predictive import Predictive, p_values
from twinforge.errors import UserError

REPEATS = 600
scores = st.lists(st.integers(0, 8).map(float), max_size=30).map(np.array)


def uniform(values: list[float] | np.ndarray) -> float:
    """P-value of "these are independent and uniform"."""
    return float(kstest(values, "uniform").pvalue)


def world(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, skewed and differently wide errors, and the scale that says how wide."""
    prediction, scale = rng.normal(size=n), rng.uniform(0.5, 3, n)
    return prediction, prediction + scale * (rng.exponential(size=n) - 0.3), scale


@given(scores, scores, st.integers(0, 2**32 - 1))
def test_p_values_count_what_they_say(calibration: np.ndarray, fresh: np.ndarray, seed: int) -> None:
    u = np.random.default_rng(seed).random(len(fresh))
    larger = np.array([np.sum(calibration > s) for s in fresh])
    same = np.array([np.sum(calibration == s) for s in fresh])
    n = len(calibration) + 1
    assert p_values(calibration, fresh) == pytest.approx((larger + same + 1) / n)
    assert p_values(calibration, fresh, u) == pytest.approx((larger + u * (same + 1)) / n)
    assert (p_values(calibration, fresh, np.ones(len(fresh))) == p_values(calibration, fresh)).all()


@pytest.mark.parametrize("ties", [False, True])
def test_smoothed_p_values_are_uniform_and_shifted_scores_are_not(ties: bool) -> None:
    rng = np.random.default_rng(0)
    fresh, plain, shifted = [], [], []
    for _ in range(REPEATS):
        drawn, u = rng.standard_cauchy(21), rng.random(1)
        drawn = np.floor(drawn) if ties else drawn
        fresh.append(p_values(drawn[:20], drawn[20:], u)[0])
        plain.append(p_values(drawn[:20], drawn[20:])[0])
        shifted.append(p_values(drawn[:20], drawn[20:] + 1, u)[0])
    assert uniform(fresh) > 0.01 > 1e-4 > uniform(shifted)
    for level in (0.05, 0.1, 0.3):
        assert np.mean(np.array(plain) <= level) <= level + 3 * math.sqrt(level / REPEATS)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_it_equals_crepes(scaled: bool, whole: bool) -> None:
    """On whole numbers too, with ties (scales are then powers of two, so that both round nothing)."""
    rng, n, m = np.random.default_rng(1), 73, 40
    prediction, truth, scale = world(rng, n + m)
    if whole:
        prediction, truth, scale = np.round(prediction), np.round(truth), 2.0 ** rng.integers(-1, 2, n + m)
    sigma, wide = (scale[:n], scale[n:]) if scaled else (None, None)
    threshold = truth[n:]
    theirs = ConformalPredictiveSystem().fit(truth[:n] - prediction[:n], sigmas=sigma)
    ours = Predictive.fit(prediction[:n], truth[:n], sigma)
    low, high = ours.below(prediction[n:], threshold, wide)
    assert np.abs(high - theirs.predict_p(prediction[n:], threshold, sigmas=wide, smoothing=False)).max() < 1e-12
    np.random.seed(7)
    smoothed = low + np.random.rand(m) * (high - low)
    assert np.abs(smoothed - theirs.predict_p(prediction[n:], threshold, sigmas=wide, seed=7)).max() < 1e-12
    for share in (0.03, 0.21, 0.5, 0.77, 0.95):
        found = theirs.predict_percentiles(prediction[n:], sigmas=wide, higher_percentiles=100 * share)
        assert np.abs(ours.quantile(share, prediction[n:], wide) - found).max() < 1e-12
        if share < 0.8:
            both = theirs.predict_int(prediction[n:], sigmas=wide, confidence=1 - share)
            assert np.abs(np.column_stack(ours.interval(share, prediction[n:], wide)) - both).max() < 1e-12


def test_a_level_that_is_met_exactly_is_met_where_crepes_rounds_it_away() -> None:
    """19 rows are just enough for 5 % on each side; in floats (1 - 0.9) / 2 * 20 is below 1."""
    truth = np.random.default_rng(2).normal(size=19)
    low, high = Predictive.fit(np.zeros(19), truth).interval(0.1, np.zeros(1))
    assert (low[0], high[0]) == (truth.min(), truth.max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ConformalPredictiveSystem().fit(truth).predict_int(np.zeros(1), confidence=0.9)[0, 0] == -math.inf
    assert np.isinf(Predictive.fit(np.zeros(18), truth[:18]).interval(0.1, np.zeros(1))).all()


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_uniform_at_fresh_truths_and_its_intervals_hold_them(whole: bool) -> None:
    rng = np.random.default_rng(3)
    at, held = [], []
    for _ in range(REPEATS):
        prediction, truth, scale = world(rng, 40)
        truth = np.round(truth) if whole else truth
        fitted = Predictive.fit(prediction[:39], truth[:39], scale[:39])
        low, high = fitted.below(prediction[39:], truth[39:], scale[39:])
        at.append(float(low[0] + rng.random() * (high[0] - low[0])))
        ends = fitted.interval(0.2, prediction[39:], scale[39:])
        held.append(ends[0][0] <= truth[39] <= ends[1][0])
    assert uniform(at) > 0.01
    assert abs(np.mean(held) - 0.8) < 4 * math.sqrt(0.16 / REPEATS) or (whole and np.mean(held) > 0.8)


def test_errors_of_an_overfitted_model_on_its_own_rows_and_shifted_ones_fail() -> None:
    rng = np.random.default_rng(4)
    honest, own, shifted = [], [], []
    for _ in range(REPEATS):
        x, u = rng.uniform(-1, 1, 61), rng.random()
        y = np.sin(3 * x) + rng.normal(size=61)
        model = np.polynomial.Polynomial.fit(x[:30], y[:30], 12, domain=[-1, 1])
        fresh = np.array([model(x[60])])
        for rows, offset, into in ((slice(30, 60), 0, honest), (slice(30), 0, own), (slice(30, 60), 2, shifted)):
            low, high = Predictive.fit(model(x[rows]), y[rows]).below(fresh, y[60] + offset)
            into.append(float(low[0] + u * (high[0] - low[0])))
    assert uniform(honest) > 0.01 > 1e-8 > max(uniform(own), uniform(shifted))


@given(st.integers(0, 40), st.floats(0.001, 0.999), st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_it_is_a_distribution(n: int, level: float, one: float, other: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fitted = Predictive.fit(np.zeros(n), rng.integers(-2, 3, n).astype(float))
    at = rng.normal(size=5)
    low, high = fitted.below(at, min(one, other))
    least, most = fitted.below(at, max(one, other))
    assert (low <= least).all() and (high <= most).all() and (low >= 0).all() and (most <= 1).all()
    assert (high - low >= 1 / (n + 1) - 1e-12).all()
    finite = np.zeros(1)  # predictions of 0 leave thresholds unrounded
    found = fitted.quantile(level, finite)
    assert fitted.below(finite, found)[1][0] >= level - 1e-12
    assert fitted.below(finite, found)[0][0] < level
    ends = fitted.interval(level, finite)
    assert ends[0][0] == -fitted_negated(fitted).interval(level, finite)[1][0]
    assert (ends[0] <= ends[1]).all() or level > n / (n + 1)


def fitted_negated(fitted: Predictive) -> Predictive:
    return Predictive.fit(fitted.residuals, np.zeros(fitted.n))


def test_saved_and_read_back_it_gives_the_same() -> None:
    prediction, truth, scale = world(np.random.default_rng(5), 30)
    for fitted in (Predictive.fit(prediction, truth, scale), Predictive.fit(prediction[:0], truth[:0], scale[:0])):
        again = Predictive.from_json(json.loads(json.dumps(fitted.to_json())))
        assert again.to_json() == fitted.to_json() and again.n == len(again.residuals)
        assert np.array_equal(again.interval(0.1, prediction, scale), fitted.interval(0.1, prediction, scale))
    assert fitted.below(prediction, 0.0, scale)[0].max() == 0 and fitted.below(prediction, 0.0, scale)[1].min() == 1


def test_what_makes_no_sense_is_refused() -> None:
    one, fitted = np.ones(2), Predictive.fit(np.zeros(3), np.ones(3))
    calls: tuple[tuple[Any, str], ...] = (
        (lambda: p_values(np.array([0, np.nan]), one), "calibration: 1 of 2 are NaN, the first in row 1"),
        (lambda: p_values(one, one, np.ones(3)), r"u \(3,\): give a vector of 2"),
        (lambda: p_values(one, one, np.array([0.5, 1.5])), "u 1.5: give numbers from 0 to 1"),
        (lambda: Predictive.fit(one, np.ones(3)), r"truth \(3,\): give a vector of 2"),
        (lambda: Predictive.fit(one, np.array([1, np.inf])), "truth: 1 of 2 are not finite"),
        (lambda: Predictive.fit(one, one, np.array([1.0, 0.0])), "scale 0.0 in row 1: give numbers above 0"),
        (lambda: fitted.below(one, 0.0, one), "calibrated without a scale; leave it out"),
        (lambda: Predictive.fit(one, one, one).quantile(0.5, one), "calibrated with a scale; give one"),
        (lambda: fitted.below(one, np.zeros(3)), r"threshold \(3,\): give a vector of 2"),
        (lambda: fitted.below(one, math.nan), "threshold: 2 of 2 are NaN"),
        (lambda: fitted.quantile(1.0, one), "level 1.0: give a share"),
        (lambda: fitted.interval(0.0, one), "alpha 0.0: give a share"),
    )
    for call, message in calls:
        with pytest.raises(UserError, match=message):
            call()
