"""The plug-in as a whole: the contract, all regimes, the signals' ranges, the knowledge graph, and what curation demands."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.sectors.energy.world import Fresh, recipe, states_of
from twinforge.errors import UserError
from twinforge.lake.checks import check_questions
from twinforge.lake.quality import check_readings
from twinforge.records import KNOWLEDGE, question_id
from twinforge.sectors import Episode, State, energy, load_sector
from twinforge.sectors.energy.grid import Grid, lost_buses, single_outages
from twinforge.sectors.energy.plan import CALM, SHIFTS, Day
from twinforge.sectors.energy.settings import Settings


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    return recipe(states=2, days=1, shift_days=4, start=date(2016, 5, 2))


@pytest.fixture(scope="module")
def episodes(small: SimpleNamespace, rated: Grid) -> list[Episode]:
    """One day of every regime; the future grid is rated by few states, which is enough here."""
    rates, energy.RATED = energy.RATED, 20
    try:
        return list(energy.episodes(small))
    finally:
        energy.RATED = rates


def test_the_plug_in_keeps_the_contract() -> None:
    plugin = load_sector("twinforge.sectors.energy")
    assert plugin.NAME == "energy" and len({t.name for t in plugin.TEMPLATES}) == len(plugin.TEMPLATES) == 11
    assert len({s.name for s in plugin.SIGNALS}) == len(plugin.SIGNALS)
    assert {s.dimension for s in plugin.SIGNALS} == {"physical", "abstract", "computational"}
    for template in plugin.TEMPLATES:
        words = template.phrasings + template.held_out
        assert len(set(words)) == len(words) >= 4
        assert all({f"{{{slot}}}" in w for slot in template.slots} <= {True} for w in words)


def test_one_day_of_every_regime_in_order(episodes: list[Episode], small: SimpleNamespace) -> None:
    assert energy.episode_count(small) == len(episodes) == 5
    assert [e.row["regime"] for e in episodes] == [CALM, *SHIFTS]
    assert [e.row["episode"] for e in episodes] == [f"2016-05-{day:02}" for day in range(2, 7)]
    assert episodes[0].row["change"] is None and all(e.row["change"] == e.row["start"] for e in episodes[1:])
    notes = [json.loads(cast(str, e.row["note"])) for e in episodes]
    assert [note["grid"][-4] for note in notes] == ["0", "0", "0", "0", "1"]
    assert [note["sensors_read_low_by"] for note in notes] == [0, 0, 0, 0.06, 0]
    assert [len(note["rebuilt_without"]) for note in notes] == [0, 0, 2, 0, 0]
    assert all(e.outcomes["time"].nunique() == 2 for e in episodes)


def test_every_reading_fits_its_signal(episodes: list[Episode], simulated: list[tuple[Day, Episode]]) -> None:
    table = pd.concat([e.observations for e in (*episodes, *(e for _, e in simulated[::3]))])
    known = {s.name: s for s in energy.SIGNALS}
    for quantity, rows in table.groupby("quantity"):
        signal, values = known.pop(str(quantity)), rows["value"].dropna()
        assert set(rows["unit"]) == {signal.unit} and set(rows["dimension"]) == {signal.dimension}
        assert values.between(signal.low, signal.high).all(), quantity
    assert all(name.startswith("finding") or name == "nominal" for name in known)  # no busbar here is below 110 kV
    checked = check_readings(table, energy.SIGNALS, 0.5)
    assert not checked.dropped and set(checked.flagged) == {"gap", "marked missing"}


def test_curation_takes_the_questions(episodes: list[Episode], small: SimpleNamespace) -> None:
    rows = []
    for number, episode in enumerate(episodes):
        for state in states_of(episode):
            rng = np.random.default_rng(number)
            asked = energy.questions(state, "train" if number == 0 else "any", rng, small)
            same = {"episode": state.episode, "time": state.time, "split": "train" if number == 0 else "shift"}
            rows += [
                {**row, **same, "id": question_id(state.episode, state.time, row["asked"], row["text"])}
                for row in asked
            ]
    frame = pd.DataFrame(rows)
    check_questions(frame.drop_duplicates("id"), energy.TEMPLATES)
    assert len(frame) > 50 and frame["context"].nunique() == 10


def test_the_state_says_which_grid_it_is_of(episodes: list[Episode], small: SimpleNamespace) -> None:
    future, today = states_of(episodes[-1])[0], states_of(episodes[0])[0]
    assert energy.ask(future, "supply", {"outage": "L130"}, "?", small)["evidence"].startswith("walk from L130")
    assert energy.ask(today, "supply", {"outage": "L130"}, "?", small)["evidence"] == "no line L130 in service"


def test_rebuilt_lines_are_open_all_day(episodes: list[Episode]) -> None:
    episode = episodes[1 + SHIFTS.index("rebuilt")]
    gone = set(json.loads(cast(str, episode.row["note"]))["rebuilt_without"])
    for state in states_of(episode):
        assert {line for line, closed in state.column("switch").items() if not closed} >= gone
        assert (state.outcomes.query("kind == 'now'").set_index("asset").loc[sorted(gone), "value"] == 0).all()


def test_the_knowledge_graph_is_the_grid(rated: Grid) -> None:
    table = energy.knowledge(recipe())
    assert list(table) == KNOWLEDGE.names and not table.duplicated().any() and not table.isna().any(axis=None)
    kinds = table[table["relation"] == "is"]
    count = kinds["object"].value_counts().to_dict()
    assert count == {
        "line": 113, "transformer": 3, "bus": 82, "demand": 79, "wind park": (rated.sgens["kind"] == "wind").sum(),
        "PV plant": (rated.sgens["kind"] == "PV").sum(), "clause": 4,
    }  # fmt: skip
    joins = table[table["relation"] == "joins"].groupby("subject")["object"].agg(list)
    assert sorted(joins["L7"]) == sorted(rated.lines.iloc[6][["from_bus", "to_bus"]])
    known = set(kinds["subject"])
    assert set(table.loc[table["relation"].isin(["joins", "feeds", "protects"]), "object"]) <= known
    feeds = table[(table["relation"] == "feeds") & table["object"].str.startswith("D")]
    assert dict(zip(feeds["object"], feeds["subject"], strict=True)) == dict(
        zip(rated.loads["name"], rated.loads["bus"], strict=True)
    )


def test_the_check_compares_two_simulators(rated: Grid) -> None:
    report = energy.check(recipe())
    assert report["base"] == report["outages"] == report["islanding"] == 8
    assert 0 < report["worst_loading"] < 1e-6 and 0 <= report["worst_voltage"] < 1e-6


@pytest.mark.parametrize(
    "system", [{"netwrok": "x"}, {"network": "1-HV-urban--2-sw"}, {"load_scale": "3"}, {"work_rate": 1.2}]
)
def test_wrong_settings_are_refused(system: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(system)


def test_a_stretch_beyond_the_profiles_year_is_refused(rated: Grid) -> None:
    with pytest.raises(UserError, match="days 300 to 403 of SimBench's year"):
        next(energy.episodes(recipe(days=100, shift_days=4, start=date(2016, 10, 27))))


def test_a_reading_lost_is_a_question_refused(fresh: list[Fresh]) -> None:
    """Taking one line's readings away makes the questions about it unanswerable, and no other."""
    f = fresh[10]
    view = [key.partition(">") for key in f.state.column("estimate") if ">" in key]
    outage, _, line = next(pair for pair in view if pair[2] != f.fault[1])
    slots, asked = {"outage": outage, "line": line}, recipe()
    assert energy.ask(f.state, "loading", slots, "?", asked)["skill"] == "what-if"
    gone = {k: v for k, v in f.state.values.items() if k[0] != line}
    state = replace(f.state, values=gone)
    assert energy.ask(state, "loading", slots, "?", asked)["skill"] == "unanswerable"
    assert energy.ask(state, "clause", {}, "?", asked)["skill"] == "standard"


def test_a_state_without_signals_refuses_numbers(rated: Grid) -> None:
    empty = State(
        "e", pd.Timestamp(0), {}, pd.DataFrame(columns=["kind", "cause", "asset", "quantity", "horizon_h", "value"])
    )
    for template, slots in (("risk", {"outage": "L1", "line": "L2"}), ("failure", {"asset": "T1"}), ("clause", {})):
        row = energy.ask(empty, template, slots, "?", recipe())
        assert row["skill"] == "unanswerable" and "nan" not in row["evidence"] + row["context"]


def test_spurs_are_those_the_graph_calls_cutting(rated: Grid) -> None:
    cut = lost_buses(rated, single_outages(rated)).any(1)
    assert 10 < cut.sum() < 60
