"""Calibrations of question tables: groups, the refusal, files, coverage."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.synthetic import classes, numbers, picks, sets, table
from twinforge.conformal.calibration import REFUSAL, Calibration, calibrate, covered
from twinforge.errors import UserError
from twinforge.records import membership, space_of

Fitted = tuple[Calibration, pd.DataFrame, pd.DataFrame]


def noisy_answers(questions: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Answer vectors that lean to the truth (or, one time in five, elsewhere)."""
    rows = []
    for _, row in questions.iterrows():
        space = space_of(row)
        centre = space.index(row["truth"]) if rng.random() < 0.8 else int(rng.integers(space.size))
        score = rng.normal(size=space.size)
        if space.kind == "number" and centre < space.size - 1:
            at = np.arange(space.size - 1)
            score[:-1] = -0.5 * ((at - centre - rng.normal(0, 4)) / 3) ** 2 + 3
        else:
            score[centre] += 3 + (4 if space.kind == "number" else 0)
        e = np.exp(score - score.max())
        rows.append((row["id"], e / e.sum(), 10, 0.1))
    return pd.DataFrame(rows, columns=["question", "p", "tokens", "seconds"])


def questions(n: int, rng: np.random.Generator) -> pd.DataFrame:
    return table(classes(n, rng) + picks(n, rng) + numbers(n, rng))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    rng = np.random.default_rng(0)
    frame = questions(400, rng)
    answers = noisy_answers(frame, rng)
    return calibrate(frame, {"twin": answers, "llm": answers.iloc[: len(answers) // 2]}, 0.1), frame, answers


def test_every_group_and_the_refusal_have_a_threshold(fitted: Fitted) -> None:
    calibration, frame, _ = fitted
    twin = calibration.models["twin"]
    assert set(twin) == {"what-if/choice", "recommend/choice", "forecast/number", REFUSAL}
    assert twin[REFUSAL].n == frame["truth"].isna().sum()
    assert twin["forecast/number"].method == "cqr"
    assert sum(t.n for t in twin.values()) == len(frame)
    assert len(twin[REFUSAL].data) == 64


def test_fresh_rows_are_covered_group_by_group(fitted: Fitted) -> None:
    """400 rows calibrate a group, 400 fresh ones judge it: coverage within 4.5 standard errors of 90 %."""
    rng = np.random.default_rng(1)
    fresh = questions(400, rng)
    answers = noisy_answers(fresh, rng)
    sets = fitted[0].sets(fresh, answers)
    right = pd.Series(covered(fresh, sets), index=fresh.index)
    for group, rows in fresh[fresh["truth"].notna()].groupby(["asked", "kind"]):
        assert 0.81 < right[rows.index].mean() < 0.985, group
    assert 0.78 < right[fresh["truth"].isna()].mean() <= 1


def test_wrong_answers_are_not_covered(fitted: Fitted) -> None:
    """The control: answers that belong to other questions of the same space."""
    _, frame, answers = fitted
    kept = frame["asked"] == "forecast"
    swapped = answers[kept.to_numpy()].assign(question=np.roll(answers[kept.to_numpy()]["question"], 7))
    sets = fitted[0].sets(frame[kept], swapped)
    known = frame[kept]["truth"].notna().to_numpy()
    assert covered(frame[kept], sets)[known].mean() < 0.75


def test_sets_agree_with_single_questions(fitted: Fitted) -> None:
    calibration, frame, answers = fitted
    sets = calibration.sets(frame, answers)
    first, last = sets.iloc[0], sets.iloc[-1]
    assert first["members"] == calibration.set_for("what-if/choice", "choice", answers["p"].iloc[0]).tolist()
    assert first["refusal"] == (3 in first["members"])
    values = space_of(frame.iloc[-1]).values
    expected = calibration.interval_for("forecast/number", answers["p"].iloc[-1], values)
    assert (last["low"], last["high"], last["refusal"]) == expected


def test_the_refusal_passes_by_its_own_threshold(fitted: Fitted) -> None:
    """Label-conditional: neither the group's threshold nor the kind of answer decides on the refusal."""
    calibration, frame, answers = fitted
    limit = calibration.threshold(REFUSAL).value
    assert all(abs(limit - t.value) > 0.01 for g, t in calibration.models["twin"].items() if g != REFUSAL)
    sets = calibration.sets(frame, answers)
    passes = np.array([1 - p[-1] <= limit for p in answers["p"]])
    alone = sets["members"].map(len).to_numpy() == 1  # what stands in for an empty set may be the refusal
    assert (sets["refusal"].to_numpy() == passes)[~alone].all()
    assert 0 < passes.mean() < 1


def test_file_round_trip_and_infinity_as_null(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = table([*classes(5, rng, unknown=0), *classes(60, rng, "diagnosis", unknown=0)])
    calibration = calibrate(frame, {"twin": noisy_answers(frame, rng)}, 0.1)
    calibration.save(tmp_path / "calibration.json")
    stored = json.loads((tmp_path / "calibration.json").read_text())["models"]["twin"]
    assert stored["what-if/choice"]["threshold"] is None
    assert stored["what-if/choice"]["n"] == 5
    assert (stored[REFUSAL]["n"], stored[REFUSAL]["threshold"]) == (0, None)
    assert Calibration.load(tmp_path / "calibration.json") == calibration


def test_few_rows_give_the_whole_set_and_range() -> None:
    rng = np.random.default_rng(2)
    frame = table([*classes(1, rng, unknown=0), *numbers(3, rng, unknown=0)])
    calibration = calibrate(frame, {"twin": noisy_answers(frame, rng)}, 0.1)
    p = np.array([0.97, 0.01, 0.01, 0.01])
    assert calibration.set_for("what-if/choice", "choice", p).tolist() == [0, 1, 2, 3]
    mass = np.append(np.eye(121)[50], 0.0)
    assert calibration.interval_for("forecast/number", mass, np.arange(121.0)) == (0.0, 120.0, True)
    assert math.isinf(calibration.threshold("never/choice").value)


def sets_and_answers(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sets of candidates, each scored by its log-odds of 3 either way with noise of 2."""
    rng = np.random.default_rng(seed)
    frame = table(sets(n, rng))
    score = [6 * np.nan_to_num(membership(row), nan=0.5) - 3 for _, row in frame.iterrows()]
    p = [1 / (1 + np.exp(-(s + rng.normal(0, 2, len(s))))) for s in score]
    return frame, pd.DataFrame({"question": frame["id"], "p": p, "tokens": 1, "seconds": 0.1})


def test_a_set_of_entities_holds_all_that_belong_to_it() -> None:
    """One set in twelve lacks a node among its candidates and can't be held; the promise counts them as misses."""
    frame, told = sets_and_answers(800, 0)
    calibration = calibrate(frame, {"twin": told}, 0.2)
    threshold = calibration.threshold("dependency/entities")
    assert (threshold.method, threshold.note) == ("entities", "") and -1 < threshold.value < 0
    fresh, answers = sets_and_answers(1500, 1)
    found = calibration.sets(fresh, answers)
    held, known = covered(fresh, found), fresh["truth"].notna().to_numpy()
    assert 0.76 < held[known].mean() < 0.84
    assert not held[known & (fresh["gold"].map(len) < fresh["gold_total"]).to_numpy()].any()
    assert (held[~known] == found["refusal"][~known]).all() and 0.75 < held[~known].mean() < 0.9
    for p, inside in zip(answers["p"], found["members"], strict=True):
        assert inside == np.flatnonzero(p[:-1] >= -threshold.value - 1e-8).tolist()
    assert 0 < (found["members"].map(len) == 0).mean() < 0.5  # an empty set is a claim too


def test_a_level_out_of_reach_keeps_everything_and_says_why(tmp_path: Path) -> None:
    frame, answers = sets_and_answers(800, 0)
    calibration = calibrate(frame, {"twin": answers}, 0.05)
    threshold = calibration.threshold("dependency/entities")
    assert math.isinf(threshold.value) and "lack gold among their candidates" in threshold.note
    assert calibration.out_of_reach() == {"dependency/entities": threshold.note}
    kept = calibration.sets(frame, answers)["members"]
    assert all(len(members) == len(options) for members, options in zip(kept, frame["options"], strict=True))
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration
    stored = json.loads((tmp_path / "calibration.json").read_text())["models"]["twin"]["dependency/entities"]
    assert stored["threshold"] is None and stored["note"] == threshold.note


def test_a_node_that_is_said_is_always_kept(tmp_path: Path) -> None:
    """Also where the promise needs none: no one belongs to any set."""
    frame, answers = sets_and_answers(60, 2)
    nobody = frame.assign(gold=[[]] * 60, gold_total=0, truth=0.0)
    calibration = calibrate(nobody, {"twin": answers}, 0.1)
    assert calibration.threshold("dependency/entities").value == -0.5
    assert calibration.nodes_for("dependency/entities", np.array([0.3, 0.99, 0.0])).tolist() == [1]
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration


def test_a_set_is_never_empty(fitted: Fitted) -> None:
    p = np.full(200, 1 / 200)
    p[3] += 1e-4
    assert fitted[0].set_for("what-if/choice", "choice", p).tolist() == [3]


def test_loads_and_predicts_without_mapie(fitted: Fitted, tmp_path: Path) -> None:
    fitted[0].save(tmp_path / "calibration.json")
    code = (
        "import sys; sys.modules['mapie'] = None\n"
        "from pathlib import Path\nimport numpy as np\n"
        "from twinforge.conformal.calibration import Calibration\n"
        "c = Calibration.load(Path(sys.argv[1]))\n"
        "print(c.set_for('what-if/choice', 'choice', np.array([.9, .05, .05, 0.])).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "calibration.json")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.startswith("[0")


def test_mistakes_are_named(fitted: Fitted, tmp_path: Path) -> None:
    calibration, frame, answers = fitted
    with pytest.raises(UserError, match="'boost' is not calibrated; there are llm, twin"):
        calibration.threshold("what-if/choice", "boost")
    with pytest.raises(UserError, match="interval_for"):
        calibration.set_for("forecast/number", "number", np.ones(3) / 3)
    with pytest.raises(UserError, match="nodes_for"):
        calibration.set_for("dependency/entities", "entities", np.ones(3) / 3)
    with pytest.raises(UserError, match="answered none of the 1200 rows"):
        calibrate(frame, {"twin": answers.iloc[:0]}, 0.1)
    short = answers.head(1).assign(p=[np.array([1.0])])
    with pytest.raises(UserError, match="what-if-choice-0 holds 1 numbers, 4"):
        calibrate(frame, {"twin": short}, 0.1)
    (tmp_path / "broken.json").write_text('{"alpha": 0.1}')
    with pytest.raises(UserError, match=r"broken\.json: not a calibration"):
        Calibration.load(tmp_path / "broken.json")
