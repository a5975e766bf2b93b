"""Prediction sets for choices: the exact law for every method, MAPIE's sets, and controls that must fail."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformal.law import ALPHA, CALIBRATION, FRESH, REPETITIONS, counts, follows
from twinforge.conformal import reference
from twinforge.conformal.choice import Choice, Method, ragged
from twinforge.errors import UserError

METHODS: tuple[Method, ...] = ("lac", "aps", "raps", "top-k")
Drawn = tuple[np.ndarray, np.ndarray]


def draw(rng: np.random.Generator, n: int, sharp: float = 2.0, most: int = 6) -> Drawn:
    """Probabilities of 2 to `most` options, NaN for the rest, and truths drawn from them."""
    score = np.exp(sharp * rng.normal(size=(n, most)))
    score[np.arange(most) >= rng.integers(2, most + 1, n)[:, None]] = np.nan
    p = score / np.nansum(score, axis=1, keepdims=True)
    return p, (np.nan_to_num(p).cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=most - 1)


def hits(fitted: Choice, fresh: Drawn, **more: Any) -> np.ndarray:
    p, labels = fresh
    return np.asarray(fitted.sets(p, **more)[np.arange(len(labels)), labels])


def trial(rng: np.random.Generator, method: Method, sharp: float = 2.0, n: int = CALIBRATION) -> np.ndarray:
    fitted = Choice.fit(*draw(rng, n), ALPHA, method, seed=int(rng.integers(2**31)))
    return hits(fitted, draw(rng, FRESH, sharp))


@pytest.mark.parametrize("method", METHODS)
def test_coverage_follows_the_law(method: Method) -> None:
    assert follows(counts(lambda rng: trial(rng, method)))


@pytest.mark.parametrize("method", METHODS)
def test_shifted_scores_break_it(method: Method) -> None:
    """Fresh truths that the probabilities know nothing of."""

    def worse(rng: np.random.Generator) -> np.ndarray:
        p, _ = draw(rng, FRESH)
        fitted = Choice.fit(*draw(rng, CALIBRATION), ALPHA, method, seed=int(rng.integers(2**31)))
        return hits(fitted, (p, (rng.random(FRESH) * (~np.isnan(p)).sum(axis=1)).astype(int)))

    assert not follows(counts(worse, repetitions=100))


def test_aps_without_the_last_label_covers_too_little() -> None:
    """Calibrated with a random share of the truth, predicted with none: what MAPIE does for `include_last_label=False`."""

    def without(rng: np.random.Generator) -> np.ndarray:
        fitted = Choice.fit(*draw(rng, CALIBRATION), ALPHA, "aps", seed=int(rng.integers(2**31)))
        p, labels = draw(rng, FRESH)
        return hits(fitted, (p, labels), u=np.ones(FRESH))

    found = counts(without)
    assert not follows(found) and found.mean() / FRESH < 0.87


def test_calibration_rows_reused_break_the_law() -> None:
    """Judged on the rows it was calibrated on, coverage is k of n every time."""

    def reused(rng: np.random.Generator) -> np.ndarray:
        rows = draw(rng, FRESH)
        return hits(Choice.fit(*rows, ALPHA), rows)

    assert not follows(counts(reused), FRESH)


def test_a_clamped_threshold_covers_too_little() -> None:
    """n = 5 at 0.1: no finite threshold exists; the largest score covers 5 of 6."""

    def clamped(rng: np.random.Generator) -> np.ndarray:
        (p, labels), (new, truth) = draw(rng, 5), draw(rng, FRESH)
        return new[np.arange(FRESH), truth] >= p[np.arange(5), labels].min()

    assert counts(clamped).mean() / FRESH < 0.87
    assert counts(lambda rng: trial(rng, "lac", n=5)).min() == FRESH


@pytest.mark.parametrize("method", METHODS)
def test_without_chance_sets_are_larger_and_still_cover(method: Method) -> None:
    rng = np.random.default_rng(4)
    rows, fresh = draw(rng, 999), draw(rng, 5000)
    sizes = {}
    for chance in (True, False):
        fitted = Choice.fit(*rows, ALPHA, method, randomised=chance)
        sizes[chance] = fitted.sets(fresh[0]).sum(axis=1).mean()
        assert 0.87 < hits(fitted, fresh).mean() < (0.93 if chance else 1.0)
    assert sizes[True] == sizes[False] if method == "lac" else sizes[True] < sizes[False]


def test_the_methods_do_what_they_are_for() -> None:
    """LAC is smallest on average; APS and RAPS cover unsure rows better; RAPS' sets are never large; top-k's all alike."""
    rng = np.random.default_rng(5)
    rows, fresh = draw(rng, 4000, most=20), draw(rng, 8000, most=20)
    sets = {method: Choice.fit(*rows, ALPHA, method).sets(fresh[0]) for method in METHODS}
    size = {method: found.sum(axis=1) for method, found in sets.items()}
    held = {method: found[np.arange(8000), fresh[1]] for method, found in sets.items()}
    unsure = np.nanmax(fresh[0], axis=1) < 0.3
    assert size["lac"].mean() == min(found.mean() for found in size.values())
    assert held["aps"][unsure].mean() > held["lac"][unsure].mean() + 0.03
    assert size["raps"].max() < size["aps"].max()
    assert np.ptp(size["top-k"][(~np.isnan(fresh[0])).sum(axis=1) == 20]) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(20, 400), st.sampled_from([6, 2, 1]))
def test_lac_is_mapies(seed: int, n: int, per_mille: int, digits: int) -> None:
    """Thresholds to 1e-12; rounding to few digits makes ties."""
    alpha = per_mille / 1000
    p, labels = draw(np.random.default_rng(seed), n)
    p = np.round(p, digits)
    p[:, 0] += 1 - np.nansum(p, axis=1)
    p = np.where(p < 0, 0.0, p) / np.nansum(np.where(p < 0, 0.0, p), axis=1, keepdims=True)
    ours = Choice.fit(p, labels, alpha).thresholds.groups[""][1]
    if reference.can(n, alpha):
        assert ours == pytest.approx(reference.lac(p, labels, alpha), abs=1e-12)


def test_sets_are_mapies() -> None:
    """LAC, and top-k without chance: the same sets. APS: the same threshold, given the same draws."""
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import APSConformityScore

    rng = np.random.default_rng(3)
    p, new = rng.dirichlet(np.ones(6), 150), rng.dirichlet(np.ones(6), 400)
    labels = (p.cumsum(axis=1) < rng.random(150)[:, None]).sum(axis=1)
    for name, method in (("lac", "lac"), ("top_k", "top-k")):
        mapie = SplitConformalClassifier(reference.classifier(6), 0.9, name).conformalize(p, labels)
        ours = Choice.fit(p, labels, ALPHA, method, randomised=False).sets(new)  # type: ignore[arg-type]
        assert np.array_equal(mapie.predict_set(new)[1][:, :, 0], ours)
    score = APSConformityScore()
    mapie = SplitConformalClassifier(reference.classifier(6), 0.9, score, random_state=0).conformalize(p, labels)
    mapie.predict_set(new, conformity_score_params={"include_last_label": False})
    drawn = 1 - np.random.RandomState(0).uniform(size=150)
    rule = Choice.fit(p, labels, ALPHA, "aps")
    scores = rule.scores(p, drawn)[np.arange(150), labels]
    assert np.sort(scores)[math.ceil(151 * 0.9) - 1] == pytest.approx(float(np.ravel(score.quantiles_)[0]), abs=1e-12)


def test_groups_are_those_of_crepes() -> None:
    """Mondrian p-values of crepes at the level agree with our sets."""
    from crepes import ConformalClassifier

    rng = np.random.default_rng(6)
    p, labels = draw(rng, 400, most=4)
    groups = rng.integers(0, 3, 400)
    new, _ = draw(rng, 300, most=4)
    where = rng.integers(0, 3, 300)
    theirs = ConformalClassifier().fit(1 - p[np.arange(400), labels], bins=groups)
    inside = theirs.predict_set(np.nan_to_num(1 - new, nan=2.0), bins=where, confidence=0.9, smoothing=False)
    ours = Choice.fit(p, labels, ALPHA, groups=groups).sets(new, groups=where)
    assert np.array_equal(np.asarray(inside, bool)[~np.isnan(new)], ours[~np.isnan(new)])


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_and_ties_never_cover_too_little(method: Method) -> None:
    def tied(rng: np.random.Generator) -> np.ndarray:
        (p, labels), (new, truth) = draw(rng, CALIBRATION), draw(rng, FRESH)
        fitted = Choice.fit(p.astype(np.float16), labels, ALPHA, method, seed=int(rng.integers(2**31)))
        return hits(fitted, (new.astype(np.float16), truth))

    mean = counts(tied).mean() / FRESH
    assert 0.9 - 3.5 * 0.035 / math.sqrt(REPETITIONS) < mean < 0.93


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "finite"), [(0, False), (1, False), (8, False), (9, True)])
def test_few_rows_give_everything(method: Method, n: int, finite: bool) -> None:
    rng = np.random.default_rng(n)
    fitted = Choice.fit(*draw(rng, n), ALPHA, method)
    p, _ = draw(rng, 50)
    assert math.isfinite(fitted.thresholds.groups[""][1]) == finite
    assert finite or np.array_equal(fitted.sets(p), ~np.isnan(p))


@pytest.mark.parametrize("method", METHODS)
def test_one_option_ten_thousand_and_constant_probabilities(method: Method) -> None:
    one = Choice.fit(np.ones((30, 1)), np.zeros(30, int), ALPHA, method, randomised=False)
    assert one.sets(np.ones((5, 1))).all()
    rng = np.random.default_rng(7)
    many = rng.dirichlet(np.ones(10_000), 40)
    fitted = Choice.fit(many.astype(np.float32), many.argmax(axis=1), ALPHA, method)
    assert 0 < fitted.sets(many).sum(axis=1).mean() < 1200
    even = np.full((30, 4), 0.25)
    assert Choice.fit(even, np.ones(30, int), ALPHA, "lac").sets(even).all()


@given(st.integers(0, 2**31), st.sampled_from(METHODS), st.integers(1, 9), st.integers(1, 40))
def test_absent_options_are_never_inside_and_lower_alpha_only_adds(
    seed: int, method: Method, tenths: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, (p, _) = draw(rng, n), draw(rng, 20)
    small, large = (Choice.fit(*rows, alpha / 11, method).sets(p) for alpha in (tenths + 1, tenths))
    assert not small[np.isnan(p)].any() and not large[np.isnan(p)].any()
    assert (small <= large).all()


@given(st.integers(0, 2**31), st.sampled_from(METHODS))
def test_padding_and_other_rows_change_nothing(seed: int, method: Method) -> None:
    rng = np.random.default_rng(seed)
    rows, (p, _), u = draw(rng, 60), draw(rng, 30), rng.random(30)
    fitted = Choice.fit(*rows, ALPHA, method)
    wide = np.hstack([p, np.full((30, 3), np.nan)])
    assert np.array_equal(fitted.sets(wide, u=u)[:, :6], fitted.sets(p, u=u))
    assert np.array_equal(fitted.sets(p[10:], u=u[10:]), fitted.sets(p, u=u)[10:])


def test_rows_of_different_length_are_padded() -> None:
    found = ragged([[0.5, 0.5], [1.0], [0.2, 0.3, 0.5]])
    assert found.shape == (3, 3) and np.isnan(found).sum() == 3 and found[2].tolist() == [0.2, 0.3, 0.5]
    assert ragged([]).shape == (0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_read_back_it_gives_the_same_sets(method: Method) -> None:
    rng = np.random.default_rng(8)
    p, labels = draw(rng, 200)
    weights, groups = rng.random(200), rng.integers(0, 2, 200)
    for more in ({}, {"weights": weights}, {"groups": groups}):
        fitted = Choice.fit(p, labels, ALPHA, method, seed=3, **more)  # type: ignore[arg-type]
        again = Choice.from_json(json.loads(json.dumps(fitted.to_json())))
        assert again == fitted and np.array_equal(again.sets(p, **more), fitted.sets(p, **more))  # type: ignore[arg-type]
    stored = fitted.to_json()
    assert {"alpha", "n", "method", "score", "data"} <= set(stored) and len(stored["data"]) == 64


def test_bad_input_is_named() -> None:
    p, labels = draw(np.random.default_rng(9), 20)
    none, bare = p.copy(), p.copy()
    none[3], bare[4, 0] = np.nan, -0.5
    absent = np.where(np.isnan(p[:, 5]), 5, labels)
    first = int(np.argmax(np.isnan(p[:, 5])))
    for call, message in (
        (lambda: Choice.fit(p, labels, ALPHA, "best"), "method 'best': choose one of lac, aps, raps, top-k"),  # type: ignore[arg-type]
        (lambda: Choice.fit(none, labels, ALPHA), "probabilities of row 3: no option is present"),
        (lambda: Choice.fit(bare, labels, ALPHA), r"probabilities of row 4: -0\.5 is negative"),
        (lambda: Choice.fit(p * 3, labels, ALPHA), "probabilities of row 0: they sum to 3"),
        (lambda: Choice.fit(p[0], labels, ALPHA), r"probabilities \(6,\).*give \(rows, options\)"),
        (lambda: Choice.fit(p, labels[:5], ALPHA), r"labels \(5,\): give one a row of probabilities, \(20,\)"),
        (lambda: Choice.fit(p, labels + 0.5, ALPHA), "give the index of an option, 0 to 5"),
        (lambda: Choice.fit(p, labels + 9, ALPHA), "give the index of an option, 0 to 5"),
        (lambda: Choice.fit(p, absent, ALPHA), f"labels 5 in row {first}: that option is absent"),
        (lambda: Choice.fit(p, labels, 0.0), r"alpha 0\.0: give a share"),
        (lambda: Choice.fit(p, labels, ALPHA, "raps", penalty=-1.0), r"penalty -1\.0"),
    ):
        with pytest.raises(UserError, match=message):
            call()
