"""Reports: the truth's is right in every claim, the rule's in most, and a wrong premise is set right."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinforge.backing import chances, tables_of
from twinforge.claims import PREMISES, WRONG, check, facts_of, withstands
from twinforge.records import space_of
from twinforge.sectors import State
from twinforge.sectors.energy.claims import claims
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.reports import report, request

Row = dict[str, Any]


@pytest.fixture(scope="module")
def written(states: list[State], rated: Grid) -> list[tuple[State, Row]]:
    made = [
        (state, report(state, rated, "any", np.random.default_rng((round_, i))))
        for round_ in range(4)
        for i, state in enumerate(states)
    ]
    return [(state, row) for state, row in made if row is not None]


def judged(row: Row, text: str, grid: Grid) -> list[tuple[str, str, str]]:
    names = {*grid.lines["name"], "C2", "C3"}
    facts = facts_of(pd.Series(row))
    return [(c.asset, c.quantity, check(c, facts, names)) for c in claims(text)]


def test_every_premise_comes_up_and_the_request_names_its_line(written: list[tuple[State, Row]], rated: Grid) -> None:
    counts = Counter(row["premise"] for _, row in written)
    assert set(counts) == set(PREMISES) and min(counts.values()) >= 5
    for _, row in written:
        assert (
            (row["trap_asset"] != "")
            == (row["trap_quantity"] != "")
            == (row["premise"] in ("false", "absent", "missing"))
        )
        assert row["trap_asset"] in row["text"] and row["context"].startswith("A: ")
        if row["premise"] == "absent":
            assert row["trap_asset"] not in set(rated.lines["name"]) and row["facts"].count("?") >= 3


def test_the_true_report_is_right_in_every_claim(written: list[tuple[State, Row]], rated: Grid) -> None:
    found = [judged(row, row["reference"], rated) for _, row in written]
    statuses = Counter(status for row in found for *_, status in row)
    assert set(statuses) == {"supported", "abstained"} and 5 < statuses.total() / len(found) < 9
    for (_, row), said in zip(written, found, strict=True):
        if row["trap_quantity"]:
            assert withstands((row["trap_asset"], row["trap_quantity"]), said)


def test_the_rules_report_errs_and_not_often(written: list[tuple[State, Row]], rated: Grid) -> None:
    statuses = Counter(status for _, row in written for *_, status in judged(row, row["rule"], rated))
    wrong = sum(statuses[status] for status in WRONG) / statuses.total()
    assert 0.01 < wrong < 0.25


def test_the_true_report_of_another_state_is_wrong(written: list[tuple[State, Row]], rated: Grid) -> None:
    plain = [row for _, row in written if row["premise"] == "none"]
    statuses = Counter(
        status
        for row, other in zip(plain, plain[1:], strict=False)
        for *_, status in judged(row, other["reference"], rated)
    )
    assert sum(statuses[status] for status in WRONG) / statuses.total() > 0.4


def test_what_training_asks_is_worded_otherwise(states: list[State], rated: Grid) -> None:
    texts = [report(state, rated, "train", np.random.default_rng(i)) for i, state in enumerate(states)]
    assert not any(row and "Brief the next shift" in row["text"] for row in texts)


def test_an_operators_own_words(written: list[tuple[State, Row]], rated: Grid) -> None:
    state, row = next((s, r) for s, r in written if r["premise"] == "none")
    line = claims(row["reference"])[0].asset
    again = request(state, rated, row["text"])
    assert again is not None and again["reference"] == row["reference"] and again["facts"] == row["facts"]
    other = request(state, rated, f"Give me a report on {line} for the outage of L3, please.")
    assert other is not None and "In 1 h" in other["reference"]
    for nothing in ("What will L7 carry in 1 h?", "Report on L7.", f"Report on {line} in 9 h and the outage of L3."):
        assert request(state, rated, nothing) is None


def test_what_backs_a_report_tells_right_from_wrong(written: list[tuple[State, Row]], rated: Grid) -> None:
    """An oracle's answers to the backing questions bear out every claim of the true report that they speak of, and only such."""
    told, wrong = [], []
    for number, (state, row) in enumerate(written):
        whole = {
            **row,
            "id": str(number),
            "episode": f"{state.episode}{number}",
            "time": state.time,
            "validation": False,
        }
        links, questions = tables_of([whole])
        known = [q for _, q in questions.iterrows() if not np.isnan(q["truth"])]
        oracle = {q["id"]: np.eye(space_of(q).size)[space_of(q).index(q["truth"])] for q in known}
        for text, found in ((row["reference"], told), (row["rule"], wrong)):
            said = pd.DataFrame([{"report": str(number), **asdict(c)} for c in claims(text)])
            names = {*rated.lines["name"], "C2", "C3"}
            right = [check(c, facts_of(pd.Series(row)), names) == "supported" for c in claims(text)]
            found += list(zip(chances(said, links, questions, oracle), right, strict=True))
    backed = [chance for chance, _ in told if not np.isnan(chance)]
    assert len(backed) > 3 * len(written) and min(backed) == 1.0
    assert all(chance == right for chance, right in wrong if not np.isnan(chance))
    assert 0.02 < np.mean([not right for chance, right in wrong if not np.isnan(chance)]) < 0.3


def test_a_line_that_is_not_there_is_backed_by_clauses_only(written: list[tuple[State, Row]]) -> None:
    for _, row in written:
        asked = [one["question"]["template"] for one in row["backing"]]
        plain = (
            ["met", "met"] if row["premise"] in ("absent", "missing") else ["met"] * 2 + ["ahead"] * 2 + ["loading"] * 2
        )
        assert asked == plain
