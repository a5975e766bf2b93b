"""The report: one file that loads nothing, verdict first, with the worst answers told in words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval import curves, plots
from eval.blocks import table_of
from eval.evidence import Evidence, Result
from eval.gate import baseline, verdict
from eval.report import inline, render, worst_answers
from eval.suites import SUITES
from tests.eval import synthetic


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    frame = pd.concat(
        [synthetic.questions(8, 6, split, seed=i) for i, split in enumerate(("test", "shift"))], ignore_index=True
    )
    return frame.assign(text=frame["text"] + " <script>alert(1)</script>")


@pytest.fixture(scope="module")
def answers(questions: pd.DataFrame) -> pd.DataFrame:
    return synthetic.answers(questions, 0.7)


@pytest.fixture(scope="module")
def result(questions: pd.DataFrame, answers: pd.DataFrame) -> Result:
    named = {"twin": answers, "base": synthetic.answers(questions, 0.3, seed=4)}
    return SUITES["quality"](Evidence(questions, named, {"twin": synthetic.sets(questions, 0.9)}, 0.1, 200, 1))


@pytest.fixture(scope="module")
def drawings(result: Result, questions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    plots.save(plots.test_day(curves.example_day(result.table, questions)), folder / "test_day")
    plots.save(plots.accuracy_by_skill(curves.of_measure(result.measures, "accuracy")), folder / "accuracy_by_skill")
    return folder


@pytest.fixture(scope="module")
def page(result: Result, questions: pd.DataFrame, answers: pd.DataFrame, drawings: Path) -> str:
    tables = {"quality": baseline(result.table)}
    gate = verdict(tables, tables, {"quality": result.measures}, [], (), 0.05)
    svgs = {file.stem: file.read_text(encoding="utf-8") for file in sorted(drawings.glob("*.svg"))}
    return render("toy", gate, {"quality": result.measures}, result.table, questions, answers, svgs)


def test_it_loads_nothing_and_runs_nothing(page: str) -> None:
    assert "<script" not in page and "<link" not in page and "<iframe" not in page
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!["']?#)(?:https?:|//|data:)""", page)


def test_a_study_has_its_tables_and_its_plot(
    result: Result, questions: pd.DataFrame, answers: pd.DataFrame, drawings: Path, page: str
) -> None:
    entry = {"value": 0.625, "low": 0.5, "high": 0.75, "n": 48, "better": "higher"}
    studied = [table_of("Scale: accuracy", "share right", "variant", {"large": {"twin": entry}})]
    gate = verdict(
        {"quality": result.table}, {"quality": baseline(result.table)}, {"quality": result.measures}, [], (), 0.05
    )
    svg = (drawings / "accuracy_by_skill.svg").read_text(encoding="utf-8")
    metrics = {"quality": result.measures}
    with_it = render("toy", gate, metrics, result.table, questions, answers, {"scale": svg}, studied)
    assert "Scale: accuracy" in with_it and "0.625" in with_it and 'aria-label="scale"' in with_it
    assert "Scale: accuracy" not in page


def test_tags_are_balanced_and_ids_unique(page: str) -> None:
    class Parser(HTMLParser):
        void = {"meta", "br", "path", "use"}

        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.ids: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.ids += [value for name, value in attrs if name == "id" and value]
            if tag not in self.void:
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.ids += [value for name, value in attrs if name == "id" and value]

        def handle_endtag(self, tag: str) -> None:
            if tag not in self.void:
                assert self.open.pop() == tag

    parser = Parser()
    parser.feed(page)
    assert not parser.open and len(parser.ids) == len(set(parser.ids)) > 10


def test_the_verdict_comes_before_figures_plots_and_worst_answers(page: str) -> None:
    places = [page.index(text) for text in ("Passed", "all skills", "<svg", "worst answers")]
    assert places == sorted(places)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert page.count('<details class="worst">') == 20


def test_worst_answers_are_the_surest_wrong_ones(
    result: Result, questions: pd.DataFrame, answers: pd.DataFrame
) -> None:
    worst = worst_answers(result.table, questions, answers)
    assert all(answer["said"] != answer["truth"] for answer in worst)
    skills = pd.Series([answer["skill"] for answer in worst]).value_counts()
    assert skills.max() <= 5 and len(skills) >= 4


def test_a_wrong_set_is_told_in_names(questions: pd.DataFrame) -> None:
    frame = questions[questions["split"] == "test"].head(1).assign(kind="entities", truth=3.0, gold_total=3)
    frame["options"], frame["gold"] = [["D5", "D6", "D7"]], [[0, 2]]
    said = pd.DataFrame({"question": frame["id"], "p": [np.array([0.9, 0.8, 0.1, 0.0])], "tokens": 1, "seconds": 0.1})
    result = SUITES["quality"](Evidence(frame, {"twin": said}, {}, 0.1, 200, 1))
    (told,) = worst_answers(result.table, frame, said)
    assert (told["said"], told["truth"], told["interval"]) == ("{D5, D6}", "{D5, D7, 1 more}", "")
    assert told["spread"] == "D5 90%; D6 80%; D7 10%; unknown 0%"
    found = result.measures["test"]["all"]
    assert found["set_f1"]["twin"]["value"] == pytest.approx(2 / 5) and "macro_f1" not in found


def test_plots_are_the_same_bytes_each_time(
    result: Result, questions: pd.DataFrame, drawings: Path, tmp_path: Path
) -> None:
    plots.save(plots.test_day(curves.example_day(result.table, questions)), tmp_path / "test_day")
    for kind in ("png", "svg"):
        assert (tmp_path / f"test_day.{kind}").read_bytes() == (drawings / f"test_day.{kind}").read_bytes()


def test_ink_takes_the_colour_of_the_page(drawings: Path) -> None:
    svg = (drawings / "test_day.svg").read_text(encoding="utf-8")
    assert plots.INK in svg and plots.INK not in inline("test_day", svg) and "currentColor" in inline("test_day", svg)


def test_curves_are_right_on_a_case_by_hand() -> None:
    table = pd.DataFrame(
        {
            "model": "twin",
            "split": "test",
            "question": list("abcd"),
            "confidence": [0.95, 0.91, 0.55, 1.0],
            "right": [1.0, 0.0, 1.0, 1.0],
        }
    )
    bins = curves.reliability(table)
    assert bins["n"].tolist() == [1, 3] and bins["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    risk = curves.risk_coverage(table)
    assert risk["answered"].tolist() == [0.25, 0.5, 0.75, 1] and risk["wrong"].tolist() == pytest.approx(
        [0, 0, 1 / 3, 1 / 4]
    )


def test_an_empty_day_still_draws(tmp_path: Path, questions: pd.DataFrame, result: Result) -> None:
    plots.save(plots.test_day(curves.example_day(result.table.head(0), questions)), tmp_path / "empty")
    assert (tmp_path / "empty.png").stat().st_size > 1000
