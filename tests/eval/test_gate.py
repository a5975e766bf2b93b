"""The gate: an equal twin passes, a harmed one fails, and chance alone fails it as seldom as it says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.gate import baseline, verdict
from eval.scores import SCORE
from eval.verdict import GateReport
from twinforge.errors import UserError


@dataclass(frozen=True)
class Primary:
    skill: str
    measure: str
    margin: float
    suite: str = "quality"


SKILLS = ("what-if", "forecast", "standard", "recommend")
EIGHT = tuple(Primary(skill, measure, 0.0) for skill in SKILLS for measure in ("accuracy", "log_score"))


def twin(right: float, seed: int, episodes: int = 30, rows: int = 6, noise: float = 0.1) -> pd.DataFrame:
    """Scored rows of a twin: the episodes differ in how hard they are in the same way for every seed."""
    hard = np.random.default_rng(99).normal(0, noise, episodes)
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([range(episodes), SKILLS, range(rows)], names=["at", "skill", "row"]).to_frame(
        index=False
    )
    hit = rng.random(len(index)) < np.clip(right - hard[index["at"]], 0, 1)
    frame = index.assign(
        question=[f"q{i:05}" for i in range(len(index))],
        episode=[f"day-{at:03}" for at in index["at"]],
        right=hit.astype(float),
        log_score=np.where(hit, -0.1, -2.0) + rng.normal(0, 0.05, len(index)),
        confidence=0.9,
        refused=0.0,
        covered=(rng.random(len(index)) < 0.9).astype(float),
        regret=np.where(index["skill"] == "recommend", 1.0 - hit, np.nan),
        kind="choice",
        label_true="a",
        label_said=np.where(hit, "a", "b"),
        model="twin",
        split="test",
        unit="",
        scale=1.0,
        rule_wrong=False,
        time=pd.Timestamp("2026-01-01"),
    )
    return frame.reindex(columns=SCORE.names)


def judged(
    today: pd.DataFrame, release: pd.DataFrame | None, measures: Any = EIGHT, metrics: Any = None, alpha: float = 0.05
) -> GateReport:
    released = {} if release is None else {"quality": release}
    return verdict({"quality": today}, released, metrics or {}, measures, (), alpha)


def test_the_same_answers_pass_and_show_what_could_have_been_seen() -> None:
    release = baseline(twin(0.85, seed=1))
    report = judged(release, release)
    assert report.verdict == "pass" and report.passed
    for row in report.measures:
        assert (row.gain, row.p, row.finding) == (0, 1, "not worse")
    smallest = [row.smallest for row in report.measures if row.measure == "accuracy"]
    assert all(loss is not None and 0.02 < loss < 0.15 for loss in smallest)


def test_a_harmed_twin_fails_and_says_where() -> None:
    release, today = twin(0.85, seed=1), twin(0.85, seed=1)
    harmed = (today["skill"] == "forecast") & (np.random.default_rng(0).random(len(today)) < 0.3)
    today.loc[harmed, "right"] = 0.0
    report = judged(today, baseline(release))
    assert report.verdict == "fail" and not report.passed
    assert [(row.skill, row.measure) for row in report.measures if row.finding == "worse"] == [("forecast", "accuracy")]
    assert any("forecast accuracy" in note for note in report.notes)


def test_a_loss_within_the_margin_passes_and_one_beyond_it_fails() -> None:
    release, today = twin(0.9, seed=1, noise=0), twin(0.9, seed=1, noise=0)
    lost = np.random.default_rng(0).random(len(today)) < 0.1
    today.loc[lost, "right"] = 0.0
    for margin, passed in ((0.15, True), (0.02, False)):
        report = judged(today, release, [Primary("all", "accuracy", margin)])
        assert report.passed is passed
        assert report.measures[0].finding == ("not worse" if passed else "worse")


def test_chance_alone_fails_an_equal_twin_about_one_time_in_twenty() -> None:
    release = [twin(0.85, seed=1000 + i) for i in range(200)]
    fails = [
        not judged(twin(0.85, seed=i), rows, [each for each in EIGHT if each.measure == "accuracy"]).passed
        for i, rows in enumerate(release)
    ]
    assert 0.01 <= np.mean(fails) <= 0.095


def test_the_smallest_loss_is_seen_four_times_in_five() -> None:
    measures = [Primary("all", "accuracy", 0.01)]
    smallest = np.mean([judged(twin(0.85, i), twin(0.85, 500 + i), measures).measures[0].smallest for i in range(20)])
    seen = [not judged(twin(0.85 - smallest, i), twin(0.85, 500 + i), measures).passed for i in range(100)]
    assert 0.65 <= np.mean(seen) <= 0.93


def test_whole_episodes_are_the_unit() -> None:
    """One bad day of many rows is no evidence; the same loss spread over all days is."""
    release, day, spread = (twin(1.0, seed=1, noise=0) for _ in range(3))
    day.loc[day["episode"] == "day-000", "right"] = 0.0
    lost = spread.groupby("episode").cumcount() == 0
    spread.loc[lost, "right"] = 0.0
    measures = [Primary("all", "accuracy", 0.0)]
    assert judged(day, release, measures).passed
    assert not judged(spread, release, measures).passed


@pytest.mark.parametrize("measure", ["regret", "macro_f1", "calibration_error", "coverage"])
def test_other_measures_know_their_good_direction(measure: str) -> None:
    skill = "recommend" if measure == "regret" else "all"
    better, worse = twin(0.95, seed=1), twin(0.6, seed=2)
    worse["covered"] *= 0.8
    assert judged(better, worse, [Primary(skill, measure, 0.0)]).passed
    assert not judged(worse, better, [Primary(skill, measure, 0.0)]).passed


def test_holm_is_the_one_of_the_book() -> None:
    report = judged(twin(0.8, seed=3), twin(0.85, seed=4))
    raw, holm = (np.array([getattr(row, name) for row in report.measures]) for name in ("p", "holm"))
    order = np.argsort(raw)
    by_hand = [min(1.0, max((8 - j) * raw[order[j]] for j in range(i + 1))) for i in range(8)]
    assert holm[order] == pytest.approx(by_hand)


def test_no_baseline_passes_with_a_note() -> None:
    report = judged(twin(0.5, seed=1), None)
    assert (report.verdict, report.passed) == ("no baseline", True)
    assert "--accept" in report.notes[0]


def test_too_little_coverage_fails_whatever_else() -> None:
    entry = {"value": 0.8, "low": 0.75, "high": 0.84, "n": 300, "band_low": 0.86, "band_high": 0.94, "ok": False}
    metrics = {"quality": {"test": {"forecast": {"coverage": {"twin": entry}}}}}
    release = twin(0.85, seed=1)
    assert judged(release, release, metrics=metrics).verdict == judged(release, None, metrics=metrics).verdict == "fail"


def test_other_questions_can_not_be_compared() -> None:
    release = twin(0.85, seed=1)
    report = judged(release.assign(question="new-" + release["question"]), release)
    assert (report.verdict, report.passed) == ("not comparable", False)


def test_a_measure_that_nothing_defines_fails() -> None:
    release = twin(0.85, seed=1)
    report = judged(release, release, [Primary("diagnosis", "accuracy", 0.1)])
    assert (report.verdict, report.measures[0].finding) == ("fail", "undefined")
    with pytest.raises(UserError, match="accuraccy"):
        judged(release, release, [Primary("all", "accuraccy", 0.1)])


def test_the_verdict_survives_json_and_prints() -> None:
    report = judged(twin(0.8, seed=3), twin(0.85, seed=4))
    assert GateReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
    text = report.markdown()
    assert text.startswith(f"## Gate: {report.verdict}") and text.count("\n| ") == 2 * (2 + 8)
    assert "| suite | measure | bar or release | today (95 %) | n | finding |" in text
    assert [table.row_count for table in report.tables()] == [8, 8]


def test_another_suite_is_paired_where_both_have_its_rows() -> None:
    told = [Primary("all", "accuracy", 0.02), Primary("all", "accuracy", 0.02, "robustness")]
    whole, worse = twin(0.85, seed=1), twin(0.5, seed=2)

    def found(today: dict[str, pd.DataFrame], release: dict[str, pd.DataFrame]) -> GateReport:
        return verdict({"quality": whole, **today}, {"quality": whole, **release}, {}, told, (), 0.05)

    report = found({"robustness": worse}, {"robustness": whole})
    assert [row.finding for row in report.measures] == ["not worse", "worse"] and not report.passed
    assert report.notes[0] == "robustness all accuracy fails"
    few = whole[whole["episode"].isin(["day-000", "day-001"])]
    for today, release, finding in (
        ({"robustness": whole}, {}, "no release"),
        ({"robustness": whole.head(0)}, {"robustness": whole}, "not measured"),
        ({"robustness": few}, {"robustness": whole}, "not measured"),
    ):
        report = found(today, release)
        assert report.passed and report.measures[1].finding == finding
        assert report.unmeasured == (("robustness",) if finding == "not measured" else ())
        assert any("robustness accuracy" in note for note in report.notes)


def metrics_of(wrong: float, low: float, high: float) -> dict[str, Any]:
    return {
        "hallucination": {"test": {"all": {"wrong": {"twin": {"value": wrong, "low": low, "high": high, "n": 80}}}}}
    }


@pytest.mark.parametrize(("low", "passed", "finding"), [(0.06, False, "missed"), (0.04, True, "unclear")])
def test_a_bar_fails_only_beyond_chance_and_what_is_unclear_is_named(low: float, passed: bool, finding: str) -> None:
    rows = twin(0.85, seed=1)
    for release in ({}, {"quality": rows}):
        report = verdict(
            {"quality": rows}, release, metrics_of(0.1, low, 0.2), EIGHT[:3], ("hallucination", "drift"), 0.05
        )
        assert report.passed is passed and [row.finding for row in report.bars] == [finding, "not measured"]
        assert any(note.startswith("hallucination misses its bar") for note in report.notes) is not passed
        assert ("too few episodes to say: hallucination wrong" in report.notes) is passed
        assert report.unmeasured == ("drift",) and "not measured (`make suites` does): drift found" in report.notes
        assert (
            "| hallucination | what the twin states in reports and is wrong | at most 5 % | 10.0 % ["
            in report.markdown()
        )
        assert GateReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
