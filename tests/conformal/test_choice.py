"""Prediction sets for choices: MAPIE's threshold, exact coverage, and controls that must fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from twinforge.conformal.choice import lac, members, scores
from twinforge.conformal.threshold import rank, threshold_of
from twinforge.errors import UserError

ALPHA, REPETITIONS, CALIBRATION, FRESH = 0.1, 300, 99, 200


def draw(n: int, rng: np.random.Generator, sharp: float = 2.0) -> tuple[list[np.ndarray], list[int]]:
    """Ragged probability vectors of 2 to 6 options, and truths drawn from them."""
    p = []
    for size in rng.integers(2, 7, n):
        e = np.exp(sharp * rng.normal(size=size))
        p.append(e / e.sum())
    return p, [int(rng.choice(len(v), p=v)) for v in p]


def test_threshold_is_the_order_statistic() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert threshold_of(values, 0.1) == 90.0
    assert rank(99, 0.1) == 90


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(20, 400), st.sampled_from([6, 2, 1]))
def test_equals_mapie(seed: int, n: int, per_mille: int, digits: int) -> None:
    """`lac` goes through MAPIE wherever MAPIE can; rounding to few digits makes ties."""
    p, truth = draw(n, np.random.default_rng(seed))
    p = [np.round(v, digits) for v in p]
    own = threshold_of(scores(p, truth), per_mille / 1000)
    assert lac(p, truth, per_mille / 1000) == pytest.approx(own, abs=1e-12)


def test_sets_equal_mapies() -> None:
    from mapie.classification import SplitConformalClassifier

    from twinforge.conformal.choice import _stub, pad

    rng = np.random.default_rng(3)
    (p, truth), (fresh, _) = draw(150, rng), draw(400, rng)
    calibration, new = pad([*p, np.zeros(6)])[:-1], pad([*fresh, np.zeros(6)])[:-1]
    mapie = SplitConformalClassifier(_stub(6), 0.9, "lac").conformalize(calibration, truth)
    assert np.array_equal(mapie.predict_set(new)[1][:, :, 0], members(new, lac(p, truth, 0.1)))


def coverage_counts(make_threshold, fresh_sharp: float = 2.0, n: int = CALIBRATION) -> np.ndarray:  # type: ignore[no-untyped-def]
    """How many of `FRESH` new truths are in the set, in each repetition."""
    rng = np.random.default_rng(11)
    counts = []
    for _ in range(REPETITIONS):
        threshold = make_threshold(scores(*draw(n, rng)))
        p, truth = draw(FRESH, rng, fresh_sharp)
        counts.append(sum(members(v, threshold)[t] for v, t in zip(p, truth, strict=True)))
    return np.array(counts)


def follows_the_law(counts: np.ndarray, n: int = CALIBRATION) -> bool:
    """Whether counts look drawn from Beta-binomial(FRESH, k, n + 1 - k): mean, and share inside its 90 % band."""
    k = rank(n, ALPHA)
    law = betabinom(FRESH, k, n + 1 - k)
    low, high = law.ppf([0.05, 0.95])
    inside = int(((counts >= low) & (counts <= high)).sum())
    share = law.cdf(high) - law.cdf(low - 1)
    few, many = binom(len(counts), share).ppf([0.001, 0.999])
    near = abs(counts.mean() - law.mean()) < 3.5 * law.std() / math.sqrt(len(counts))
    return bool(near and few <= inside <= many)


def test_coverage_follows_the_beta_binomial_law() -> None:
    assert follows_the_law(coverage_counts(lambda s: threshold_of(s, ALPHA)))


def test_shifted_scores_break_the_law() -> None:
    assert not follows_the_law(coverage_counts(lambda s: threshold_of(s, ALPHA), fresh_sharp=1.0))


def test_plain_quantile_without_the_correction_breaks_the_law() -> None:
    counts = coverage_counts(lambda s: np.quantile(s, 1 - ALPHA, method="lower"))
    assert not follows_the_law(counts)


def test_calibration_rows_reused_break_the_law() -> None:
    """Judged on the rows it was calibrated on, coverage is k of n every time."""
    rng = np.random.default_rng(2)
    counts = []
    for _ in range(REPETITIONS):
        s = scores(*draw(FRESH, rng))
        counts.append((s <= threshold_of(s, ALPHA)).sum())
    assert not follows_the_law(np.array(counts), FRESH)


def test_a_clamped_threshold_covers_too_little() -> None:
    """n = 5 at 0.1: no finite threshold exists; the largest score covers 5 of 6."""
    counts = coverage_counts(lambda s: s.max(), n=5)
    assert counts.mean() / FRESH < 0.87
    assert coverage_counts(lambda s: threshold_of(s, ALPHA), n=5).min() == FRESH


@pytest.mark.parametrize(("n", "finite"), [(0, False), (1, False), (8, False), (9, True), (10, True)])
def test_few_rows_give_an_infinite_threshold(n: int, finite: bool) -> None:
    p, truth = draw(n, np.random.default_rng(n))
    threshold = lac(p, truth, 0.1)
    assert math.isfinite(threshold) == finite
    assert members(np.array([0.0, 1.0]), threshold).all() or finite


def test_tied_scores_cover_at_least_as_promised() -> None:
    """Probabilities rounded to one digit: nearly every score ties. Coverage may exceed the promise, never miss it."""
    rng = np.random.default_rng(5)
    counts = []
    for _ in range(REPETITIONS):
        p, truth = draw(CALIBRATION + FRESH, rng)
        p = [np.round(v, 1) for v in p]
        s = scores(p, truth)
        threshold = threshold_of(s[:CALIBRATION], ALPHA)
        counts.append((s[CALIBRATION:] <= threshold).mean())
    assert 0.9 - 3.5 * 0.035 / math.sqrt(REPETITIONS) < np.mean(counts) < 0.99


def test_constant_scores_put_everything_inside() -> None:
    p = [np.full(4, 0.25)] * 30
    assert members(p[0], lac(p, [1] * 30, 0.1)).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match=r"alpha 1\.5"):
        threshold_of(np.ones(3), 1.5)
    with pytest.raises(UserError, match="1 of 3"):
        threshold_of(np.array([0.1, np.nan, 0.2]), 0.1)
