"""The state as text: everything a question touches is in it, within the budget of tokens, and a missing reading is "?"."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from twinforge.sectors import State
from twinforge.sectors.energy.context import context, facts, notes, number, signed, worst_listed
from twinforge.sectors.energy.grid import Grid, islands
from twinforge.sectors.energy.questions import questions
from twinforge.sectors.energy.view import View

BARE = State("e", pd.Timestamp(0), {}, pd.DataFrame())


def test_numbers_as_text() -> None:
    assert [number(v) for v in (0.4, 99.5, math.nan)] == ["0", "100", "?"] and number(1.0491, 3) == "1.049"
    assert [signed(v) for v in (4.4, -3.6, math.nan)] == ["+4", "-4", "?"]


def test_three_dimensions_in_three_paragraphs(states: list[State], rated: Grid) -> None:
    for state in states[::8]:
        view = View(state, rated)
        a, p, c = context(view).split("\n")
        assert a.startswith("A: ") and p.startswith("P: ") and c.startswith("C: ")
        assert f" {state.time.hour} h, wind" in a and f"rating {state.get('grid', 'rating'):.0f} %" in a
        assert f"demand {state.get('grid', 'demand'):.0f}" in p and f"{min(state.column('voltage').values()):.3f}" in p
        for line in view.fullest[:4]:
            assert f"{line}={state.get(line, 'loading'):.0f}" in p
        for line in view.suspects[:2]:
            assert f"{line}={state.get(line, 'loading'):.0f} was {state.get(line, 'loading_before'):.0f}" in p
            assert f"{line}{signed(state.get(line, 'residual'))}" in c


def test_facts_are_of_what_a_question_names(states: list[State], rated: Grid) -> None:
    state = states[3]
    view = View(state, rated)
    line, (outage, other) = view.fullest[20], next(iter(view.estimates))
    for template in ("risk", "loading"):
        said = facts(view, template, {"outage": outage, "line": other})
        assert said == f"P now {view.loading[other]:.0f}, C after {view.estimates[outage, other]:.0f}"
    ahead = facts(view, "ahead", {"line": line, "hours": "4"})
    assert ahead == f"P now {view.loading[line]:.0f}, C then {state.get(line, 'forecast_4h'):.0f}"
    four = tuple(view.suspects[:4])
    assert notes(view, "suspect", {}, (*four, "none")) == [*(signed(view.residual[n]) for n in four), ""]
    (remedied, action), value = next(iter(view.action_estimates.items()))
    told = facts(view, "remedy", {"outage": remedied, "asset": action.split()[-1]})
    assert told.startswith(f"C {value:.0f}, nothing ")
    actions = [a for o, a in view.action_estimates if o == remedied]
    effects = [view.action_estimates[remedied, a] for a in actions]
    assert notes(view, "action", {"outage": remedied}, actions) == [f"{v:.0f}" for v in effects]
    first = view.suspects[0]
    now, before = (state.get(first, name) for name in ("loading", "loading_before"))
    assert facts(view, "fault", {}) == f"P {now:.0f} was {before:.0f}, C residual {signed(view.residual[first])}"
    assert facts(view, "clause", {}) == "" and notes(view, "fault", {}, ("nothing",)) == []


def test_a_clause_is_told_by_what_decides_it(states: list[State], rated: Grid) -> None:
    for state in states[::8]:
        view = View(state, rated)
        volts, worst = state.column("voltage").values(), worst_listed(view)
        assert worst is not None
        expected = {
            "C1": f"P U {min(volts):.3f}-{max(volts):.3f}",
            "C2": f"P fullest {max(view.loading.values()):.0f}",
            "C3": f"C {view.estimates[worst]:.0f}, A relief {'yes' if state.get('grid', 'relief') else 'no'}",
            "C9": "A ?",
        }
        for clause, said in expected.items():
            assert facts(view, "met", {"clause": clause}) == said
        assert notes(view, "clause", {}, ("C1 voltage", "C3 outages", "none")) == [expected["C1"], expected["C3"], ""]
    said = {facts(View(s, rated), "met", {"clause": "C4"}).split(", A ")[1].split(", wind ")[0] for s in states}
    assert said == {"work", "no work"}


def test_supply_is_told_by_the_lines_that_then_feed_each_demand(states: list[State], rated: Grid) -> None:
    """All lines in service at its busbar but the outage; none exactly where the outage, on top of the reported ones, leaves it dark."""
    view = View(states[0], rated)
    demands = tuple(str(n) for n in rated.loads["name"])
    at = rated.loads.set_index("name")
    dark = islands(rated, set(view.open_lines))
    ends = rated.lines.set_index("name")[["from", "to"]]
    for outage in (*view.cutting[:6], *rated.lines["name"].iloc[::30], "L999"):
        told = notes(view, "supply", {"outage": outage}, demands)
        lost = islands(rated, {*view.open_lines, outage} & set(rated.lines["name"])) - dark
        assert [d for d, note in zip(demands, told, strict=True) if note == "0 lines"] == [
            d for d in demands if at.loc[d, "bus"] in lost
        ]
        for demand, note in zip(demands, told, strict=True):
            named = [name for name in note.split() if name.startswith("L")]
            assert all(at.loc[demand, "at"] in ends.loc[name].tolist() for name in named)
            assert not {outage, *view.open_lines} & set(named)
    assert facts(view, "supply", {"outage": "L1"}) == "P closed, C then fed by"
    assert facts(view, "supply", {"outage": "L999"}) == "P ?, C then fed by"


def test_the_worst_findings_are_told(states: list[State], rated: Grid) -> None:
    for state in states[:3]:
        for asset in state.column("age"):
            found = {
                q.removeprefix("finding "): v for (a, q), v in state.values.items() if a == asset and "finding" in q
            }
            log = facts(View(state, rated), "failure", {"asset": asset}).removeprefix("A ")
            assert log.startswith(f"{state.get(asset, 'age'):.0f} years")
            if not found:
                assert log.endswith("no findings")
            else:
                name, worst = max(found.items(), key=lambda item: item[1])
                assert ("slight", "clear", "severe")[int(worst) - 1] in log
                assert log.count(",") == (asset[0] != "T") + min(len(found), 2)


def test_missing_readings_are_question_marks(states: list[State], rated: Grid) -> None:
    view = View(states[0], rated)
    assert facts(view, "loading", {"outage": "L999", "line": "L1"}).endswith("C after ?")
    assert facts(view, "ahead", {"line": "L999", "hours": "72"}) == "P now ?, C then ?"
    assert facts(view, "failure", {"asset": "T99"}) == "A no entry"
    silent = context(View(BARE, rated))
    assert "nan" not in silent and "U ?-?" in silent and "wind ?" in silent and "relief ?" in silent
    half = {("T1", "age"): 30.0, ("L1", "residual"): 3.0}
    view = View(State("e", pd.Timestamp(0), half, pd.DataFrame()), rated)
    assert facts(view, "failure", {"asset": "T1"}) == "A 30 years, no findings"
    assert "L1=? was ?" in context(view) and "residual L1+3." in context(view)


def test_open_lines_are_named_and_not_read(states: list[State], rated: Grid) -> None:
    busy = [View(s, rated) for s in states if 0.0 in s.column("switch").values()]
    assert busy
    for view in busy:
        (line,) = view.open_lines
        assert f"Open {line}." in context(view) and f"work on {line} " in context(view)
        assert facts(view, "ahead", {"line": line, "hours": "1"}).startswith("P now open, C")


def test_the_worst_of_the_listed_outages(states: list[State], rated: Grid) -> None:
    for state in states[::8]:
        view = View(state, rated)
        worst = worst_listed(view)
        assert worst and worst[0] in view.listed
        assert view.estimates[worst] == max(v for (o, _), v in view.estimates.items() if o in view.listed)
        assert f"Worst listed outage {view.estimates[worst]:.0f}." in context(view)
    assert worst_listed(View(BARE, rated)) is None


def test_contexts_fit_the_token_budget(states: list[State], rated: Grid) -> None:
    from transformers import AutoTokenizer

    from twinforge.model.base import base_folder

    tokenizer = AutoTokenizer.from_pretrained(base_folder(SimpleNamespace(base="smollm2-135m-instruct", revision=None)))
    texts = [questions(s, rated, "any", np.random.default_rng(i))[0]["context"] for i, s in enumerate(states)]
    sizes = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    assert sizes.max() <= 250 and 100 < sizes.mean() <= 200
    assert sizes.mean() == pytest.approx(np.median(sizes), rel=0.1)
