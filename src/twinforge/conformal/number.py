"""Intervals for numbers from mass functions: conformalised quantile regression (Romano, Patterson and Candes 2019).

The quantiles at alpha/2 and 1 - alpha/2 are those of the mass without the refusal, spread evenly over each value's cell
of the grid: so they are continuous, and scores tie only where whole answers are equal. Truths and intervals are held
within the grid, whose ends stand for "this or beyond".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import Floats, confidence, mapie_can, threshold_of

UNIFORM = 1e-9  # makes the CDF strictly increasing, so that every quantile is one point


def quantiles(p: Floats, values: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles at `levels` of one answer vector p (m + 1,), its last entry (the refusal) left out, on a grid (m,)."""
    mass = np.asarray(p, dtype=float)[:-1]
    mass = mass / mass.sum() if mass.sum() > UNIFORM else np.zeros(len(mass))
    mass = mass + UNIFORM if mass.any() else np.full(len(mass), 1.0)
    half = (values[1] - values[0]) / 2
    edges = np.append(values - half, values[-1] + half)
    return np.asarray(np.interp(levels, np.append(0.0, np.cumsum(mass)) / mass.sum(), edges))


def band(p: Sequence[Floats], values: Sequence[Floats], alpha: float) -> Floats:
    """Lower quantile, upper quantile and median of n answers, each on its own grid: (n, 3)."""
    levels = [alpha / 2, 1 - alpha / 2, 0.5]
    rows = [quantiles(vector, grid, levels) for vector, grid in zip(p, values, strict=True)]
    return np.array(rows).reshape(len(rows), 3)


def scores(quantile: Floats, truth: Floats) -> Floats:
    """CQR score, max(lower - y, y - upper): negative inside. quantile (n, 3) as `band` gives it, truth (n,)."""
    return np.asarray(np.maximum(quantile[:, 0] - truth, truth - quantile[:, 1]))


def cqr(quantile: Floats, truth: Floats, alpha: float) -> float:
    """The CQR threshold (one for both sides) by MAPIE, or infinity where there are too few rows.

    Raises
    ------
    UserError
        alpha outside (0, 1), or a NaN among quantiles and truths.
    """
    own = scores(quantile, truth)
    threshold = threshold_of(own, alpha)
    if not mapie_can(len(truth), alpha):
        return threshold
    from mapie.regression import ConformalizedQuantileRegressor

    mapie = ConformalizedQuantileRegressor([_stub(column) for column in range(3)], confidence(alpha), prefit=True)
    mapie.conformalize(quantile, truth)
    reach = float(np.abs(own).max()) + 1.0  # so wide that no threshold turns the probe's interval inside out
    _, interval = mapie.predict_interval(np.array([[-reach, reach, 0.0]]), symmetric_correction=True)
    found = float(interval[0, 1, 0]) - reach
    return float(own[np.argmin(np.abs(own - found))])  # the score itself, free of the probe's rounding


def interval(quantile: Floats, values: Floats, threshold: float) -> tuple[float, float]:
    """The interval of one answer: its quantiles moved out by the threshold, within the grid; infinite: the whole grid.

    A negative threshold may turn it inside out: it is then the point in the middle.
    """
    low, high = float(quantile[0]) - threshold, float(quantile[1]) + threshold
    if low > high:
        low = high = (low + high) / 2
    return float(np.clip(low, values[0], values[-1])), float(np.clip(high, values[0], values[-1]))


def _stub(column: int) -> Any:
    """A "fitted regressor" for MAPIE that gives one column of its features."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Stub(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        fitted_ = True

        def fit(self, x: Floats, y: Floats) -> Stub:
            return self

        def predict(self, x: Floats) -> NDArray[np.float64]:
            return np.asarray(x)[:, column]

    return Stub()
