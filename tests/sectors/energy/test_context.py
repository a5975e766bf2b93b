"""The state as text: everything a question touches is in it, within the budget of tokens, and a missing reading is "?"."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from twinforge.sectors import State
from twinforge.sectors.energy.context import Touched, context, number, signed, worst_listed
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import questions
from twinforge.sectors.energy.view import View


def touched(lines: list[str] = (), **parts: list) -> Touched:  # type: ignore[assignment, type-arg]
    return Touched(dict.fromkeys(lines), **{name: dict.fromkeys(keys) for name, keys in parts.items()})


def test_numbers_as_text() -> None:
    assert [number(v) for v in (0.4, 99.5, math.nan)] == ["0", "100", "?"] and number(1.0491, 3) == "1.049"
    assert [signed(v) for v in (4.4, -3.6, math.nan)] == ["+4", "-4", "?"]


def test_three_dimensions_in_three_paragraphs(states: list[State], rated: Grid) -> None:
    for state in states[::8]:
        a, p, c = context(View(state, rated), Touched()).split("\n")
        assert a.startswith("A: ") and p.startswith("P: ") and c.startswith("C: ")
        assert f"{state.time:%H:%M}" in a and f"rating {state.get('grid', 'rating'):.0f} %" in a
        assert f"demand {state.get('grid', 'demand'):.0f}" in p and f"{min(state.column('voltage').values()):.3f}" in p


def test_what_is_touched_is_told(states: list[State], rated: Grid) -> None:
    state = states[3]
    view = View(state, rated)
    line, (outage, other) = view.fullest[20], next(iter(view.estimates))
    asset, remedied = next(iter(state.column("age"))), next(iter(view.action_estimates))[0]
    text = context(
        view, touched([line], pairs=[(outage, other)], ahead=[(line, "4")], aged=[asset], remedies=[remedied])
    )
    assert f"{line}={state.get(line, 'loading'):.0f}" in text
    assert f"Outage {outage}>{other}={view.estimates[outage, other]:.0f}." in text
    assert f"Ahead {line} 4h={state.get(line, 'forecast_4h'):.0f}." in text
    assert f"Log {asset}: {state.get(asset, 'age'):.0f} years, " in text
    for (o, action), value in view.action_estimates.items():
        assert o == remedied and f"{action.split()[-1]}={value:.0f}" in text


def test_the_worst_findings_are_told(states: list[State], rated: Grid) -> None:
    for state in states[:3]:
        for asset in state.column("age"):
            found = {
                q.removeprefix("finding "): v for (a, q), v in state.values.items() if a == asset and "finding" in q
            }
            log = context(View(state, rated), touched(aged=[asset])).split(f"Log {asset}: ")[1].split(".")[0]
            if not found:
                assert log.endswith("no findings")
            else:
                name, worst = max(found.items(), key=lambda item: item[1])
                assert ("slight", "clear", "severe")[int(worst) - 1] in log and log.count(",") == 1 + min(len(found), 2)


def test_missing_readings_are_question_marks(states: list[State], rated: Grid) -> None:
    text = context(
        View(states[0], rated), touched(["L999"], pairs=[("L999", "L1")], ahead=[("L999", "72")], aged=["T99"])
    )
    for piece in ("L999=?", "L999>L1=?", "Ahead L999 72h=?", "Log T99: no entry"):
        assert piece in text
    silent = context(View(State("e", pd.Timestamp(0), {}, pd.DataFrame()), rated), touched(["L1"]))
    assert (
        "nan" not in silent and "U ?-?" in silent and "L1=?" in silent and "wind ?" in silent and "relief ?" in silent
    )
    half = {("T1", "age"): 30.0, ("L1", "residual"): 3.0}
    text = context(View(State("e", pd.Timestamp(0), half, pd.DataFrame()), rated), touched(["L1"], aged=["T1"]))
    assert "Log T1: 30 years, ? km, no findings." in text and "L1=? was ?" in text and "residual L1+3." in text


def test_open_lines_are_named_and_not_read(states: list[State], rated: Grid) -> None:
    busy = [View(s, rated) for s in states if 0.0 in s.column("switch").values()]
    assert busy
    for view in busy:
        (line,) = view.open_lines
        text = context(view, touched([line]))
        assert f"Open {line}." in text and f"{line}=" not in text.split("Loading ")[1].split("Open")[0].replace(
            f">{line}=", ""
        )
        assert f"work on {line} " in text


def test_every_listed_outage_with_its_worst_estimate(states: list[State], rated: Grid) -> None:
    for state in states[::8]:
        view = View(state, rated)
        worst = worst_listed(view)
        readable = [n for n in view.listed if n in view.loading]
        assert sorted(o for o, _ in worst) == sorted(readable)
        for outage, line in worst:
            assert view.estimates[outage, line] == max(v for (o, _), v in view.estimates.items() if o == outage)


def test_contexts_fit_the_token_budget(states: list[State], rated: Grid) -> None:
    from transformers import AutoTokenizer

    from twinforge.model.base import base_folder

    tokenizer = AutoTokenizer.from_pretrained(base_folder(SimpleNamespace(base="smollm2-135m-instruct", revision=None)))
    texts = [questions(s, rated, "any", np.random.default_rng(i))[0]["context"] for i, s in enumerate(states)]
    sizes = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    assert sizes.max() <= 400 and 150 < sizes.mean() < 300
    assert sizes.mean() == pytest.approx(np.median(sizes), rel=0.1)
