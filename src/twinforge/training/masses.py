"""From quantiles or points to mass functions on the grid of an answer space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def smooth(p: Floats, share: ArrayLike) -> Floats:
    """Mix `p` (n, k) with the uniform distribution; `share` (a number, or one a row) is the uniform's part."""
    part = np.reshape(np.asarray(share, dtype=float), (-1, 1))
    mixed: Floats = (1 - part) * p + part / p.shape[1]
    return mixed


def inner_edges(values: Floats) -> Floats:
    """The m - 1 borders between neighbours of an ascending grid of m values."""
    return (values[1:] + values[:-1]) / 2


def mass_from_cdf(cdf: Floats) -> Floats:
    """Mass on m values from the CDF (n, m - 1) at their inner edges; what lies outside the grid goes to its ends."""
    rows = len(cdf)
    mass: Floats = np.diff(np.hstack([np.zeros((rows, 1)), cdf, np.ones((rows, 1))]), axis=1)
    return mass


def laplace_mass(point: Floats, scale: float, values: Floats) -> Floats:
    """Discretised Laplace distribution around each point (n,), with the mean absolute deviation `scale`; (n, m)."""
    z = (inner_edges(values)[None, :] - point[:, None]) / scale
    tail = 0.5 * np.exp(-np.abs(z))
    return mass_from_cdf(np.where(z < 0, tail, 1 - tail))


def quantile_mass(quantiles: Floats, levels: Floats, values: Floats) -> Floats:
    """Mass (n, m) of the distributions with the given quantiles (n, q) at ascending `levels` (q,), q >= 2.

    Crossing quantiles are sorted (Chernozhukov et al. 2010, rearrangement). Between quantiles the CDF is linear; beyond
    the outer ones the tails are exponential, with the density continued.
    """
    step = values[1] - values[0]
    spread = 1e-3 * step * np.arange(len(levels))  # distinct abscissae where quantiles coincide
    x = np.sort(quantiles, axis=1) + spread - spread.mean()
    edges = inner_edges(values)
    cdf = np.stack([np.interp(edges, row, levels) for row in x])
    slope_low = (levels[1] - levels[0]) / (x[:, 1] - x[:, 0])
    slope_high = (levels[-1] - levels[-2]) / (x[:, -1] - x[:, -2])
    below = np.minimum(edges[None, :] - x[:, :1], 0) * (slope_low / levels[0])[:, None]
    above = np.maximum(edges[None, :] - x[:, -1:], 0) * (slope_high / (1 - levels[-1]))[:, None]
    cdf = np.where(below < 0, levels[0] * np.exp(below), cdf)
    cdf = np.where(above > 0, 1 - (1 - levels[-1]) * np.exp(-above), cdf)
    return mass_from_cdf(cdf)
