"""Detectors on scripted streams: CUSUM against Siegmund's formulas, run lengths as stated, and a raw signal that fools them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.drift.test_whitening import autoregression
from twinforge.drift import ADWIN, CUSUM, KSWIN, MMD, Detector, PageHinkley, Threshold, Whitener, threshold_for
from twinforge.drift.whitening import standardised
from twinforge.errors import UserError

FAST: tuple[Detector, ...] = (CUSUM(), PageHinkley, ADWIN)
RUN_LENGTH = 2000


def siegmund(threshold: float, drift: float) -> float:
    """Mean run length of a one-sided CUSUM of unit normals with that drift a step (Siegmund 1985, equation 2.49)."""
    b = 2 * drift * (threshold + 1.166)
    return float((np.exp(-b) + b - 1) / (2 * drift**2))


@pytest.fixture(scope="module")
def thresholds() -> dict[str, Threshold]:
    calm = [np.random.default_rng(3).normal(size=20_000)]
    return {each.name: threshold_for(each, calm, RUN_LENGTH, seed=0) for each in FAST}


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_cusum_runs_as_long_in_calm_as_siegmund_says(threshold: float) -> None:
    x = np.random.default_rng(0).normal(size=300_000)
    theory = siegmund(threshold, -0.5) / 2  # two sides
    assert len(x) / len(CUSUM().alarms(x, threshold)) == pytest.approx(theory, rel=0.12)


@pytest.mark.parametrize("shift", [1.0, 1.5, -1.0])
def test_cusum_finds_a_shift_as_late_as_siegmund_says(shift: float) -> None:
    rng = np.random.default_rng(1)
    delays = [CUSUM().alarms(rng.normal(shift, 1, 200), 5.0)[0] + 1 for _ in range(800)]
    assert np.mean(delays) == pytest.approx(siegmund(5.0, abs(shift) - 0.5), rel=0.07)


@pytest.mark.parametrize("detector", FAST, ids=lambda each: each.name)
def test_the_stated_run_length_holds_on_white_noise(detector: Detector, thresholds: dict[str, Threshold]) -> None:
    assert thresholds[detector.name].run_length >= RUN_LENGTH
    x = np.random.default_rng(4).normal(size=150_000)
    alarms = len(detector.alarms(x, thresholds[detector.name].value))
    assert 0.5 * RUN_LENGTH < len(x) / max(alarms, 1) < 3 * RUN_LENGTH


@pytest.mark.parametrize("detector", FAST, ids=lambda each: each.name)
def test_whitened_it_holds_on_an_autocorrelated_signal_and_raw_it_does_not(
    detector: Detector, thresholds: dict[str, Threshold]
) -> None:
    calm, fresh = autoregression(20_000, 0.9, seed=5), autoregression(100_000, 0.9, seed=6)
    whitened, threshold = Whitener.fit(calm)(fresh), thresholds[detector.name].value
    white = len(detector.alarms(whitened[np.isfinite(whitened)], threshold))
    raw = len(detector.alarms(standardised(calm, fresh), threshold))
    assert 0.4 * RUN_LENGTH < len(fresh) / max(white, 1) < 4 * RUN_LENGTH
    assert raw > 5 * white  # the control: on the raw signal the same threshold is worth nothing


@pytest.mark.parametrize("detector", FAST, ids=lambda each: each.name)
def test_a_large_shift_is_found_within_its_own_span(detector: Detector, thresholds: dict[str, Threshold]) -> None:
    rng = np.random.default_rng(7)
    late = []
    for _ in range(40):
        x = np.r_[rng.normal(size=300), rng.normal(2.0, 1.0, 200)]
        late.append(next(at for at in detector.alarms(x, thresholds[detector.name].value) if at >= 300) - 299)
    assert 1 <= np.mean(late) <= 48


def test_the_path_and_the_alarms_agree_on_the_first_alarm(thresholds: dict[str, Threshold]) -> None:
    x = np.r_[np.random.default_rng(8).normal(size=400), np.random.default_rng(9).normal(2, 1, 100)]
    for detector in FAST:
        threshold = thresholds[detector.name].value
        assert int(np.argmax(detector.path(x) >= threshold)) == detector.alarms(x, threshold)[0]


def test_kswin_sees_a_shift_and_little_in_calm() -> None:
    rng = np.random.default_rng(0)
    calm, shifted = rng.normal(size=1500), np.r_[rng.normal(size=200), rng.normal(2, 1, 100)]
    assert len(KSWIN.alarms(calm, 4.0)) <= 2
    assert any(200 <= at < 260 for at in KSWIN.alarms(shifted, 4.0))
    path = KSWIN.path(shifted)
    assert (path[:99] == 0).all() and path[200:260].max() >= 4.0


def test_mmd_keeps_its_run_length_and_finds_vectors_of_another_law() -> None:
    rng = np.random.default_rng(0)
    calm, fresh = rng.normal(size=(3000, 8)), rng.normal(size=(60_000, 8))
    detector = MMD.fit(calm)
    threshold = threshold_for(detector, [calm], RUN_LENGTH, seed=0, block=5).value
    assert 0.35 * RUN_LENGTH < len(fresh) / max(len(detector.alarms(fresh, threshold)), 1) < 6 * RUN_LENGTH
    moved = np.r_[fresh[:500], rng.normal(0.6, 1, size=(200, 8))]
    found = [at for at in detector.alarms(moved, threshold) if at >= 500]
    assert found and found[0] - 500 < 2 * detector.window


def test_mmd_reads_a_long_stream_in_pieces_as_it_does_whole() -> None:
    x = np.random.default_rng(1).normal(size=(2000, 3))
    x[1500:] += 0.7
    detector = MMD.fit(x[:1000])
    threshold = float(detector.path(x[:1500]).max()) * 1.01
    assert detector.alarms(x, threshold)[0] == int(np.argmax(detector.path(x) >= threshold))


def test_equal_vectors_are_refused() -> None:
    with pytest.raises(UserError, match="MMD"):
        MMD.fit(np.ones((100, 3)))
