"""Figures in the pages are those of the results; short runs stay out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, answer, plots, tables, train
from benchmarks.setting import Questions
from benchmarks.speed import Figures
from twinforge.files import read_json

MACHINE = {"processor": "Abacus", "cores": 2, "load before": 0.1, "torch": "2.13.0"}
MARKS = "".join(f"<!-- bench-{name} -->\n<!-- end -->\n" for name in ("train", "answer", "accuracy", "size"))


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("README.md").write_text("<!-- speed -->\n<!-- end -->\n")
    Path("docs/performance.md").write_text(MARKS)
    return tmp_path


class Here:
    """As much of a `Setting` as a summary reads."""

    outside, precision = 100_000_000, "bfloat16"

    class recipe:
        class lora:
            r = 16


def windows(answers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"answers": answers, "seconds": 100.0, **more}, {"answers": 3 * answers, "seconds": 100.0, **more}]


def questions(tokens: float) -> Questions:
    return Questions(Path("t"), Path("l"), 60, 10, tokens)


def trained() -> dict[str, Any]:
    parts = {"first": {"answers": 80, "seconds": 10.0}, "later": {"answers": 20, "seconds": 1.0}}
    figures = {
        "twinforge": Figures({}, {"train": windows(1500, tokens=10_000, **parts)}, 2**30),
        "LLaMA-Factory": Figures({"llamafactory": "0.9.5"}, {"train": windows(100)}, 3 * 2**30),
        "TRL SFTTrainer": Figures({"trl": "1.16.0"}, {"train": windows(50)[:1]}, 2**31),
    }
    found = train.summary(figures, Here, questions(200.0), 1e12)  # type: ignore[arg-type]
    return {"machine": MACHINE, "peak flop/s": 1e12, "seconds a window": 180.0, **found}


def scored() -> dict[str, Any]:
    def of(answers: int, said: str) -> dict[str, list[dict[str, Any]]]:
        return {many: windows(answers, said={f"{many}-1": said, f"{many}-2": "B"}) for many in ("6", "24")}

    figures = {
        "twinforge": Figures({}, of(800, "A"), 2**30),
        "lm-evaluation-harness": Figures({"lm-eval": "0.4.13"}, of(100, "C"), 2**30),
    }
    sets = {many: questions(200.0) for many in ("6", "24")}
    found = answer.summary(figures, Here, sets, 1e12)  # type: ignore[arg-type]
    return {"machine": MACHINE, "peak flop/s": 1e12, "seconds a window": 90.0, **found}


def test_training_summary_and_table() -> None:
    found = trained()
    peer = found["ways"]["LLaMA-Factory"]
    assert peer["answers/s"]["value"] == 2.0 and peer["tokens/s"] == 400.0  # 200 tokens a question alone
    assert peer["of the peak"] == pytest.approx(4 * 1e8 * 400 / 1e12)
    assert found["ways"]["twinforge"]["tokens/s"] == 100.0  # its own count
    assert found["bars"][0]["value"] == 15.0 and found["bars"][0]["kept"]
    told = tables.train_table(found)
    assert "| twinforge | 30.0 | 15.0 to 45.0 | 15.0 | 100 | 4% | 1.0 |" in told
    assert "| twinforge, first pass | 8.0 |" in told and "| twinforge, later passes | 20.0 |" in told
    assert "| LLaMA-Factory 0.9.5 | 2.0 | 1.0 to 3.0 | 1.0 | 400 | 16% | 3.0 |" in told
    assert "15.0 times LLaMA-Factory's answers a second; at least 12 wanted: kept" in told and "Abacus" in told


def test_answering_summary_and_table() -> None:
    found = scored()
    assert [bar["kept"] for bar in found["bars"]] == [True, False]  # 8 times: above 5, below 10
    told = tables.answer_table(found)
    assert "| 24 | lm-evaluation-harness 0.4.13 | 2.0 | 1.0 to 3.0 | 1.0 | 400 | 8% | 1.0 | 50.0% of 4 |" in told
    assert told.count("MISSED") == 1 and all("said" not in w for w in found["ways"]["6"]["twinforge"]["windows"])


def test_only_full_runs_reach_the_pages(pages: Path) -> None:
    tables.publish("train", trained(), full=False)
    assert Path("docs/performance.md").read_text() == MARKS and not Path("benchmarks/results").exists()
    assert read_json(Path(".scratch/bench/train.json"))["bars"]
    tables.publish("train", trained(), full=True)
    assert "LLaMA-Factory 0.9.5" in Path("docs/performance.md").read_text()
    assert "twinforge" not in Path("README.md").read_text()  # the other half is not measured yet
    tables.publish("answer", scored(), full=True)
    text = Path("README.md").read_text()
    assert (
        "| trained | twinforge | 30.0 | 15.0 to 45.0 | 15.0 | 1.0 |" in text
        and "| scored, 24 a state | lm-eval" in text
    )
    assert read_json(Path("benchmarks/results/train.json"))["ways"]["TRL SFTTrainer"]["versions"] == {"trl": "1.16.0"}


def point(minutes: float, right: float) -> dict[str, Any]:
    return {
        "seconds": 60 * minutes,
        "answers": 100,
        "accuracy": right,
        "low": right - 0.03,
        "high": right + 0.03,
        "n": 500,
    }


def test_accuracy_bar_table_and_picture() -> None:
    ours, theirs = [point(1, 0.5), point(4, 0.7), point(9, 0.8)], [point(10, 0.4), point(60, 0.65)]
    bar = accuracy._bar(ours, theirs)
    assert bar["value"] == 4 and bar["kept"] and "after 60" in bar["what"]
    never = accuracy._bar(ours, [point(60, 0.9)])
    assert never["value"] is None and not never["kept"]
    result = {
        "machine": MACHINE,
        "precision": "bfloat16",
        "test": 500,
        "points": {"twinforge": ours, "LLaMA-Factory": theirs},
        "bars": [bar, never],
    }
    told = tables.accuracy_table(result)
    assert "| LLaMA-Factory | 60.0 | 100 | 65.0 [62, 68] |" in told and "never minutes until" in told
    plots.accuracy(result, Path("a.png"))
    assert Path("a.png").read_bytes()[:4] == b"\x89PNG"


def test_sizes_that_do_not_fit_are_said_and_left_out_of_the_picture() -> None:
    points = [
        {"work": work, "axis": axis, "at": str(x), "x": x, "ours": 10.0 / x, "theirs": 1.0 / x if x < 3 else 0.0}
        for work in ("trained", "scored") for axis in ("questions a state", "model") for x in (1, 2, 3)
    ]  # fmt: skip
    result = {
        "machine": MACHINE,
        "precision": "bfloat16",
        "peak flop/s": 1e12,
        "seconds a window": 30.0,
        "points": points,
        "bars": [],
    }
    told = tables.size_table(result)
    assert (
        "| trained | model | 2 | 5.00 | 0.50 | 10.0 |" in told
        and "| scored | model | 3 | 3.33 | does not fit |  |" in told
    )
    plots.size(result, Path("s.png"))
    assert Path("s.png").read_bytes()[:4] == b"\x89PNG"
