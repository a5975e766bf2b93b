"""`twinforge evaluate --model URL` against a real server on this machine: known rates come out, and failures say what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval import served
from eval.served import Server, ask
from pipelines import Paths
from tests.eval.chat_server import Script, right_by, serving
from tests.eval.states import states
from tests.pipelines.test_evaluate import project, stored  # noqa: F401
from twinforge.cli import main
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.records import QUESTION, is_right, space_of

RATE = 0.6


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "BACKOFF", 0.001)
    monkeypatch.delenv(served.KEY, raising=False)


@pytest.fixture
def asked(project: Paths) -> pd.DataFrame:  # noqa: F811
    """Choices and numbers; words that stand twice in a state are asked once."""
    test = read_table(project.questions("test"), QUESTION)
    return test.drop_duplicates(["context", "text", "kind"])


def accuracy(questions: pd.DataFrame, answers: pd.DataFrame) -> float:
    assert answers["question"].tolist() == questions["id"].tolist()
    return float(np.mean([is_right(p, q) for (_, q), p in zip(questions.iterrows(), answers["p"], strict=True)]))


def evaluate(url: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["evaluate", "--model", url, "--sector", "toy", *more])
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


@pytest.mark.parametrize(("sure", "refuses"), [(None, False), (None, True), (0.8, False)])
def test_a_known_rate_comes_out(asked: pd.DataFrame, tmp_path: Path, sure: float | None, refuses: bool) -> None:
    script = Script(right_by(asked, RATE), sure=sure, refuses_lists=refuses)
    with serving(script) as url:
        found = ask(Server(url, None, 4), asked, tmp_path / "keep", 4)
    assert not found.lost and found.replies == len(asked) == sum(script.seen.values())
    assert abs(accuracy(asked, found.answers) - RATE) < 4 * np.sqrt(RATE * (1 - RATE) / len(asked))
    assert set(found.answers["tokens"]) == {100} and (found.answers["seconds"] > 0).all()
    choices = found.answers[(asked["kind"] == "choice").to_numpy()]
    assert np.allclose(choices["p"].map(max), 1.0 if sure is None else sure)


def test_the_command_shows_it_beside_the_twin(
    project: Paths,  # noqa: F811
    asked: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(served.KEY, "secret-7")
    with serving(script := Script(right_by(asked, RATE))) as url:
        code, page, _ = evaluate(url, capsys, "--limit", "40", "--concurrency", "3")
        assert code == 0 and script.keys == {"Bearer secret-7"}
        count = int(re.findall(r"scripted: (\d+) of", page)[0])
        assert 40 <= count < 60 and "twin minus it, paired" in page and "could not be read" not in page
        assert not any("secret-7" in file.read_text() for file in (project.scratch / "served").iterdir())
        before = sum(script.seen.values())
        assert evaluate(url, capsys, "--limit", "40")[0] == 0 and sum(script.seen.values()) == before
        assert evaluate(url, capsys, "--limit", "80")[0] == 0 and sum(script.seen.values()) > before
        assert max(script.seen.values()) == 1


def test_a_server_that_fails_half_the_time_is_asked_again(asked: pd.DataFrame, tmp_path: Path) -> None:
    script = Script(right_by(asked, RATE), fails=lambda words: len(words) % 2 + len(words) % 3 // 2)
    with serving(script) as url:
        found = ask(Server(url, None, 8), asked, tmp_path, 8)
    assert sum(script.seen.values()) > 1.3 * len(asked) and len(found.answers) == len(asked)
    assert abs(accuracy(asked, found.answers) - RATE) < 4 * np.sqrt(RATE * (1 - RATE) / len(asked))


def test_a_run_that_was_cut_off_goes_on(asked: pd.DataFrame, tmp_path: Path) -> None:
    part, keep = asked.head(40), tmp_path / "keep"
    dead = {user for user in part["context"].tail(10)}
    script = Script(right_by(asked, RATE), fails=lambda words: 99 if any(one in words for one in dead) else 0)
    with serving(script) as url:
        with pytest.raises(UserError, match="still busy or failing after 9 tries; run again to go on"):
            ask(Server(url, None, 1), part, keep, 1)
        (file,) = keep.iterdir()
        lines = file.read_text().splitlines()
        assert len(lines) >= 20
        file.write_text("\n".join(lines)[:-9])  # killed while it wrote the last
        script.fails, first = (lambda words: 0), sum(script.seen.values())
        script.seen.clear()
        found = ask(Server(url, None, 1), part, keep, 1)
        assert first and sum(script.seen.values()) == len(part) - (len(lines) - 1)
        assert len(found.answers) == len(part)
        other = asked.head(5)
        ask(Server(url, "other", 1), other, keep, 1)
        assert len(list(keep.iterdir())) == 2


def test_nonsense_is_refused_and_part_nonsense_counts_as_knowing_nothing(asked: pd.DataFrame, tmp_path: Path) -> None:
    with serving(Script(lambda *_: "As I said, it depends")) as url, pytest.raises(UserError, match="none of .* names"):
        ask(Server(url, None, 4), asked, tmp_path / "a", 4)
    right, first = right_by(asked, 1.0), str(asked["context"].iloc[0])
    with serving(Script(lambda system, user: right(system, user) if first in system else "It depends")) as url:
        found = ask(Server(url, None, 4), asked, tmp_path / "b", 4)
    known = (asked["context"] == first).to_numpy()
    assert found.lost == (~known).sum() and accuracy(asked[known], found.answers[known]) == 1
    assert accuracy(asked[~known], found.answers[~known]) < 0.3  # chance: a fifth of the choices, hardly any number


def test_sets_are_asked_candidate_by_candidate(tmp_path: Path) -> None:
    sets = states(6, 2)
    sets = sets[sets["kind"] == "entities"]
    gold = {name: i for _, row in sets.iterrows() for i, name in enumerate(row["options"]) if i in row["gold"]}

    def says(system: str, user: str) -> str:
        name = user.strip().splitlines()[-1]
        own = sets[sets["context"] == system.split("\n", 1)[1]].iloc[0]
        return "B" if name in [own["options"][i] for i in own["gold"]] else "A"

    with serving(Script(says)) as url:
        found = ask(Server(url, None, 2), sets, tmp_path, 2)
    assert gold and found.replies == sets["options"].map(len).sum() and accuracy(sets, found.answers) == 1
    assert all(
        space_of(q).decide_set(p) == (1, 4) for (_, q), p in zip(sets.iterrows(), found.answers["p"], strict=True)
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script(lambda *_: "A", body={"answer": 1}), "no choices.*is this an OpenAI-compatible"),
        (Script(lambda *_: "A", body="<html>hello</html>"), "no choices.*<html>hello"),
        (Script(lambda *_: "A", body=[]), "no choices"),
        (Script(lambda *_: "A", body={"choices": []}), "no choices"),
        (Script(lambda *_: "A", models=("one", "two")), "serves one, two; name one with --name"),
        (Script(lambda *_: "A", models=()), "serves no model"),
    ],
)
def test_another_form_is_one_clear_error(
    project: Paths,  # noqa: F811
    script: Script,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(script) as url:
        code, _, error = evaluate(url, capsys, "--limit", "5")
    assert code == 2 and error.splitlines()[-1].startswith("error: ") and re.search(said, error)


def test_a_wrong_address_is_one_clear_error(project: Paths, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    with serving(Script(lambda *_: "A")) as url:
        code, _, error = evaluate(url.removesuffix("/v1"), capsys)
        assert code == 2 and "status 404" in error and "up to /v1" in error
    code, _, error = evaluate(url, capsys)  # it is down now
    assert code == 2 and "can't be reached" in error and "is the server up" in error
    code, _, error = evaluate("localhost:8000", capsys)
    assert code == 2 and "give the address up to /v1" in error
    code, _, error = evaluate(url, capsys, "--suite", "robustness")
    assert code == 2 and "leave --suite out" in error
    code, _, error = evaluate(url, capsys, "--limit", "0")
    assert code == 2 and "whole numbers from 1 on" in error
