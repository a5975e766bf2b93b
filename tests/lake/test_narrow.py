"""What a recipe leaves out is gone from every split, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import toy
from tests.lake.conftest import SMALL
from tests.toy_recipe import toy_slice
from twinforge.lake.curate import Curated, curate
from twinforge.lake.narrow import some_learnt
from twinforge.lake.store import Lake
from twinforge.records import SKILLS
from twinforge.training.experts import NAMES, fit_experts

EXPERTS: dict[str, Any] = {"rounds": 3, "min_leaf": 5}


def curated(lake: Lake, folder: Any, **section: Any) -> Curated:
    recipe = toy_slice(folder, "curate", **{**SMALL, "curate": section})
    return curate(lake, toy, recipe, lambda texts: np.full(len(texts), 100))


@pytest.fixture(scope="module")
def whole(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curated(lake, tmp_path_factory.mktemp("whole"))


def test_by_default_nothing_is_left_out(whole: Curated) -> None:
    assert {skill for table in whole.tables.values() for skill in table["skill"]} == set(SKILLS)
    assert all(len(rows) for rows in whole.reports.values())


def test_only_the_skills_named_are_asked(lake: Lake, whole: Curated, tmp_path: Any) -> None:
    few = curated(lake, tmp_path, skills=["what-if", "unanswerable"])
    for split, table in few.tables.items():
        assert set(table["skill"]) <= {"what-if", "unanswerable"} and set(table["asked"]) == {"what-if"}
        before = whole.tables[split]
        same = before[before["skill"].isin(["what-if", "unanswerable"]) & (before["asked"] == "what-if")]
        assert table["id"].tolist() == same["id"].tolist() and table["truth"].tolist() == pytest.approx(
            same["truth"].tolist(), nan_ok=True
        )
    assert not any(len(rows) for rows in few.reports.values())


def test_a_dimension_that_is_not_told_is_gone_from_texts_and_features(
    lake: Lake, whole: Curated, tmp_path: Any
) -> None:
    blind = curated(lake, tmp_path, dimensions="PC")
    for split, table in blind.tables.items():
        before = whole.tables[split]
        assert (table["id"] == before["id"] + "-PC").all() and table["truth"].equals(before["truth"])
        assert before["context"].str.contains("\nA ").all() and not table["context"].str.contains("\nA ").any()
    clause = blind.tables["test"][blind.tables["test"]["template"] == "clause"]
    assert len(clause) and all(
        np.isnan(rows[0][10:12]).all() and not np.isnan(rows[0][:10]).all() for rows in clause["features"]
    )
    assert not any(len(rows) for rows in blind.reports.values())


@pytest.mark.parametrize("told", ["P", "A", "C"])
def test_experts_are_fitted_on_what_one_dimension_tells(lake: Lake, tmp_path: Any, told: str) -> None:
    blind = curated(lake, tmp_path, dimensions=told)
    recipe = toy_slice(tmp_path, "train", experts=EXPERTS)
    experts = fit_experts(blind.tables["train"], recipe.experts, recipe.seed)
    test = blind.tables["test"]
    for name in NAMES:
        assert all(np.isfinite(p).all() for p in experts.answer(name, test)["p"])
    assert len(experts.answer("boost", test)) == len(test) == len(experts.answer("majority", test))


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 9))
def test_a_smaller_share_of_the_states_is_a_part_of_a_larger_one(one: float, other: float, seed: int) -> None:
    frame = states(40)
    small, large = (some_learnt(frame, share, seed) for share in sorted((one, other)))
    assert set(small["id"]) <= set(large["id"]) <= set(frame["id"])
    kept = small[(small["split"] == "train") & ~small["validation"]]
    assert len(kept) == 2 * max(1, round(min(one, other) * 20))  # whole states, of two questions each
    untouched = frame[(frame["split"] != "train") | frame["validation"]]
    assert set(untouched["id"]) <= set(small["id"]) and len(small) == len(kept) + len(untouched)


def test_the_whole_share_changes_nothing() -> None:
    frame = states(12)
    pd.testing.assert_frame_equal(some_learnt(frame, 1.0, 3), frame)


def states(count: int) -> pd.DataFrame:
    """Two questions a state; half of the states teach, the others validate or test."""
    rows = [
        {
            "episode": f"day {i // 2}",
            "time": pd.Timestamp(2024, 1, 1 + i // 2, i % 2),
            "split": "test" if i % 4 == 3 else "train",
            "validation": i % 4 == 1,
            "id": f"{i} {question}",
        }
        for i in range(count)
        for question in range(2)
    ]
    return pd.DataFrame(rows)
