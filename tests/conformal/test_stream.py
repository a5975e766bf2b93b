"""Streams: intervals and sets from one file to the next, each within its method's bound."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from twinforge.conformal.stream import FOLLOWERS, Stream
from twinforge.errors import UserError

ALPHA = 0.1


def drifting(rng: np.random.Generator, n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Truths whose spread triples half way, and the forecasts that don't notice."""
    truth = rng.normal(0, np.where(np.arange(n) < n // 2, 1.0, 3.0))
    return {"prediction": np.zeros(n), "lower": np.full(n, -1.0), "upper": np.full(n, 1.0)}, truth


def choices(rng: np.random.Generator, n: int, right: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    p = rng.dirichlet(np.ones(4), n)
    p[:, 3] = np.where(np.arange(n) % 3 == 0, np.nan, p[:, 3])
    p /= np.nansum(p, axis=1, keepdims=True)
    best = np.nanargmax(p, axis=1)
    return {"probabilities": p}, np.where(rng.random(n) < right, best, (best + 1) % 3)


@pytest.mark.parametrize("method", FOLLOWERS)
@pytest.mark.parametrize("columns", [("prediction",), ("lower", "upper")])
def test_intervals_cover_through_a_drift_and_fixed_ones_do_not(method: str, columns: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    table, truth = drifting(rng, 4000)
    table = {name: table[name] for name in columns}
    start = Stream.fit({name: array[:500] for name, array in table.items()}, truth[:500], ALPHA, method)
    later = {name: array[500:] for name, array in table.items()}
    issued, end = start.run(later, truth[500:])
    low, high = start.intervals(later, issued)
    held = (low <= truth[500:]) & (truth[500:] <= high)
    assert abs(held.mean() - 0.9) < 0.02 and abs(held[1900:].mean() - 0.9) < 0.03
    bound = start.bound(3500)
    assert (bound is None) == (method == "dtaci") and (bound is None or abs(held.mean() - 0.9) <= bound)
    assert (np.abs(truth[2000:]) <= np.quantile(np.abs(truth[:500]), 0.9)).mean() < 0.6
    assert end.n == 4000


@pytest.mark.parametrize("method", FOLLOWERS)
def test_sets_of_options_follow_a_model_that_gets_worse(method: str) -> None:
    rng = np.random.default_rng(1)
    good, bad = choices(rng, 1500, 0.95), choices(rng, 2500, 0.4)
    start = Stream.fit(*good, ALPHA, method)
    issued, _ = start.run(*bad)
    sets = start.sets(bad[0], issued)
    held = sets[np.arange(2500), bad[1]]
    assert abs(held[300:].mean() - 0.9) < 0.03 and not sets[np.isnan(bad[0]["probabilities"])].any()


@pytest.mark.parametrize("method", FOLLOWERS)
def test_two_files_are_one_stream(method: str) -> None:
    table, truth = drifting(np.random.default_rng(2), 900)
    start = Stream.fit({"prediction": np.zeros(100)}, truth[:100], ALPHA, method)
    whole, end = start.run({"prediction": table["prediction"]}, truth)
    first, half = start.run({"prediction": np.zeros(400)}, truth[:400])
    half = Stream.from_json(json.loads(json.dumps(half.to_json())))
    second, again = half.run({"prediction": np.zeros(500)}, truth[400:])
    assert np.array_equal(np.concatenate([first, second]), whole) and again.to_json() == end.to_json()


def test_missing_and_late_truths_and_alarms() -> None:
    table, truth = drifting(np.random.default_rng(3), 600)
    start = Stream.fit(table, truth, ALPHA, "aci", delay=3)
    none, same = start.run(table, np.full(600, np.nan))
    assert len(set(none)) == 1 and same.n == start.n
    alarms = np.arange(600) == 300
    alarmed, _ = start.run(table, truth, alarms)
    assert np.isinf(alarmed[300]) and not np.isinf(alarmed[:300]).any()
    assert start.bound(100) == pytest.approx(Stream.fit(table, truth, ALPHA).bound(100) + 3 / 100, abs=0.05)


def test_where_nothing_is_inside_the_interval_is_a_point() -> None:
    start = Stream.fit({"lower": np.zeros(50), "upper": np.ones(50)}, np.full(50, 0.5), ALPHA)
    low, high = start.intervals({"lower": np.zeros(2), "upper": np.ones(2)}, np.array([-math.inf, 0.25]))
    assert (low[0], high[0]) == (0.5, 0.5) and (low[1], high[1]) == (-0.25, 1.25)


def test_bad_input_is_named() -> None:
    y = np.arange(5.0)
    p = np.full((5, 2), 0.5)
    for call, message in (
        (lambda: Stream.fit({}, y, ALPHA), "a stream needs prediction, or lower and upper, or probabilities"),
        (lambda: Stream.fit({"prediction": y}, y, ALPHA, "best"), "method 'best': choose one of aci, dtaci, pid"),
        (lambda: Stream.fit({"prediction": y}, y[:3], ALPHA), r"prediction \(5,\): does not fit the \(3,\) truths"),
        (lambda: Stream.fit({"prediction": y * np.nan}, y, ALPHA), "prediction: 5 of 5 are NaN"),
        (lambda: Stream.fit({"prediction": y}, y * np.nan, ALPHA), "truth: none of 5 is known"),
        (lambda: Stream.fit({"prediction": y}, y, ALPHA, delay=-1), "delay -1"),
        (lambda: Stream.fit({"prediction": y}, y, 2.0), r"alpha 2\.0"),
        (lambda: Stream.fit({"probabilities": p}, y, ALPHA), "labels 4: give the index of an option, 0 to 1"),
        (lambda: Stream.fit({"prediction": y}, y, ALPHA).run({"lower": y}, y), "prediction: missing"),
    ):
        with pytest.raises(UserError, match=message):
            call()
