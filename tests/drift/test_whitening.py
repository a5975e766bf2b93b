"""Whitening: white what an autoregression made, whatever its unit; gaps pass through; what never moves is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from twinforge.drift import Whitener
from twinforge.drift.whitening import standardised
from twinforge.errors import UserError


def autoregression(n: int, *phi: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n + 500)
    return np.asarray(lfilter([1.0], [1.0, *(-v for v in phi)], noise))[500:]


def lag_one(x: np.ndarray) -> float:
    return float(np.corrcoef(x[1:], x[:-1])[0, 1])


@pytest.mark.parametrize("phi", [(), (0.9,), (0.5, 0.3), (0.0, 0.0, 0.7)])
def test_innovations_are_white_with_scale_one(phi: tuple[float, ...]) -> None:
    whitener = Whitener.fit(10 + 3 * autoregression(4000, *phi))
    assert len(phi) <= len(whitener.phi) <= len(phi) + 8  # Akaike's criterion takes one too many now and then
    assert np.allclose(np.resize(whitener.phi, len(phi)), phi, atol=0.08)
    fresh = whitener(10 + 3 * autoregression(4000, *phi, seed=1))
    z = fresh[np.isfinite(fresh)]
    assert abs(lag_one(z)) < 0.05 and 0.9 < z.std() < 1.1 and abs(z.mean()) < 0.3


def test_the_signal_as_it_comes_stays_autocorrelated() -> None:
    x = autoregression(4000, 0.9)
    z = standardised(x, x)
    assert lag_one(z) > 0.85 and 0.9 < z.std() < 1.1


@given(st.floats(0.01, 1000), st.floats(-1000, 1000), st.booleans())
def test_unit_and_offset_change_nothing(scale: float, offset: float, flipped: bool) -> None:
    x = autoregression(600, 0.7)
    sign = -1.0 if flipped else 1.0
    moved = sign * scale * x + offset
    np.testing.assert_allclose(
        Whitener.fit(moved)(moved), sign * Whitener.fit(x)(x), atol=1e-5 * (1 + abs(offset) / scale)
    )


def test_a_gap_is_a_gap_and_its_neighbours_go_on() -> None:
    x = autoregression(2000, 0.9)
    whitener = Whitener.fit(x)
    holed = x.copy()
    holed[[700, 701, 1200]] = np.nan
    z, whole = whitener(holed), whitener(x)
    assert (
        np.isnan(z[[700, 701, 1200]]).all()
        and np.isfinite(z[len(whitener.phi) :]).sum() == 2000 - len(whitener.phi) - 3
    )
    np.testing.assert_allclose(z[len(whitener.phi) : 700], whole[len(whitener.phi) : 700])
    assert np.nanmax(np.abs(z[702:740])) < 5  # no jump behind it
    np.testing.assert_allclose(z[800:1200], whole[800:1200], atol=1e-2)


def test_one_wild_value_does_not_set_the_scale() -> None:
    x = autoregression(2000, 0.5)
    wild = x.copy()
    wild[1000] = 500.0
    assert Whitener.fit(wild).scale == pytest.approx(Whitener.fit(x).scale, rel=0.25)


@pytest.mark.parametrize("x", [np.ones(500), np.r_[np.zeros(400), np.arange(100.0)], np.arange(100.0)])
def test_what_cannot_be_watched_is_refused(x: np.ndarray) -> None:
    with pytest.raises(UserError, match="whitening"):
        Whitener.fit(x)
