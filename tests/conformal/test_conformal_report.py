"""Reports: kept promises pass, broken ones fail, and rows that depend on each other are not taken as independent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinforge.conformal.report import Outcome, Promise, conditional, report, spread_of
from twinforge.conformal.threshold import Thresholds, threshold_of

ALPHA = 0.1


def outcome(covered: np.ndarray, **more: np.ndarray) -> Outcome:
    return Outcome(covered, np.ones(len(covered)), "set size", **more)  # type: ignore[arg-type]


def day_rows(rng: np.random.Generator, days: int, rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Scores that share much of their luck within a day, and the day of each."""
    day = np.repeat(np.arange(days), rows)
    return rng.normal(size=days)[day] + 0.7 * rng.normal(size=len(day)), day


def test_a_kept_promise_passes_and_a_broken_one_fails() -> None:
    rng = np.random.default_rng(0)
    passed = {0.0: 0, 0.8: 0}
    for _ in range(200):
        limit = threshold_of(rng.normal(size=499), ALPHA)
        for shift in passed:
            fresh = rng.normal(shift, size=400) <= limit
            passed[shift] += report(outcome(fresh), Promise(0.9, {"": 499}))[0].ok
    assert 185 < passed[0.0] <= 200 and passed[0.8] == 0


def test_clustered_rows_judged_as_independent_fail_a_kept_promise_and_as_clusters_pass() -> None:
    rng = np.random.default_rng(1)
    passed = {"rows": 0, "clusters": 0, "clusters, shifted": 0}
    for _ in range(200):
        scores, day = day_rows(rng, 40)
        limit = threshold_of(scores, ALPHA)
        spread = spread_of(scores <= limit, day)
        fresh, new = day_rows(rng, 40)
        promise = Promise(0.9, {"": len(scores)}, spread)
        passed["rows"] += report(outcome(fresh <= limit), Promise(0.9, {"": len(scores)}))[0].ok
        passed["clusters"] += report(outcome(fresh <= limit, cluster=new), promise)[0].ok
        passed["clusters, shifted"] += report(outcome(fresh + 1.5 <= limit, cluster=new), promise)[0].ok
    assert passed["rows"] < 150 and passed["clusters"] > 182 and passed["clusters, shifted"] < 20


def test_every_group_is_judged_jointly_where_the_promise_is_made_in_each() -> None:
    rng = np.random.default_rng(2)
    groups = np.arange(4000) % 8
    fine, worse = 0, 0
    for _ in range(150):
        fitted = Thresholds.fit(rng.exponential(1 + groups), ALPHA, groups)
        promise = Promise(0.9, {name: n for name, (n, _) in fitted.groups.items()})
        scores = rng.exponential(1 + groups)
        rows = report(outcome(scores <= fitted.of(4000, groups), groups=groups, by_group=True), promise)
        fine += all(row.ok for row in rows)
        assert math.isnan(rows[0].band[0]) and len(rows) == 9
        shifted = np.where(groups == 3, 3 * scores, scores) <= fitted.of(4000, groups)
        bad = report(outcome(shifted, groups=groups, by_group=True), promise)
        worse += [row.name for row in bad if not row.ok] == ["3"]
    assert 138 < fine <= 150 and worse > 138


def test_promises_of_other_forms_have_bands_of_their_own() -> None:
    covered = np.arange(1000) % 20 != 0
    sure = report(outcome(covered), Promise(0.95, {}))[0]
    assert sure.band == pytest.approx((0.936, 0.963), abs=2e-3) and sure.ok
    assert report(outcome(covered), Promise(0.9, {}, bound=0.03))[0].band == pytest.approx((0.87, 0.93))
    assert not report(outcome(covered), Promise(0.99, {}))[0].ok
    few = report(outcome(covered), Promise(0.9, {"": 5}))[0]
    assert few.band == (1.0, 1.0) and not few.ok  # an infinite threshold can't miss
    assert report(outcome(covered), Promise(0.9, {}, bound=math.inf))[0].ok


def test_conditional_coverage_is_shown_by_size_and_score() -> None:
    size = np.repeat([1.0, 2.0, 3.0], 100)
    covered = np.arange(300) >= 40
    found = dict(conditional(Outcome(covered, size, "set size", np.linspace(0, 1, 300), "confidence")))
    assert [(row.name, row.n, row.coverage) for row in found["by set size"]] == [
        ("1", 100, 0.6),
        ("2", 100, 1.0),
        ("3", 100, 1.0),
    ]
    assert len(found["by confidence"]) == 4 and sum(row.n for row in found["by confidence"]) == 300
    wide = dict(conditional(Outcome(covered, np.where(covered, np.inf, 1.0), "width")))["by width"]
    assert [row.n for row in wide] == [40, 260]
