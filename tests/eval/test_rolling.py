"""Answers become readings, a reading of the sensors wipes them out, and one wrong on purpose is followed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eval.rolling import AT, NEVER, ROLL, SIMULATOR, TWIN, WRONG, Own, policies, roll
from tests.eval.rolling import MIDDLE, Tanks, growing
from twinforge.records import LLM


def test_every_answer_becomes_the_next_reading() -> None:
    drifting = lambda model, frame: [np.eye(302)[int(f[0][0]) + 1] for f in frame["features"]]  # noqa: E731
    rows = roll([Tanks()], [Own(NEVER, 0, 10, (TWIN,))], drifting)
    assert list(rows.columns) == ROLL.names and len(rows) == 20
    for _, own in rows.groupby("asset"):
        np.testing.assert_array_equal(own["said"], MIDDLE + np.arange(1, 11))
        np.testing.assert_array_equal(own["step"], np.arange(1, 11))
    assert (
        (rows["truth"] == MIDDLE).all()
        and not rows["refused"].any()
        and (rows["time"].diff().dropna() >= pd.Timedelta(0)).all()
    )


def test_a_reading_wipes_out_what_was_said_before() -> None:
    drifting = lambda model, frame: [np.eye(302)[int(f[0][0]) + 1] for f in frame["features"]]  # noqa: E731
    rows = roll([Tanks()], [Own("every 4", start, start + 4, (TWIN,)) for start in range(0, 96, 4)], drifting)
    np.testing.assert_array_equal(rows["said"], MIDDLE + rows["step"] - rows["seen"])
    assert rows["step"].max() == 96 and rows.duplicated(["asset", "step"]).sum() == 0


def test_a_wrong_answer_is_followed_where_it_goes() -> None:
    plans = [Own(NEVER, 0, 16, (TWIN,)), Own("wrong answer", 0, 16, (TWIN,))]
    rows = roll([Tanks()], plans, growing(0.5, 0.1))
    said = rows.pivot(index="step", columns=["policy", "asset"], values="said")
    moved = said["wrong answer"] - said[NEVER]
    assert (moved.loc[: AT - 1] == 0).all(None)
    assert list(moved.loc[AT]) == [30, 0] and list(moved.loc[AT + 1]) == [15, 3]
    assert rows["injected"].abs().gt(0).sum() == 1


def test_the_same_state_is_asked_once() -> None:
    asked = []

    def counting(model: str, frame: pd.DataFrame) -> list[np.ndarray]:
        asked.append(len(frame))
        return growing(1.0)(model, frame)

    roll([Tanks()], [Own(NEVER, 0, 8, (TWIN,)), Own("every 4", 0, 4, (TWIN,)), Own(SIMULATOR, 0, 1, (TWIN,))], counting)
    assert asked == [2] * 8


def test_a_refusal_is_told_and_the_median_of_the_rest_taken() -> None:
    p = np.zeros(302)
    p[[50, -1]] = 0.2, 0.8
    rows = roll([Tanks()], [Own(NEVER, 0, 2, (LLM,))], lambda model, frame: [p] * len(frame))
    assert rows["refused"].all() and (rows["said"] == 50).all()


def test_what_is_rolled() -> None:
    for steps in (12, 96):
        plans = policies(steps)
        assert all(0 <= own.first < own.last <= steps for own in plans)
        assert {own.last for own in plans if own.policy == "every 4"} >= {4, steps}
        assert Own(NEVER, 0, steps) in plans and {own.policy for own in plans} >= set(WRONG)
        assert all(own.last - own.first == 4 for own in plans if own.policy == "every 4")
    assert sum(own.policy == "every 16" for own in policies(96)) == 2
