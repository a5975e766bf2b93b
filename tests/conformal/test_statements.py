"""Kinds of statements are weighed by what they are worth, and all that is stood for is right as often as promised."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from twinforge.conformal.statements import Statements, Sureness
from twinforge.conformal.text import Claims
from twinforge.errors import UserError

WORTH = {"copied": 4.0, "forecast": 0.0}  # log odds of being right where the model is as sure of both


def texts(rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """Texts of six statements; a forecast is wrong half the time, however surely it is written, a copy seldom."""
    query, kind = (
        np.repeat(np.arange(count), 6),
        np.tile(["copied", "copied", "copied", "forecast"] + ["copied"] * 2, count),
    )
    log = -rng.exponential(size=len(kind))
    right = rng.random(len(kind)) < expit(np.array([WORTH[k] for k in kind]) + 2 * (log + 0.5) * (kind == "copied"))
    return query, kind, log, -log, right


def fitted(rng: np.random.Generator, alpha: float = 0.1) -> Statements:
    _, kind, log, entropy, right = texts(rng, 100)
    sureness = Sureness.fit(kind, log, entropy, right)
    query, kind, log, entropy, right = texts(rng, 99)
    return Statements(sureness, Claims.fit(query, sureness.chance(kind, log, entropy), right, alpha))


def test_the_chance_is_that_of_the_kind_and_of_how_surely_it_was_written() -> None:
    rng = np.random.default_rng(0)
    made = Sureness.fit(*texts(rng, 400)[1:])
    _, kind, log, entropy, right = texts(rng, 2000)
    chance = made.chance(kind, log, entropy)
    for name in WORTH:
        assert chance[kind == name].mean() == pytest.approx(right[kind == name].mean(), abs=0.04)
    sure = (kind == "copied") & (log > -0.2)
    assert chance[sure].mean() == pytest.approx(right[sure].mean(), abs=0.03) and right[sure].mean() > 0.97
    assert made.chance(np.array(["never seen"]), np.array([-0.1]), np.array([0.1]))[0] == pytest.approx(0.8, abs=0.2)
    assert np.isnan(made.chance(np.array(["copied"]), np.array([np.nan]), np.array([0.1])))[0]


def test_all_that_is_stood_for_is_right_as_often_as_promised_and_more_is_kept_than_by_the_models_own_probability() -> (
    None
):
    rng = np.random.default_rng(1)
    whole, kept, plain = [], [], []
    for _ in range(60):
        made = fitted(rng)
        query, kind, log, entropy, right = texts(rng, 200)
        keep = made.keep(kind, log, entropy)
        whole.append(1 - len(np.unique(query[keep & ~right])) / 200)
        kept.append(keep.mean())
        own = Claims.fit(*(texts(rng, 99)[i] for i in (0, 2, 4)), 0.1)  # type: ignore[misc]
        plain.append(own.keep(log).mean())
    assert np.mean(whole) == pytest.approx(0.9, abs=0.02)
    assert np.mean(kept) > np.mean(plain) + 0.2


def test_reads_back_what_it_wrote() -> None:
    made = fitted(np.random.default_rng(2))
    again = Statements.from_json(json.loads(json.dumps(made.to_json())))
    rows = texts(np.random.default_rng(3), 50)[1:4]
    np.testing.assert_array_equal(made.keep(*rows), again.keep(*rows))


@pytest.mark.parametrize("value, low, high", [(True, 0.9, 1.0), (False, 0.0, 0.1)])
def test_rows_that_are_all_right_or_all_wrong(value: bool, low: float, high: float) -> None:
    made = Sureness.fit(np.array(["a"] * 20), np.zeros(20), np.zeros(20), np.full(20, value))
    assert low < made.chance(np.array(["a"]), np.zeros(1), np.zeros(1))[0] < high


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UserError, match="give one at least"):
        Sureness.fit(np.array([], str), np.zeros(0), np.zeros(0), np.zeros(0, bool))
    with pytest.raises(UserError, match="each with log"):
        Sureness.fit(np.array(["a"]), np.array([np.nan]), np.zeros(1), np.ones(1, bool))
