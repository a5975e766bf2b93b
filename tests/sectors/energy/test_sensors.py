"""Sensors: noise of the stated size, and every fault exactly what its name says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from twinforge.sectors.energy.contingency import Flow
from twinforge.sectors.energy.grid import Injections
from twinforge.sectors.energy.sensors import (
    BIASED,
    LEAST_CHANGE,
    LEAST_LOADING,
    MISREPORTED,
    NO_FAULT,
    STUCK,
    Fault,
    Readings,
    draw_fault,
    measure,
)

N = 4000
LAKE = SimpleNamespace(noise=0.02, gap_rate=0.05, bias_rate=0.2, stuck_rate=0.15, misreport_rate=0.1)


def flow(seed: int, n: int = N) -> Flow:
    rng = np.random.default_rng(seed)
    loading, p, q = rng.uniform(0, 120, n), rng.normal(0, 60, n), rng.normal(0, 15, n)
    zero, one = np.zeros(n), np.zeros(1)
    vm = rng.uniform(0.95, 1.08, n)
    return Flow(loading, zero, p, q, -p, zero, one, vm, np.array("solved"), np.zeros(n, bool), one, one)


BEFORE, NOW = flow(1), flow(2)
INJECTIONS = Injections(np.full(N, 20.0), np.full(N, 5.0), np.full(N, 40.0), 1.03)


def read(fault: Fault = Fault(), offset: float = 0.0, open_lines: np.ndarray | None = None, seed: int = 3) -> Readings:  # noqa: B008
    lines = np.zeros(N, bool) if open_lines is None else open_lines
    return measure(BEFORE, NOW, INJECTIONS, lines, fault, LAKE, np.random.default_rng(seed), offset)


def within(sample: np.ndarray, spread: float) -> None:
    """Mean 0 and the stated standard deviation, from both sides."""
    sample = sample[~np.isnan(sample)]
    assert abs(sample.mean()) < 4 * spread / np.sqrt(len(sample))
    assert sample.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * len(sample)))


def test_noise_has_the_stated_size() -> None:
    r = read()
    busy = NOW.loading_pct > 5  # below, the sensor's absolute value bends the noise
    within(((r.loading - NOW.loading_pct) / (NOW.loading_pct + 5))[busy], 0.02)
    busy = BEFORE.loading_pct > 5
    within(((r.before - BEFORE.loading_pct) / (BEFORE.loading_pct + 5))[busy], 0.02)
    within((r.p_mw - NOW.p_from_mw) / (np.abs(NOW.p_from_mw) + 1), 0.02)
    within((r.q_mvar - NOW.q_from_mvar) / (np.abs(NOW.q_from_mvar) + 1), 0.02)
    within(r.voltage - NOW.vm_pu, 0.001)
    within(r.injections.p_load / 20 - 1, 0.02 * 20.1 / 20)
    within(r.injections.p_sgen / 40 - 1, 0.02)
    assert r.injections.slack_vm_pu == 1.03 and (r.loading[~np.isnan(r.loading)] >= 0).all()


def test_nothing_fed_in_reads_as_nothing() -> None:
    calm = replace(INJECTIONS, p_sgen=np.zeros(N))
    r = measure(BEFORE, NOW, calm, np.zeros(N, bool), Fault(), LAKE, np.random.default_rng(0))
    assert (r.injections.p_sgen == 0).all()


def test_gaps_take_all_readings_of_a_line_at_the_stated_rate() -> None:
    r = read()
    gone = np.isnan(r.loading)
    for values in (r.before, r.p_mw, r.q_mvar):
        assert (np.isnan(values) == gone).all()
    assert abs(gone.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / N)
    assert not np.isnan(r.voltage).any() and r.closed.all()


def test_open_lines_are_reported_open_and_read_nothing() -> None:
    lines = np.arange(N) % 10 == 0
    r = read(open_lines=lines)
    assert (r.closed == ~lines).all() and np.isnan(r.loading[lines]).all() and np.isnan(r.before[lines]).all()


def test_a_stuck_sensor_repeats_the_last_digit_of_an_hour_ago() -> None:
    r, sound = read(Fault(STUCK, 17)), read()
    assert r.loading[17] == r.before[17] != sound.loading[17]
    assert r.loading[17] != BEFORE.loading_pct[17] and r.p_mw[17] != BEFORE.p_from_mw[17]  # a reading, noise and all
    others = np.arange(N) != 17
    assert np.array_equal(r.loading[others], sound.loading[others], equal_nan=True)
    assert (r.loading[others] == r.before[others]).sum() == 0


def test_a_biased_sensor_is_off_by_its_factor_and_no_other_is() -> None:
    r, sound = read(Fault(BIASED, 17, 1.3)), read()
    for name in ("loading", "p_mw", "q_mvar"):
        ratio = getattr(r, name) / getattr(sound, name)
        assert ratio[17] == pytest.approx(1.3) and np.nanmax(np.abs(np.delete(ratio, 17) - 1)) < 1e-12
    assert r.before[17] == sound.before[17]


def test_a_drifting_fleet_reads_low_now_and_an_hour_ago() -> None:
    r, sound = read(offset=0.06), read()
    for name in ("loading", "before", "p_mw", "q_mvar"):
        ratio = getattr(r, name) / getattr(sound, name)
        assert np.nanmin(ratio) == pytest.approx(0.94) and np.nanmax(ratio) == pytest.approx(0.94)
    assert np.array_equal(r.voltage, sound.voltage)


@pytest.mark.parametrize("kind", [BIASED, STUCK, MISREPORTED])
def test_a_faulty_line_is_never_the_missing_one(kind: int) -> None:
    missing = [np.isnan(read(Fault(kind, 17), seed=seed).loading[17]) for seed in range(100)]
    healthy = [np.isnan(read(seed=seed).loading[17]) for seed in range(100)]
    assert not any(missing) and any(healthy)


def test_faults_come_at_the_stated_rates() -> None:
    rng, tripable = np.random.default_rng(0), np.ones(N, bool)
    kinds = np.array([draw_fault(BEFORE, NOW, tripable, LAKE, rng).kind for _ in range(2000)])
    for kind, rate in ((NO_FAULT, 0.55), (BIASED, 0.2), (STUCK, 0.15), (MISREPORTED, 0.1)):
        assert abs((kinds == kind).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / 2000)


def test_faults_fall_where_they_can_be_seen() -> None:
    rng, tripable = np.random.default_rng(0), np.arange(N) % 3 == 0
    faults = [draw_fault(BEFORE, NOW, tripable, LAKE, rng) for _ in range(500)]
    for fault in faults:
        if fault.kind == NO_FAULT:
            assert fault == Fault()
            continue
        assert NOW.loading_pct[fault.line] > LEAST_LOADING
        if fault.kind == STUCK:
            assert abs(NOW.loading_pct[fault.line] - BEFORE.loading_pct[fault.line]) > LEAST_CHANGE
        if fault.kind == MISREPORTED:
            assert tripable[fault.line]
        assert (0.15 <= abs(fault.factor - 1) <= 0.4) == (fault.kind == BIASED)
    assert {f.factor > 1 for f in faults if f.kind == BIASED} == {True, False}


def test_an_idle_grid_has_no_fault() -> None:
    idle = replace(NOW, loading_pct=np.zeros(N))
    rng = np.random.default_rng(0)
    assert all(draw_fault(idle, idle, np.ones(N, bool), LAKE, rng) == Fault() for _ in range(50))
