"""Windows alternate, one process works at a time, and figures are what the processes did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import speed
from benchmarks.speed import Running, Way, agreement, measured, rate
from twinforge.errors import UserError


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SCRATCH", tmp_path)


def way(name: str, pause: float, **job: object) -> Way:
    return Way(name, "", "tests.benchmarks.scripted", {"pause": pause, **job})


def test_one_works_at_a_time_in_the_order_asked() -> None:
    rounds = [[("quick", "a"), ("slow", "a"), ("quick", "b")], [("quick", "a"), ("slow", "a")]]
    found = measured([way("quick", 0.01), way("slow", 0.05)], rounds, 0.2)
    assert {name: {k: len(w) for k, w in one.windows.items()} for name, one in found.items()} == {
        "quick": {"a": 2, "b": 1},
        "slow": {"a": 2},
    }
    order = [found[name].windows[questions][turn]["span"] for turn, pairs in enumerate(rounds) for name, questions in pairs
             if questions == "a" or turn == 0]  # fmt: skip
    assert all(before[1] <= after[0] for before, after in zip(order, order[1:], strict=False))
    quick, slow = (rate(found[name].windows["a"]) for name in ("quick", "slow"))
    assert 1.5 < quick["value"] / slow["value"] < 7 and 20 < slow["value"] <= 40
    assert quick["windows"] == 2 and quick["low"] <= quick["value"] <= quick["high"] and quick["seconds"] >= 0.4
    window = found["slow"].windows["a"][0]
    assert 0.2 <= window["seconds"] < 2 and 0 <= window["cores"] < 0.9  # it slept
    assert all(5e6 < one.peak_bytes < 4e9 and one.versions == {"numpy": np.__version__} for one in found.values())


def test_a_window_holds_at_least_one_piece_of_work() -> None:
    with Running(way("slow", 0.1)) as running:
        found = running.window("a", 0.0)
    assert found["answers"] == 2 and found["seconds"] >= 0.1


def test_a_way_that_breaks_is_named_with_its_last_words() -> None:
    with pytest.raises(UserError, match=r"(?s)slow: ended with 1; .*scripted-0.log ends with: .*no room for these"):
        measured([way("slow", 0.0, breaks="b")], [[("slow", "a"), ("slow", "b")]], 0.05)


def test_rates_weigh_windows_by_their_seconds() -> None:
    found = rate([{"answers": 10, "seconds": 1.0}, {"answers": 10, "seconds": 4.0}])
    assert (found["value"], found["low"], found["high"], found["answers"]) == (4.0, 2.5, 10.0, 20)
    assert rate([{"answers": 1, "tokens": 50, "seconds": 5.0}], "tokens")["value"] == 10


def test_agreement_counts_what_both_answered() -> None:
    assert agreement({"p": "A", "q": "B", "r": "C"}, {"p": "A", "q": "C", "s": "C"}) == {"value": 0.5, "n": 2}
