"""The drift suite on stretches whose rates are known: neither the detector that always alarms nor the one that never does looks good."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eval.blocks import drift_blocks
from eval.evidence import Evidence
from eval.suites import drift
from tests.eval import synthetic


def suite(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    result = drift.run(Evidence(pd.DataFrame(), {}, {}, 0.1, 500, 0, drift=rows))
    return {split: skills for split, skills in result.measures.items()}


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, dict[str, float]]]:
    found = suite(synthetic.drift_runs())
    whole = {**found["test"]["loading"], **found["shift"]["bias"]}
    return {name: {model: entry["value"] for model, entry in models.items()} for name, models in whole.items()}


def test_values_are_those_of_the_construction(cells: dict[str, dict[str, float]]) -> None:
    assert cells["found"] == {"soon": 1.0, "late": 0.0, "always": 0.0, "never": 0.0}
    assert cells["missed"] == {"soon": 0.0, "late": 0.0, "always": 0.0, "never": 1.0}
    assert cells["delay"] == {"soon": 5.0, "late": 100.0}
    assert cells["right_asset"] == cells["right_dimension"] == {"soon": 1.0, "late": 0.0}
    assert cells["false_alarms"] == pytest.approx({"soon": 0, "late": 5 / 3.36, "always": 1000, "never": 0})


def test_always_and_never_alarming_look_bad_in_at_least_one_measure_each(cells: dict[str, dict[str, float]]) -> None:
    assert cells["early"]["always"] == 1.0 and cells["found"]["always"] == 0.0
    assert cells["missed"]["never"] == 1.0 and cells["found"]["never"] == 0.0


def test_intervals_hold_the_value_and_narrow_with_more_assets() -> None:
    few, many = (suite(synthetic.drift_runs(n))["test"]["loading"]["false_alarms"] for n in (6, 60))
    for entries in (few, many):
        for entry in entries.values():
            assert entry["low"] - 1e-9 <= entry["value"] <= entry["high"] + 1e-9
    width = [entries["late"]["high"] - entries["late"]["low"] for entries in (few, many)]
    assert width[1] < 0.6 * width[0]
    assert few["never"]["high"] == pytest.approx(1000 * -np.log(0.025) / (6 * 336))


def test_nothing_watched_measures_nothing() -> None:
    assert suite(pd.DataFrame()) == {} and drift_blocks({}) == []


def test_the_report_has_a_table_a_measure() -> None:
    made = drift_blocks(suite(synthetic.drift_runs()))
    assert [block.title for block in made] == [name.replace("_", " ") for name in drift.TOTALS]
    found = next(block for block in made if block.title == "found")
    assert found.models == ("always", "late", "never", "soon") and [row.name for row in found.rows] == ["bias"]
