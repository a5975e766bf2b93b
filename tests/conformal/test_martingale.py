"""Bets against exchangeability: seldom a false alarm however often one looks, soon a true one, with controls that must fail."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.exchangeability_testing import OnlineMartingaleTest
from scipy.integrate import quad
from scipy.stats import binom

from twinforge.conformal import martingale
from twinforge.conformal.martingale import Martingale, Method, online_p
from twinforge.conformal.predictive import p_values
from twinforge.errors import UserError

STREAMS, LEVEL = 300, 0.1
METHODS: tuple[Method, ...] = ("jumper", "mixture")
Draw = Callable[[np.random.Generator, int], np.ndarray]
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "constant": lambda rng, n: np.ones(n),
    "not independent": lambda rng, n: rng.permutation(np.cumsum(rng.normal(size=n))),
}


def bet(p: np.ndarray, method: Method = "jumper") -> Martingale:
    follower = Martingale(method)
    for one in p.tolist():
        follower = follower.observe(one)
    return follower


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DRAWS)
def test_exchangeable_streams_alarm_no_more_often_than_promised(name: str, method: Method) -> None:
    """Watched at each of 250 steps, half of them after calibration rows."""
    rng, alarms = np.random.default_rng(0), 0
    for seed in range(STREAMS):
        drawn, start = DRAWS[name](rng, 250), seed % 2 * 50
        _, first = martingale.watch(drawn[start:], drawn[:start], seed=seed, level=LEVEL, method=method)
        alarms += first is not None
    assert alarms <= binom.ppf(0.999, STREAMS, LEVEL)


def test_unsmoothed_p_values_and_a_z_test_at_every_step_alarm_too_often() -> None:
    rng, unsmoothed, looked = np.random.default_rng(1), 0, 0
    for _ in range(STREAMS):
        drawn = rng.integers(0, 3, 150).astype(float)
        seen: list[float] = []
        unsmoothed += bet(np.array([online_p(seen, one, 1.0) for one in drawn])).alarm(LEVEL)
        sums = np.cumsum(rng.normal(size=150)) / np.sqrt(np.arange(1, 151))
        looked += bool((np.abs(sums) > 1.645).any())  # 10 % at each single look
    assert min(unsmoothed, looked) > 3 * STREAMS * LEVEL


@pytest.mark.parametrize(("method", "change"), [("jumper", 3.0), ("jumper", 0.4), ("mixture", 3.0)])
@pytest.mark.parametrize("calm", [0, 200])
def test_a_change_of_scale_is_noticed_soon(method: Method, change: float, calm: int) -> None:
    rng, delays = np.random.default_rng(2), []
    for seed in range(60):
        scores = np.abs(rng.normal(size=calm + 500))
        scores[calm + 200 :] *= change
        stream, calibration = scores[200:], scores[:200]
        _, first = martingale.watch(stream, calibration, seed=seed, level=0.01, method=method)
        delays.append(math.inf if first is None else first - calm)
    assert np.mean([0 <= delay <= 80 for delay in delays]) >= 0.9


def test_what_the_mixture_cannot_notice() -> None:
    scores = np.abs(np.random.default_rng(3).normal(size=400)) * 0.3
    calibration = np.abs(np.random.default_rng(4).normal(size=200))
    assert martingale.watch(scores, calibration, seed=0, level=0.01, method="mixture")[1] is None
    assert martingale.watch(scores, calibration, seed=0, level=0.01)[1] is not None


def test_the_jumper_equals_that_of_mapie_on_the_same_p_values() -> None:
    theirs, ours = OnlineMartingaleTest(), Martingale()
    for p in (np.random.default_rng(5).random(1500) ** 0.8).tolist():
        ours = ours.observe(p)
        assert ours.value == pytest.approx(math.log(theirs.update_simple_jumper_martingale(p)), abs=1e-10)
    assert ours.peak >= ours.value > 5 and ours.n == 1500


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_the_mixture_is_the_integral_of_its_bets(p: list[float]) -> None:
    logs, n = sum(map(math.log, p)), len(p)
    expected = quad(lambda e: e**n * math.exp((e - 1) * logs), 0, 1, epsabs=0, epsrel=1e-11, limit=200)[0]
    assert bet(np.array(p), "mixture").value == pytest.approx(math.log(expected), abs=1e-8)


def test_the_mixture_is_steady_between_its_two_formulas_and_on_long_streams() -> None:
    for n in (1, 10, 1000, 100_000):
        below, above = (martingale._mixture(n, (n + 1) * (1 + off)) for off in (0.0, 1e-9))
        assert below == pytest.approx(above, abs=1e-6)
    assert martingale._mixture(10_000, 0.0) == pytest.approx(-math.log(10_001))
    assert 1e5 < martingale._mixture(10_000, 1e6) < 1e6


@pytest.mark.parametrize("method", METHODS)
@given(st.lists(st.floats(0.001, 1), max_size=8))
def test_every_bet_is_fair(method: Method, past: list[float]) -> None:
    """The expected wealth after one more uniform p-value is the wealth before it."""
    before = bet(np.array(past), method)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    mean, edges = 0.0, [0, *np.geomspace(0.5, 700, 12)]  # of -log p
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        for x, weight in zip(low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2, strict=True):
            mean += weight * math.exp(before.observe(math.exp(-x)).value - before.value - x)
    assert mean == pytest.approx(1, abs=1e-9 if method == "jumper" else 3e-3)  # the mixture's rest lies below exp(-700)


@given(st.lists(st.integers(0, 4).map(float), max_size=20), st.lists(st.integers(0, 4).map(float), max_size=20))
def test_online_p_values_are_those_against_all_earlier_scores(calibration: list[float], scores: list[float]) -> None:
    u = np.random.default_rng(len(scores)).random(len(scores))
    seen = sorted(calibration)
    for at, score in enumerate(scores):
        expected = p_values(np.array(calibration + scores[:at]), np.array([score]), u[at : at + 1])[0]
        assert online_p(seen, score, float(u[at])) == pytest.approx(expected)
    assert seen == sorted(calibration + scores)


def test_the_path_and_its_alarm_agree() -> None:
    scores = np.concatenate([np.zeros(5), np.arange(1.0, 60)])
    path, first = martingale.watch(scores, seed=6, level=0.05)
    assert first is not None and path[first] >= math.log(20) > path[:first].max()
    again, _ = martingale.watch(scores, seed=6, level=0.05)
    assert np.array_equal(path, again)
    late = bet(np.concatenate([np.full(40, 0.01), np.random.default_rng(6).random(4000)]))
    assert late.alarm(0.01) and late.value < math.log(100)  # an alarm is not taken back
    assert not bet(np.full(400, 0.5)).alarm(0.01)
    empty, none = martingale.watch(np.empty(0), np.ones(3), seed=0, level=0.05)
    assert len(empty) == 0 and none is None
    one, none = martingale.watch(np.ones(1), seed=0, level=0.05)
    assert len(one) == 1 and none is None


def test_saved_and_read_back_the_bet_goes_on() -> None:
    p = np.random.default_rng(7).random(50)
    for method in METHODS:
        half = bet(p[:25], method)
        again = Martingale.from_json(json.loads(json.dumps(half.to_json())))
        assert again == half
        for one in p[25:].tolist():
            again = again.observe(one)
        assert again == bet(p, method) and again.data != bet(p[::-1], method).data
    sure = bet(np.array([0.5, 0.0, 1.0]), "mixture")
    assert sure.value == math.inf and Martingale.from_json(json.loads(json.dumps(sure.to_json()))) == sure


def test_a_step_takes_microseconds() -> None:
    scores = np.random.default_rng(8).normal(size=2000)
    for method in METHODS:
        best = math.inf
        for _ in range(5):
            start = time.perf_counter()
            martingale.watch(scores, scores, seed=0, level=0.01, method=method)
            best = min(best, (time.perf_counter() - start) / len(scores))
        assert best < 50e-6


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UserError, match="p 1.5: give a p-value from 0 to 1"):
        Martingale().observe(1.5)
    with pytest.raises(UserError, match="p nan: give a p-value"):
        Martingale().observe(math.nan)
    with pytest.raises(UserError, match="method 'power': give 'jumper' or 'mixture'"):
        Martingale("power")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="level 0: give a share"):
        Martingale().alarm(0)
    with pytest.raises(UserError, match="scores: 1 of 2 are NaN, the first in row 1"):
        martingale.watch(np.array([1, np.nan]), seed=0, level=0.1)
    with pytest.raises(UserError, match=r"calibration \(1, 2\): give a vector"):
        martingale.watch(np.ones(2), np.ones((1, 2)), seed=0, level=0.1)
    with pytest.raises(UserError, match="level 1.0: give a share"):
        martingale.watch(np.ones(2), seed=0, level=1.0)
