"""From an autocorrelated signal to innovations of mean 0 and scale 1: detectors that expect white noise are fooled by anything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from twinforge.errors import UserError

MOST = 24  # the largest order tried: a day of hours
MAD = 1.4826  # of the normal law: standard deviation over median absolute deviation


@dataclass(frozen=True)
class Whitener:
    """An autoregression of the calm signal. A value's innovation is its distance from what those before it foretell.

    centre : median of the calm signal, taken off first. phi : coefficients, the latest value's first; () for white noise.
    scale : robust standard deviation of the calm innovations.
    """

    centre: float
    phi: tuple[float, ...]
    scale: float

    @classmethod
    def fit(cls, calm: np.ndarray, most: int = MOST) -> Whitener:
        """Fit by the Yule-Walker equations; the order, `most` or less, by Akaike's criterion.

        Parameters
        ----------
        calm : (n,) values of a calm stretch, NaN where missing (read as the median, for the fit).

        Raises
        ------
        UserError
            Fewer than ten values an order, or values that (nearly) all equal each other.

        References
        ----------
        Brockwell and Davis, Time Series: Theory and Methods, 2nd ed., sections 8.1 and 9.2.
        """
        known = calm[np.isfinite(calm)]
        if len(known) < 10 * (most + 1):
            raise UserError(
                f"whitening: {len(known)} calm values are too few for order {most}: give {10 * (most + 1)} or more"
            )
        centre = float(np.median(known))
        x = np.where(np.isfinite(calm), calm - centre, 0.0)
        if _scale(known - centre) == 0:
            raise UserError("whitening: more than half of the calm values are equal: this signal can't be watched")
        covariance = np.array([x[lag:] @ x[: len(x) - lag] for lag in range(most + 1)]) / len(x)
        best, phi = np.inf, np.zeros(0)
        for order in range(most + 1):
            own = solve_toeplitz(covariance[:order], covariance[1 : order + 1]) if order else np.zeros(0)
            criterion = len(x) * np.log(covariance[0] - own @ covariance[1 : order + 1]) + 2 * order
            if criterion < best:
                best, phi = criterion, own
        plain = cls(centre, tuple(float(v) for v in phi), 1.0)
        scale = _scale(plain(calm))
        if scale == 0:
            raise UserError("whitening: more than half of the calm innovations are equal: this signal can't be watched")
        return cls(plain.centre, plain.phi, scale)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Innovations over the scale, (n,). NaN where the value is missing and for the first values, which lack a past; a
        missing value counts as foretold for those that follow it."""
        order = len(self.phi)
        filled, gaps = x - self.centre, ~np.isfinite(x)
        backwards = np.array(self.phi[::-1])
        for at in np.flatnonzero(gaps):
            past = filled[max(at - order, 0) : at]
            filled[at] = past @ backwards[order - len(past) :] if len(past) else 0.0
        z = lfilter([1.0, *(-v for v in self.phi)], [1.0], filled) / self.scale
        z[gaps] = np.nan
        z[:order] = np.nan
        return np.asarray(z)


def standardised(calm: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The signal as it comes, over its calm median and robust scale: what a detector sees where nothing is whitened."""
    known = calm[np.isfinite(calm)]
    centre = np.median(known)
    return np.asarray((x - centre) / max(_scale(known - centre), 1e-12))


def _scale(x: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation from 0."""
    return float(MAD * np.nanmedian(np.abs(x)))
