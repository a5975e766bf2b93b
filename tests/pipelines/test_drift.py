"""The drift stage on scripted answers and sensors: what it writes, what is found, and what is not watched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import twinforge.drift.reference as module
from pipelines import Paths, drift
from tests.eval import synthetic
from twinforge.drift import CUSUM, Reference
from twinforge.drift.trial import COURSE, RUN
from twinforge.files import read_table, write_table
from twinforge.recipe import Recipe, write_slice
from twinforge.recipe.judging import Drift
from twinforge.records import ANSWER, EPISODE, QUESTION
from twinforge.sectors import Change, Readings, Streams, Template

RATES = {"twin": 0.9, "llm": 0.85, "base": 0.3}
NAMES = (("A", "level", "physical"), ("B", "level", "physical"), ("C", "use", "abstract"))
TEMPLATES = tuple(
    Template(f"{skill}-1", skill, "choice", (f"{skill}?",), (), {})
    for skill in (*synthetic.CHOICES, *synthetic.NUMBERS)
)


def sensors(recipe: Any) -> Streams:
    """Three streams of white noise; B shifts by three standard deviations, and the control does not."""
    rng = np.random.default_rng(0)

    def calm(n: int) -> Readings:
        x = rng.normal(size=(n, 3))
        return Readings(50 + 0 * x, x)

    def shifted() -> Readings:
        part = calm(100)
        part.residual[:, 1] += 3
        return part

    changes = (
        *(Change("shift", "B", "level", "physical", calm(100), shifted()) for _ in range(8)),
        Change("nothing", "A", "level", "", calm(100), calm(100), False),
    )
    return Streams(NAMES, calm(2200), calm(1000), changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    fast = (CUSUM(effort=40_000),)
    monkeypatch.setattr(module, "SCALAR", fast)
    monkeypatch.setattr(drift, "SCALAR", fast)
    paths = Paths("toy")
    write_slice(Recipe(sector="toy", module="toy", drift=Drift(run_length=1000)), "drift", paths.recipe("drift"))
    sizes = {"train": 2, "calibration": 100, "test": 40, "shift": 10}
    parts = [synthetic.questions(size, 5, split, seed=i) for i, (split, size) in enumerate(sizes.items())]
    for rows in parts:
        write_table(rows.drop(columns="split"), paths.questions(rows["split"].iloc[0]), QUESTION)
    questions = pd.concat(parts, ignore_index=True)
    for seed, (model, rate) in enumerate(RATES.items()):
        write_table(synthetic.answers(questions, rate, seed=seed), paths.answers_of(model), ANSWER)
    names = questions["episode"].unique()
    day = pd.Timestamp("2026-01-01")
    regimes = ["late" if name.startswith("shift") else "calm" for name in names]
    rows = {"episode": names, "start": day, "end": day, "regime": regimes, "change": pd.NaT, "note": "{}"}
    write_table(pd.DataFrame(rows), paths.episodes, EPISODE)
    return paths


def plug(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    monkeypatch.setattr(drift, "load_sector", lambda _: SimpleNamespace(TEMPLATES=TEMPLATES, **parts))


def test_changes_are_found_and_named_and_a_swapped_model_is_seen(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch, streams=sensors)
    drift.main("toy")
    reference = Reference.load(project.drift_reference)
    assert set(reference.watched) == {
        ("A", "level"),
        ("B", "level"),
        ("C", "use"),
        ("twin", "answers"),
        ("llm", "answers"),
    }
    rows = read_table(project.drift_runs, RUN)
    assert set(rows["model"]) == {"cusum", "cusum-raw"}
    own = rows[rows["model"] == "cusum"].set_index("scenario")
    shift = own.loc["shift"]
    assert (shift["delay"] <= 10).all() and (shift["named_asset"] == "B").all()
    assert (shift["named_dimension"] == "physical").all()
    assert own.loc["nothing", "dimension"] == "" and not own.loc["nothing", "named"]
    swapped = own.loc[["model swapped"]]
    assert (swapped["delay"] <= 48).mean() > 0.7 and set(swapped["dimension"]) == {
        ""
    }  # one dimension alone: nothing to name
    calm = own.loc["calm"].groupby("quantity")[["alarms", "steps"]].sum()
    assert calm.loc["level", "steps"] == 2000 and calm.loc["level", "alarms"] <= 8
    course = read_table(project.drift_course, COURSE)
    assert {"shift", "nothing", "model swapped"} <= set(course["scenario"])
    assert course.loc[(course["scenario"] == "shift") & (course["step"] > 50), "evidence"].max() > 5


def test_a_sector_without_sensors_and_with_few_answers_is_not_watched(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch)
    few = read_table(project.questions("calibration"), QUESTION).head(500)
    write_table(few, project.questions("calibration"), QUESTION)
    drift.main("toy")
    assert Reference.load(project.drift_reference) == Reference(1000)
    assert not len(read_table(project.drift_runs, RUN)) and not len(read_table(project.drift_course, COURSE))


def test_new_wordings_are_told_from_those_of_training() -> None:
    template = Template(
        "t", "what-if", "choice", ("What if {line} trips?",), ("Say {line} fails (now)?",), {"line": "line"}
    )
    plugin: Any = SimpleNamespace(TEMPLATES=(template,))
    texts = ["What if L1 trips?", "Say L2 fails (now)?"] * drift.AFTER
    rows = pd.DataFrame({"template": "t", "text": texts})
    found = list(drift.reworded({"calibration": rows, "test": rows.head(0)}, plugin))
    assert [scenario for scenario, _, _ in found] == ["wording, all new", "wording, a part new", "wording, a part new"]
    np.testing.assert_array_equal(found[0][2], np.arange(1, 2 * drift.AFTER, 2))
