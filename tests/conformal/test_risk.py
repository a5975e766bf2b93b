"""Risk bounds against fresh draws of a population whose risk is known, each with a control that must fail."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from twinforge.conformal.risk import Selective, betting_p_value, control, learn_then_test, p_values, smallest_n
from twinforge.errors import UserError

REPEATS = 400
GRID = np.linspace(0, 1, 1001)


def too_many(delta: float) -> int:
    """More failures among `REPEATS` than chance allows a method that keeps its delta (one in a thousand)."""
    return int(binom.ppf(0.999, REPEATS, delta))


def missed_share(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 1001) losses: the share of a row's two labels that a set misses, falling as the set's threshold rises."""
    need = rng.beta(2, 3, (n, 1)) + [0, 0.01]
    return (need[:, :, None] > GRID).mean(axis=1)


def test_risk_control_keeps_the_expected_loss_and_the_plain_mean_does_not() -> None:
    rng, truth = np.random.default_rng(0), missed_share(np.random.default_rng(1), 20_000).mean(axis=0)
    kept, plain = [], []
    for _ in range(4 * REPEATS):
        losses = missed_share(rng, 20)
        chosen = control(losses, 0.1)
        assert chosen is not None
        kept.append(truth[chosen])
        plain.append(truth[np.flatnonzero(losses.mean(axis=0) <= 0.1)[0]])
    error = np.std(kept) / math.sqrt(len(kept))
    assert 0.1 - 0.03 < np.mean(kept) <= 0.1 + 3 * error
    assert np.mean(plain) > 0.1 + 3 * np.std(plain) / math.sqrt(len(plain))


def test_risk_control_says_when_nothing_is_safe() -> None:
    assert control(np.zeros((8, 3)), 0.1) is None  # 1 / 9 > 0.1
    assert control(np.zeros((9, 3)), 0.1) == 0
    assert control(np.empty((0, 3)), 0.5) is None
    with pytest.raises(UserError, match="rise along"):
        control(np.array([[0.0, 1.0]]), 0.1)
    with pytest.raises(UserError, match=r"from 0 to 1; found 2"):
        control(np.array([[2.0, 1.0]]), 0.1)


@pytest.mark.parametrize("method", ["sequence", "bonferroni"])
def test_learn_then_test_keeps_two_limits_at_once(method: str) -> None:
    """Losses of candidate t: wrong (rises with t), and abstained (falls with t): both limits hold between two candidates."""
    rng, steps = np.random.default_rng(2), np.linspace(0, 1, 21)
    wrong, absent = 0.3 * steps, 0.5 * (1 - steps)
    safe = (wrong <= 0.2) & (absent <= 0.3)
    order = np.argsort(np.abs(steps - 0.55), kind="stable")  # the surest candidate first
    broken = naive = found = 0
    for _ in range(REPEATS):
        losses = [rng.random((1500, 21)) < rate for rate in (wrong, absent)]
        kept = learn_then_test([table[:, order].astype(float) for table in losses], (0.2, 0.3), 0.1, method)  # type: ignore[arg-type]
        broken += not safe[order[kept]].all()
        found += len(kept) > 0
        passing = (losses[0].mean(axis=0) <= 0.2) & (losses[1].mean(axis=0) <= 0.3)
        naive += not safe[passing].all()
    assert broken <= too_many(0.1) < naive and found > 0.9 * REPEATS


def test_p_values_are_valid_for_binary_and_for_bounded_losses() -> None:
    rng = np.random.default_rng(3)
    binary = (rng.random((200, 5000)) < 0.2).astype(float)
    bounded = rng.beta(1, 4, (200, 5000))  # mean 0.2
    for losses in (binary, bounded):
        p = p_values(losses, 0.2)
        for level in (0.05, 0.2):
            assert np.mean(p <= level) <= level + 3 * math.sqrt(level / 5000)
    assert np.mean(p_values(bounded * 0.5, 0.2) <= 0.05) > 0.5


@pytest.mark.parametrize(("risk", "delta"), [(0.05, 0.1), (0.1, 0.2)])
def test_selective_answering_keeps_its_risk_and_the_empirical_threshold_does_not(risk: float, delta: float) -> None:
    """Confidence c is right with probability c: "answered above t and wrong" has the risk (1 - t)^2 / 2."""
    rng = np.random.default_rng(4)
    broken = naive = 0
    shares = []
    for _ in range(REPEATS):
        confidence = rng.random(500)
        correct = rng.random(500) < confidence
        chosen = Selective.fit(confidence, correct, risk, delta)
        broken += (1 - chosen.threshold) ** 2 / 2 > risk
        shares.append(1 - chosen.threshold)
        wrong = np.sort(confidence[~correct])[::-1]
        naive += (1 - wrong[int(risk * 500)]) ** 2 / 2 > risk
    assert broken <= too_many(delta) < naive
    assert 0.75 * math.sqrt(2 * risk) < np.mean(shares) < math.sqrt(2 * risk)  # most of what an oracle would answer


@given(st.integers(0, 200), st.floats(0.01, 0.5), st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_selective_counts_exactly(n: int, risk: float, delta: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.integers(0, 10, n) / 10, rng.random(n) < 0.7
    chosen = Selective.fit(confidence, correct, risk, delta)
    wrong = int((chosen.answers(confidence) & ~correct).sum())
    assert (chosen.allowed < 0) == (n < smallest_n(risk, delta)) == (chosen.threshold == math.inf)
    assert wrong <= max(chosen.allowed, 0)
    if math.isfinite(chosen.threshold):  # a lower threshold would let one too many through
        assert (~correct & (confidence >= chosen.threshold)).sum() > chosen.allowed
    assert Selective.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_what_makes_no_sense_is_refused() -> None:
    good = np.ones(3)
    for arguments, message in (
        ((good, np.ones(2, bool), 0.1, 0.1), "two vectors of one length"),
        ((np.array([1, np.nan, 0]), np.ones(3, bool), 0.1, 0.1), "1 of 3 confidences are NaN"),
        ((good, np.ones(3, bool), 0.0, 0.1), "risk 0.0: give a share"),
        ((good, np.ones(3, bool), 0.1, 1.0), "delta 1.0: give a share"),
    ):
        with pytest.raises(UserError, match=message):
            Selective.fit(*arguments)
    with pytest.raises(UserError, match="one of each a risk"):
        learn_then_test([np.zeros((4, 2))], (0.1, 0.2), 0.1)
    with pytest.raises(UserError, match="rows, candidates"):
        learn_then_test([np.zeros(4)], (0.1,), 0.1)
    assert not Selective.fit(np.empty(0), np.empty(0, bool), 0.1, 0.1).answers(good).any()
    assert len(learn_then_test([np.zeros((4, 2))], (0.1,), 0.1)) == 0


def graded(rng: np.random.Generator, clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences and hits of clusters of 20 to 28 rows whose share of errors differs from one to the next."""
    size = rng.integers(20, 29, clusters)
    cluster = np.repeat(np.arange(clusters), size)
    confidence = rng.random(len(cluster))
    odds = np.log(0.04 / 0.96) + 1.2 * rng.normal(size=clusters)[cluster] + 5 * (0.5 - confidence)
    return confidence, rng.random(len(cluster)) > 1 / (1 + np.exp(-odds)), cluster


def test_clustered_rows_keep_the_limit_as_clusters_and_taken_as_independent_they_break_it() -> None:
    rng = np.random.default_rng(21)
    confidence, correct, _ = graded(rng, 20_000)
    broken, naive, answered = [], [], []
    for _ in range(300):
        rows = graded(rng, 90)
        by_cluster, by_row = Selective.fit(*rows[:2], 0.05, 0.1, rows[2]), Selective.fit(*rows[:2], 0.05, 0.1)
        for found, broke in ((by_cluster, broken), (by_row, naive)):
            broke.append((found.answers(confidence) & ~correct).mean() > 0.05)
        answered.append(by_cluster.answers(confidence).mean())
    assert np.mean(broken) <= 0.1 + 3 * math.sqrt(0.09 / 300) and np.mean(answered) > 0.4
    assert np.mean(naive) > 0.13


def test_few_clusters_answer_nothing_however_many_rows() -> None:
    confidence, _, cluster = graded(np.random.default_rng(22), 40)
    perfect = np.ones(len(confidence), bool)
    assert math.isinf(Selective.fit(confidence, perfect, 0.05, 0.1, cluster).threshold)
    assert Selective.fit(confidence, perfect, 0.05, 0.1).threshold == -math.inf
    assert Selective.fit(confidence, perfect, 0.2, 0.1, cluster).threshold == -math.inf
    with pytest.raises(UserError, match=r"cluster \(3,\): give one a row"):
        Selective.fit(confidence, perfect, 0.05, 0.1, np.zeros(3))


@pytest.mark.parametrize(("mean", "less"), [(0.05, 0.01), (0.2, 0.12)])
def test_bets_rarely_pay_where_the_mean_is_at_the_limit_and_do_below_it(mean: float, less: float) -> None:
    """Losses that are means of many rows: at the limit at most delta of the p-values are below delta, below it most are."""
    rng = np.random.default_rng(23)
    at, under = (
        np.mean([betting_p_value(rng.binomial(25, rate, 80) / 25, mean, 0.1) <= 0.1 for _ in range(400)])
        for rate in (mean, less)
    )
    assert at <= 0.1 + 3 * math.sqrt(0.09 / 400) and under > 0.8
