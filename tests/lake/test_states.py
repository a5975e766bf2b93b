from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.lake.states import NEAR, Key, drop_near, near_pairs, readings_of

TIME = pd.Timestamp("2024-01-01")


def frame(rows: list[tuple[str, int, str, str, float, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["episode", "time", "asset", "quantity", "value", "dimension"])
    return table.assign(time=TIME + pd.to_timedelta(table["time"], unit="h")).astype({"time": "datetime64[ms]"})


def test_each_state_gets_its_own_readings() -> None:
    rows = [("e", 0, "a", "level", 1.0, "physical"), ("e", 0, "a", "hour", 5.0, "abstract"), ("e", 1, "a", "level", 2.0, "physical"),
            ("f", 1, "b", "level", 3.0, "physical"), ("f", 2, "b", "level", 4.0, "physical")]  # fmt: skip
    at = [
        Key("e", TIME),
        Key("f", TIME + pd.Timedelta(hours=1)),
        Key("f", TIME + pd.Timedelta(hours=2)),
        Key("g", TIME),
    ]
    readings = readings_of(frame(rows), at)
    assert readings.keys == tuple(at[:3])
    assert readings.values == ({("a", "level"): 1.0, ("a", "hour"): 5.0}, {("b", "level"): 3.0}, {("b", "level"): 4.0})
    spread = np.std([1.0, 3.0, 4.0])
    assert readings.physical.shape == (3, 2)
    np.testing.assert_allclose(readings.physical[2, 1] - readings.physical[1, 1], 1 / spread, rtol=1e-5)
    assert np.isnan(readings.physical[0, 1]) and np.isnan(readings.physical[1, 0])


def test_no_state_at_all_is_no_error() -> None:
    readings = readings_of(frame([]), [Key("e", TIME)])
    assert readings.keys == () and len(near_pairs(readings.physical)) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 30))
def test_pairs_equal_a_comparison_one_by_one(seed: int, states: int, signals: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 2, (states, signals)) * 1.0 + rng.uniform(-1, 1, (states, signals)) * 0.04
    table[rng.random(table.shape) < 0.2] = np.nan
    table[rng.random(states) < 0.4] = table[0]
    expected = set()
    for i in range(states):
        for j in range(i + 1, states):
            gaps = np.abs(table[i] - table[j])
            gaps = gaps[~np.isnan(gaps)]
            if 2 * len(gaps) >= signals and (gaps <= NEAR).all():
                expected.add((i, j))
    assert set(map(tuple, near_pairs(table).tolist())) == expected


def test_one_differing_signal_of_many_makes_two_states() -> None:
    table = np.zeros((2, 600), dtype=np.float32)
    assert near_pairs(table).tolist() == [[0, 1]]
    table[1, 400] = NEAR * 1.01
    assert near_pairs(table).tolist() == []


@pytest.mark.parametrize(
    ("splits", "dropped"),
    [
        (("train", "train"), [1]),
        (("test", "test"), [1]),
        (("train", "test"), [0]),
        (("shift", "train"), [1]),
        (("calibration", "train"), [1]),
        (("calibration", "test"), []),
        (("test", "shift"), []),
    ],
)
def test_train_yields_and_the_later_state_of_a_split_goes(splits: tuple[str, str], dropped: list[int]) -> None:
    assert drop_near(np.array([[0, 1]]), splits).tolist() == dropped
    assert drop_near(np.empty((0, 2), int), splits).tolist() == []


@given(st.data())
def test_no_forbidden_pair_is_left(data: st.DataObject) -> None:
    splits = data.draw(st.lists(st.sampled_from(["train", "calibration", "test", "shift"]), min_size=2, max_size=12))
    places = st.integers(0, len(splits) - 1)
    pairs = data.draw(st.lists(st.tuples(places, places).filter(lambda p: p[0] < p[1]), unique=True, max_size=20))
    gone = set(drop_near(np.array(sorted(pairs)).reshape(-1, 2), splits).tolist())
    left = [(i, j) for i, j in pairs if i not in gone and j not in gone]
    assert all(splits[i] != splits[j] and "train" not in (splits[i], splits[j]) for i, j in left)
    assert len(gone) <= len(pairs)
