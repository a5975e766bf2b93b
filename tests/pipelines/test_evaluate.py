"""Evaluate, gate and report on files as the stages before leave them: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.probes import PROBE, dimensions, probes_of, some_states
from eval.probes.contamination import canaries
from eval.probes.general import GENERAL
from eval.probes.words import Words
from eval.rolling import ROLL, policies, roll
from eval.scores import SCORE
from eval.suites.robustness import PAIRED
from pipelines import Paths, evaluate, gate, report
from tests.eval import synthetic
from tests.eval.rolling import Tanks, growing
from tests.eval.test_forgetting_suite import general
from twinforge.agents.integration import Integration
from twinforge.conformal.calibration import calibrate
from twinforge.drift.trial import COURSE, RUN
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, write_json, write_table
from twinforge.recipe import Recipe, write_slice
from twinforge.recipe.judging import Evaluate, Gate
from twinforge.records import ANSWER, EPISODE, QUESTION
from twinforge.sectors.dimensions import Source, keep_marked

RATES = {"twin": 0.9, "llm": 0.8, "boost": 0.85, "base": 0.35, "base-few": 0.45, "rule": 0.8, "copy": 0.2}
HELD = Gate(bars=("propagation",))  # the scripted answers flip by chance, and harm


@pytest.fixture(scope="module")
def stored() -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    sizes = {"calibration": 16, "test": 16, "shift": 6}
    parts = [synthetic.questions(size, 6, split, seed=i) for i, (split, size) in enumerate(sizes.items())]
    questions = pd.concat(parts, ignore_index=True)
    asked = {model: questions for model in RATES}
    asked["base"] = questions[questions["split"] != "calibration"]
    asked["base-few"] = questions[questions["split"] == "test"].sample(80, random_state=0)
    answers = {model: synthetic.answers(asked[model], rate, seed=i) for i, (model, rate) in enumerate(RATES.items())}
    return questions, answers


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[pd.DataFrame, dict[str, pd.DataFrame]]
) -> Paths:
    monkeypatch.chdir(tmp_path)
    paths, (questions, answers) = Paths("toy"), stored
    recipe = Recipe(sector="toy", module="tests.toy", evaluate=Evaluate(resamples=200), gate=HELD)
    for stage in ("evaluate", "gate", "report", "write"):
        write_slice(recipe, stage, paths.recipe(stage))
    for split, rows in questions.groupby("split"):
        write_table(rows.drop(columns="split"), paths.questions(str(split)), QUESTION)
    train = questions.head(3).drop(columns="split").assign(id=lambda rows: "train-" + rows["id"], validation=True)
    learnt = train.assign(id=train["id"] + "-learnt", context="learnt", validation=False)
    write_table(pd.concat([train, learnt]), paths.questions("train"), QUESTION)
    for model, rows in answers.items():
        write_table(pd.concat([rows, synthetic.answers(train, 0.9)]), paths.answers_of(model), ANSWER)
    calibration = questions[questions["split"] == "calibration"]
    calibrate(calibration, {model: answers[model] for model in ("twin", "llm")}, 0.1).save(paths.calibration)
    test = questions[questions["split"] == "test"].drop(columns="split")
    probes = probes_of(test, Words("toy", {}), 6, seed=1)
    probes = probes[probes["probe"] != "asked in other unit"]  # the scripted answers know one unit
    sources = dict.fromkeys(test["template"], Source(("P",), ""))
    less = dimensions.ask(some_states(test, 6, 1), lambda rows, kept: keep_marked(rows, kept, sources))
    lying = less[less["probe"] == "PC"].assign(suite="failing", probe="lying P", id="lie-" + less["original"])
    less = pd.concat([less, lying], ignore_index=True)
    blanked = [canaries(rows, name) for name, rows in (("train", learnt), ("test", test.head(20)))]
    asked = pd.concat([probes, less[PROBE.names], *blanked], ignore_index=True)
    write_table(asked, paths.probe_questions, PROBE)
    write_table(synthetic.answers(asked, 0.7), paths.probe_answers, ANSWER)
    for i, expert in enumerate(("boost", "rule")):
        seen = synthetic.answers(less[less["probe"].str.contains("C|lying")], 0.9, seed=5 + i)
        write_table(seen, paths.probe_expert(expert), ANSWER)
    write_table(general({"base": 0.8, "llm": 0.6}), paths.probe_general, GENERAL)
    write_json(Integration({}, {}).to_json(), paths.integration)
    write_table(synthetic.drift_runs(), paths.drift_runs, RUN)
    write_table(synthetic.drift_course(), paths.drift_course, COURSE)
    synthetic.write_reports(paths)
    tanks = [Tanks(f"tanks-{i}", off=i) for i in range(3)]
    write_table(roll(tanks, policies(12), growing(1.1)), paths.rolled_answers, ROLL)
    few = test[test["id"].isin(answers["base-few"]["question"])].head(40)
    for way, rate in (("llm-cot", 0.8), ("llm-checked", 0.95), ("llm-again", 0.8)):
        write_table(synthetic.answers(few, rate), paths.thoughts / f"{way}.parquet", ANSWER)
    days = {
        "episode": questions["episode"].unique(),
        "regime": "calm",
        "start": None,
        "end": None,
        "change": None,
        "note": "",
    }
    episodes = pd.DataFrame(days).assign(
        regime=lambda d: d["regime"].where(~d["episode"].str.startswith("shift"), "late")
    )
    write_table(episodes, paths.episodes, EPISODE)
    return paths


def test_the_three_stages_leave_all_that_is_read_later(project: Paths) -> None:
    evaluate.main("toy")
    measures = read_json(project.metrics)["quality"]
    assert set(measures) == {"test", "test|rule-wrong", "shift", "shift|rule-wrong"}
    summary = read_json(project.summary)
    assert summary["accuracy"]["twin"] == pytest.approx(measures["test"]["all"]["accuracy"]["twin"]["value"], abs=5e-5)
    assert summary["twin_coverage"].keys() == summary["twin_accuracy"].keys() >= {"all"}
    cell = measures["test"]["all"]
    assert set(cell["accuracy"]) == {*RATES, "base-best"}
    assert set(cell["coverage"]) == {
        "twin",
        "llm",
        "boost",
        "rule",
        "copy",
    }  # those that answered the calibration split
    assert cell["coverage"]["twin"]["band_low"] < 0.9 and 0.8 < cell["coverage"]["twin"]["value"] <= 1
    rows = read_table(project.suites / "quality.parquet", SCORE)
    assert rows.duplicated(["question", "model"]).sum() == 0 and not rows["question"].str.startswith("train").any()
    robust = read_json(project.metrics)["robustness"]["test"]
    assert set(robust["typos"]["flipped"]) == {"llm", "twin"} and set(robust["all"]["accuracy_original"]) >= {"boost"}
    assert 0.1 < robust["all"]["accuracy"]["llm"]["value"] < robust["all"]["accuracy"]["twin"]["value"] < 1
    assert (
        len(read_table(project.suites / "robustness.parquet", PAIRED))
        == 2 * robust["all"]["flipped"]["llm"]["n"] + 2 * (robust["asked again"]["flipped"]["llm"]["n"])
    )
    costs = read_json(project.metrics)["cost"]
    words = ("words of training", "words held out")
    assert set(costs["test"]) == {"all", "sample", *words, *(f"sample, {name}" for name in words)}
    assert set(costs["test"]["sample"]["accuracy"]) == {*RATES, "llm-cot"} and set(costs["shift"]) == {"late"}
    again = read_json(project.metrics)["propagation"]["test"]
    assert set(again) == {"checked", "again"} and again["checked"]["right_then"]["llm"]["value"] > 0.8
    less = read_json(project.metrics)["dimensions"]
    assert {f"test|{kept}" for kept in ("none", "P", "A", "C", "PA", "PC", "AC", "PAC")} == set(less) - {"test"}
    weak = read_json(project.metrics)["failing"]["test"]
    assert set(weak) == {"dead P", "dead A", "dead C", "lying P"}
    assert set(weak["lying P"]["accuracy"]) == {"twin", "uniform", "llm", "boost"}
    assert set(weak["dead C"]["accuracy"]) == {"twin", "uniform", "llm"}
    assert set(weak["dead C"]["answered"]) == {"twin", "llm"}
    assert weak["lying P"]["accuracy"]["twin"] == weak["lying P"]["accuracy"]["uniform"]  # its weights are equal
    assert weak["lying P"]["wrong_gained"]["twin"]["n"] == weak["dead A"]["accuracy"]["boost"]["n"] > 0
    for kept in ("none", "P", "A", "PA"):  # no computational side, no experts: what the language model says alone
        cell = less[f"test|{kept}"]["all"]["accuracy"]
        assert cell["twin"] == cell["llm"]
    assert all(
        less[f"test|{kept}"]["all"]["accuracy"]["twin"]["value"]
        > less[f"test|{kept}"]["all"]["accuracy"]["llm"]["value"] + 0.1
        for kept in ("C", "PC", "AC", "PAC")
    )
    drawn = {file.name for file in project.plots.iterdir()}
    assert {"reliability.csv", "risk_coverage.csv", "coverage.csv", "accuracy.csv"} < drawn
    assert {f"{name}.{kind}" for name in report.PLOTS for kind in ("png", "svg")} < drawn

    gate.main("toy")
    assert read_json(project.gate)["verdict"] == "no baseline"
    report.main("toy")
    page = project.report.read_text(encoding="utf-8")
    assert "Failing: wrong gained with a side dead, late or lying" in page
    assert "Dimensions: accuracy credit physical" in page and 'aria-label="dimensions"' in page
    bought = read_json(project.metrics)["cost"]["test"]["all"]["bought_seconds"]
    assert set(bought) == {*RATES} - {"base-few"} and bought["twin"]["value"] > 0 > bought["copy"]["value"]
    assert "Cost: accuracy for tokens and seconds, every test question" in page and "by seconds: twin" in page
    flipped = robust["hidden instruction"]["flipped"]["llm"]["value"]
    assert "Robustness: accuracy lost" in page and "flipped by a hidden instruction, at most 0 %: twin" in page
    assert f"llm missed ({100 * flipped:.1f} %)" in page
    assert "nothing released yet" in page and page.count("<svg") == len(report.PLOTS) + len(report.OPTIONAL)
    assert "<b>drift</b> <span" in page and "right asset" in page
    assert "Propagation: over rule" in page and "sensors read every 4 steps, at most 1.5: twin kept" in page
    assert "Safety on test: recommend" in page and "Contamination on test: canary" in page

    assert read_json(project.metrics)["drift"]["shift"]["bias"]["found"]["soon"]["value"] == 1.0
    assert len(read_table(project.suites / "drift.parquet", RUN)) == len(synthetic.drift_runs())

    (project.plots / "coverage.svg").unlink()
    with pytest.raises(UserError, match=r"coverage\.svg"):
        report.main("toy")
    assert project.report.read_text(encoding="utf-8") == page


def test_the_gate_passes_the_accepted_twin_and_fails_a_harmed_one(
    project: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main("toy")
    write_slice(Recipe(sector="toy", module="tests.toy"), "gate", project.recipe("gate"))
    with pytest.raises(UserError, match=r"metrics\.json: not measured: .*drift; a release needs all .* `make suites`"):
        gate.accept("toy")
    assert not Path("eval/baselines").exists()
    write_slice(Recipe(sector="toy", module="tests.toy", gate=HELD), "gate", project.recipe("gate"))
    suites = ("toy", "toy-robustness", "toy-dimensions")
    assert gate.accept("toy") == [Path(f"eval/baselines/{name}.parquet") for name in suites]
    assert Path("eval/baselines/toy.parquet").stat().st_size < 100_000
    assert gate.gate("toy") == 0

    twin = read_table(project.twin_answers, ANSWER)
    harmed = np.random.default_rng(0).random(len(twin)) < 0.4
    twin["p"] = [np.roll(p, 1) if bad else p for p, bad in zip(twin["p"], harmed, strict=True)]
    write_table(twin, project.twin_answers, ANSWER)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    evaluate.main("toy")
    gate.main("toy")  # the stage itself never stops the pipeline
    assert gate.gate("toy") == 1
    assert "worse" in capsys.readouterr().out
    assert "## Gate: fail" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert json.loads(project.gate.read_text())["passed"] is False


def test_a_sector_in_which_nothing_is_watched_has_no_drift_section(project: Paths) -> None:
    write_table(synthetic.drift_runs().head(0), project.drift_runs, RUN)
    write_table(synthetic.drift_course().head(0), project.drift_course, COURSE)
    evaluate.main("toy")
    gate.main("toy")
    report.main("toy")
    assert read_json(project.metrics)["drift"] == {} and not (project.plots / "drift.svg").exists()
    assert "<b>drift</b> <span" not in project.report.read_text(encoding="utf-8")


def test_a_twin_that_answered_no_test_question_is_refused(project: Paths) -> None:
    twin = read_table(project.twin_answers, ANSWER)
    write_table(twin[~twin["question"].str.startswith("test")], project.twin_answers, ANSWER)
    with pytest.raises(UserError, match=r"twin\.parquet.*test split"):
        evaluate.main("toy")
    assert not project.metrics.exists() and not project.suites.exists()


def test_no_probes_no_robustness(project: Paths) -> None:
    empty = ((project.probe_questions, PROBE), (project.probe_answers, ANSWER), (project.probe_general, GENERAL))
    for file, schema in empty:
        write_table(read_table(file, schema).head(0), file, schema)
    evaluate.main("toy")
    assert read_json(project.metrics)["robustness"] == read_json(project.metrics)["forgetting"] == {}
    assert read_json(project.metrics)["dimensions"] == {} and not (project.plots / "dimensions.png").exists()
    gate.main("toy")
    report.main("toy")
    page = project.report.read_text(encoding="utf-8")
    assert "Robustness" not in page and "Dimensions" not in page and "Forgetting" not in page


@pytest.mark.parametrize(
    "name",
    [
        "data/answers/toy/boost.parquet",
        "data/probes/toy/questions.parquet",
        "models/toy/calibration.json",
        "data/curated/toy/test.parquet",
    ],
)
def test_a_broken_file_is_named_and_nothing_written(project: Paths, name: str) -> None:
    Path(name).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match=name):
        evaluate.main("toy")
    assert not project.reports.exists()
