"""Kept claims follow the exact law of their coverage; sampling keeps its risk. Each has a control that must fail."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom, kstest

from twinforge.conformal.text import QUANTILES, Claims, Method, Sampler, Samples, means, stops_of, walk
from twinforge.conformal.threshold import threshold_of
from twinforge.errors import UserError

REPEATS, ALPHA, N = 400, 0.1, 99
METHODS: tuple[Method, ...] = ("first-k", "max", "sum")


def claims(rng: np.random.Generator, queries: int) -> tuple[np.ndarray, ...]:
    """One to six claims a query: those that score higher are supported more often, and some queries are harder."""
    query = np.repeat(np.arange(queries), rng.integers(1, 7, queries))
    score = rng.normal(size=len(query))
    return query, score, rng.random(len(query)) < 1 / (1 + np.exp(-score - rng.normal(0, 1, queries)[query]))


def true_share(query: np.ndarray, kept: np.ndarray, supported: np.ndarray) -> float:
    """Share of the queries all of whose kept claims are supported."""
    return 1 - len(np.unique(query[kept & ~supported])) / len(np.unique(query))


def test_kept_claims_are_supported_by_the_exact_law_and_a_threshold_of_pooled_claims_fails() -> None:
    """Mean, spread and whole shape over fresh calibrations and tests, two-sided: BetaBinomial(200, 90, 10)."""
    rng, law = np.random.default_rng(0), betabinom(200, 90, 10)
    shares, pooled, emptied = [], [], []
    for _ in range(REPEATS):
        query, score, supported = claims(rng, N)
        fresh, new, truth = claims(rng, 200)
        fitted = Claims.fit(query, score, supported, ALPHA)
        shares.append(true_share(fresh, fitted.keep(new), truth))
        emptied.append(fitted.emptied(fresh, new))
        pooled.append(true_share(fresh, new > threshold_of(score[~supported], ALPHA), truth))
    counts = np.round(200 * np.array(shares))
    assert abs(counts.mean() - law.mean()) < 3.5 * law.std() / math.sqrt(REPEATS)
    assert 0.85 < counts.std() / law.std() < 1.15
    uniform = law.cdf(counts - 1) + rng.random(REPEATS) * law.pmf(counts)
    assert kstest(uniform, "uniform").pvalue > 1e-3
    assert 0.05 < np.mean(emptied) < 0.95  # the promise is not kept by silence
    assert np.mean(pooled) < 0.87


@pytest.mark.parametrize("scores", ["constant", "rounded"])
def test_ties_only_raise_the_share(scores: str) -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(REPEATS):
        query, score, supported = claims(rng, N)
        fresh, new, truth = claims(rng, 100)
        score, new = (np.zeros_like(x) if scores == "constant" else np.round(x) for x in (score, new))
        shares.append(true_share(fresh, Claims.fit(query, score, supported, ALPHA).keep(new), truth))
    assert np.mean(shares) >= 0.9 - 3 * np.std(shares) / math.sqrt(REPEATS)
    if scores == "constant":  # unsupported claims score like all others, so all are dropped
        assert min(shares) == 1


def test_claims_at_the_edges() -> None:
    one, yes, no = np.zeros(1), np.ones(1, bool), np.zeros(1, bool)
    assert Claims.fit(one, one, no, 0.5).threshold == 0.0 and Claims.fit(one, one, yes, 0.5).threshold == -math.inf
    assert Claims.fit(one, one, yes, 0.49).threshold == math.inf  # n < 1/alpha - 1
    many = np.arange(9.0)
    for n, threshold in ((8, math.inf), (9, 8.0)):
        fitted = Claims.fit(many[:n], many[:n], np.zeros(n, bool), 0.1)
        assert (fitted.n, fitted.threshold) == (n, threshold)
        assert fitted.keep(np.array([8.0, 8.0 + 1e-9, np.nan])).tolist() == [False, n == 9, False]
    assert fitted.emptied(np.array(["a", "a", "b"]), np.array([0.0, 9, 8])) == 0.5
    every = Claims.fit(many, many, np.ones(9, bool), 0.1)
    assert every.keep(np.array([-1e9])).all() and every.to_json()["threshold"] == "always"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.9), st.floats(0.02, 0.9))
def test_fewer_claims_are_kept_at_a_lower_alpha_and_what_is_kept_is_counted_exactly(
    seed: int, a: float, b: float
) -> None:
    rng = np.random.default_rng(seed)
    query, score, supported = claims(rng, int(rng.integers(1, 40)))
    score = np.round(score, 1)
    low, high = (Claims.fit(query, score, supported, alpha) for alpha in sorted((a, b)))
    assert low.threshold >= high.threshold and not (low.keep(score) & ~high.keep(score)).any()
    assert high.keep(score).tolist() == [s > high.threshold for s in score]
    wrong = {q for q, k, s in zip(query, high.keep(score), supported, strict=True) if k and not s}
    assert len(wrong) <= max(a, b) * high.n  # the rows themselves keep the level
    for fitted in (low, high):
        assert Claims.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def population(rng: np.random.Generator, queries: int, most: int = 8) -> tuple[np.ndarray, ...]:
    """(queries, most) of score, correct, similarity: queries differ in difficulty; what is alike to an earlier sample repeats it."""
    score, ease = rng.random((queries, most)), rng.normal(-0.5, 1, (queries, 1))
    correct = rng.random((queries, most)) < 1 / (1 + np.exp(-6 * (score - 0.5) - ease))
    similarity = rng.random((queries, most)) * (np.arange(most) > 0)
    again = (similarity > 0.8) & (np.arange(most) > 0)
    for turn in range(1, most):
        correct[:, turn] = np.where(again[:, turn], correct[:, turn - 1], correct[:, turn])
    return score, correct, similarity


def rows(*tables: np.ndarray) -> tuple[np.ndarray, ...]:
    """Query and columns, a row a sample."""
    return np.repeat(np.arange(len(tables[0])), tables[0].shape[1]), *(table.ravel() for table in tables)


def risk_and_size(fitted: Sampler, tables: tuple[np.ndarray, ...], alike: bool) -> tuple[float, float]:
    """Over a whole population: the share of queries whose set lacks a correct sample, and the mean size of the sets."""
    query, score, _, similarity = rows(*tables)
    kept = fitted.keep(query, score, similarity if alike else None).reshape(tables[0].shape)
    return 1 - float((kept & tables[1]).any(axis=1).mean()), float(kept.sum(axis=1).mean())


def setting(method: Method, least: float, most_alike: float, stop: float) -> Sampler:
    return Sampler(0.1, 9, method, "", "", 0.1, 1, least, most_alike, stop)


def smallest_empirical(score: np.ndarray, correct: np.ndarray, method: Method) -> Sampler:
    """The control: the smallest sets whose plain share of losses on the same rows is within alpha, over all settings."""
    samples, best = Samples(method, score, correct, np.full(score.shape, -math.inf)), (math.inf, 0.0, 0.0)
    for least in (-math.inf, *np.quantile(score, QUANTILES)):
        walked = walk(samples, least, math.inf)
        stops = stops_of(walked[0])
        _, kept, right = means(walked, stops)
        best = min([best, *((k, least, s) for k, r, s in zip(kept, right, stops, strict=True) if 1 - r <= 0.2)])
    return setting(method, best[1], math.inf, best[2])


@pytest.mark.parametrize(("method", "alike"), [*itertools.product(METHODS, [False]), ("sum", True)])
def test_sampling_keeps_its_risk_and_the_empirical_choice_does_not(method: Method, alike: bool) -> None:
    """Calibration queries are drawn from a population whose risk is counted; delta is the share that may exceed alpha."""
    rng = np.random.default_rng(2)
    world = population(rng, 3000)
    broken = naive = 0
    risks, sizes = [], []
    for _ in range(REPEATS):
        chosen = rng.integers(0, 3000, 400)
        drawn = tuple(table[chosen] for table in world)
        query, score, correct, similarity = rows(*drawn)
        fitted = Sampler.fit(query, score, correct, 0.2, 0.1, method, similarity if alike else None)
        risk, size = risk_and_size(fitted, world, alike)
        broken += risk > 0.2
        risks.append(risk)
        sizes.append(size)
        if not alike:
            naive += risk_and_size(smallest_empirical(drawn[0], drawn[1], method), world, False)[0] > 0.2
    assert broken <= binom.ppf(0.999, REPEATS, 0.1)
    assert alike or naive > binom.ppf(0.999, REPEATS, 0.1)
    assert np.mean(risks) > 0.13 and np.mean(sizes) < 3.5  # of 8: the risk that is allowed is used


def reference(fitted: Sampler, query: list, score: list, similarity: list) -> list[bool]:
    """`keep`, a sample at a time."""
    states: dict = {}
    kept = []
    for q, s, alike in zip(query, score, similarity, strict=True):
        taken, drawn, stopped = states.get(q, ([], 0, False))
        good = not stopped and s >= fitted.least and alike <= fitted.most_alike
        kept.append(good)
        if not stopped:
            taken, drawn = taken + [s] * good, drawn + 1
            total = {"first-k": drawn, "max": max(taken, default=-math.inf), "sum": sum(taken)}[fitted.method]
            states[q] = taken, drawn, total >= fitted.stop
    return kept


SAMPLE = st.tuples(
    st.sampled_from("abc"), st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), st.sampled_from([0.0, 0.4, 0.9])
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(SAMPLE, min_size=1, max_size=30),
    st.sampled_from(METHODS),
    st.sampled_from([-math.inf, 0.25, 0.5, 2.0]),
    st.sampled_from([math.inf, 0.4, 0.0]),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf]),
)
def test_keep_is_the_loop(samples: list, method: Method, least: float, most_alike: float, stop: float) -> None:
    """Rows of the queries lie mixed; a later stop keeps more, a stricter rejection never what was rejected before."""
    query, score, similarity = (np.array(column) for column in zip(*samples, strict=True))
    fitted = setting(method, least, most_alike, stop)
    kept = fitted.keep(query, score, similarity)
    assert kept.tolist() == reference(fitted, query.tolist(), score.tolist(), similarity.tolist())
    later = setting(method, least, most_alike, stop + 0.5)
    assert not (kept & ~later.keep(query, score, similarity)).any()
    assert Sampler.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


@pytest.mark.parametrize("method", METHODS)
def test_the_same_rows_mixed_and_renamed_give_the_same_setting(method: Method) -> None:
    rng = np.random.default_rng(3)
    query, score, correct, similarity = rows(*population(rng, 200))
    fitted = Sampler.fit(query, score, correct, 0.3, 0.1, method, similarity)
    assert (fitted.n, fitted.tuned) == (160, 40)
    turn = np.argsort(np.tile(np.arange(8), 200), kind="stable")  # all first samples, then all second ones ...
    named = np.array([f"q{i:03}" for i in range(200)])[query]
    again = Sampler.fit(named[turn], score[turn], correct[turn], 0.3, 0.1, method, similarity[turn])
    assert (again.least, again.most_alike, again.stop) == (fitted.least, fitted.most_alike, fitted.stop)
    kept = fitted.keep(query, score, similarity)
    assert (again.keep(named[turn], score[turn], similarity[turn]) == kept[turn]).all()
    losses = 200 - len(np.unique(query[kept & correct]))
    assert losses <= 0.3 * 200
    assert Sampler.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_a_level_out_of_reach_is_refused_with_the_lowest_that_is_not() -> None:
    query, score, correct, _ = rows(*population(np.random.default_rng(4), 300))
    correct = correct & (query % 5 > 0)
    with pytest.raises(
        UserError, match=r"of 240 queries lack a correct sample; the lowest at delta 0.1 is 0\.\d+"
    ) as caught:
        Sampler.fit(query, score, correct, 0.1, 0.1)
    lowest = float(str(caught.value).split(" is ")[1].split(";")[0])
    assert 0.2 < lowest < 0.35 and Sampler.fit(query, score, correct, lowest, 0.1).alpha == lowest
    with pytest.raises(UserError, match="lack a correct sample; the lowest"):
        Sampler.fit(query, score, correct, lowest - 2e-4, 0.1)
    few = query < 10
    with pytest.raises(UserError, match="the lowest at delta 0.1 is"):
        Sampler.fit(query[few], score[few], np.ones(few.sum(), bool), 0.1, 0.1)
    for rows_ in (query >= 0, query < 1):
        with pytest.raises(UserError, match="no level can be reached; draw more samples, or more queries"):
            Sampler.fit(query[rows_], score[rows_], np.zeros(rows_.sum(), bool), 0.5, 0.1)


def test_sampling_at_the_edges() -> None:
    """One sample a query; all correct: the first is enough; scores that say nothing; more samples than were calibrated on."""
    query = np.repeat(np.arange(100), 4)
    for method in METHODS:
        for score in (np.ones(400), np.random.default_rng(5).random(400)):
            fitted = Sampler.fit(query, score, np.ones(400, bool), 0.1, 0.1, method)
            assert fitted.keep(query, score).mean() <= 1.3 / 4
        single = Sampler.fit(np.arange(100), np.ones(100), np.ones(100, bool), 0.1, 0.1, method)
        assert single.keep(np.zeros(3), np.ones(3)).any() and single.to_json()["stop"] == "never"
    fitted, yes = Sampler.fit(np.arange(44), np.ones(44), np.ones(44, bool), 0.1, 0.1), np.ones(43, bool)
    assert fitted.n == 36 and 0.9**36 <= 0.1 / 4 < 0.9**35  # four settings share delta
    with pytest.raises(UserError, match="0 of 35 queries lack a correct sample; the lowest at delta 0.1 is 0.1001"):
        Sampler.fit(np.arange(43), np.ones(43), yes, 0.1, 0.1)


def test_what_makes_no_sense_is_refused() -> None:
    two, one, yes = np.arange(2), np.ones(2), np.ones(2, bool)
    for claims_, message in (
        ((two, np.ones(3), yes, 0.5), r"query \(2,\) and score \(3,\): give two vectors of one length"),
        ((two, one, np.ones((2, 1)), 0.5), r"supported \(2, 1\): give two vectors"),
        ((two, np.array([1, np.nan]), yes, 0.5), "score: 1 of 2 values are NaN"),
        ((two, one, np.array([1, np.nan]), 0.5), "supported nan: give true or false"),
        ((two, one, yes, 1.0), "alpha 1.0: give a share"),
        ((two[:0], one[:0], yes[:0], 0.5), "query is empty"),
    ):
        with pytest.raises(UserError, match=message):
            Claims.fit(*claims_)  # type: ignore[arg-type]
    for arguments, message in (
        ((two, one, yes, 0.5, 0.0), "delta 0.0: give a share"),
        ((two, one, yes, 0.0, 0.5), "alpha 0.0: give a share"),
        ((two, one, yes, 0.5, 0.5, "mean"), "method 'mean': give 'first-k', 'max' or 'sum'"),
        ((two, -one, yes, 0.5, 0.5, "sum"), "score -1: 'sum' needs scores of at least 0"),
        ((two, one, yes, 0.5, 0.5, "max", np.ones(3)), r"similarity \(3,\): give two vectors"),
        ((two, one, yes, 0.5, 0.5, "max", one * np.nan), "similarity: 2 of 2 values are NaN"),
        ((two, one, np.array(["yes", "no"]), 0.5, 0.5), "correct yes: give true or false"),
        ((two[:0], one[:0], yes[:0], 0.5, 0.5), "query is empty"),
    ):
        with pytest.raises(UserError, match=message):
            Sampler.fit(*arguments)  # type: ignore[arg-type]
    fitted = setting("sum", 0.0, 0.5, 1.0)
    with pytest.raises(UserError, match="similarity is missing"):
        fitted.keep(two, one)
    with pytest.raises(UserError, match="'sum' needs scores of at least 0"):
        fitted.keep(two, -one, one)
