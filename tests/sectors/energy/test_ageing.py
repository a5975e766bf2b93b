"""Ageing: CNAIM's own numbers, exact survival where the hazard is constant, and a log that tells something."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from twinforge.errors import UserError
from twinforge.sectors.energy.ageing import (
    FINDINGS,
    KINDS,
    Event,
    Fleet,
    ageing_acceleration,
    draw_fleet,
    failed,
    failure_curve,
    failure_probability,
    findings,
    health,
    log_text,
    pof,
    simulate,
)
from twinforge.sectors.energy.grid import Grid, load_grid


@pytest.fixture(scope="module")
def grid() -> Grid:
    return load_grid()


def transformers(n: int, age: float, condition: int = 0, life: float = 50.0) -> Fleet:
    names = tuple(f"T{i}" for i in range(n))
    return Fleet(names, ("transformer",) * n, np.full(n, age), np.full(n, life), np.ones(n), np.full(n, condition))


def test_health_and_hazard_of_the_published_132_kv_transformer() -> None:
    """The R package CNAIM 2.1's own tests: built 1980, 43 years old, now and twelve years on."""
    fleet = transformers(1, 43)
    assert health(fleet)[0] == pytest.approx(3.931585, abs=5e-7)
    assert failure_curve(KINDS["transformer"].k, health(fleet))[0] == pytest.approx(0.012446, abs=5e-7)
    assert pof(fleet, 12 * 365.25)[0] == pytest.approx(0.03657150, abs=5e-8)


def test_hazard_is_constant_up_to_a_health_score_of_four() -> None:
    young, older = transformers(1, 5), transformers(1, 40)
    assert health(young)[0] < health(older)[0] < 4
    assert pof(young)[0] == pof(older)[0] == pytest.approx(failure_curve(4.54e-4, 4.0))


@given(st.floats(1, 120), st.integers(0, 3), st.floats(0, 20_000))
def test_health_stays_in_range_and_never_falls(age: float, condition: int, day: float) -> None:
    fleet = transformers(1, age, condition)
    now, later = health(fleet)[0], health(fleet, day)[0]
    assert 0.5 <= now <= 10 and now <= later <= 15


def test_a_worse_condition_is_never_healthier_and_severe_is_near_the_end() -> None:
    scores = [health(transformers(1, 30, c))[0] for c in range(4)]
    assert scores == sorted(scores) and scores[3] >= 8


def test_insulation_ages_once_at_110_degrees_and_doubles_every_six() -> None:
    assert ageing_acceleration(110.0) == pytest.approx(1.0)
    assert 1.7 < ageing_acceleration(116.0) < 2.1 and ageing_acceleration(98.0) == pytest.approx(0.28, abs=0.01)


def test_failures_of_a_constant_hazard_are_exponential() -> None:
    fleet, stress, days = transformers(3_000, 3), 60.0, 800
    rate = stress * float(pof(fleet)[0])
    events = simulate(fleet, days, np.random.default_rng(0), stress)
    at = np.array([e.day for e in events if e.kind == "failure"]) / 365.25
    expected = 1 - np.exp(-rate * days / 365.25)
    assert failure_probability(fleet, days, stress)[0] == pytest.approx(expected, rel=1e-9)
    assert len(at) / 3_000 == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 3_000))
    law = lambda t: (1 - np.exp(-rate * np.asarray(t))) / expected  # noqa: E731
    assert kstest(at + 0.5 / 365.25, law).pvalue > 1e-3
    assert kstest(at * 0.9, law).pvalue < 1e-3


def test_share_failing_within_a_year_under_the_recommended_stress(grid: Grid) -> None:
    shares, surprise = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        fleet = draw_fleet(grid, rng)
        gone = failed(simulate(fleet, 365, rng, 10.0), 0)
        shares.append(len(gone) / len(fleet))
        surprise.append(np.array([n in gone for n in fleet.names]) - failure_probability(fleet, 365, 10.0))
    assert 0.3 < np.mean(shares) < 0.5
    assert -0.1 < np.mean(surprise) < 0.03  # repairs prevent a few, nothing adds any


def test_the_log_tells_who_fails(grid: Grid) -> None:
    worst, gone = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        fleet = draw_fleet(grid, rng)
        events = simulate(fleet, 365, rng, 10.0)
        known = findings(events, 0)
        for name in fleet.names:
            worst.append(max((v for (asset, _), v in known.items() if asset == name), default=0))
            gone.append(name in failed(events, 0))
    share = [np.mean(np.array(gone)[np.array(worst) == w]) for w in range(4)]
    assert share[3] > share[0] + 0.15 and share[3] > share[1] + 0.1


def test_log_ends_with_a_failure_and_repairs_wipe_findings(grid: Grid) -> None:
    rng = np.random.default_rng(4)
    fleet = draw_fleet(grid, rng)
    events = simulate(fleet, 365, rng, 20.0)
    assert [e.day for e in events] == sorted(e.day for e in events) and events[0].day < 0
    for name in failed(events, 0):
        assert [e.kind for e in events if e.asset == name][-1] == "failure"
    log = (
        Event(0, "L1", "inspection", "sag", 2),
        Event(9, "L1", "repair"),
        Event(12, "L1", "inspection", "corrosion", 1),
    )
    assert findings(log, 5) == {("L1", "sag"): 2} and findings(log, 20) == {("L1", "corrosion"): 1}


def test_words_name_asset_date_and_finding(grid: Grid) -> None:
    rng = np.random.default_rng(5)
    fleet = draw_fleet(grid, rng)
    events = simulate(fleet, 365, rng, 20.0)
    text = log_text(events, fleet, date(2016, 6, 1))
    assert len(text) == len(events) and all(e.asset in line for e, line in zip(events, text, strict=True))
    for word in ("severe", "nothing found", "repaired", "failed in service", "corrosion", "transformer"):
        assert any(word in line for line in text), word
    assert {e.finding for e in events} - {""} <= set(FINDINGS)


def test_bad_stress_is_refused() -> None:
    with pytest.raises(UserError, match="stress = 0"):
        simulate(transformers(1, 10), 365, np.random.default_rng(0), 0.0)
