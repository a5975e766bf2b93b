"""Calibrated probabilities: against sklearn and MAPIE, and by their meaning on fresh rows, with controls that must fail."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.calibration import VennAbersCalibrator
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.isotonic import IsotonicRegression

from twinforge.conformal.probability import Temperature, VennAbers
from twinforge.errors import UserError


def excess(p: np.ndarray, right: np.ndarray, bins: int = 6) -> float:
    """Largest |hits - expected| in its standard errors, over bins of p with equally many rows: both sides count."""
    found = 0.0
    for rows in np.array_split(np.argsort(p, kind="stable"), bins):
        spread = math.sqrt(np.sum(p[rows] * (1 - p[rows]))) + 1e-9
        found = max(found, abs(float(np.sum(right[rows] - p[rows]))) / spread)
    return found


def asked(rng: np.random.Generator, n: int, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three or four options, too sure by a factor `sharp`, and truths drawn from the honest ones."""
    logits = rng.normal(0, 1.5, (n, 4))
    logits[rng.random(n) < 0.3, 3] = -np.inf
    honest, given = (np.exp(logits * s) / np.exp(logits * s).sum(axis=1, keepdims=True) for s in (1.0, sharp))
    truth = (rng.random((n, 1)) > np.cumsum(honest, axis=1)).sum(axis=1)
    return np.where(np.isinf(logits), np.nan, given), truth


def answered(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are far too sure, and whether each answer was right."""
    honest = rng.beta(2, 2, n)
    return honest**2 / (honest**2 + (1 - honest) ** 2), rng.random(n) < honest


@pytest.mark.parametrize("sharp", [0.5, 1.0, 3.0])
def test_a_temperature_is_found_again_and_calibrates_fresh_rows(sharp: float) -> None:
    rng = np.random.default_rng(0)
    fitted = Temperature.fit(*asked(rng, 4000, sharp))
    assert fitted.temperature == pytest.approx(sharp, rel=0.06)
    p, truth = asked(rng, 4000, sharp)
    for column in range(4):
        rows = ~np.isnan(p[:, column])
        assert excess(fitted.apply(p)[rows, column], truth[rows] == column) < 4.5
    worst = max(excess(p[~np.isnan(p[:, c]), c], truth[~np.isnan(p[:, c])] == c) for c in range(3))
    assert worst > 6 or sharp == 1.0


@given(st.integers(1, 20), st.integers(1, 6), st.floats(0.05, 20), st.integers(0, 2**32 - 1))
def test_tempered_probabilities_keep_their_order_their_gaps_and_their_sum(
    n: int, k: int, temperature: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    p[(rng.random((n, k)) < 0.3) & (p < p.max(axis=1, keepdims=True))] = np.nan
    out = Temperature(1, temperature, "").apply(p)
    assert (np.isnan(out) == np.isnan(p)).all() and np.nansum(out, axis=1) == pytest.approx(1)
    assert (np.nanargmax(out, axis=1) == np.nanargmax(p, axis=1)).all()
    expected = np.where(np.isnan(p), np.nan, (p / np.nanmax(p, axis=1, keepdims=True)) ** (1 / temperature))
    assert out == pytest.approx(expected / np.nansum(expected, axis=1, keepdims=True), nan_ok=True)
    back = Temperature(1, 1.0, "").apply(p)
    assert back == pytest.approx(p / np.nansum(p, axis=1, keepdims=True), nan_ok=True)


def test_no_temperature_is_likelier_and_rows_that_say_nothing_give_one() -> None:
    p, truth = asked(np.random.default_rng(1), 200, 2.0)
    best = Temperature.fit(p, truth)
    own = np.arange(200), truth

    def likelihood(temperature: float) -> float:
        return float(np.log(Temperature(1, temperature, "").apply(p)[own]).sum())

    assert all(likelihood(best.temperature) >= likelihood(t) - 1e-9 for t in np.geomspace(0.05, 20, 400))
    assert Temperature.fit(np.full((3, 4), 0.25), np.array([0, 1, 2])).temperature == 1.0
    assert Temperature.fit(np.array([[0.9, 0.1]]), np.array([0])).temperature < 0.1
    assert Temperature.fit(np.array([[0.9, 0.1]]), np.array([1])).temperature > 19
    assert (Temperature.fit(np.array([[1.0, 0.0], [0.5, 0.5]]), np.zeros(2, int)).apply(p)[own] > 0).all()


def two_fits(score: np.ndarray, correct: np.ndarray, fresh: float) -> list[float]:
    """p0 and p1 by their definition: two isotonic regressions."""
    fits = (IsotonicRegression().fit(np.append(score, fresh), np.append(correct, label)) for label in (0.0, 1.0))
    return [float(fit.predict([fresh])[0]) for fit in fits]


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A "fitted classifier" that gives back the scores that it is asked about."""

    classes_, n_features_in_ = np.array([0, 1]), 1

    def fit(self, x: np.ndarray, y: np.ndarray) -> Given:
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.column_stack([1 - np.ravel(x), np.ravel(x)])


def by_mapie(score: np.ndarray, correct: np.ndarray, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Its p0 and p1 (m, 2) and the one probability for both (m,); it divides 0 by 0 on its way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = VennAbersCalibrator(Given(), cv="prefit").fit(score[:, None], correct.astype(int))
        p, both = fitted.predict_proba(fresh[:, None], p0_p1_output=True)
    return both, p[:, 1]


@given(st.integers(1, 40), st.booleans(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_venn_abers_equals_two_isotonic_regressions_and_mapie(n: int, ties: bool, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 9, n) / 8 if ties else rng.random(n)
    correct = rng.random(n) < share
    fresh = np.concatenate([rng.random(4), rng.choice(score, 4), [score.min() - 1, score.max() + 1]])
    found = np.column_stack(VennAbers.fit(score, correct).bounds(fresh))
    assert np.abs(found - [two_fits(score, correct, one) for one in fresh]).max() < 1e-12
    both, p = by_mapie(score, correct, fresh)
    inside = fresh <= score.max()
    assert np.abs(found - both)[inside].max() < 1e-12
    assert np.abs(VennAbers.fit(score, correct).probability(fresh) - p)[inside].max() < 1e-12


def test_above_all_calibration_scores_p1_is_one_where_mapie_falls_short() -> None:
    """A right row above all others is a block of its own: the isotonic fit there is 1."""
    score, correct = np.array([0.0, 0.4, 0.4]), np.array([False, False, False])
    assert two_fits(score, correct, 0.7) == [0.0, 1.0]
    assert VennAbers.fit(score, correct).bounds(np.array([0.7]))[1][0] == 1.0
    assert by_mapie(score, correct, np.array([0.7]))[0][0, 1] == pytest.approx(1 / 3)


def test_one_of_the_two_is_perfectly_calibrated_and_neither_is_alone() -> None:
    """p1 where the answer is right, p0 where it is wrong: among rows given p, a share p is right, with only ten rows to learn
    from (the paper's theorem on validity)."""
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(6000):
        score, correct = answered(rng, 11)
        p0, p1 = VennAbers.fit(score[:10], correct[:10]).bounds(score[10:])
        rows.append((float(p0[0]), float(p1[0]), float(score[10]), bool(correct[10])))
    p0, p1, raw, right = (np.array(column) for column in zip(*rows, strict=True))
    assert excess(np.where(right, p1, p0), right) < 4
    assert min(excess(alone, right) for alone in (p0, p1, raw)) > 6


def test_one_probability_for_both_is_calibrated_on_fresh_rows_and_the_score_is_not() -> None:
    rng = np.random.default_rng(3)
    fitted = VennAbers.fit(*answered(rng, 20_000))
    score, right = answered(rng, 4000)
    p0, p1 = fitted.bounds(score)
    p = fitted.probability(score)
    assert (p0 < p1).all() and ((p0 <= p) & (p <= p1)).all() and np.quantile(p1 - p0, 0.9) < 0.1
    assert excess(p, right) < 4 < 6 < excess(score, right)
    turned = fitted.probability(np.sort(score))
    assert (np.diff(turned) >= 0).all()


def test_few_rows_say_little() -> None:
    none = VennAbers.fit(np.empty(0), np.empty(0, bool))
    assert [part[0] for part in none.bounds(np.array([0.3]))] == [0, 1] and none.probability(np.zeros(1))[0] == 0.5
    same = VennAbers.fit(np.ones(9), np.arange(9) < 6)
    assert np.column_stack(same.bounds(np.array([0.0, 1.0, 2.0]))) == pytest.approx(
        np.array([[0, 0.7], [0.6, 0.7], [0.6, 1]])
    )


def test_saved_and_read_back_they_give_the_same() -> None:
    score, correct = answered(np.random.default_rng(4), 50)
    fitted = VennAbers.fit(score, correct)
    again = VennAbers.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.to_json() == fitted.to_json() and np.array_equal(again.bounds(score), fitted.bounds(score))
    tempered = Temperature.fit(*asked(np.random.default_rng(5), 50))
    assert Temperature.from_json(json.loads(json.dumps(tempered.to_json()))) == tempered


def test_what_makes_no_sense_is_refused() -> None:
    p, truth = np.array([[0.5, 0.5], [1.0, np.nan]]), np.array([0, 0])
    fits: tuple[tuple[Any, Any, str], ...] = (
        (p[0], truth, r"p \(2,\): give probabilities \(rows, options\)"),
        (p * 2, truth, "p 2.0: give probabilities from 0 to 1"),
        (p, truth[:1], r"truth \(1,\) of int64 for p \(2, 2\)"),
        (p, truth.astype(float), "of float64 for p"),
        (p[:0], truth[:0], "at least one row"),
        (p, np.array([0, 2]), r"truth 2: give columns of p \(2, 2\)"),
        (p, np.array([0, 1]), "row 1: its truth, column 1, has probability nan"),
        (np.array([[0.0, 1.0]]), truth[:1], "row 0: its truth, column 0, has probability 0"),
        (np.array([[np.nan, np.nan]]), truth[:1], "row 0: no option has a probability above 0"),
    )
    for table, column, message in fits:
        with pytest.raises(UserError, match=message):
            Temperature.fit(table, column)
    with pytest.raises(UserError, match=r"correct \(3,\): give a vector of 2"):
        VennAbers.fit(np.ones(2), np.ones(3, bool))
    with pytest.raises(UserError, match="correct 2.0: give true or false"):
        VennAbers.fit(np.ones(2), np.array([1, 2]))
    with pytest.raises(UserError, match="score: 1 of 2 are not finite, the first in row 1"):
        VennAbers.fit(np.array([1, np.nan]), np.ones(2, bool))
    with pytest.raises(UserError, match="score: 1 of 1 are not finite"):
        VennAbers.fit(np.ones(2), np.ones(2, bool)).bounds(np.array([np.nan]))
