"""The README's tables come from the stored measures, and nothing else in it is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.gate import verdict
from pipelines import Paths, readme
from twinforge.errors import UserError
from twinforge.files import write_json

TEXT = "# before\n<!-- accuracy toy -->\nold\n<!-- end -->\nbetween\n<!-- speed -->\n<!-- end -->\nafter\n"


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/results.md").write_text("<!-- results toy -->\nold\n<!-- end -->\n", encoding="utf-8")
    Path("README.md").write_text(TEXT, encoding="utf-8")


def entry(value: float) -> dict[str, object]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 40, "better": "higher"}


def test_tables_are_put_in_their_places() -> None:
    coverage = {"twin": {**entry(0.92), "band_low": 0.81, "ok": True}}
    online = {"coverage_online": {"twin": entry(0.9)}, "answered_wrong": {"twin": entry(0.04)}}
    cells = {
        "all": {
            "accuracy": {"twin": entry(0.8), "rule": entry(0.7), "copy": {**entry(0.9), "n": 9}},
            "coverage": coverage,
            **online,
        }
    }
    sets = {name: {**cells["all"], "set_f1": {"twin": entry(0.6)}} for name in ("all", "dependency")}
    cells = {**sets, "standard": cells["all"]}
    write_json({"quality": {"test": cells, "shift": cells}}, Paths("toy").metrics)
    readme.main("toy")
    readme.fill("speed", "fast")
    text = Path("README.md").read_text(encoding="utf-8")
    assert "\nold\n" not in text and text.startswith("# before\n<!-- accuracy toy -->\n**Accuracy on `test`")
    assert "| all | 40 | **80.0 [70, 90]** | 70.0 [60, 80] | 90.0 [80, 100] of 9 |" in text and "or more" not in text
    page = Path("docs/results.md").read_text(encoding="utf-8")
    assert "| all | 40 | **80.0 [70, 90]** |" in page and "0.810 or more: kept" in page and "\nold\n" not in page
    assert "| shift | 0.92 [0.82, 1.02] | 0.90 [0.80, 1.00] |  |  | 0.04 [-0.06, 0.14] |" in page
    assert "| dependency | 40 | **60.0 [50, 70]** |" in page and "| all | 40 | **60.0" not in page
    assert text.endswith("between\n<!-- speed -->\nfast\n<!-- end -->\nafter\n")
    with pytest.raises(UserError, match="no place for the figures; put `<!-- other -->`"):
        readme.fill("other", "")


def test_the_verdict_stands_in_the_readme() -> None:
    Path("README.md").write_text(TEXT + "<!-- gate toy -->\nold\n<!-- end -->\n", encoding="utf-8")
    write_json({"quality": {split: {"all": {}} for split in ("test", "shift")}}, Paths("toy").metrics)
    metrics = {"safety": {"test": {"recommend": {"worse": {"twin": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 50}}}}}}
    write_json(verdict({}, {}, metrics, [], ("safety", "drift"), 0.05).to_json(), Paths("toy").gate)
    readme.main("toy")
    text = Path("README.md").read_text(encoding="utf-8")
    assert (
        "**Gate: fail.** Coverage is as promised on every skill." in text and "old" not in text.partition("gate toy")[2]
    )
    assert (
        "| at most 5 % | 20.0 % [10.0, 30.0] | 50 | missed |" in text
        and "| at least 90 % |  | 0 | not measured |" in text
    )


def test_the_drift_page_gets_its_tables() -> None:
    Path("docs/drift.md").write_text("# Drift\n<!-- drift toy -->\n<!-- end -->\nafter\n", encoding="utf-8")
    some = {"found": {"cusum": entry(0.8), "cusum-raw": {**entry(0.1), "low": None}}, "delay": {"cusum": entry(3.0)}}
    nothing = {split: {"all": {}} for split in ("test", "shift")}
    write_json({"quality": nothing, "drift": {"shift": {"bias": some}, "test": {}}}, Paths("toy").metrics)
    readme.main("toy")
    page = Path("docs/drift.md").read_text(encoding="utf-8")
    assert "|  | n | cusum | cusum-raw |" in page and "| bias | 40 | 80 [70, 90] | 10 |" in page
    assert "| bias | 40 | 3.0 [2.9, 3.1] |" in page and page.endswith("<!-- end -->\nafter\n")


def test_the_dimensions_page_gets_its_tables() -> None:
    Path("docs/dimensions.md").write_text("# D\n<!-- dimensions toy -->\n<!-- end -->\nafter\n", encoding="utf-8")
    both = {
        name: {model: entry(value) for model, value in (("twin", 0.9), ("llm", 0.7))}
        for name in ("accuracy", "log_score")
    }
    worth = {
        f"accuracy_credit_{name}": {model: entry(value) for model in ("twin", "llm")}
        for name, value in (("physical", 0.1), ("abstract", 0.2), ("computational", 0.3))
    }
    told = {
        "test": {"all": worth},
        "test|PAC": {"all": both},
        "test|none": {"all": {**both, "accuracy_lost": both["accuracy"]}},
    }
    nothing = {split: {"all": {}} for split in ("test", "shift")}
    write_json({"quality": nothing, "dimensions": told}, Paths("toy").metrics)
    readme.main("toy")
    page = Path("docs/dimensions.md").read_text(encoding="utf-8")
    assert "| all | 40 | 70.0 | 10.0 [0.0, 20.0] | 20.0 [10.0, 30.0] | 30.0 [20.0, 40.0] | 70.0 |" in page
    assert "| PAC | 90.0 |  | 0.90 | 70.0 |  | 0.70 |" in page
    assert "| none | 90.0 | 90.0 [80.0, 100.0] | 0.90 | 70.0 | 70.0 [60.0, 80.0] | 0.70 |" in page


def test_the_dimensions_page_tells_of_failing_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs/dimensions.md").write_text("# D\n<!-- failing toy -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    cell = {"accuracy": {"twin": entry(0.8), "boost": entry(0.7)}, "wrong_gained": {"twin": entry(0.2)}}
    nothing = {split: {"all": {}} for split in ("test", "shift")}
    write_json({"quality": nothing, "failing": {"test": {"lying P": cell}}}, Paths("toy").metrics)
    readme.main("toy")
    page = Path("docs/dimensions.md").read_text(encoding="utf-8")
    assert "| lying P | 40 | 80.0 [70.0, 90.0] | 70.0 [60.0, 80.0] |" in page and "| lying P | 40 | 20.0 [" in page
    assert "old" not in page and page.endswith("<!-- end -->\nafter\n")


def test_the_cost_page_gets_its_tables() -> None:
    Path("docs/cost.md").write_text("# Cost\n<!-- cost toy -->\n<!-- end -->\nafter\n", encoding="utf-8")
    spent = {"tokens": {"rule": entry(0), "llm": entry(90)}, "seconds": {"rule": entry(1e-5), "llm": entry(0.1)}}
    cell = {"accuracy": {"rule": entry(0.8), "llm": entry(0.7)}, **spent, "bought_seconds": {"llm": entry(-0.1)}}
    nothing = {split: {"all": {}} for split in ("test", "shift")}
    write_json({"quality": nothing, "cost": {"test": {"all": cell}}}, Paths("toy").metrics)
    readme.main("toy")
    page = Path("docs/cost.md").read_text(encoding="utf-8")
    assert "| **rule** | 40 | 0 | 1e-05 | 80.0 [70.0, 90.0] |  |  |" in page
    assert "| llm | 40 | 90 | 0.1 | 70.0 [60.0, 80.0] |  | -10.0 [-20.0, 0.0] |" in page


def test_a_study_fills_its_page_where_it_was_made() -> None:
    Path("docs/learning.md").write_text("# L\n<!-- learning toy -->\n<!-- end -->\nafter\n", encoding="utf-8")
    cell = {"accuracy": {"llm": entry(0.5)}, "log_score": {"llm": entry(-1.0)}}
    gained = {**cell, "accuracy_gained": {"llm": entry(0.2)}}
    facts = {
        "assets": {"tank": 2},
        "skills": ["forecast"],
        "questions": 1200,
        "context_tokens": 99.6,
        "training_seconds": 61.2,
    }
    found = {"1/2": {"all": cell, "forecast": cell}, "1": {"all": gained, "forecast": gained}}
    told = {
        "study": "learning",
        "variants": {"1/2": {**facts, "states": 30}, "1": {**facts, "states": 60}},
        "measures": found,
    }
    write_json({"quality": {split: {"all": {}} for split in ("test", "shift")}}, Paths("toy").metrics)
    readme.main("toy")
    assert Path("docs/learning.md").read_text(encoding="utf-8") == "# L\n<!-- learning toy -->\n<!-- end -->\nafter\n"
    write_json(told, Paths("toy").study("learning"))
    readme.main("toy")
    page = Path("docs/learning.md").read_text(encoding="utf-8")
    assert "| 1 | 2 tank | 1 | 60 | 1,200 | 100 | 61 |" in page and "| 1/2 (30) | 40 | 50.0 [40.0, 60.0] |" in page
    assert "| all | 40 | 20.0 [10.0, 30.0] |" in page and page.endswith("<!-- end -->\nafter\n")
