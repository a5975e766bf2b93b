"""The model card parses as the Hub's does and shows every model's figures with intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.test_manifest import ABOUT as MANIFEST
from twinforge.card import About, card, eval_results, figure, table

ABOUT = About(
    "The twin of toys", "Answers about toys.", "apache-2.0", {"train": 7, "test": 3}, {"seed": "17"}, 0.1, 0.05, 0.1
)


def cell(value: float, n: int = 40) -> dict[str, Any]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": n, "better": "higher"}


METRICS = {
    "quality": {
        "test": {
            "all": {"accuracy": {"twin": cell(0.912), "llm": cell(0.85), "base": cell(0.31), "rule": cell(0.8)}},
            "what-if": {
                "accuracy": {"twin": cell(0.9), "llm": {**cell(0.0), "value": None}},
                "coverage": {"twin": cell(0.93)},
            },
        },
        "shift": {"all": {"coverage": {"twin": {"value": 0.8, "low": None, "high": None, "n": 9, "better": "inside"}}}},
    }
}


@pytest.fixture
def loaded(tmp_path: Path) -> ModelCard:
    path = tmp_path / "README.md"
    path.write_text(card(ABOUT, MANIFEST, METRICS), encoding="utf-8")
    return ModelCard.load(path, ignore_metadata_errors=False)


def test_the_hub_reads_its_metadata(loaded: ModelCard) -> None:
    data = loaded.data
    assert (data.library_name, data.license, data.base_model) == ("peft", "apache-2.0", "some/base")
    assert "digital-twin" in data.tags
    results = {(r.metric_name, r.dataset_config): r.metric_value for r in data.eval_results}
    assert results[("accuracy (twin, all)", "all")] == 0.912
    assert results[("accuracy (llm, all)", "all")] == 0.85
    assert results[("coverage (twin, what-if)", "what-if")] == 0.93


def test_only_test_figures_of_twin_and_llm_become_results() -> None:
    assert {r.dataset_split for r in eval_results("toy", METRICS)} == {"test"}
    assert {r.metric_config for r in eval_results("toy", METRICS)} == {"twin", "llm"}


def test_figures_stand_beside_baselines_with_intervals(loaded: ModelCard) -> None:
    text = loaded.text
    assert "| skill | n | twin | llm | base | rule |" in text
    assert "| all | 40 | 0.912 [0.892, 0.932] | 0.85 [0.83, 0.87] | 0.31 [0.29, 0.33] | 0.8 [0.78, 0.82] |" in text
    assert "| all | 9 | 0.8 |" in text
    assert "split `shift`" in text


def test_reports_have_their_own_promise_where_they_were_written(loaded: ModelCard) -> None:
    assert "Free reports" not in loaded.text
    told = {"all_true": {"twin": cell(0.95)}, "wrong": {"llm": cell(0.2)}, "told": {"twin": cell(0.23)}}
    text = card(ABOUT, MANIFEST, {**METRICS, "hallucination": {"test": {"all": told}}})
    assert "| test | 40 | 0.95 [0.93, 0.97] |  | 0.23 [0.21, 0.25] |" in text
    assert "In 90% of free reports like those of `test`" in text


@pytest.mark.parametrize("heading", ["## How to use it", "## Data", "## Training", "## Figures", "## Limits"])
def test_it_says_what_a_reader_asks(loaded: ModelCard, heading: str) -> None:
    assert heading in loaded.text


def test_the_limit_of_the_base_weights_is_told(loaded: ModelCard) -> None:
    assert MANIFEST.base["sha256"] in loaded.text
    assert "at least 90%" in loaded.text


def test_a_twin_without_figures_still_has_a_card() -> None:
    parsed = ModelCard(card(replace(ABOUT, counts={}), MANIFEST, {}))
    assert parsed.data.eval_results is None


def test_figure_and_table() -> None:
    assert figure({"value": 0.5}) == "0.5"
    assert figure({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.5 [0.4, 0.6]"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
