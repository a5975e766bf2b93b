from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinforge.lake.quality import Checked, check_readings
from twinforge.records import OBSERVATION, Signal

SIGNALS = (
    Signal("level", "m", 0, 10, "physical"),
    Signal("status", "1", 0, 1, "physical"),
    Signal("forecast", "m", -10, 20, "computational"),
)
START = pd.Timestamp("2024-01-01")


def readings(
    values: list[float], quantity: str = "level", asset: str = "a", episode: str = "e", **other: Any
) -> pd.DataFrame:
    signal = next((s for s in SIGNALS if s.name == quantity), Signal(quantity, "m", 0, 1, "physical"))
    row = {
        "episode": episode,
        "asset": asset,
        "quantity": quantity,
        "unit": signal.unit,
        "dimension": signal.dimension,
        "quality": "good",
    }
    times = [START + pd.Timedelta(hours=i) for i in range(len(values))]
    return pd.DataFrame({**row, "time": times, "value": values, **other})[OBSERVATION.names]


def check(*frames: pd.DataFrame, jump: float = 0.5) -> Checked:
    return check_readings(pd.concat(frames, ignore_index=True), SIGNALS, jump)


def test_sound_readings_pass_untouched() -> None:
    frame = pd.concat(
        [readings([1, 2, 3, 4]), readings([0, 1, 0, 1], "status"), readings([0, 10], asset="b", episode="f")]
    )
    checked = check(frame)
    assert checked.dropped == {} and checked.flagged == {}
    assert checked.read == len(checked.readings) == len(frame)


ODD = readings([5.0])
CASES = {
    "unknown quantity": readings([0.5], "colour"),
    "wrong unit": ODD.assign(unit="cm"),
    "out of range": ODD.assign(value=10.01),
}


@pytest.mark.parametrize("reason", CASES)
def test_an_impossible_reading_is_dropped_with_its_reason(reason: str) -> None:
    odd = CASES[reason]
    checked = check(readings([1, 2, 3], asset="b"), odd)
    assert checked.dropped == {reason: {odd["quantity"].iat[0]: 1}}
    assert set(checked.readings["asset"]) == {"b"} and len(checked.readings) == 3


def test_the_ends_of_the_range_are_inside() -> None:
    assert len(check(readings([0.0, 10.0])).readings) == 2


def test_a_repeat_is_kept_once_and_contradictions_are_dropped_altogether() -> None:
    repeat = check(readings([1, 2]), readings([1]))
    assert repeat.dropped == {"repeat": {"level": 1}} and repeat.readings["value"].tolist() == [1, 2]
    contradiction = check(readings([1, 2]), readings([3]))
    assert contradiction.dropped == {"contradiction": {"level": 2}} and contradiction.readings["value"].tolist() == [2]
    other_asset = check(readings([1, 2]), readings([3], asset="b"))
    assert other_asset.dropped == {}


@pytest.mark.parametrize(("spike", "dropped"), [(6.3, True), (6.1, False)])
def test_a_leap_there_and_back_is_impossible_only_above_the_limit(spike: float, dropped: bool) -> None:
    checked = check(readings([1, 1.2, spike, 1.1, 1]))
    assert checked.dropped == ({"impossible jump": {"level": 1}} if dropped else {})
    assert (spike in checked.readings["value"].tolist()) is not dropped


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(readings([1, 1, 9, 9, 9]), id="a step stays"),
        pytest.param(readings([9, 1, 1, 1, 9]), id="the ends have one neighbour"),
        pytest.param(readings([0, 0, 1, 0, 0], "status"), id="switches leap"),
        pytest.param(readings([-9, 19, -9, 19], "forecast"), id="a computed value isn't measured"),
        pytest.param(
            pd.concat([readings([1.0]), readings([9.0], asset="b"), readings([1.0], asset="c")]), id="assets differ"
        ),
        pytest.param(
            pd.concat([readings([1.0]), readings([9.0], episode="f"), readings([1.0], episode="g")]),
            id="episodes differ",
        ),
    ],
)
def test_what_only_looks_like_a_leap_stays(frame: pd.DataFrame) -> None:
    assert check(frame).dropped == {}


def test_missing_readings_and_gaps_are_counted() -> None:
    gap = readings([1, 2, 3, 4]).drop(index=2)
    silent = readings([1, np.nan, 3, 4], asset="b", quality=["good", "missing", "good", "good"])
    checked = check(gap, silent, readings([1, 2], asset="c", episode="f"))
    assert checked.flagged == {"gap": {"level": 1}, "marked missing": {"level": 1}}
    assert len(checked.readings) == 3 + 3 + 2


def test_a_suspect_reading_is_flagged_and_kept() -> None:
    checked = check(readings([1, 2], quality=["good", "suspect"]))
    assert checked.flagged == {"suspect": {"level": 1}} and len(checked.readings) == 2


def test_the_counts_add_up_whatever_is_wrong() -> None:
    rng = np.random.default_rng(3)
    frames = [readings(rng.uniform(-2, 12, 30).tolist(), asset=a, episode=e) for a in "abc" for e in "ef"]
    frame = pd.concat([*frames, frames[0].iloc[:5], frames[1].iloc[5:9].assign(value=7.0), readings([1], "colour")])
    checked = check(frame.sample(frac=1, random_state=1), jump=0.3)
    gone = sum(n for counts in checked.dropped.values() for n in counts.values())
    assert set(checked.dropped) == {"unknown quantity", "out of range", "repeat", "contradiction", "impossible jump"}
    assert checked.read == len(frame) == len(checked.readings) + gone
    assert not checked.readings.duplicated(["episode", "time", "asset", "quantity"]).any()
    assert checked.readings.sort_values(["episode", "time"], kind="stable").index.is_monotonic_increasing
