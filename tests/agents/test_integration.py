"""The log-linear pool: its algebra, its fit, and that it is no worse than its best part."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twinforge.agents.integration import FLOOR, Integration, fit, pairs, pool
from twinforge.errors import UserError

GROUP = "what-if/choice"
Rows = list[np.ndarray | None]


def simplex(size: int) -> st.SearchStrategy[np.ndarray]:
    """Probability vectors, zeros included."""
    weights = arrays(float, size, elements=st.sampled_from([0.0, 1e-300, 0.1, 1.0, 7.0]))
    return weights.map(lambda w: w / w.sum() if w.sum() > 0 else np.full(size, 1 / size))


def views(
    n: int, noise: dict[str, float], seed: int = 0, size: int = 4
) -> tuple[dict[str, Rows], list[int], list[str]]:
    """Models that each see the true log-odds with noise of their own: (answers, truths, episodes)."""
    rng = np.random.default_rng(seed)
    score = 2 * rng.normal(size=(n, size))
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    truth = [int(rng.choice(size, p=row)) for row in p]
    parts: dict[str, Rows] = {}
    for name, sd in noise.items():
        seen = np.exp(score + sd * rng.normal(size=score.shape))
        parts[name] = list(seen / seen.sum(axis=1, keepdims=True))
    return parts, truth, [f"day-{i // 5}" for i in range(n)]


def loss(p: np.ndarray, truth: list[int]) -> float:
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())


def pooled(found: Integration, parts: dict[str, Rows], group: str = GROUP) -> np.ndarray:
    return found.pool({name: np.stack([v for v in rows if v is not None]) for name, rows in parts.items()}, group)


@given(simplex(5), simplex(5), st.floats(0, 5), st.floats(0, 5))
def test_a_pool_is_a_distribution_without_zeros(a: np.ndarray, b: np.ndarray, u: float, v: float) -> None:
    p = pool({"a": a, "b": b}, {"a": u, "b": v})
    assert p.sum() == pytest.approx(1)
    assert np.isfinite(p).all()
    assert (p > 0).all()


@given(simplex(5), simplex(5))
def test_weight_one_alone_gives_the_part_back(a: np.ndarray, b: np.ndarray) -> None:
    assert pool({"a": a, "b": b}, {"a": 1.0, "b": 0.0}) == pytest.approx(a, abs=6 * FLOOR)
    assert pool({"a": a, "b": b}, {"a": 0.0, "b": 1.0}) == pytest.approx(b, abs=6 * FLOOR)
    assert pool({"a": a}, {"a": 0.0}) == pytest.approx(np.full(5, 0.2))


@given(simplex(4), simplex(4), simplex(4))
def test_the_order_of_models_is_nothing(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    w = {"a": 0.3, "b": 1.2, "c": 0.6}
    assert np.array_equal(pool({"a": a, "b": b, "c": c}, w), pool({"c": c, "a": a, "b": b}, w))


def test_a_fit_is_the_same_in_any_order_of_models() -> None:
    parts, truth, days = views(200, {"llm": 1.0, "boost": 0.5, "rule": 2.0})
    back = dict(reversed(parts.items()))
    assert fit(parts, truth, [GROUP] * 200, days) == fit(back, truth, [GROUP] * 200, days)


def test_views_that_complete_each_other_are_better_together() -> None:
    noise = {"llm": 1.0, "boost": 1.0}
    parts, truth, days = views(600, noise)
    found = fit(parts, truth, [GROUP] * 600, days)
    weights = found.weights(GROUP, ["llm", "boost"])
    assert 0.15 < weights["llm"] < 0.7
    assert 0.15 < weights["boost"] < 0.7
    fresh, right, _ = views(3000, noise, seed=1)
    best = min(loss(np.stack(fresh[name]), right) for name in noise)  # type: ignore[arg-type]
    assert loss(pooled(found, fresh), right) < best - 0.05


def test_a_model_of_noise_weighs_next_to_nothing() -> None:
    parts, truth, days = views(600, {"llm": 0.0})
    rng = np.random.default_rng(9)
    parts["rule"] = list(rng.dirichlet(np.ones(4), 600))
    weights = fit(parts, truth, [GROUP] * 600, days).weights(GROUP, ["llm", "rule"])
    assert weights["rule"] < 0.1
    assert 0.85 < weights["llm"] < 1.15


@pytest.mark.parametrize(("n", "bound"), [(10, 0.1), (200, 0.02)])
@pytest.mark.parametrize("noise", [{"llm": 3.0, "boost": 0.0}, {"llm": 0.3, "boost": 2.0}, {"llm": 1.0, "boost": 1.0}])
def test_it_is_no_worse_than_its_best_part_beyond_noise(n: int, bound: float, noise: dict[str, float]) -> None:
    """Over several draws of few or many validation rows, the held-out log loss stays within a bound of the best part's."""
    excess = []
    for seed in range(4):
        parts, truth, days = views(n, noise, seed=seed)
        found = fit(parts, truth, [GROUP] * n, days)
        fresh, right, _ = views(2000, noise, seed=100 + seed)
        best = min(loss(np.stack(rows), right) for rows in fresh.values())  # type: ignore[arg-type]
        excess.append(loss(pooled(found, fresh), right) - best)
    assert np.mean(excess) < bound


def test_few_rows_borrow_from_the_other_groups() -> None:
    parts, truth, days = views(403, {"llm": 2.5, "boost": 0.0})
    groups = ["what-if/choice"] * 400 + ["recommend/choice"] * 3
    found = fit(parts, truth, groups, days)
    few, many = (found.weights(g, ["boost", "llm"]) for g in ("recommend/choice", "what-if/choice"))
    assert few["boost"] > 0.7
    assert few["llm"] < 0.3
    assert many["boost"] > 0.7
    assert found.weights("unseen/choice", ["boost", "llm"]) == found.pooled["choice"]["boost+llm"]


def test_an_absent_model_weighs_nothing_and_the_others_are_fitted_without_it() -> None:
    parts, truth, days = views(400, {"llm": 0.5, "rule": 1.5})
    parts["rule"] = [None if i % 2 else v for i, v in enumerate(parts["rule"])]
    found = fit(parts, truth, [GROUP] * 400, days)
    assert set(found.groups[GROUP]) == {"llm", "llm+rule"}
    alone = {"llm": parts["llm"][1]}
    assert found.pool(alone, GROUP).sum() == pytest.approx(1)  # type: ignore[arg-type]
    assert found.weights("unseen/number", ["llm"]) == {"llm": 1.0}


def test_ragged_answers_and_masses() -> None:
    short, options, days = views(200, {"llm": 1.0, "boost": 1.0}, size=3)
    long, values, _ = views(200, {"llm": 1.0, "boost": 1.0}, size=60)
    parts = {name: short[name] + long[name] for name in short}
    groups = ["a/choice" if i % 2 else "b/choice" for i in range(200)] + ["a/number"] * 200
    found = fit(parts, options + values, groups, days * 2)
    assert set(found.groups) == {"a/choice", "b/choice", "a/number"}
    some = {name: short[name] + long[name][:50] for name in short}
    mixed = fit(some, options + values[:50], ["a/choice"] * 250, days + days[:50])
    assert all(0 <= w <= 5 for w in mixed.weights("a/choice", ["llm", "boost"]).values())


def test_sets_are_pooled_entry_by_entry_as_yes_or_no() -> None:
    """Two views of each candidate's odds, fitted on one row a candidate; a vector is pooled as its entries are alone."""
    parts, truth, days = views(600, {"llm": 1.0, "boost": 1.0}, size=2)
    group = "dependency/entities"
    found = fit(parts, truth, [group] * 600, days)
    weights = found.weights(group, ["llm", "boost"])
    assert 0.15 < weights["llm"] < 0.7 and 0.15 < weights["boost"] < 0.7
    vectors = {"llm": np.array([0.9, 0.2, 0.0]), "boost": np.array([0.7, 0.6, 0.01])}
    p = found.pool(vectors, group)
    assert p.shape == (3,) and p[2] < 0.05 and p.sum() > 1
    for i in range(3):
        alone = pool({name: pairs(vector[i]) for name, vector in vectors.items()}, weights)
        assert p[i] == pytest.approx(alone[1])
    many = found.pool({name: np.stack([v, v]) for name, v in vectors.items()}, group)
    assert many == pytest.approx(np.stack([p, p]))
    assert pairs(np.array([0.2, 1.0])).tolist() == [[0.8, 0.2], [0.0, 1.0]]


def test_json_round_trip() -> None:
    parts, truth, days = views(60, {"llm": 1.0, "boost": 1.0})
    found = fit(parts, truth, [GROUP] * 60, days)
    assert Integration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="no validation rows"):
        fit({"llm": []}, [], [], [])
    with pytest.raises(UserError, match=r"row 0: answers of length \{'boost': 2, 'llm': 3\}"):
        fit({"llm": [np.ones(3) / 3], "boost": [np.ones(2) / 2]}, [0], [GROUP], ["a"])
    with pytest.raises(UserError, match="truth 3"):
        fit({"llm": [np.ones(3) / 3]}, [3], [GROUP], ["a"])
    with pytest.raises(UserError, match="not weights"):
        Integration.from_json({"groups": {}})
    with pytest.raises(UserError, match="not a number from 0"):
        Integration.from_json({"groups": {}, "pooled": {"choice": {"llm": {"llm": -1}}}})
