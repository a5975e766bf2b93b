"""Shapley credit: what each player is worth to a team whose value is known for every subset of it. Exact, no sampling.

Shapley (1953), "A Value for n-Person Games": a player's credit is what it adds to those before it, averaged over all orders
in which the players can come. Credits sum to the value of all less that of none.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from twinforge.errors import UserError

Floats = NDArray[np.float64]


def shapley(values: Floats) -> Floats:
    """The credit of each of k players.

    Parameters
    ----------
    values : (..., 2**k) value of every subset; player i is in the subset at index s where bit i of s is set.

    Returns
    -------
    Floats
        (..., k), in the values' own unit.

    Raises
    ------
    UserError
        The last axis is not as long as a power of two, from 2 on.
    """
    values = np.asarray(values, dtype=float)
    subsets = np.arange(values.shape[-1])
    k = len(subsets).bit_length() - 1
    if k < 1 or len(subsets) != 2**k:
        raise UserError(f"Shapley credit: values of {len(subsets)} subsets; k players have 2**k")
    size = np.bitwise_count(subsets)
    orders = np.array([factorial(s) * factorial(k - 1 - s) / factorial(k) for s in range(k)])
    credits = []
    for player in range(k):
        without = subsets[(subsets >> player) & 1 == 0]
        added = values[..., without | 1 << player] - values[..., without]
        credits.append(added @ orders[size[without]])  # the share of the orders in which just these come before
    return np.stack(credits, axis=-1)
