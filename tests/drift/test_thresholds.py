"""The block bootstrap and what is read off it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.drift import CUSUM, PageHinkley, bootstrap, run_length_of, threshold_for
from twinforge.errors import UserError


@given(st.integers(1, 300), st.integers(1, 300), st.floats(1, 50), st.integers(0, 5))
def test_positions_lie_in_the_series(n: int, length: int, block: float, seed: int) -> None:
    drawn = bootstrap(n, length, block, np.random.default_rng(seed))
    assert drawn.shape == (length,) and drawn.min() >= 0 and drawn.max() < n


def test_blocks_have_the_stated_mean_length_and_keep_their_order() -> None:
    drawn = bootstrap(100_000, 200_000, 24, np.random.default_rng(0))
    breaks = np.diff(drawn) != 1
    assert 1 / breaks.mean() == pytest.approx(24, rel=0.05)


def test_every_position_is_drawn_equally_often() -> None:
    counts = np.bincount(bootstrap(50, 500_000, 10, np.random.default_rng(1)), minlength=50)
    assert counts.min() > 0.9 * 10_000 and counts.max() < 1.1 * 10_000


def test_run_length_of_geometric_first_alarms() -> None:
    rng = np.random.default_rng(2)
    times = rng.geometric(1 / 500, 4000)
    paths = [(np.arange(1, 1001) >= t).astype(float) for t in times]  # most are cut off or not by chance
    length, alarms = run_length_of(paths, 1.0)
    assert length == pytest.approx(500, rel=0.06) and alarms == int((times <= 1000).sum())
    assert run_length_of(paths, 2.0) == (float("inf"), 0)


def test_a_longer_run_length_takes_a_higher_threshold() -> None:
    calm = [np.random.default_rng(0).normal(size=4000)]
    short, long = (threshold_for(CUSUM(effort=100_000), calm, n, seed=0) for n in (200, 2000))
    assert short.value < long.value and short.run_length >= 200 and long.run_length >= 2000


def test_leftover_dependence_raises_the_threshold() -> None:
    """Blocks keep what whitening left; single draws would not see it."""
    noise = np.random.default_rng(0).normal(size=(2, 6000))
    drifting = noise[0] + np.convolve(noise[1], np.ones(10) / 10, "same")
    detector = CUSUM(effort=100_000)
    kept = threshold_for(detector, [drifting], 1000, seed=0)
    broken = threshold_for(detector, [drifting], 1000, seed=0, block=1.0)
    assert kept.value > 1.15 * broken.value


@pytest.mark.parametrize("calm", [[], [np.zeros(1999)], [np.r_[np.ones(1500), np.full(1500, np.nan)]]])
def test_too_little_calm_is_refused(calm: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match="2000 or more"):
        threshold_for(CUSUM(), calm, 2000, seed=0)


def test_a_run_length_out_of_reach_is_said() -> None:
    with pytest.raises(UserError, match="no setting reaches"):
        threshold_for(PageHinkley, [np.repeat([-1e6, 1e6, -1e6], 1000)], 2000, seed=0)
