"""`twinforge evaluate --answers FILE`: any model's predictions through each suite, and one clear error for a bad file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from eval.probes import PROBE
from pipelines import Paths
from pipelines.score import measured
from tests.eval import synthetic
from tests.pipelines.test_evaluate import project, stored  # noqa: F401
from twinforge.claims import REPORT
from twinforge.cli import main
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.recipe import read_slice
from twinforge.records import QUESTION, space_of


def score(file: Path, suite: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["evaluate", "--answers", str(file), "--suite", suite, "--sector", "toy"])
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def in_words(questions: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    said = []
    for (_, question), p in zip(questions.iterrows(), answers["p"], strict=True):
        space, value = space_of(question), space_of(question).decide(p)
        said.append("unknown" if value != value else space.options[int(value)] if space.options else f"{value:g}")
    return pd.DataFrame({"question": questions["id"].to_numpy(), "answer": said, "unit": questions["unit"].to_numpy()})


@pytest.fixture
def test_questions(project: Paths) -> pd.DataFrame:  # noqa: F811
    return read_table(project.questions("test"), QUESTION)


def test_texts_and_distributions_are_measured_alike(
    project: Paths,  # noqa: F811
    test_questions: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = synthetic.answers(test_questions, 0.6, seed=9)
    in_words(test_questions, answers).to_json("words.jsonl", orient="records", lines=True)
    answers.to_parquet("vectors.parquet")
    recipe = read_slice(project.recipe("evaluate"))
    cells = {}
    for name in ("words.jsonl", "vectors.parquet"):
        result, _, _ = measured(Path(name), "quality", project, recipe)
        cells[name] = {m: v[name] for m, v in result.measures["test"]["all"].items() if name in v}
    for measure in ("accuracy", "macro_f1", "abstention", "accuracy_lead", "mae"):
        assert cells["words.jsonl"][measure] == cells["vectors.parquet"][measure]
    assert cells["words.jsonl"]["accuracy"]["low"] < 0.6 < cells["words.jsonl"]["accuracy"]["high"]
    assert (
        0.2 < cells["words.jsonl"]["accuracy_lead"]["value"] < 0.4
        and cells["words.jsonl"]["accuracy_lead"]["smallest"] > 0
    )
    code, page, _ = score(Path("words.jsonl"), "quality", capsys)
    assert code == 0 and f"{len(answers)} of {len(answers)} questions answered" in page and "seen from" in page
    assert "accuracy" in page and "log_score" not in page
    code, page, _ = score(Path("vectors.parquet"), "quality", capsys)
    assert code == 0 and "log_score" in page


def test_robustness_needs_the_questions_as_they_stood(
    project: Paths,  # noqa: F811
    test_questions: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    probes = read_table(project.probe_questions, PROBE).query("suite == 'robustness'")
    after = synthetic.answers(probes, 0.6, seed=3)
    before = synthetic.answers(test_questions, 0.9, seed=4)
    after.to_parquet("after.parquet")
    code, _, error = score(Path("after.parquet"), "robustness", capsys)
    assert code == 2 and "without an answer to the question as it stood" in error
    pd.concat([before, after]).to_parquet("both.parquet")
    code, page, _ = score(Path("both.parquet"), "robustness", capsys)
    assert code == 0 and f"{len(probes)} of {len(probes)} questions answered" in page
    assert "both.parquet" in page and "test: twin" in page and "hidden instruction" in page


def test_reports_of_another_model_are_taken_apart(project: Paths, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    requests = read_table(project.reports_of("test"), REPORT)
    texts = [
        "tank A holds 1.0 m." if i % 4 else "tank A holds 7.0 m. There is no tank A." for i in range(len(requests))
    ]
    pd.DataFrame({"question": requests["id"], "text": texts}).to_json("mine.jsonl", orient="records", lines=True)
    result, answered, _ = measured(Path("mine.jsonl"), "hallucination", project, read_slice(project.recipe("evaluate")))
    wrong = sum(not i % 4 for i in range(len(requests)))
    cell = result.measures["test"]["all"]
    assert cell["wrong"]["mine.jsonl"]["value"] == pytest.approx(2 * wrong / (len(requests) + wrong))
    assert cell["told"]["mine.jsonl"]["value"] == pytest.approx(1 - wrong / len(requests))
    assert set(cell["told"]) == {"mine.jsonl", "twin", "llm", "rule", "base"}
    code, page, _ = score(Path("mine.jsonl"), "hallucination", capsys)
    assert code == 0 and answered in page and "told" in page and "auroc" not in page
    pd.DataFrame({"question": ["x", "x"], "text": ["a", "b"]}).to_parquet("bad.parquet")
    code, _, error = score(Path("bad.parquet"), "hallucination", capsys)
    assert code == 2 and "requests that don't exist: rows 1 (x), 2 (x)" in error and error.count("\n") == 1
    pd.DataFrame({"question": ["x"]}).to_parquet("none.parquet")
    assert "columns missing: text" in score(Path("none.parquet"), "hallucination", capsys)[2]


@pytest.mark.parametrize("suite", ["quality", "robustness"])
def test_a_file_with_nothing_for_the_suite_is_refused(
    project: Paths,  # noqa: F811
    suite: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    questions = read_table(project.questions("calibration"), QUESTION)
    synthetic.answers(questions, 0.6).to_parquet("calibration.parquet")
    code, _, error = score(Path("calibration.parquet"), suite, capsys)
    assert code == 2 and error.count("\n") == 1
    assert "answers none of the" in error and ("test.parquet" if suite == "quality" else "probes/toy") in error


def test_unknown_suites_and_questions_are_named(project: Paths, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    pd.DataFrame({"question": ["x"], "answer": ["y"]}).to_parquet("bad.parquet")
    code, _, error = score(Path("bad.parquet"), "quality", capsys)
    assert code == 2 and error == "error: bad.parquet: questions that don't exist: row 1 (x)\n"
    code, _, error = score(Path("bad.parquet"), "speed", capsys)
    assert code == 2 and "choose one of quality, robustness" in error
    with pytest.raises(UserError, match="no such file"):
        measured(Path("none.jsonl"), "quality", project, read_slice(project.recipe("evaluate")))
