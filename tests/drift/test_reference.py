"""The reference: what is kept, watched, named and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import twinforge.drift.reference as module
from tests.drift.test_whitening import autoregression
from twinforge.drift import CUSUM, PageHinkley, Reference, deviations, since
from twinforge.drift.trial import trial, vector_trial
from twinforge.errors import UserError

NAMES = tuple((f"A{i}", "level", "physical" if i < 4 else "abstract") for i in range(8))
PHI = (0.0, 0.9, 0.5, 0.0, 0.8, 0.0, 0.95, 0.3)


def world(n: int, seed: int) -> np.ndarray:
    return np.column_stack([5 + 2 * autoregression(n, phi, seed=seed + i) for i, phi in enumerate(PHI)])


@pytest.fixture(scope="module")
def reference() -> Reference:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCALAR", (CUSUM(effort=200_000), PageHinkley))
        made = Reference(1000).with_streams(NAMES, world(3000, 0), seed=0)
    return made.with_vectors("words", np.random.default_rng(0).normal(size=(2500, 4)), seed=0, block=10)


def test_it_is_read_back_as_it_was(reference: Reference, tmp_path: Path) -> None:
    reference.save(tmp_path / "drift.json")
    again = Reference.load(tmp_path / "drift.json")
    assert again == reference
    x = world(500, 90)
    np.testing.assert_array_equal(again.whiten(NAMES, x), reference.whiten(NAMES, x))
    one = json.loads((tmp_path / "drift.json").read_text())["streams"][1]
    assert set(one["thresholds"]) == {"cusum", "page-hinkley"} and one["thresholds"]["cusum"]["run_length"] >= 1000
    assert one["n"] == 3000 and len(one["data"]) == 64 and one["whitener"]["phi"][0] == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("text", ["{}", '{"format": 99}', '{"format": 1, "run_length": 5, "streams": [{}]}', "[]"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "drift.json").write_text(text)
    with pytest.raises(UserError, match=r"drift\.json: not a drift reference"):
        Reference.load(tmp_path / "drift.json")


def test_what_never_moves_is_left_out_and_not_alarmed_on(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCALAR", (CUSUM(effort=50_000),))
    x = world(3000, 0)
    x[:, 3] = 7.0
    made = Reference(1000).with_streams(NAMES, x, seed=0)
    assert [each.asset for each in made.streams] == ["A0", "A1", "A2", "A4", "A5", "A6", "A7"]
    z = made.whiten(NAMES, x)
    assert np.isnan(z[:, 3]).all() and ("A3", "level") not in made.watched


def test_a_shift_is_found_and_named_and_without_one_the_names_are_chance(reference: Reference) -> None:
    right = []
    for run in range(24):
        column, x = run % 8, world(700, 200 + 10 * run)
        x[400:, column] += 12.0
        found = trial(reference, CUSUM(), NAMES, reference.whiten(NAMES, x), column, 400)
        assert found.steps == 300 and found.delay >= 1
        right.append(found.named_asset == NAMES[column][0] and found.named_dimension == NAMES[column][2])
    assert np.mean(right) > 0.85
    z = np.random.default_rng(0).normal(size=(400, 300, 8))
    named = [int(np.argmax(deviations(each, since(each[:, 0])))) for each in z]
    assert 1 / 8 < np.mean(np.array(named) == 0) < 0.75  # its own worst stretch was picked, so more than one in eight


def test_gaps_are_passed_over_and_steps_stay_those_of_the_stream(reference: Reference) -> None:
    z = np.random.default_rng(0).normal(0, 0.5, 300)
    z[200:] += 4
    z[150:200] = np.nan
    assert 200 <= reference.alarms(CUSUM(), "A0", "level", z)[0] < 206


def test_vectors_of_another_law_are_found(reference: Reference) -> None:
    x = np.random.default_rng(5).normal(size=(400, 4))
    x[250:] += 1.0
    found = vector_trial(reference, "words", x, 250)
    assert not found.early and 1 <= found.delay < 60 and found.named_asset == ""


def test_since_finds_where_a_shift_began() -> None:
    z = np.random.default_rng(1).normal(size=300)
    z[260:] += 2
    assert abs(since(z) - 260) <= 4
    z[100:] = np.nan
    z[40:100] += 3
    assert abs(since(z) - 40) <= 4
