from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests import toy
from tests.toy_recipe import toy_slice
from twinforge.errors import UserError
from twinforge.files import read_table
from twinforge.lake.curate import Curated, curate, seeded, write_curated
from twinforge.lake.store import Lake
from twinforge.recipe import Slice
from twinforge.records import QUESTION, SKILLS, SPLITS
from twinforge.sectors import load_sector

TOY = load_sector("tests.toy")


def words(texts: Sequence[str]) -> np.ndarray:
    return np.array([len(text.split()) for text in texts])


@pytest.fixture(scope="module")
def curated(lake: Lake, recipe: Slice) -> Curated:
    return curate(lake, TOY, recipe, words)


def test_every_split_asks_every_skill_about_equally_often(curated: Curated) -> None:
    for split in SPLITS:
        counts = curated.tables[split]["skill"].value_counts()
        assert set(counts.index) == set(SKILLS)
        assert counts.max() <= 1.5 * counts.min(), counts.to_dict()


def test_splits_are_whole_episodes_and_so_is_the_validation_share(curated: Curated) -> None:
    whole = pd.concat([table.assign(split=split) for split, table in curated.tables.items()])
    assert (whole.groupby("episode")["split"].nunique() == 1).all()
    assert (whole.groupby("episode")["validation"].nunique() == 1).all()
    assert set(whole.loc[whole["validation"], "split"]) == {"train"}
    assert 0 < whole.loc[whole["split"] == "train", "validation"].mean() < 0.5
    assert not whole["id"].duplicated().any()


def test_held_out_phrasings_stay_out_of_train_and_come_up_elsewhere(curated: Curated) -> None:
    def held(split: str) -> float:
        return float(
            curated.tables[split]["text"]
            .isin(["Which fault do the readings show?", "Name the first rule breached."])
            .sum()
        )

    assert held("train") == 0
    asked = sum(curated.tables["test"]["asked"].isin(["diagnosis", "standard"]))
    assert 0.2 * asked < held("test") < 0.8 * asked  # the recipe asks for half


def test_the_report_adds_up(curated: Curated) -> None:
    report = curated.report
    readings, states, questions = report["readings"], report["states"], report["questions"]
    gone = sum(n for reason in readings["dropped"].values() for n in reason.values())
    assert readings["read"] == readings["kept"] + gone + sum(readings["flagged"]["marked missing"].values())
    assert states["in the lake"] == states["kept"] == 23 * 3
    tables = curated.tables
    assert questions["kept"] == sum(len(table) for table in tables.values())
    for split in SPLITS:
        assert sum(questions["count"][split].values()) == len(tables[split])
        refused = (tables[split]["skill"] == "unanswerable").mean()
        assert questions["refusals"][split] == pytest.approx(refused, abs=1e-4)
    numbers = pd.concat(tables.values()).query("skill == 'what-if' and kind == 'number' and copy == copy")
    copied = ((numbers["copy"] - numbers["truth"]).abs() <= 0.2 + 1e-9).mean()
    assert questions["copy_right"]["what-if/number"] == pytest.approx(copied, abs=1e-4)
    assert 0.1 < copied < 0.8
    assert questions["rule_right"]["all"] > questions["copy_right"]["all"]
    assert 40 < report["context_tokens"]["mean"] <= report["context_tokens"]["max"] < 100


def test_half_of_the_unanswerable_name_real_assets_or_few(curated: Curated) -> None:
    refused = pd.concat(curated.tables.values()).query("skill == 'unanswerable'")
    strange = refused["text"].str.contains("P7|P5|tank C")
    assert 0 < strange.mean() < 1
    assert refused["truth"].isna().all() and not refused["asked"].eq("unanswerable").any()


def test_the_same_slice_gives_the_same_questions_in_whatever_order_the_lake_is_read(
    lake: Lake, recipe: Slice, curated: Curated
) -> None:
    class Backwards(Lake):
        def outcomes(self) -> Any:
            return (frame.iloc[::-1] for frame in super().outcomes())

    episodes, readings = lake.episodes.iloc[::-1], lake.observations.sample(frac=1, random_state=0)
    again = curate(Backwards(lake.folder, episodes, readings, lake.knowledge, lake.standards), TOY, recipe, words)
    for split in SPLITS:
        mine, theirs = (frame.tables[split].set_index("id").sort_index()["truth"] for frame in (curated, again))
        pd.testing.assert_series_equal(mine, theirs)


def copied(lake: Lake, source: str, target: str) -> Lake:
    """The lake with the readings of one episode put in place of another's."""
    frame = lake.observations
    shift = lake.episodes.set_index("episode")["start"]
    rows = frame[frame["episode"] == source].assign(episode=target)
    rows["time"] += shift[target] - shift[source]
    return replace(lake, observations=pd.concat([frame[frame["episode"] != target], rows], ignore_index=True))


def test_a_training_state_that_nearly_equals_a_tested_one_is_dropped(
    lake: Lake, recipe: Slice, curated: Curated
) -> None:
    train = curated.tables["train"].query("not validation")["episode"].iloc[0]
    test = curated.tables["test"]["episode"].iloc[0]
    made = curate(copied(lake, train, test), TOY, recipe, words)
    assert made.report["states"]["nearly the same as another"] == {"train": 3}
    assert train not in set(made.tables["train"]["episode"]) and test in set(made.tables["test"]["episode"])


def test_questions_per_state_bounds_the_number(lake: Lake, tmp_path: Path) -> None:
    few = curate(lake, TOY, toy_slice(tmp_path, "curate", curate={"questions_per_state": 3}), words)
    per_state = few.report["questions"]["kept"] / few.report["states"]["kept"]
    assert 2.5 < per_state <= 3.5
    assert sum(few.report["questions"]["dropped"]["surplus of a skill"].values()) > few.report["questions"]["kept"]


def test_a_context_above_the_limit_names_its_state(lake: Lake, recipe: Slice) -> None:
    with pytest.raises(
        UserError, match=r"max_context_tokens: 400: the context of episode 'toy-2024-.*' at 2024-.* has \d{3,} tokens"
    ):
        curate(lake, TOY, recipe, lambda texts: words(texts) * 10)


def sector(**changes: Any) -> Any:
    names = ("SIGNALS", "TEMPLATES", "questions")
    return SimpleNamespace(**{name: getattr(toy, name) for name in names} | changes)


def test_nothing_left_after_curation_is_an_error_that_says_why(lake: Lake, recipe: Slice) -> None:
    with pytest.raises(
        UserError, match="no question is left for train, validation, calibration, test.*unknown quantity"
    ):
        curate(lake, sector(SIGNALS=()), recipe, words)
    with pytest.raises(UserError, match="no question is left for train"):
        curate(lake, sector(questions=lambda *_: []), recipe, words)


def test_a_sector_that_forgets_a_column_is_told_which(lake: Lake, recipe: Slice) -> None:
    def forgetful(*arguments: Any) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "payoff"} for row in toy.questions(*arguments)]

    with pytest.raises(UserError, match="payoff"):
        curate(lake, sector(questions=forgetful), recipe, words)


def test_an_overlap_of_two_episodes_is_refused(lake: Lake, recipe: Slice) -> None:
    late = lake.episodes.assign(end=lake.episodes["end"] + pd.Timedelta(hours=6))
    with pytest.raises(UserError, match="into episode 'toy-2024-"):
        curate(replace(lake, episodes=late), TOY, recipe, words)


def test_the_tables_are_read_as_they_were_written(tmp_path: Path, curated: Curated) -> None:
    write_curated(curated, tmp_path / "toy")
    assert json.loads((tmp_path / "toy" / "report.json").read_text()) == curated.report
    for split in SPLITS:
        table, read = curated.tables[split], read_table(tmp_path / "toy" / f"{split}.parquet", QUESTION)
        pd.testing.assert_frame_equal(read[["id", "truth", "copy"]], table[["id", "truth", "copy"]])
        rows = [np.vstack(list(features)) for features in read["features"]]
        assert all(
            np.array_equal(a, np.array(b, float), equal_nan=True) for a, b in zip(rows, table["features"], strict=True)
        )
        assert [list(options) for options in read["options"]] == table["options"].tolist()


def test_a_full_disk_leaves_the_old_tables(tmp_path: Path, curated: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_curated(curated, tmp_path / "toy")
    before = (tmp_path / "toy" / "train.parquet").read_bytes()
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match="toy: the disk is full"):
        write_curated(curated, tmp_path / "toy")
    assert (tmp_path / "toy" / "train.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_seeds_depend_on_names_alone() -> None:
    draw = [
        seeded(1, "e", 2).random(),
        seeded(1, "e", 2).random(),
        seeded(1, "e", 3).random(),
        seeded(2, "e", 2).random(),
    ]
    assert draw[0] == draw[1] and len(set(draw)) == 3


def test_reports_are_asked_of_states_that_are_asked_of_and_only_what_is_judged_is_known(curated: Curated) -> None:
    for split, reports in curated.reports.items():
        states = set(zip(curated.tables[split]["episode"], curated.tables[split]["time"], strict=True))
        asked = list(zip(reports["episode"], reports["time"], strict=True))
        assert 0 < len(asked) == len(set(asked)) and set(asked) <= states
        assert set(reports["context"]) <= set(curated.tables[split]["context"])
        known, learnt = reports["known"].map(len) > 0, (split == "train") & ~reports["validation"].astype(bool)
        assert not known[learnt].any() and known[~learnt & (reports["premise"] == "none")].all()
        assert {"none", "absent"} >= set(reports["premise"]) and curated.report["reports"][split] == len(reports)


def test_what_backs_reports_is_asked_about_the_same_state_and_only_where_it_is_judged(curated: Curated) -> None:
    links, questions = curated.backing
    reports = pd.concat(list(curated.reports.values()))
    judged = reports[reports["known"].map(len) > 0].set_index("id")
    assert set(links["report"]) == set(judged.index) and len(questions) == questions["id"].nunique() == len(judged)
    asked = questions.set_index("id").loc[links["question"]]
    for name in ("episode", "time", "context", "validation"):
        assert asked[name].tolist() == judged.loc[links["report"], name].tolist()


def test_a_sector_without_reports_has_none(lake: Lake, recipe: Slice) -> None:
    silent = SimpleNamespace(**{name: getattr(TOY, name) for name in dir(TOY) if name != "report"})
    made = curate(lake, silent, recipe, words)  # type: ignore[arg-type]
    assert all(len(rows) == 0 for rows in made.reports.values())
