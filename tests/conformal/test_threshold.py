"""The threshold: exact rank, exact law, a known shift undone by weights, groups that keep their own promise."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from tests.conformal.law import ALPHA, CALIBRATION, FRESH, REPETITIONS, counts, follows
from twinforge.conformal.threshold import (
    Thresholds,
    coverage_band,
    digest,
    rank,
    smallest_n,
    threshold_of,
    weighted_thresholds,
)
from twinforge.errors import UserError


@given(st.integers(0, 10**7), st.integers(1, 9999))
def test_the_rank_is_exact_whatever_floats_do(n: int, share: int) -> None:
    exact = (n + 1) * (1 - Fraction(share, 10000))
    assert rank(n, share / 10000) == math.ceil(exact)


@given(st.integers(1, 9999))
def test_the_smallest_n_is_the_first_with_a_finite_threshold(share: int) -> None:
    alpha = share / 10000
    n = smallest_n(alpha)
    assert math.isfinite(threshold_of(np.arange(n, dtype=float), alpha)) == (n > 0)
    assert n < 1 or math.isinf(threshold_of(np.arange(n - 1, dtype=float), alpha))


def test_coverage_follows_the_law_and_the_plain_quantile_breaks_it() -> None:
    def trial(rng: np.random.Generator, plain: bool = False) -> np.ndarray:
        scores = rng.exponential(size=CALIBRATION)
        limit = np.quantile(scores, 1 - ALPHA, method="lower") if plain else threshold_of(scores, ALPHA)
        return rng.exponential(size=FRESH) <= limit

    assert follows(counts(trial))
    assert not follows(counts(lambda rng: trial(rng, plain=True)))


def test_the_band_is_the_laws() -> None:
    """19 in 20 fresh pairs of calibration and test lie in the 95 % band; with the band of a sure promise fewer do."""
    rng = np.random.default_rng(0)
    shares = [
        (rng.random(FRESH) <= threshold_of(rng.random(CALIBRATION), ALPHA)).mean() for _ in range(4 * REPETITIONS)
    ]
    low, high = coverage_band(CALIBRATION, FRESH, ALPHA)
    assert 0.94 < np.mean([low <= share <= high for share in shares]) < 0.98
    low, high = coverage_band(10**7, FRESH, ALPHA)
    assert np.mean([low <= share <= high for share in shares]) < 0.92
    assert coverage_band(5, FRESH, ALPHA) == (1.0, 1.0)


def shifted(rng: np.random.Generator, n: int, new: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores that grow with x, and x: uniform, or in the new world of density 2x."""
    x = np.sqrt(rng.random(n)) if new else rng.random(n)
    return rng.exponential(0.2 + 3 * x), x


def test_weights_undo_a_known_shift_and_without_them_it_is_missed() -> None:
    rng = np.random.default_rng(1)
    weighted, plain = [], []
    for _ in range(REPETITIONS):
        (scores, x), (fresh, new) = shifted(rng, CALIBRATION, False), shifted(rng, FRESH, True)
        fitted = Thresholds.fit(scores, ALPHA, weights=2 * x)
        weighted.append((fresh <= fitted.of(FRESH, weights=2 * new)).mean())
        plain.append((fresh <= threshold_of(scores, ALPHA)).mean())
    error = np.std(weighted) / math.sqrt(REPETITIONS)
    assert 0.9 - 3 * error < np.mean(weighted) < 0.925
    assert np.mean(plain) < 0.87


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 99), st.floats(0.1, 1e6))
def test_equal_weights_change_nothing(scores: list[float], share: int, weight: float) -> None:
    values, alpha = np.array(scores), share / 100
    ones = np.full(len(values), weight)
    found = weighted_thresholds(values, ones, ones[:1], alpha)[0]
    assert found == threshold_of(values, alpha)


def test_rows_of_weight_zero_count_for_nothing_and_a_huge_new_weight_leaves_no_threshold() -> None:
    scores, weights = np.arange(200.0), np.repeat([1.0, 0.0], 100)
    found = Thresholds.fit(scores, ALPHA, weights=weights).of(3, weights=np.array([0.0, 1.0, 1e9]))
    assert found.tolist() == [89.0, threshold_of(scores[:100], ALPHA), math.inf]
    nothing = Thresholds.fit(scores, ALPHA, weights=np.zeros(200))
    assert np.isinf(nothing.of(2, weights=np.ones(2))).all()


def test_every_group_follows_its_law_and_a_pooled_threshold_fails_the_worse_one() -> None:
    def trial(rng: np.random.Generator, pooled: bool, group: int) -> np.ndarray:
        groups = np.repeat([0, 1], CALIBRATION)
        scores = rng.exponential(1 + 3.0 * groups)
        fitted = Thresholds.fit(scores, ALPHA, groups=None if pooled else groups)
        limit = fitted.of(FRESH, None if pooled else np.full(FRESH, group))
        return rng.exponential(1 + 3.0 * group, FRESH) <= limit

    for group in (0, 1):
        assert follows(counts(lambda rng, g=group: trial(rng, False, g)))  # type: ignore[misc]
        assert not follows(counts(lambda rng, g=group: trial(rng, True, g)))  # type: ignore[misc]
    assert counts(lambda rng: trial(rng, True, 1)).mean() / FRESH < 0.85


def test_a_small_or_unseen_group_has_no_threshold() -> None:
    groups = np.array(["a"] * 50 + ["b"] * 5)
    fitted = Thresholds.fit(np.arange(55.0), ALPHA, groups)
    assert fitted.groups["b"] == (5, math.inf) and math.isfinite(fitted.groups["a"][1])
    assert np.isinf(fitted.of(3, np.array(["a", "b", "never"]))).tolist() == [False, True, True]
    assert Thresholds.from_json(fitted.to_json()) == fitted


def test_p_values_of_the_threshold_are_uniform() -> None:
    """The place of a fresh score among the calibration scores: what all of the above rests on."""
    rng = np.random.default_rng(3)
    places = [(1 + (rng.random(CALIBRATION) >= rng.random()).sum() - rng.random()) / 100 for _ in range(3000)]
    assert kstest(places, "uniform").pvalue > 0.01


def test_a_digest_tells_rows_apart() -> None:
    a, b = np.array([1.0, 2.0]), np.array(["x", "yz"])
    found = {digest(a), digest(b), digest(a, b), digest(b, a), digest(a[::-1]), digest(a.astype(np.float32))}
    assert len(found) == 6 and digest(a, b) == digest(a.copy(), b.copy())
    assert digest(np.array(["ab", "c"], object)) != digest(np.array(["a", "bc"], object))


def test_bad_input_is_named() -> None:
    scores = np.arange(20.0)
    for call, message in (
        (lambda: threshold_of(np.ones(3), 1.5), r"alpha 1\.5"),
        (lambda: threshold_of(np.array([0.1, np.nan, 0.2]), 0.1), "1 of 3 conformal scores are NaN"),
        (lambda: Thresholds.fit(scores, 0.1, weights=-np.ones(20)), r"weight -1\.0 in row 0"),
        (lambda: Thresholds.fit(scores, 0.1, weights=np.ones(3)), r"weight \(3,\): give one a row, \(20,\)"),
        (lambda: Thresholds.fit(scores, 0.1, np.ones(20), np.ones(20)), "give one of them"),
        (lambda: Thresholds.fit(scores, 0.1, np.ones(3)), r"groups \(3,\): give one a row"),
        (lambda: Thresholds.fit(scores, 0.1).of(2, np.ones(2)), "groups: given, but not used in calibration"),
        (lambda: Thresholds.fit(scores, 0.1, np.ones(20)).of(2), "groups: missing, though used in calibration"),
        (lambda: Thresholds.fit(scores, 0.1, weights=np.ones(20)).of(2), "weight: missing, though used"),
        (lambda: Thresholds.fit(scores, 0.1).of(2, weights=np.ones(2)), "weight: given, but not used"),
    ):
        with pytest.raises(UserError, match=message):
            call()
