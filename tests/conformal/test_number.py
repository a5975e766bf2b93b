"""Intervals for numbers: the exact law for every method and side, MAPIE's and crepes' ends, whole paths, and controls."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tests.conformal.law import ALPHA, CALIBRATION, FRESH, counts, follows
from twinforge.conformal import reference
from twinforge.conformal.number import NEEDS, Number, edges_of, nearest, pieces, quantiles
from twinforge.errors import UserError

GRID = np.arange(0.0, 121.0)
Columns = dict[str, np.ndarray]


def world(rng: np.random.Generator, n: int, claimed: float = 1.0, steps: int = 0) -> tuple[Columns, np.ndarray]:
    """Forecasts whose spread is known up to the factor `claimed`, and truths; paths are random walks."""
    shape = (n, steps) if steps else (n,)
    centre, scale = np.full(shape, 60.0), np.broadcast_to(rng.uniform(2, 8, (n, *[1] * (len(shape) - 1))), shape)
    error = rng.normal(size=shape)
    scale = scale * np.sqrt(np.arange(1, steps + 1)) if steps else scale
    truth = centre + scale * (error.cumsum(axis=1) / np.sqrt(np.arange(1, steps + 1)) if steps else error)
    columns = {
        "median": centre,
        "scale": claimed * scale,
        "lower": centre - claimed * scale,
        "upper": centre + claimed * scale,
    }
    if not steps:
        edges = np.concatenate([[-np.inf], edges_of(GRID)[1:-1], [np.inf]])
        columns["mass"] = np.diff(norm.cdf((edges - centre[:, None]) / columns["scale"][:, None]), axis=1)
    return {**columns, "grid": GRID}, truth


def trial(rng: np.random.Generator, method: Any, side: Any = "both", claimed: float = 0.6, **more: Any) -> np.ndarray:
    seed = int(rng.integers(2**31))
    columns, truth = world(rng, CALIBRATION, claimed, **more)
    fitted = Number.fit(columns, truth, ALPHA, method, side, seed=seed)
    fresh, y = world(rng, FRESH, claimed, **more)
    if method == "density":
        return np.asarray(fitted.cells(fresh)[np.arange(FRESH), nearest(GRID, y)])
    low, high = fitted.intervals(fresh)
    held = (low <= y) & (y <= high)
    return np.asarray(held.all(axis=1) if held.ndim == 2 else held)


@pytest.mark.parametrize("side", ["both", "lower", "upper"])
@pytest.mark.parametrize("method", ["cqr", "split", "normalised"])
def test_coverage_follows_the_law(method: str, side: str) -> None:
    assert follows(counts(lambda rng: trial(rng, method, side)))


@pytest.mark.parametrize("claimed", [0.5, 1.0, 3.0])
def test_density_follows_the_law_whatever_spread_the_mass_claims(claimed: float) -> None:
    assert follows(counts(lambda rng: trial(rng, "density", claimed=claimed)))


@pytest.mark.parametrize("method", ["cqr", "split", "normalised"])
def test_whole_paths_follow_the_law_and_steps_apart_fail(method: str) -> None:
    assert follows(counts(lambda rng: trial(rng, method, steps=6)))

    def apart(rng: np.random.Generator) -> np.ndarray:
        columns, truth = world(rng, CALIBRATION, steps=6)
        fresh, y = world(rng, FRESH, steps=6)
        held = np.ones(FRESH, bool)
        for step in range(6):
            one = {name: columns[name][:, step] for name in NEEDS[method]}
            low, high = Number.fit(one, truth[:, step], ALPHA, method).intervals(  # type: ignore[arg-type]
                {name: fresh[name][:, step] for name in NEEDS[method]}
            )
            held &= (low <= y[:, step]) & (y[:, step] <= high)
        return held

    assert counts(apart, repetitions=60).mean() / FRESH < 0.82


def test_an_overconfident_answers_own_quantiles_fail() -> None:
    columns, truth = world(np.random.default_rng(1), 2000, 0.4)
    low, high = quantiles(columns["mass"], GRID, [0.05, 0.95]).T
    assert ((low <= truth) & (truth <= high)).mean() < 0.7


def test_two_peaks_give_two_intervals_that_are_shorter_than_one() -> None:
    rng = np.random.default_rng(2)
    at = np.where(rng.random(2000) < 0.5, 20, 100)
    mass = 0.5 * (norm.pdf(GRID, 20, 3) + norm.pdf(GRID, 100, 3)) * np.ones((2000, 1))
    columns, truth = {"mass": mass / mass.sum(axis=1, keepdims=True), "grid": GRID}, rng.normal(at, 3)
    fitted = Number.fit(columns, truth, ALPHA, "density")
    cells = fitted.cells(columns)
    found = pieces(cells[0], GRID)
    assert len(found) == 2 and all(abs((a + b) / 2 - peak) < 2 for (a, b), peak in zip(found, (20, 100), strict=True))
    low, high = Number.fit(columns, truth, ALPHA, "cqr").intervals(columns)
    assert cells.sum(axis=1).mean() < 0.4 * (high - low).mean()
    assert (fitted.intervals(columns)[0][0], fitted.intervals(columns)[1][0]) == (found[0][0], found[1][1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 80), st.integers(20, 400), st.floats(0.2, 5))
def test_cqr_is_mapies(seed: int, n: int, per_mille: int, claimed: float) -> None:
    alpha = per_mille / 1000
    columns, truth = world(np.random.default_rng(seed), n, claimed)
    if reference.can(n, alpha):
        theirs = reference.cqr(columns["lower"], columns["upper"], truth, alpha)
        assert Number.fit(columns, truth, alpha).thresholds.groups[""][1] == pytest.approx(theirs, abs=1e-12)


def test_ends_are_those_of_mapie_and_crepes() -> None:
    from crepes import ConformalRegressor
    from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor

    rng = np.random.default_rng(3)
    (columns, truth), (fresh, _) = world(rng, 200), world(rng, 300)
    bands = [np.column_stack([c["lower"], c["upper"], c["median"]]) for c in (columns, fresh)]
    ours = np.column_stack(Number.fit(columns, truth, ALPHA).intervals(fresh))
    cqr = ConformalizedQuantileRegressor([reference.regressor(i) for i in range(3)], 0.9, prefit=True)
    _, theirs = cqr.conformalize(bands[0], truth).predict_interval(bands[1], symmetric_correction=True)
    assert ours == pytest.approx(theirs[:, :, 0], abs=1e-12)
    ours = np.column_stack(Number.fit(columns, truth, ALPHA, "split").intervals(fresh))
    split = SplitConformalRegressor(reference.regressor(2), 0.9, prefit=True).conformalize(bands[0], truth)
    assert ours == pytest.approx(split.predict_interval(bands[1])[1][:, :, 0], abs=1e-12)
    for scaled, bins in ((True, False), (False, True), (True, True)):
        groups, where = np.arange(200) % 2, np.arange(300) % 2  # of 100: crepes loses a level met exactly to rounding
        sigma = {"sigmas": columns["scale"]} if scaled else {}
        crepes = ConformalRegressor().fit(truth - columns["median"], **sigma, bins=groups if bins else None)
        sigma = {"sigmas": fresh["scale"]} if scaled else {}
        theirs = crepes.predict_int(fresh["median"], **sigma, bins=where if bins else None, confidence=0.9)
        fitted = Number.fit(columns, truth, ALPHA, "normalised" if scaled else "split", groups=groups if bins else None)
        ours = np.column_stack(fitted.intervals(fresh, where if bins else None))
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_rounded_truths_on_the_edge_are_inside() -> None:
    """Whole numbers: the truth that sets the threshold lies on an end, and must not fall out by a float's last bit."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        median, truth = np.round(rng.normal(50, 9, 60), 1), np.round(rng.normal(50, 9, 60))
        fitted = Number.fit({"median": median}, truth, ALPHA, "split")
        low, high = fitted.intervals({"median": median})
        assert ((low <= truth) & (truth <= high)).sum() >= math.ceil(61 * 0.9)


def test_quantiles_of_a_uniform_mass_and_of_none() -> None:
    assert quantiles(np.full((1, 10), 0.08), GRID[:10], [0.0, 0.25, 0.5, 1.0])[0] == pytest.approx(
        [-0.5, 2.0, 4.5, 9.5], abs=1e-6
    )
    assert quantiles(np.zeros((1, 10)), GRID[:10], [0.05, 0.95])[0] == pytest.approx([0.0, 9.0])


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0.001, 0.999))
def test_quantiles_ascend(mass: list[float], level: float) -> None:
    found = quantiles(np.array([mass]), np.array([0.0, 1.0, 3.0, 4.0, 9.0]), [0.0, level / 2, level, 1.0])[0]
    assert (np.diff(found) >= 0).all() and np.isfinite(found).all()


def test_few_rows_give_infinite_intervals_and_every_cell() -> None:
    rng = np.random.default_rng(5)
    columns, truth = world(rng, 5)
    for method in ("cqr", "split", "normalised"):
        low, high = Number.fit(columns, truth, ALPHA, method).intervals(columns)  # type: ignore[arg-type]
        assert (low == -np.inf).all() and (high == np.inf).all()
    fitted = Number.fit(columns, truth, ALPHA, "density")
    assert fitted.cells(columns).all()
    nothing = Number.fit({"median": np.zeros(0)}, np.zeros(0), ALPHA, "split")
    assert np.isinf(nothing.intervals({"median": np.zeros(3)})[0]).all()


def test_a_negative_threshold_never_turns_an_interval_over() -> None:
    wide = {"lower": np.full(50, 40.0), "upper": np.full(50, 50.0)}
    low, high = Number.fit(wide, np.full(50, 45.0), ALPHA).intervals(
        {"lower": np.array([44.0]), "upper": np.array([46.0])}
    )
    assert low.tolist() == high.tolist() == [45.0]


@pytest.mark.parametrize("method", ["cqr", "split", "normalised", "density"])
def test_saved_and_read_back_it_gives_the_same(method: Any) -> None:
    columns, truth = world(np.random.default_rng(6), 200)
    for more in ({}, {"groups": np.arange(200) % 2}, {"weights": np.arange(200) / 100}):
        fitted = Number.fit(columns, truth, ALPHA, method, seed=2, **more)
        again = Number.from_json(json.loads(json.dumps(fitted.to_json())))
        assert again == fitted
        assert np.array_equal(again.intervals(columns, **more), fitted.intervals(columns, **more))
    assert {"alpha", "n", "method", "score", "data"} <= set(fitted.to_json())


def test_bad_input_is_named() -> None:
    columns, truth = world(np.random.default_rng(7), 30)
    paths, walked = world(np.random.default_rng(7), 30, steps=4)
    short = {name: array[:5] for name, array in columns.items() if name != "grid"}
    fitted = Number.fit(paths, walked, ALPHA)
    for call, message in (
        (lambda: Number.fit(columns, truth, ALPHA, "best"), "method 'best'"),  # type: ignore[arg-type]
        (lambda: Number.fit({}, truth, ALPHA), "lower, upper: missing; method cqr needs lower and upper"),
        (lambda: Number.fit({"grid": GRID}, truth, ALPHA, "density"), "mass: missing"),
        (lambda: Number.fit(columns, truth, ALPHA, "density", "lower"), "use cqr for one side or a horizon"),
        (lambda: Number.fit(columns, np.where(truth > 70, np.nan, truth), ALPHA), "truth: [0-9]+ of 30 are NaN"),
        (lambda: Number.fit({**columns, "lower": truth * np.nan}, truth, ALPHA), "lower: 30 of 30 are NaN"),
        (
            lambda: Number.fit({**columns, "scale": 0 * truth}, truth, ALPHA, "normalised"),
            "scale 0: give scales above 0",
        ),
        (lambda: Number.fit(short, truth, ALPHA), r"lower \(5,\): does not fit; give \(30,\)"),
        (
            lambda: Number.fit({**columns, "grid": GRID[::-1]}, truth, ALPHA, "density"),
            "at least two values, ascending",
        ),
        (lambda: Number.fit({**columns, "grid": GRID[:5]}, truth, ALPHA, "density"), r"mass \(30, 121\), grid \(5,\)"),
        (lambda: fitted.intervals(columns), r"give \(rows, 4\) as in calibration"),
        (lambda: fitted.cells(columns), "method cqr: has intervals, not cells"),
    ):
        with pytest.raises(UserError, match=message):
            call()
