"""What a question loses when dimensions tell nothing: their parts of the texts, their columns, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.synthetic import question, table
from twinforge.errors import UserError
from twinforge.sectors.dimensions import DIMENSIONS, SUBSETS, Source, keep_marked, letters

SOURCES = {"risk": Source(("C", "P", "CP", ""), "C"), "pick": Source(("P", "A"), "PA")}
CONTEXT = "A: Fri 4 h, wind 3.\nP: MW 190, L1=77.\nC: residual L1-2."


def rows() -> pd.DataFrame:
    one = {
        "template": "risk",
        "facts": "P now 77, or 78, C after 174",
        "features": [[174.0, 77.0, 97.0, 4.0]],
        "context": CONTEXT,
    }
    one |= {"options": ["a", "b"], "truth": 1.0, "rule": 1.0, "rule_defined": True, "copy": 0.0, "persistence": 1.0}
    two = {
        **one,
        "template": "pick",
        "features": [[1.0, 2.0], [3.0, 4.0]],
        "facts": "C residual",
        "notes": ["+2", ""],
        "rule": 0.0,
    }
    three = {**two, "facts": "", "notes": ["P U 1.05", "C 89, A relief no"]}
    return table([question(i, "day", "what-if", **row) for i, row in enumerate((one, two, three))])


def test_all_of_them_is_the_question_itself() -> None:
    pd.testing.assert_frame_equal(keep_marked(rows(), DIMENSIONS, SOURCES), rows())


def test_texts_lose_what_the_others_tell() -> None:
    a, b, c = keep_marked(rows(), {"physical", "abstract"}, SOURCES).to_dict("records")
    assert a["context"] == "A: Fri 4 h, wind 3.\nP: MW 190, L1=77." and a["facts"] == "P now 77, or 78"
    assert (b["facts"], b["notes"]) == ("", []) and (c["facts"], c["notes"]) == ("", ["P U 1.05", "A relief no"])
    a, b, c = keep_marked(rows(), {"computational"}, SOURCES).to_dict("records")
    assert (a["context"], a["facts"]) == ("C: residual L1-2.", "C after 174")
    assert (b["facts"], b["notes"]) == ("C residual", ["+2", ""]) and c["notes"] == ["", "C 89"]
    bare = keep_marked(rows(), set(), SOURCES)
    assert not bare[["context", "facts"]].any().any() and not any(map(len, bare["notes"]))


def test_a_column_needs_all_that_it_is_made_of() -> None:
    without = {kept: keep_marked(rows(), {*kept}, SOURCES) for kept in (("physical",), ("computational",))}
    np.testing.assert_equal(without["physical",]["features"][0], [[math.nan, 77.0, math.nan, 4.0]])
    np.testing.assert_equal(without["computational",]["features"][0], [[174.0, math.nan, math.nan, 4.0]])
    np.testing.assert_equal(without["physical",]["features"][1], [[1.0, math.nan], [3.0, math.nan]])


def test_the_rule_is_defined_where_it_reads_nothing_that_is_gone() -> None:
    told = keep_marked(rows(), {"computational", "abstract"}, SOURCES)
    assert told["rule_defined"].tolist() == [True, False, False] and told["rule"][0] == 1.0
    assert told["rule"][1:].isna().all() and told[["copy", "persistence"]].isna().all().all()


def test_what_happened_and_what_is_asked_stay_and_ids_tell_what_was_kept() -> None:
    same = ["episode", "time", "skill", "asked", "template", "text", "kind", "options", "truth", "gold", "payoff"]
    for kept in SUBSETS[:-1]:
        told = keep_marked(rows(), kept, SOURCES)
        pd.testing.assert_frame_equal(told[same], rows()[same])
        assert told["id"].tolist() == [f"{name}-{letters(kept)}" for name in rows()["id"]]
    assert [letters(kept) for kept in SUBSETS] == ["none", "P", "A", "C", "PA", "PC", "AC", "PAC"]


def test_what_the_sector_does_not_say_is_named() -> None:
    with pytest.raises(UserError, match="'pick'.*add it to those of risk"):
        keep_marked(rows(), set(), {"risk": SOURCES["risk"]})
    with pytest.raises(UserError, match="4 columns, the sector's sources have 1"):
        keep_marked(rows(), set(), {"risk": Source(("P",), "")})
