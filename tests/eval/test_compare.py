"""Two twins, paired: a known lead is found, a twin held against itself leads by nothing, and files that don't fit are named."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from eval.compare import compare, scores_of, show_comparison
from eval.gate import baseline
from eval.scores import SCORE, score
from tests.eval import synthetic
from twinforge.errors import UserError
from twinforge.files import write_table


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return synthetic.questions(30, 8)


def scores(questions: pd.DataFrame, right: float, seed: int) -> pd.DataFrame:
    return baseline(score(questions, synthetic.answers(questions, right, seed=seed), "twin", 0.1))


def test_a_known_lead_is_found(questions: pd.DataFrame) -> None:
    rows = {(row.skill, row.measure): row for row in compare(scores(questions, 0.6, 1), scores(questions, 0.8, 2))}
    whole = rows["all", "accuracy"]
    assert whole.low is not None and whole.high is not None
    assert whole.low <= 0.2 <= whole.high < whole.low + 0.12 and whole.n == len(questions)
    assert whole.smallest is not None and 0.02 < whole.smallest < 0.09
    assert {skill for skill, _ in rows} == {"all", "what-if", "standard", "recommend", "forecast", "unanswerable"}
    gain = rows["all", "log_score"].gain
    assert gain is not None and gain > 0
    assert ("all", "set_f1") not in rows  # no question defines it


def test_a_twin_against_itself_gains_nothing(questions: pd.DataFrame) -> None:
    same = scores(questions, 0.7, 1)
    assert all(row.gain == 0 and row.low == 0 == row.high for row in compare(same, same))


def test_only_common_questions_count(questions: pd.DataFrame) -> None:
    a, b = scores(questions, 0.7, 1), scores(questions, 0.7, 2)
    half = b[b["episode"] < "test-015"]
    assert compare(a, half)[0].n == len(half)
    with pytest.raises(UserError, match="package both twins from the same lake"):
        compare(a, b.assign(question=b["question"] + "x"))


def test_files_and_folders(tmp_path: Path, questions: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_table(scores(questions, 0.6, 1), a, SCORE)
    write_table(scores(questions, 0.9, 2), b, SCORE)
    show_comparison(a, b)
    page = capsys.readouterr().out
    assert "seen from" in page and "log_score" in page and "answered by both" in page
    both = pd.concat([scores(questions, 0.6, 1), scores(questions, 0.9, 2)])
    write_table(both, tmp_path / "both.parquet", SCORE)
    with pytest.raises(UserError, match=r"both\.parquet: holds .* twice"):
        scores_of(tmp_path / "both.parquet")
    with pytest.raises(UserError, match=r"nothing\.parquet: no such file"):
        scores_of(tmp_path / "nothing.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"manifest\.json"):
        scores_of(tmp_path / "empty")
