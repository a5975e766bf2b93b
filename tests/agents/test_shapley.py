"""Shapley credit against its definition and its axioms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twinforge.agents.shapley import shapley
from twinforge.errors import UserError

worths = st.integers(1, 5).flatmap(lambda k: arrays(float, 2**k, elements=st.floats(-5, 5)))


@given(worths)
def test_it_is_the_mean_over_all_orders_of_what_a_player_adds(values: np.ndarray) -> None:
    k = len(values).bit_length() - 1
    added = np.zeros(k)
    orders = list(permutations(range(k)))
    for order in orders:
        before = 0
        for player in order:
            added[player] += values[before | 1 << player] - values[before]
            before |= 1 << player
    np.testing.assert_allclose(shapley(values), added / len(orders), atol=1e-9)


@given(worths)
def test_credits_sum_to_what_all_are_worth_beyond_none(values: np.ndarray) -> None:
    assert shapley(values).sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


@given(arrays(float, (2, 8), elements=st.floats(-5, 5)))
def test_the_credit_of_a_mean_is_the_mean_credit(values: np.ndarray) -> None:
    np.testing.assert_allclose(shapley(values.mean(0)), shapley(values).mean(0), atol=1e-9)


def test_who_adds_nothing_gets_nothing_and_equals_get_the_same() -> None:
    # index 0b_cba: "a" and "b" are each other's substitutes, "c" does nothing
    either = np.array([0, 1, 1, 1, 0, 1, 1, 1], float)
    np.testing.assert_allclose(shapley(either), [0.5, 0.5, 0])
    both = np.array([0, 0, 0, 1, 0, 0, 0, 1], float)
    np.testing.assert_allclose(shapley(both), [0.5, 0.5, 0])
    alone = np.array([3, 3, 3, 3, 5, 5, 5, 5], float)
    np.testing.assert_allclose(shapley(alone), [0, 0, 2])


@pytest.mark.parametrize("count", [1, 3, 6])
def test_values_of_no_team_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"values of {count} subsets"):
        shapley(np.zeros(count))
