from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.errors import UserError
from twinforge.lake.splits import Splits, check_horizons, split_episodes

SHARES = {"validation": 0.1, "calibration": 0.2, "test": 0.2}


def days(calm: int, shifted: int = 0, hours: float = 24) -> pd.DataFrame:
    start = pd.date_range("2024-01-01", periods=calm + shifted)
    return pd.DataFrame(
        {
            "episode": [f"day-{i}" for i in range(calm + shifted)],
            "start": start,
            "end": start + pd.Timedelta(hours=hours),
            "regime": ["calm"] * calm + ["storm"] * shifted,
        }
    )


@given(calm=st.integers(20, 200), shifted=st.integers(0, 20), seed=st.integers(0, 10**6))
def test_the_splits_are_a_partition_of_the_asked_sizes(calm: int, shifted: int, seed: int) -> None:
    splits = split_episodes(days(calm, shifted), **SHARES, seed=seed)
    count = pd.Series(splits.of).value_counts()
    assert sorted(splits.of) == sorted(days(calm, shifted)["episode"])
    assert count["test"] == round(0.2 * calm) and count["calibration"] == round(0.2 * calm)
    assert count.get("shift", 0) == shifted
    assert all(splits.of[name] == "train" for name in splits.validation)
    assert len(splits.validation) == round(0.1 * count["train"])


def test_every_calm_day_is_as_likely_to_test_and_no_shifted_day_ever_does() -> None:
    draws = 500
    hits = np.array([[splits_of[f"day-{i}"] == "test" for i in range(30)] for splits_of in _draws(draws)]).mean(axis=0)
    noise = 4.5 * np.sqrt(0.2 * 0.8 / draws)  # thirty shares, of which one leaves this band once in 5,000 runs
    assert np.abs(hits[:25] - 0.2).max() < noise
    assert np.ptp(hits[:25]) > 0
    assert hits[25:].max() == 0


def _draws(n: int) -> list[dict[str, str]]:
    episodes = days(25, 5)
    return [split_episodes(episodes, **SHARES, seed=seed).of for seed in range(n)]


def test_the_seed_alone_decides() -> None:
    once, again, other = (split_episodes(days(40), **SHARES, seed=seed) for seed in (1, 1, 2))
    assert once == again != other


def test_too_few_days_are_refused() -> None:
    smallest = split_episodes(days(4), **SHARES, seed=0)
    assert sorted(smallest.part(name) for name in smallest.of) == ["calibration", "test", "train", "validation"]
    with pytest.raises(UserError, match=r"3 calm episode\(s\).*lake.days"):
        split_episodes(days(3), **SHARES, seed=0)


def test_a_horizon_that_reaches_into_another_split_names_both_episodes() -> None:
    with pytest.raises(UserError, match=r"'day-\d+' \(\w+\) reaches to .* into episode 'day-\d+' \(\w+\)"):
        split_episodes(days(20, hours=25), **SHARES, seed=0)


def test_only_another_part_is_trespassed_on() -> None:
    long, short = days(3, hours=30), days(3, hours=24)
    same = Splits({f"day-{i}": "train" for i in range(3)}, frozenset())
    check_horizons(long, same)
    for mixed in (Splits({**same.of, "day-1": "test"}, frozenset()), Splits(same.of, frozenset({"day-1"}))):
        check_horizons(short, mixed)
        with pytest.raises(UserError, match="'day-0'.*'day-1'"):
            check_horizons(long, mixed)


def test_a_long_episode_is_seen_behind_a_short_one() -> None:
    episodes = days(3, hours=10)
    episodes["end"] = [episodes["start"].iloc[2] + pd.Timedelta(hours=1), *episodes["end"].iloc[1:]]
    with pytest.raises(UserError, match="'day-0'.*'day-2'"):
        check_horizons(episodes, Splits({"day-0": "train", "day-1": "train", "day-2": "shift"}, frozenset()))
