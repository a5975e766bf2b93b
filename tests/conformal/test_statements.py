"""Kinds of statements are weighed by what they are worth, and all that is stood for is right as often as promised."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from twinforge.conformal.statements import Signs, Statements, Sureness
from twinforge.conformal.text import Claims
from twinforge.errors import UserError

WORTH = {"copied": 4.0, "forecast": 0.0}  # log odds of being right where the model is as sure of both
WISE = 0.98  # how often a second opinion is right


def texts(rng: np.random.Generator, count: int, seen: float = 0.0) -> tuple[np.ndarray, Signs, np.ndarray]:
    """Text, signs and truth of six statements each; a forecast is wrong half the time, however surely it is written, a copy seldom.

    seen : chance that there is a second opinion on a forecast; it is right as often as it says (`WISE`).
    """
    query = np.repeat(np.arange(count), 6)
    kind = np.tile(["copied", "copied", "copied", "forecast"] + ["copied"] * 2, count)
    log = -rng.exponential(size=len(kind))
    right = rng.random(len(kind)) < expit(np.array([WORTH[k] for k in kind]) + 2 * (log + 0.5) * (kind == "copied"))
    opinion = np.where(right == (rng.random(len(kind)) < WISE), WISE, 1 - WISE)
    asked = (kind == "forecast") & (rng.random(len(kind)) < seen)
    return query, Signs(kind, log, -log, np.where(asked, opinion, np.nan)), right


def fitted(rng: np.random.Generator, alpha: float = 0.1, seen: float = 0.0) -> Statements:
    sureness = Sureness.fit(*texts(rng, 100, seen)[1:])
    query, signs, right = texts(rng, 99, seen)
    return Statements(sureness, Claims.fit(query, sureness.chance(signs), right, alpha))


def one(kind: str, log: float) -> Signs:
    return Signs(np.array([kind]), np.array([log]), np.array([-log]), np.array([np.nan]))


def test_the_chance_is_that_of_the_kind_and_of_how_surely_it_was_written() -> None:
    rng = np.random.default_rng(0)
    made = Sureness.fit(*texts(rng, 400)[1:])
    _, signs, right = texts(rng, 2000)
    chance = made.chance(signs)
    for name in WORTH:
        assert chance[signs.kind == name].mean() == pytest.approx(right[signs.kind == name].mean(), abs=0.04)
    sure = (signs.kind == "copied") & (signs.log > -0.2)
    assert chance[sure].mean() == pytest.approx(right[sure].mean(), abs=0.03) and right[sure].mean() > 0.97
    assert made.chance(one("never seen", -0.1))[0] == pytest.approx(0.8, abs=0.2)
    assert np.isnan(made.chance(one("copied", np.nan)))[0]


def test_a_second_opinion_is_worth_what_it_was_worth() -> None:
    """A forecast that has none is as likely right as it ever was."""
    rng = np.random.default_rng(4)
    made = Sureness.fit(*texts(rng, 600, seen=0.5)[1:])
    _, signs, right = texts(rng, 2000, seen=0.5)
    chance = made.chance(signs)
    for opinion in (WISE, 1 - WISE):
        mine = signs.backing == opinion
        assert chance[mine].mean() == pytest.approx(opinion, abs=0.04) == pytest.approx(right[mine].mean(), abs=0.08)
    unseen = (signs.kind == "forecast") & np.isnan(signs.backing)
    assert chance[unseen].mean() == pytest.approx(0.5, abs=0.05)


def kept_of(seed: int, seen: float) -> tuple[float, float, float]:
    """Of texts: share of which all that is kept is right; share of statements kept, with our chance and with the model's own."""
    rng = np.random.default_rng(seed)
    whole, kept, plain = [], [], []
    for _ in range(60):
        made = fitted(rng, seen=seen)
        query, signs, right = texts(rng, 200, seen)
        keep = made.keep(signs)
        whole.append(1 - len(np.unique(query[keep & ~right])) / 200)
        kept.append(keep.mean())
        before, judged, true = texts(rng, 99, seen)
        plain.append(Claims.fit(before, judged.log, true, 0.1).keep(signs.log).mean())
    return float(np.mean(whole)), float(np.mean(kept)), float(np.mean(plain))


def test_all_that_is_stood_for_is_right_as_often_as_promised_and_more_is_kept_than_by_the_models_own_probability() -> (
    None
):
    whole, kept, plain = kept_of(1, seen=0.0)
    assert whole == pytest.approx(0.9, abs=0.02) and kept > plain + 0.2
    aided, more, _ = kept_of(1, seen=1.0)
    assert aided == pytest.approx(0.9, abs=0.02) and more > kept + 0.01


def test_reads_back_what_it_wrote() -> None:
    made = fitted(np.random.default_rng(2), seen=0.5)
    again = Statements.from_json(json.loads(json.dumps(made.to_json())))
    signs = texts(np.random.default_rng(3), 50, seen=0.5)[1]
    np.testing.assert_array_equal(made.keep(signs), again.keep(signs))


@pytest.mark.parametrize("value, low, high", [(True, 0.9, 1.0), (False, 0.0, 0.1)])
def test_rows_that_are_all_right_or_all_wrong(value: bool, low: float, high: float) -> None:
    made = Sureness.fit(one("a", 0.0)[np.zeros(20, int)], np.full(20, value))
    assert low < made.chance(one("a", 0.0))[0] < high


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UserError, match="give one at least"):
        Sureness.fit(one("a", 0.0)[np.zeros(0, int)], np.zeros(0, bool))
    with pytest.raises(UserError, match="each with log"):
        Sureness.fit(one("a", np.nan), np.ones(1, bool))
