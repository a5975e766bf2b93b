"""Followers of a stream: each against its own theorem, on calm, drifting and adversarial streams, with a control that must fail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.conformal.online import ACI, PID, DtACI, Follower, follow, level_of, missed, quantile
from twinforge.errors import UserError

ALPHA = 0.1


class Clipped(ACI):
    """What must not be done: the level held within [0, 1], so that a surplus of misses is forgotten."""

    def threshold(self) -> float:
        return quantile(self.scores, max(self.level, 0.01))

    def observe(self, score: float, issued: float) -> ACI:
        after = super().observe(score, issued)
        return replace(after, level=min(max(after.level, 0.0), 1.0))


def adversary(follower: Follower, steps: int, most: float = 1.0) -> float:
    """Share of misses on a stream that is always just outside, wherever the set leaves room for it."""
    misses = 0.0
    for _ in range(steps):
        issued = follower.threshold()
        score = min(issued + 1e-6, most) if issued < most else 0.0
        misses += missed(score, issued)
        follower = follower.observe(score, issued)
    return misses / steps


def drifting(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Absolute errors whose scale triples half way and swings besides."""
    scale = np.where(np.arange(steps) < steps // 2, 1.0, 3.0) * (1 + 0.5 * np.sin(np.arange(steps) / 40))
    return np.abs(rng.normal(0, scale))


@pytest.mark.parametrize("gamma", [0.01, 0.05])
def test_aci_keeps_its_bound_against_an_adversary_and_clipped_it_does_not(gamma: float) -> None:
    steps = 400
    follower = ACI(ALPHA, gamma)
    assert abs(adversary(follower, steps) - ALPHA) <= follower.bound(steps)
    assert adversary(Clipped(ALPHA, 0.05), 3000) - ALPHA > ACI(ALPHA, 0.05).bound(3000)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_pid_keeps_its_bound_against_an_adversary(rate: float) -> None:
    follower = PID(ALPHA, rate, reach=1.0)
    for steps in (50, 400, 2000):
        assert abs(adversary(follower, steps) - ALPHA) <= follower.bound(steps)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_under_drift_and_the_fixed_threshold_fails(seed: int) -> None:
    scores = drifting(np.random.default_rng(seed), 4000)
    fixed = quantile(scores[:500], ALPHA)
    assert np.mean(scores[2000:] > fixed) > 0.35
    for follower in (ACI(ALPHA, 0.03), PID(ALPHA, 0.1, reach=30.0)):
        issued, _ = follow(follower, scores)
        assert abs(np.mean(scores > issued) - ALPHA) <= follower.bound(len(scores))
    for follower in (ACI(ALPHA, 0.03), DtACI(ALPHA), PID(ALPHA, 0.1, reach=30.0)):
        issued, _ = follow(follower, scores)
        later = (scores > issued)[2300:]  # from 300 steps after the break
        assert abs(later.mean() - ALPHA) < 0.03 and abs(later[:400].mean() - ALPHA) < 0.07


def test_calm_streams_are_covered_as_promised_with_sets_that_are_not_wasteful() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(40, 1500))
    for follower, slack in ((ACI(ALPHA, 0.005), 0.06), (DtACI(ALPHA), 0.06), (PID(ALPHA, 0.02, reach=1.0), 0.06)):
        issued = np.array([follow(follower, row)[0] for row in scores])
        misses = (scores > issued)[:, 300:]
        assert abs(misses.mean() - ALPHA) < 0.006
        finite = np.clip(issued[:, 300:], 0, 1)
        assert abs(finite.mean() - (1 - ALPHA)) < slack


def test_dtaci_weighs_the_rate_that_the_stream_asks_for() -> None:
    rng = np.random.default_rng(1)
    _, calm = follow(DtACI(ALPHA), rng.uniform(size=4000))
    _, wild = follow(DtACI(ALPHA), np.abs(rng.normal(0, np.exp(2 * np.sin(np.arange(4000) / 15)))))
    mean = [float(np.dot(f.weights, f.gammas)) for f in (calm, wild)]
    assert sum(calm.weights) == pytest.approx(1) and mean[1] > 1.5 * mean[0]


def test_late_and_missing_truths() -> None:
    scores = drifting(np.random.default_rng(2), 3000)
    gaps = np.where(np.random.default_rng(3).random(3000) < 0.3, np.nan, scores)
    issued, end = follow(ACI(ALPHA, 0.03), gaps, delay=4)
    assert abs(np.mean(scores > issued) - ALPHA) < 0.03
    level = ALPHA + 0.03 * (ALPHA * np.isfinite(gaps).sum() - np.sum(gaps > issued))
    assert end.level == pytest.approx(level)  # each truth counts once, against the threshold it was issued with
    never, same = follow(ACI(ALPHA), [math.nan] * 20)
    assert np.isinf(never).all() and same.level == ALPHA


def test_a_reset_forgets_scores_and_keeps_the_level() -> None:
    scores = np.random.default_rng(4).uniform(size=300)
    for follower in (ACI(ALPHA), DtACI(ALPHA)):
        _, end = follow(follower, scores)
        fresh = end.reset()
        assert math.isinf(fresh.threshold()) and not math.isinf(end.threshold())
    alarmed, _ = follow(ACI(ALPHA), scores, alarms=np.arange(300) == 200)
    plain, _ = follow(ACI(ALPHA), scores)
    assert (alarmed[:200] == plain[:200]).all() and np.isinf(alarmed[200:205]).all() and np.isfinite(alarmed[-1])
    _, tracker = follow(PID(ALPHA, 0.05, reach=1.0), scores)
    assert tracker.reset().threshold() == tracker.at


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(0, 20), st.floats(0.001, 0.999))
def test_a_level_holds_a_score_exactly_up_to_its_p_value(past: list[int], score: int, level: float) -> None:
    scores, value = np.array(past, dtype=float), level_of(np.array(past, dtype=float), float(score))
    if abs(level - value) > 1e-9:
        assert (score <= quantile(scores, level)) == (level < value)


@given(st.integers(1, 60), st.floats(-0.5, 1.5))
def test_quantile_is_the_ranked_score(n: int, level: float) -> None:
    scores = np.random.default_rng(n).permutation(n).astype(float)
    found = quantile(scores, level)
    if level <= 0:
        assert found == math.inf
    elif level >= 1:
        assert found == -math.inf
    else:
        k = math.ceil((n + 1) * (1 - level) - 1e-12)
        assert found == (math.inf if k > n else k - 1)


def test_what_makes_no_sense_is_refused() -> None:
    for make in (lambda: ACI(0.0), lambda: DtACI(1.0), lambda: PID(-0.1, 1, 1)):
        with pytest.raises(UserError, match="share between 0 and 1"):
            make()
    with pytest.raises(UserError, match="gamma 0: give a number above 0"):
        ACI(ALPHA, gamma=0)
    with pytest.raises(UserError, match="larger in size than reach"):
        PID(ALPHA, 0.1, reach=1.0).observe(2.0, 0.5)
