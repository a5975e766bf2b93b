"""Weights that follow the state: a right gradient, fixed where nothing is to be found, and better where there is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.weights import Rows, compared, cross_validated, fit_gate, gated, weights_table
from pipelines.integrate import Fact
from tests.eval import synthetic
from twinforge.records import PARTS


def facts_of(n: int, told: bool, seed: int = 0) -> list[Fact]:
    """The language model is right and sure, or useless and unsure, by turns; the others are middling. Not `told`: it is as sure when useless."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        truth = int(rng.integers(3))

        def sure(share: float, at: int) -> np.ndarray:
            return np.where(np.arange(3) == at, share, (1 - share) / 2)

        good = rng.random() < 0.5
        own = sure(0.8, truth) if good else sure(0.45 if told else 0.8, int(rng.integers(3)))
        others = [sure(0.6, truth if rng.random() < 0.6 else int(rng.integers(3))) for _ in range(2)]
        parts = {"llm": own, "boost": others[0], "rule": others[1]}
        made.append(Fact(parts, truth, "what-if/choice", f"day-{i // 10:02}"))
    return made


def test_the_gradient_is_right() -> None:
    rng = np.random.default_rng(1)
    logs = np.log(rng.dirichlet(np.ones(4), size=(20, 3)))
    absent = np.zeros((20, 4), bool)
    absent[:7, 3] = True
    rows = Rows(logs, absent, rng.integers(0, 3, 20), rng.uniform(0.1, 1, (20, 3)), rng.normal(size=(20, 6)))
    gate = rng.normal(0, 0.3, (3, 6))
    _, slope = rows.loss(gate)
    for at in ((0, 0), (1, 3), (2, 5)):
        step = np.zeros((3, 6))
        step[at] = 1e-6
        numeric = (rows.loss(gate + step)[0] - rows.loss(gate - step)[0]) / 2e-6
        assert slope[at] == pytest.approx(numeric, rel=1e-4)
    assert rows.losses(gate).sum() == pytest.approx(rows.loss(gate)[0])
    assert np.abs(fit_gate(rows, 1e6)).max() < 1e-3 < np.abs(fit_gate(rows, 1.0)).max()


def test_a_gate_of_nothing_leaves_the_fixed_weights_and_none_changes_their_sum() -> None:
    rng = np.random.default_rng(2)
    fixed, state = rng.uniform(0.1, 1, (9, 3)), rng.normal(size=(9, 6))
    np.testing.assert_allclose(gated(fixed, state, np.zeros((3, 6))), fixed)
    moved = gated(fixed, state, rng.normal(size=(3, 6)))
    np.testing.assert_allclose(moved.sum(axis=1), fixed.sum(axis=1))
    assert np.abs(moved - fixed).max() > 0.1


@pytest.mark.parametrize("told", [True, False])
def test_the_state_is_followed_where_it_tells_whom_to_trust(told: bool) -> None:
    best = cross_validated(facts_of(300, told)).set_index("penalty").loc[3.0]
    assert (best["gain"] > 2 * best["error"] > 0) if told else (best["gain"] < 2 * best["error"])


def test_the_ways_are_compared_on_any_split() -> None:
    """Where the language model is misled as a side lies, equal weights trust it more than those fitted when it was the worst."""
    learnt = synthetic.questions(16, 6, "train", seed=1).assign(validation=True)
    lying = synthetic.questions(8, 6, "lying P", seed=2).assign(validation=False)
    questions = pd.concat([learnt, lying], ignore_index=True)
    rates = dict(zip(PARTS, (0.3, 0.9, 0.9), strict=True))
    known = {
        model: synthetic.answers(questions, rate, seed=i).set_index("question")["p"].to_dict()
        for i, (model, rate) in enumerate(rates.items())
    }
    result = compared(questions, known, ["lying P"])
    ways = result["splits"]["lying P"]
    assert set(result["splits"]) <= {"lying P", "lying P, rule wrong"} and set(ways) == {"uniform", "fixed", "state"}
    assert ways["fixed"]["n"] == len(lying) and ways["fixed"]["accuracy"]["lead"] == 0
    assert ways["uniform"]["log_score"]["high"] < 0  # nats behind the fixed ones
    assert "| lying P | following the state |" in weights_table(result)
