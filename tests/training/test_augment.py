"""What is learnt: the shares that were asked for, whole states, the truth with its option, and the same every time."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.model.tiny import tokenizer
from tests.synthetic import question, table
from tests.toy_dimensions import SOURCES
from twinforge.errors import UserError
from twinforge.model.prompt import Prompt
from twinforge.sectors.dimensions import SUBSETS, keep_marked, letters
from twinforge.training.augment import augmented, masked, shuffled
from twinforge.training.trees import lessons

STATES = 70
MORE = ["a", "b", "c", "d"]


def keep(rows: pd.DataFrame, kept: object) -> pd.DataFrame:
    return keep_marked(rows, kept, SOURCES)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng, found = np.random.default_rng(0), []
    for state in range(STATES):
        same = {
            "context": f"P level {state}\nA hour 3\nC later 4",
            "time": pd.Timestamp(0) + pd.Timedelta(hours=state % 2),
        }
        for n in range(4):
            notes = [f"note {option}" for option in MORE] if n else []
            values = {"template": "act", "options": MORE, "features": rng.normal(size=(4, 4)).tolist(), "notes": notes}
            values |= {"truth": float(rng.integers(4)), "payoff": rng.normal(size=4).tolist(), "facts": "C then"}
            found.append(question(4 * state + n, f"day-{state // 2}", "recommend", **same, **values))
        found.append(question(999 + state, f"day-{state // 2}", "what-if", kind="number", template="loss-level",
                              features=[[1.0] * 14], truth=3.0, high=9.0, **same))  # fmt: skip
    return table(found).sample(frac=1, random_state=1)


def test_a_share_of_whole_states_loses_each_subset_as_often(rows: pd.DataFrame) -> None:
    told = masked(rows, keep, 0.3, seed=5)
    left = told["id"].str.extract(r"-(none|P|A|C|PA|PC|AC)$")[0].fillna("PAC")
    assert (told["id"].where(left == "PAC", told["id"].str.rpartition("-")[0]) == rows["id"]).all()
    by_state = left.groupby([rows["episode"], rows["time"]]).agg(set)
    assert all(len(found) == 1 for found in by_state)
    counts = Counter(found.pop() for found in by_state)
    assert counts == {"PAC": 49, **{letters(kept): 3 for kept in SUBSETS[:-1]}}
    assert (told["truth"] == rows["truth"]).all()


def test_a_share_of_the_choices_is_asked_in_another_order_and_all_goes_along(rows: pd.DataFrame) -> None:
    told = shuffled(rows, 0.5, seed=5)
    choice = rows["kind"] == "choice"
    moved = np.array([list(a) != list(b) for a, b in zip(rows["options"], told["options"], strict=True)])
    assert 0.4 < moved[choice].mean() < 0.6 and not moved[~choice].any()
    pd.testing.assert_frame_equal(told[~moved], rows[~moved])
    for (_, old), (_, new) in zip(rows[moved].iterrows(), told[moved].iterrows(), strict=True):
        place = [old["options"].index(option) for option in new["options"]]
        assert old["options"][int(old["truth"])] == new["options"][int(new["truth"])]
        for name in ("payoff", "features", *(["notes"] if old["notes"] else [])):
            assert new[name] == [old[name][i] for i in place]


def test_of_nothing_nothing_is_made(rows: pd.DataFrame) -> None:
    none = augmented(rows.iloc[:0], keep, SimpleNamespace(mask=0.5, shuffle=0.5), 3)
    with pytest.raises(UserError, match="no question to learn from"):
        lessons(Prompt.of(tokenizer()), none)


def test_nothing_at_0_and_all_at_1(rows: pd.DataFrame) -> None:
    off = SimpleNamespace(mask=0.0, shuffle=0.0)
    pd.testing.assert_frame_equal(augmented(rows, keep, off, 3), rows)
    whole = augmented(rows, keep, SimpleNamespace(mask=1.0, shuffle=1.0), 3)
    assert whole["id"].str.contains(r"-(?:none|P|A|C|PA|PC|AC)$").all()
    assert all(list(options) != MORE for options in whole.loc[whole["kind"] == "choice", "options"])


def test_the_same_seed_gives_the_same_rows(rows: pd.DataFrame) -> None:
    some = SimpleNamespace(mask=0.3, shuffle=0.5)
    one, two, other = (augmented(rows, keep, some, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, two)
    assert (one["id"] != other["id"]).any() and list(one["options"]) != list(other["options"])
