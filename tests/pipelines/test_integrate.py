"""The integrate and calibrate stages on stored answers of a synthetic sector, from questions to covered sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import Paths, calibrate, integrate
from tests.eval.synthetic import write_no_backing
from tests.synthetic import classes, numbers, picks, sets, table
from twinforge.agents.integration import Integration
from twinforge.claims import CLAIM, REPORT
from twinforge.conformal.calibration import Calibration, covered
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, write_table
from twinforge.records import ANSWER, QUESTION, SPLITS, membership, space_of
from twinforge.training.experts import fit_experts

SECTION = SimpleNamespace(rounds=60, learning_rate=0.1, leaves=7, min_leaf=10, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
SIZES = {"train": 300, "calibration": 150, "test": 150, "shift": 30}


def split_table(split: str, seed: int) -> pd.DataFrame:
    rng, n = np.random.default_rng(seed), SIZES[split]
    frame = table(classes(n, rng) + picks(n, rng) + numbers(n, rng) + sets(n, rng))
    days = frame["episode"].str.removeprefix("day-").astype(int)
    frame["validation"] = (days % 3 == 0) & (split == "train")
    return frame.assign(id=f"{split}-" + frame["id"], episode=f"{split}-" + frame["episode"])


def llm_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Answers that know something of the truth that the experts don't: noise of their own."""
    rng = np.random.default_rng(5)
    p = []
    for _, row in frame.iterrows():
        space = space_of(row)
        score = rng.normal(size=space.size)
        if space.kind == "entities":
            p.append(1 / (1 + np.exp(-score - 3 * (2 * np.nan_to_num(membership(row), nan=0.5) - 1))))
            continue
        score[space.index(row["truth"])] += 2.5
        p.append(np.exp(score) / np.exp(score).sum())
    return pd.DataFrame({"question": frame["id"], "p": p, "tokens": 7, "seconds": 0.5})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A project folder with questions and answers, as the stages before would leave it."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    splits = {split: split_table(split, seed) for seed, split in enumerate(SPLITS)}
    for split, frame in splits.items():
        write_table(frame, paths.questions(split), QUESTION)
        write_table(pd.DataFrame(columns=REPORT.names), paths.reports_of(split), REPORT)
    write_table(pd.DataFrame(columns=CLAIM.names), paths.claims, CLAIM)
    write_no_backing(paths)
    train = splits["train"]
    asked = pd.concat([train[train["validation"]], *(splits[s] for s in SPLITS[1:])])
    experts = fit_experts(train, SECTION, 17)
    for name in ("boost", "rule"):
        write_table(experts.answer(name, asked), paths.answers_of(name), ANSWER)
    write_table(llm_answers(asked), paths.answers_of("llm"), ANSWER)
    slice_ = {"sector": "toy", "seed": 17, "calibrate": {"alpha": 0.1, "risk": 0.05, "delta": 0.1}}
    paths.recipe("calibrate").parent.mkdir(parents=True)
    paths.recipe("calibrate").write_text(yaml.safe_dump(slice_))
    return paths


def losses(answers: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    p = answers.set_index("question")["p"]
    return pd.Series({row["id"]: _loss(np.asarray(p[row["id"]]), row) for _, row in frame.iterrows()})


def _loss(p: np.ndarray, row: pd.Series) -> float:
    if row["kind"] != "entities":
        return float(-np.log(p[space_of(row).index(row["truth"])]))
    happened = membership(row)
    return float(-np.log(np.where(happened == 1, p, 1 - p))[~np.isnan(happened)].sum())


def test_the_twin_is_pooled_calibrated_and_covered(project: Paths) -> None:
    integrate.main("toy")
    calibrate.main("toy")
    twin, llm = (read_table(project.answers_of(name), ANSWER) for name in ("twin", "llm"))
    assert twin["question"].tolist() == llm["question"].tolist()
    kinds = pd.concat([read_table(project.questions(s), QUESTION) for s in SPLITS]).set_index("id")["kind"]
    for question, p in zip(twin["question"], twin["p"], strict=True):
        assert 0 < p.min() <= p.max() < 1 and (p.sum() == pytest.approx(1) or kinds[question] == "entities")
    assert (twin["tokens"] == 7).all()
    assert (twin["seconds"] > 0.5).all()
    test = read_table(project.questions("test"), QUESTION)
    boost = read_table(project.answers_of("boost"), ANSWER)
    group = test["asked"]
    twin_loss = losses(twin, test).groupby(group.to_numpy()).mean()
    best = pd.concat([losses(part, test).groupby(group.to_numpy()).mean() for part in (llm, boost)], axis=1).min(axis=1)
    assert (twin_loss < best + 0.02).all()
    assert twin_loss.mean() < best.mean() - 0.03
    calibration = Calibration.load(project.calibration)
    assert set(calibration.models) == {"twin", "llm"}
    for model, answers in (("twin", twin), ("llm", llm)):
        right = pd.Series(covered(test, calibration.sets(test, answers, model)), index=test["kind"])
        assert 0.83 < right.mean() < 0.99 and 0.75 < right["entities"].mean() <= 1
        assert set(calibration.models[model].entities) == {"dependency/entities"} and not calibration.out_of_reach(
            model
        )


def test_weights_are_fitted_on_the_validation_share_alone(project: Paths) -> None:
    """Other truths in calibration, test and shift leave the weights as they are; in the validation share they don't."""
    integrate.main("toy")
    first = Integration.from_json(read_json(project.integration))
    for split in SPLITS[1:]:
        frame = read_table(project.questions(split), QUESTION)
        frame["truth"] = frame["truth"].where(frame["kind"] == "number", 0.0)
        write_table(frame, project.questions(split), QUESTION)
    integrate.main("toy")
    assert Integration.from_json(read_json(project.integration)) == first
    frame = read_table(project.questions("train"), QUESTION)
    write_table(
        frame.assign(truth=frame["truth"].where(frame["kind"] == "number", 0.0)), project.questions("train"), QUESTION
    )
    integrate.main("toy")
    assert Integration.from_json(read_json(project.integration)) != first


def test_calibration_looks_at_its_own_split_alone(project: Paths) -> None:
    integrate.main("toy")
    calibrate.main("toy")
    first = project.calibration.read_bytes()
    for split in ("train", "test", "shift"):
        project.questions(split).unlink()
    calibrate.main("toy")
    assert project.calibration.read_bytes() == first


def test_a_missing_or_wrong_answer_file_is_named_and_nothing_is_written(project: Paths) -> None:
    boost = read_table(project.answers_of("boost"), ANSWER)
    for broken in (boost.assign(p=[np.ones(2)] * len(boost)), pd.concat([boost, boost])):
        write_table(broken, project.answers_of("boost"), ANSWER)
        with pytest.raises(UserError, match=r"boost\.parquet"):
            integrate.main("toy")
    project.answers_of("boost").unlink()
    with pytest.raises(UserError, match=r"boost\.parquet: no such file"):
        integrate.main("toy")
    assert not project.integration.exists()
    with pytest.raises(UserError, match=r"twin\.parquet: no such file"):
        calibrate.main("toy")
    assert not project.calibration.exists()
