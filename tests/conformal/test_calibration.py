"""Calibrations of question tables: groups, the refusal, files, coverage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.synthetic import classes, numbers, picks, sets, table
from twinforge.conformal.calibration import Calibration, calibrate, covered
from twinforge.conformal.entities import Entities
from twinforge.errors import UserError
from twinforge.records import is_right, membership, space_of

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


def graded_answers(questions: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Answers to choices that know from nothing at all to nearly everything, and say how much."""
    index = [space_of(row).index(row["truth"]) for _, row in questions.iterrows()]
    score = rng.normal(size=(len(index), 4)) * rng.uniform(0, 6, len(index))[:, None]
    score += np.eye(4)[index] * score.std(axis=1, keepdims=True) ** 2
    p = np.exp(score - score.max(axis=1, keepdims=True))
    return pd.DataFrame({"question": questions["id"], "p": list(p / p.sum(axis=1, keepdims=True))})


def same(one: Calibration, other: Calibration) -> bool:
    return {name: found.to_json() for name, found in one.models.items()} == {
        name: found.to_json() for name, found in other.models.items()
    }


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
    assert set(twin.choice.thresholds.groups) == {"what-if/choice", "recommend/choice"}
    assert set(twin.number.thresholds.groups) == {"forecast/number"} and twin.number.method == "cqr"
    assert twin.refusal.thresholds.n == frame["truth"].isna().sum()
    assert sum(part.thresholds.n for part in (twin.choice, twin.number, twin.refusal)) == len(frame)
    assert (twin.answering.n, twin.answering.clusters) == (len(frame), frame["episode"].nunique())


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


def test_sets_do_not_depend_on_the_other_questions(fitted: Fitted) -> None:
    calibration, frame, answers = fitted
    whole = calibration.sets(frame, answers)
    for place in (0, 5, 600, 1100, 1199):
        alone = calibration.sets(frame.iloc[[place]], answers).iloc[0]
        assert alone.astype(object).equals(whole.iloc[place].astype(object))


def test_the_refusal_passes_by_its_own_threshold(fitted: Fitted) -> None:
    """Label-conditional: neither the group's threshold nor the kind of answer decides on the refusal."""
    calibration, frame, answers = fitted
    twin = calibration.models["twin"]
    limit = twin.refusal.thresholds.groups[""][1]
    assert all(abs(limit - value) > 0.01 for _, value in twin.choice.thresholds.groups.values())
    sets = calibration.sets(frame, answers)
    passes = np.array([1 - p[-1] <= limit for p in answers["p"]])
    alone = sets["members"].map(len).to_numpy() == 1  # what stands in for an empty set may be the refusal
    assert (sets["refusal"].to_numpy() == passes)[~alone].all()
    assert 0 < passes.mean() < 1


def test_answering_only_when_sure_keeps_the_limit_and_without_it_it_is_broken() -> None:
    """Fresh questions: answered and wrong at most 5 %, where answering all would be wrong far oftener."""
    broken, shares = 0, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        frame, fresh = (table(classes(900, rng)) for _ in range(2))
        calibration = calibrate(frame, {"twin": graded_answers(frame, rng)}, 0.1, 0.05, 0.1)
        answers = graded_answers(fresh, rng)
        sure = calibration.sets(fresh, answers)["sure"].to_numpy(bool)
        rows = list(zip(answers["p"], (row for _, row in fresh.iterrows()), strict=True))
        spoken = np.array([not np.isnan(space_of(row).decide(p)) for p, row in rows])
        wrong = spoken & ~np.array([is_right(p, row) for p, row in rows])
        broken += (sure & wrong).mean() > 0.05
        shares.append((sure & spoken).mean())
        assert wrong.mean() > 0.1
    assert broken <= 2 and np.mean(shares) > 0.15


def test_file_round_trip_and_infinity_as_null(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = table([*classes(5, rng, unknown=0), *classes(60, rng, "diagnosis", unknown=0)])
    calibration = calibrate(frame, {"twin": noisy_answers(frame, rng)}, 0.1)
    calibration.save(tmp_path / "calibration.json")
    stored = json.loads((tmp_path / "calibration.json").read_text())["models"]["twin"]
    assert stored["choice"]["groups"]["what-if/choice"] == {"n": 5, "threshold": None}
    assert stored["refusal"]["groups"][""] == {"n": 0, "threshold": None}
    assert stored["answering"]["threshold"] == "never"
    assert same(Calibration.load(tmp_path / "calibration.json"), calibration)


def test_few_rows_give_the_whole_set_and_range() -> None:
    rng = np.random.default_rng(2)
    frame = table([*classes(1, rng, unknown=0), *numbers(3, rng, unknown=0)])
    calibration = calibrate(frame, {"twin": noisy_answers(frame, rng)}, 0.1)
    p = [np.array([0.97, 0.01, 0.01, 0.01]), np.append(np.eye(121)[50], 0.0)]
    fresh = pd.DataFrame({"question": [frame["id"].iloc[0], frame["id"].iloc[1]], "p": p})
    sets = calibration.sets(frame, fresh)
    assert sets["members"].tolist() == [[0, 1, 2, 3], []]
    assert sets.loc[1, ["low", "high", "refusal"]].tolist() == [0.0, 120.0, True]
    unseen = calibration.sets(frame.assign(asked="never"), fresh)
    assert unseen["members"].iloc[0] == [0, 1, 2, 3]


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
    fitted = calibration.models["twin"].entities["dependency/entities"]
    assert isinstance(fitted, Entities) and 0 < fitted.least < 1
    fresh, answers = sets_and_answers(1500, 1)
    found = calibration.sets(fresh, answers)
    held, known = covered(fresh, found), fresh["truth"].notna().to_numpy()
    assert 0.76 < held[known].mean() < 0.84
    assert not held[known & (fresh["gold"].map(len) < fresh["gold_total"]).to_numpy()].any()
    assert (held[~known] == found["refusal"][~known]).all() and 0.75 < held[~known].mean() < 0.9
    for p, inside in zip(answers["p"], found["members"], strict=True):
        assert inside == np.flatnonzero((p[:-1] >= fitted.least - 1e-8) | (p[:-1] > 0.5)).tolist()
    assert 0 < (found["members"].map(len) == 0).mean() < 0.5  # an empty set is a claim too


def test_a_level_out_of_reach_keeps_everything_and_says_why(tmp_path: Path) -> None:
    frame, answers = sets_and_answers(800, 0)
    calibration = calibrate(frame, {"twin": answers}, 0.05)
    why = calibration.models["twin"].entities["dependency/entities"]
    assert isinstance(why, str) and "lack gold among their candidates" in why
    assert calibration.out_of_reach() == {"dependency/entities": why}
    kept = calibration.sets(frame, answers)["members"]
    assert all(len(members) == len(options) for members, options in zip(kept, frame["options"], strict=True))
    calibration.save(tmp_path / "calibration.json")
    assert same(Calibration.load(tmp_path / "calibration.json"), calibration)
    stored = json.loads((tmp_path / "calibration.json").read_text())["models"]["twin"]["entities"]
    assert stored == {"dependency/entities": {"why": why}}


def test_a_node_that_is_said_is_always_kept(tmp_path: Path) -> None:
    """Also where the promise needs none: no one belongs to any set."""
    frame, answers = sets_and_answers(60, 2)
    nobody = frame.assign(gold=[[]] * 60, gold_total=0, truth=0.0)
    calibration = calibrate(nobody, {"twin": answers}, 0.1)
    kept = calibration.sets(nobody, answers)["members"]
    assert all(members == np.flatnonzero(p[:-1] > 0.5).tolist() for p, members in zip(answers["p"], kept, strict=True))
    calibration.save(tmp_path / "calibration.json")
    assert same(Calibration.load(tmp_path / "calibration.json"), calibration)


def test_a_set_is_never_empty() -> None:
    """Calibrated on sure and right answers, an unsure one has nothing that passes: its likeliest entry stands in."""
    rng = np.random.default_rng(4)
    frame = table(classes(300, rng))
    right = [np.eye(4)[space_of(row).index(row["truth"])] * 0.9 + 0.025 for _, row in frame.iterrows()]
    calibration = calibrate(frame, {"twin": pd.DataFrame({"question": frame["id"], "p": right})}, 0.1)
    even = pd.DataFrame({"question": frame["id"].head(1), "p": [np.array([0.25, 0.25 + 1e-4, 0.25, 0.25])]})
    assert calibration.sets(frame, even)["members"].iloc[0] == [1]


def test_loads_and_predicts_without_mapie(fitted: Fitted, tmp_path: Path) -> None:
    fitted[0].save(tmp_path / "calibration.json")
    code = (
        "import sys; sys.modules['mapie'] = None\n"
        "from pathlib import Path\nimport numpy as np\n"
        "from twinforge.conformal.calibration import Calibration\n"
        "c = Calibration.load(Path(sys.argv[1]))\n"
        "p = np.array([[.9, .05, .05, 0.]])\n"
        "print(c.models['twin'].choice.sets(p, np.array(['what-if/choice']))[0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "calibration.json")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.startswith("[True")


def test_mistakes_are_named(fitted: Fitted, tmp_path: Path) -> None:
    calibration, frame, answers = fitted
    with pytest.raises(UserError, match="'boost' is not calibrated; there are llm, twin"):
        calibration.sets(frame, answers, "boost")
    with pytest.raises(UserError, match="answered none of the 1200 rows"):
        calibrate(frame, {"twin": answers.iloc[:0]}, 0.1)
    short = answers.head(1).assign(p=[np.array([1.0])])
    with pytest.raises(UserError, match="what-if-choice-0 holds 1 numbers, 4"):
        calibrate(frame, {"twin": short}, 0.1)
    (tmp_path / "broken.json").write_text('{"alpha": 0.1}')
    with pytest.raises(UserError, match=r"broken\.json: not a calibration"):
        Calibration.load(tmp_path / "broken.json")
