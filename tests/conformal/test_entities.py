"""Entity sets hold the gold they promise, count what retrieval missed, and refuse a level out of reach."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.conformal.entities import Cover, Entities, chain, lowest_alpha, needed
from twinforge.errors import UserError

ALPHA, N = 0.1, 99


def world(rng: np.random.Generator, queries: int, lost: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Candidates of some queries, one to four of them gold and scored higher on average; some gold is not retrieved."""
    rows, total = [], {}
    for query in range(queries):
        size, gold = int(rng.integers(5, 15)), int(rng.integers(1, 5))
        total[query] = gold
        marks = np.arange(size) < gold
        score = rng.normal(np.where(marks, 1.0, 0.0))
        kept = ~marks | (rng.random(size) >= lost)
        rows += [(query, s, g) for s, g in zip(score[kept], marks[kept], strict=True)]
    query, score, gold = (np.array(column) for column in zip(*rows, strict=True))
    return query, score, gold.astype(bool), total


def covered(fitted: Entities, fresh: tuple[np.ndarray, np.ndarray, np.ndarray, dict]) -> np.ndarray:
    query, score, gold, total = fresh
    hits = np.bincount(query[fitted.keep(score) & gold], minlength=len(total))
    return hits > 0 if fitted.cover == "any" else hits == np.array(list(total.values()))


@pytest.mark.parametrize("cover", ["any", "all"])
@pytest.mark.parametrize("lost", [0.0, 0.01])
def test_coverage_is_that_of_the_beta_law(cover: Cover, lost: float) -> None:
    """Mean over fresh calibrations and tests: k / (n + 1) with continuous scores; unretrieved gold included."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        query, score, gold, total = world(rng, N, lost)
        shares.append(covered(Entities.fit(query, score, gold, ALPHA, cover, total), world(rng, 60, lost)).mean())
    assert abs(np.mean(shares) - 0.9) < 4 * np.std(shares) / math.sqrt(len(shares)) + 1e-3


def test_a_chain_is_calibrated_end_to_end_and_hop_by_hop_it_fails() -> None:
    rng = np.random.default_rng(1)

    def hops(queries: int) -> tuple[np.ndarray, ...]:
        """A right path among nine wrong ones for each query; the scores of both hops."""
        query, right = np.repeat(np.arange(queries), 10), np.tile(np.arange(10) == 0, queries)
        first, second = (1 / (1 + np.exp(-rng.normal(np.where(right, 1.5, 0.0)))) for _ in range(2))
        return query, right, first, second

    whole, apart = [], []
    for _ in range(300):
        query, right, first, second = hops(N)
        fresh, truth, one, two = hops(100)
        fitted = Entities.fit(query, chain(first, second), right, ALPHA)
        whole.append((fitted.keep(chain(one, two)) & truth).sum() / 100)
        by_hop = [Entities.fit(query, score, right, ALPHA) for score in (first, second)]
        apart.append((by_hop[0].keep(one) & by_hop[1].keep(two) & truth).sum() / 100)
    assert abs(np.mean(whole) - 0.9) < 4 * np.std(whole) / math.sqrt(300) + 1e-3
    assert np.mean(apart) < 0.84


def test_a_level_out_of_reach_is_refused_with_the_lowest_that_is_not() -> None:
    rng = np.random.default_rng(2)
    query, score, gold, total = world(rng, N, lost=0.4)
    with pytest.raises(
        UserError, match=r"queries lack gold among their candidates; the lowest that can be reached is 0\.\d+"
    ) as caught:
        Entities.fit(query, score, gold, 0.05, "all", total)
    lowest = float(str(caught.value).rsplit(" ", 1)[1])
    fitted = Entities.fit(query, score, gold, lowest + 1e-3, "all", total)
    assert fitted.unreached > 0 and covered(fitted, (query, score, gold, total)).mean() >= 1 - lowest - 0.02
    with pytest.raises(UserError, match="8 queries are too few; the lowest that can be reached is 0.1111"):
        Entities.fit(np.arange(8), np.ones(8), np.ones(8, bool), 0.1)
    with pytest.raises(UserError, match="no level can be reached"):
        Entities.fit(np.arange(3), np.ones(3), np.zeros(3, bool), 0.5)


@given(st.lists(st.one_of(st.floats(-3, 3), st.just(math.inf)), min_size=1, max_size=30))
def test_the_lowest_level_is_exact(need: list[float]) -> None:
    from twinforge.conformal.threshold import threshold_of

    lowest = lowest_alpha(np.array(need))
    if lowest < 1:
        assert math.isfinite(threshold_of(np.array(need), lowest))
    if lowest - 1e-6 > 0:
        assert math.isinf(threshold_of(np.array(need), min(lowest - 1e-6, 0.999)))


def test_how_far_a_set_must_reach() -> None:
    query, score, gold = (
        np.array(["a", "a", "a", "b"]),
        np.array([0.9, 0.5, 0.2, 0.4]),
        np.array([True, False, True, False]),
    )
    assert needed(query, score, gold, "any", {"a": 2, "b": 1, "c": 1}) == (
        ["a", "b", "c"],
        pytest.approx([-0.9, math.inf, math.inf]),
    )
    assert needed(query, score, gold, "all", {"a": 2, "b": 1})[1][0] == -0.2
    assert needed(query, score, gold, "all", {"a": 3, "b": 1})[1][0] == math.inf


def test_to_hold_all_of_none_needs_nothing() -> None:
    """Queries without any gold count as held; where nearly all are such, nothing needs to be kept."""
    query, score = np.repeat(np.arange(40), 2), np.tile([0.3, 0.8], 40)
    gold = np.zeros(80, bool)
    total = dict.fromkeys(range(41), 0)  # the last has no candidate at all
    _, need = needed(query, score, gold, "all", total)
    assert len(need) == 41 and np.isneginf(need).all()
    fitted = Entities.fit(query, score, gold, ALPHA, "all", total)
    assert not fitted.keep(score).any() and fitted.unreached == 0
    gold[::2] = True
    some = Entities.fit(query, score, gold, ALPHA, "all", {**dict.fromkeys(range(40), 1), 40: 0})
    assert some.least == pytest.approx(0.3) and some.keep(score).all()
    with pytest.raises(UserError, match="gold_total 0 of query 0, which has 0 gold candidates: .*there must be some"):
        needed(query[:2], score[:2], np.zeros(2, bool), "any", {0: 0})


def test_saved_and_read_back_it_keeps_the_same() -> None:
    query, score, gold, total = world(np.random.default_rng(3), N)
    fitted = Entities.fit(query, score, gold, ALPHA, "any", total)
    again = Entities.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted and (again.keep(score) == fitted.keep(score)).all()


def test_what_makes_no_sense_is_refused() -> None:
    one, yes = np.ones(2), np.ones(2, bool)
    for arguments, message in (
        ((np.arange(2), np.ones(3), yes, 0.5), "one of each a candidate"),
        ((np.arange(2), np.array([1, np.nan]), yes, 0.5), "1 of 2 scores are NaN"),
        ((np.arange(2), one, yes, 0.5, "some"), "give 'any' or 'all'"),
        ((np.arange(2), one, yes, 0.5, "any", {0: 1}), "gold_total lacks the query 1"),
        ((np.zeros(2), one, yes, 0.5, "any", {0.0: 1}), "gold_total 1 of query 0.0, which has 2 gold candidates"),
    ):
        with pytest.raises(UserError, match=message):
            Entities.fit(*arguments)  # type: ignore[arg-type]
