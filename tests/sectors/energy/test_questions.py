"""Questions of 64 states: every template, truths in their spaces, refusals where due, and no option that gives itself away."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sectors.energy.world import Fresh
from twinforge.errors import UserError
from twinforge.records import space_of
from twinforge.sectors import State
from twinforge.sectors.energy.builders import NONE, NOTHING, cost
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import ask, questions, with_estimate
from twinforge.sectors.energy.templates import BY_NAME, TEMPLATES
from twinforge.sectors.energy.view import View

Row = dict[str, Any]
ROUNDS = 4  # of questions a state


@pytest.fixture(scope="module")
def asked(states: list[State], rated: Grid) -> list[tuple[State, Row]]:
    return [
        (state, row)
        for round_ in range(ROUNDS)
        for i, state in enumerate(states)
        for row in questions(state, rated, "any", np.random.default_rng((round_, i)))
    ]


def of(asked: list[tuple[State, Row]], template: str, answerable: bool = True) -> list[tuple[State, Row]]:
    found = [(s, r) for s, r in asked if r["template"] == template and (r["skill"] != "unanswerable") == answerable]
    assert len(found) >= 10
    return found


def slots_of(row: Row) -> dict[str, str]:
    """Slots read back from the words."""
    template = BY_NAME[row["template"]]
    for phrasing in template.phrasings + template.held_out:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", re.escape(phrasing))
        if match := re.fullmatch(pattern, row["text"]):
            return match.groupdict()
    raise AssertionError(row["text"])


def right(row: Row, name: str) -> bool:
    """Whether the answer in a column is right; a set is the rule's."""
    near = abs(row[name] - row["truth"]) <= (row["tolerance"] if row["kind"] == "number" else 0)
    return near and row["rule_gold"] == row["gold"]


def test_every_template_is_asked_and_every_state_is_asked_something(asked: list[tuple[State, Row]], states: list[State]) -> None:  # fmt: skip
    count = Counter(row["template"] for _, row in asked if row["skill"] != "unanswerable")
    n = ROUNDS * len(states)
    assert set(count) == set(BY_NAME)
    assert count["clause"] == count["fault"] == count["met"] == count["action"] == n and count["supply"] > 1.9 * n
    assert all(count[name] > 0.9 * n for name in ("risk", "loading", "ahead", "failure", "suspect", "remedy"))
    assert 13.5 < len(asked) / n <= 14


def test_truths_lie_in_their_spaces_and_refusals_have_none(asked: list[tuple[State, Row]]) -> None:
    for _, row in asked:
        s = space_of(row)
        assert row["asked"] == BY_NAME[row["template"]].skill
        if row["skill"] == "unanswerable":
            assert math.isnan(row["truth"]) and s.index(row["truth"]) == s.size - 1
            assert (row["gold"], row["gold_total"], row["rule_gold"]) == ([], 0, [])
        else:
            assert row["skill"] == row["asked"]
        for name in ("truth", "rule", "persistence", "copy"):
            value = row[name]
            if not math.isnan(value):
                assert (
                    s.low <= value <= s.high
                    if row["kind"] == "number"
                    else value in range(s.size - 1 + (row["kind"] == "entities"))
                )
        assert (
            len(row["features"]) in (1, len(s.options)) and "nan" not in row["evidence"] and "nan" not in row["context"]
        )


def test_a_template_has_features_of_one_length(asked: list[tuple[State, Row]]) -> None:
    widths: dict[str, set[int]] = {}
    for _, row in asked:
        widths.setdefault(row["template"], set()).update(map(len, row["features"]))
        assert len(row["features"]) == (
            len(row["options"]) if row["template"] in ("suspect", "supply", "action") else 1
        )
    assert {name: len(sizes) for name, sizes in widths.items()} == dict.fromkeys(BY_NAME, 1)


def test_refused_exactly_when_asset_time_or_reading_is_missing(asked: list[tuple[State, Row]], rated: Grid) -> None:
    lines = set(rated.lines["name"])
    for state, row in asked:
        slots, view = slots_of(row), View(state, rated)
        named = [slots[name] for name in ("line", "outage") if name in slots and row["template"] != "supply"]
        missing = any(name not in view.loading for name in named)
        missing |= slots.get("hours", "1") not in ("1", "4")
        missing |= row["template"] == "supply" and slots["outage"] not in lines
        missing |= row["template"] == "met" and slots["clause"] not in ("C1", "C2", "C3", "C4")
        missing |= row["template"] == "failure" and math.isnan(state.get(slots["asset"], "age"))
        assert missing == (row["skill"] == "unanswerable"), row["text"]


def test_half_of_the_unanswerable_name_a_real_line_that_reads_nothing(
    asked: list[tuple[State, Row]], rated: Grid
) -> None:
    lines, real, total = set(rated.lines["name"]), 0, 0
    for state, row in asked:
        if row["skill"] == "unanswerable":
            named = [v for k, v in slots_of(row).items() if k in ("line", "outage", "asset")]
            real += any(n in lines and math.isnan(state.get(n, "loading")) for n in named)
            total += 1
    assert total == 2 * len({id(s) for s, _ in asked}) * ROUNDS
    assert 0.45 < real / total <= 0.5


def test_held_out_phrasings_are_never_for_training(
    asked: list[tuple[State, Row]], states: list[State], rated: Grid
) -> None:
    kept = [re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(p)) for t in TEMPLATES for p in t.held_out]

    def share(texts: list[str]) -> float:
        return float(np.mean([any(re.fullmatch(p, text) for p in kept) for text in texts]))

    train = [r["text"] for i, s in enumerate(states) for r in questions(s, rated, "train", np.random.default_rng(i))]
    assert share(train) == 0.0
    assert 0.2 < share([row["text"] for _, row in asked]) < 0.3


def test_the_same_generator_gives_the_same_questions(states: list[State], rated: Grid) -> None:
    one, two = (questions(states[7], rated, "any", np.random.default_rng(5)) for _ in range(2))
    assert repr(one) == repr(two)


def test_questions_are_asked_of_signals_not_of_the_truth(states: list[State], rated: Grid) -> None:
    """Other outcomes change truths and payoffs, and nothing that an expert or a language model sees."""
    seen = ("text", "facts", "notes", "context", "options", "features", "rule", "persistence", "copy", "evidence")
    for i, state in enumerate(states[::9]):
        outcomes = state.outcomes.copy()
        outcomes.loc[outcomes["kind"] != "fault", "value"] *= 1.5
        other = State(state.episode, state.time, state.values, outcomes)
        one, two = (questions(s, rated, "any", np.random.default_rng(i)) for s in (state, other))
        for a, b in zip(one, two, strict=True):
            assert repr([a[k] for k in seen]) == repr([b[k] for k in seen])
        assert [a["truth"] for a in one] != [b["truth"] for b in two]


def test_what_the_simulator_does_not_know_is_not_asked(states: list[State], rated: Grid) -> None:
    for i, state in enumerate(states[:4]):
        outcomes = state.outcomes.copy()
        outcomes.loc[outcomes["kind"].isin(["breach", "action"]), "value"] = math.nan
        other = State(state.episode, state.time, state.values, outcomes)
        rows = questions(other, rated, "any", np.random.default_rng(i))
        assert {r["template"] for r in rows if r["skill"] != "unanswerable"} & {
            "clause",
            "met",
            "action",
            "remedy",
        } == set()
        assert sum(r["skill"] == "unanswerable" for r in rows) == 2


def test_facts_say_what_is_known_of_the_things_asked_about(asked: list[tuple[State, Row]]) -> None:
    for _, row in asked:
        assert bool(row["facts"]) is (row["template"] != "clause")
        if row["template"] in ("suspect", "supply", "action", "clause"):
            assert len(row["notes"]) == len(row["options"]) and all(row["notes"][:-1])
            assert row["notes"][-1] or row["template"] != "supply"
        if row["asked"] not in ("diagnosis", "recommend"):
            missing = "?" in row["facts"] or "no entry" in row["facts"] or "open" in row["facts"]
            assert missing >= (row["skill"] == "unanswerable")


def numbered(names: list[str]) -> bool:
    keys = [(name[0], int(name[1:])) for name in names]
    return keys == sorted(keys)


def test_suspects_stand_in_order_of_number_and_the_faulty_anywhere(asked: list[tuple[State, Row]]) -> None:
    rows = of(asked, "suspect")
    assert all(row["options"][-1] == NONE and numbered(row["options"][:-1]) for _, row in rows)
    places = np.bincount([int(row["truth"]) for _, row in rows], minlength=5)
    assert 0.1 < places[4] / places.sum() < 0.6
    assert (places[:4] > 0.08 * places[:4].sum()).all() and (places[:4] < 0.55 * places[:4].sum()).all()


def test_demands_stand_in_order_of_number_and_those_cut_off_anywhere(asked: list[tuple[State, Row]], rated: Grid) -> None:  # fmt: skip
    """The candidates hold all that the walk finds cut off and who is near beside; what the simulator adds may be missing."""
    found = of(asked, "supply")
    rows = [row for _, row in found]
    assert all(numbered(row["options"]) and len(row["options"]) >= 6 for row in rows)
    places = np.bincount([i for row in rows for i in row["gold"]], minlength=6)[:6]
    assert (places > 0.1 * places.sum()).all() and (places < 0.35 * places.sum()).all()
    sizes = np.bincount([int(row["gold_total"]) for row in rows], minlength=3)
    assert 0.1 < sizes[0] / len(rows) < 0.4 and sizes[1] > 0.15 * len(rows) and sizes[2:].sum() > 0.05 * len(rows)
    for state, row in found[::20]:
        view, outage = View(state, rated), slots_of(row)["outage"]
        cut = view.cut_off(outage)
        assert [row["options"][i] for i in row["rule_gold"]] == [d for d in row["options"] if d in cut]
        assert cut < set(row["options"]) and row["gold_total"] >= len(row["gold"])
        hops = dict(zip(rated.loads["name"], view.hops(outage)[rated.loads["at"]], strict=True))
        left = [h for d, h in hops.items() if d not in row["options"]]
        assert max((hops[d] for d in row["options"] if d not in cut), default=0) <= min(left)


def test_actions_stand_in_order_of_name_and_the_best_pays_most(asked: list[tuple[State, Row]]) -> None:
    best = []
    for _, row in of(asked, "action"):
        *named, last = row["options"]
        assert last == NOTHING and named == sorted(named)
        assert len(row["payoff"]) == len(row["options"]) and int(np.argmax(row["payoff"])) == row["truth"]
        best.append(row["options"][int(row["truth"])].rsplit(" ", 1)[0])
    assert set(best) >= {"curtail", "halve demand", "open"} and max(Counter(best).values()) < 0.75 * len(best)
    assert cost(NOTHING) == 0 < cost("open L1") < cost("curtail W1") < cost("halve demand D1")


def test_harm_is_what_the_simulator_says_beside_doing_nothing(asked: list[tuple[State, Row]]) -> None:
    harms: Counter[int] = Counter()
    for state, row in of(asked, "action"):
        outage = slots_of(row)["outage"]
        o = state.outcomes[state.outcomes["kind"] == "action"].set_index(["cause", "quantity"])["value"]
        effect, lost = ([o[f"{outage}|{a}", q] for a in row["options"]] for q in ("worst_loading", "lost_mw"))
        assert len(row["harm"]) == len(row["options"]) and row["harm"][-1] == 0
        for harm, after, dark in zip(row["harm"], effect, lost, strict=True):
            assert (harm == 2) == (after > 100 >= effect[-1])
            assert harm or (after <= effect[-1] + 1 and dark <= lost[-1] + 1)
        harms.update(row["harm"])
    assert harms[0] > harms[1] > 0 and harms[2] > 0


RULE = {
    "risk": (0.75, 0.97), "loading": (0.8, 0.99), "ahead": (0.35, 0.7), "failure": (0.5, 0.85), "fault": (0.8, 1.0),
    "suspect": (0.75, 1.0), "clause": (0.8, 0.99), "met": (0.8, 0.99), "supply": (0.98, 1.0), "action": (0.8, 1.0),
    "remedy": (0.6, 0.95),
}  # fmt: skip


@pytest.mark.parametrize("template", RULE)
def test_rules_are_right_about_as_often_as_they_were_measured(asked: list[tuple[State, Row]], template: str) -> None:
    low, high = RULE[template]
    share = np.mean([right(row, "rule") for _, row in of(asked, template)])
    assert low <= share <= high


def test_copying_and_persistence_fail_often(asked: list[tuple[State, Row]]) -> None:
    for template, low, high in (
        ("risk", 0.25, 0.7),
        ("loading", 0.05, 0.3),
        ("ahead", 0.25, 0.65),
        ("remedy", 0.2, 0.7),
    ):
        assert low < np.mean([right(row, "copy") for _, row in of(asked, template)]) < high


def test_refused_numbers_have_no_rule(asked: list[tuple[State, Row]]) -> None:
    for template in ("risk", "loading", "ahead", "failure", "supply", "met"):
        assert all(math.isnan(row["rule"]) for _, row in of(asked, template, answerable=False))


def test_every_clause_is_broken_and_met_often_enough(asked: list[tuple[State, Row]]) -> None:
    truths = np.bincount([int(row["truth"]) for _, row in of(asked, "clause")], minlength=5) / (ROUNDS * 64)
    assert (truths[1:] > 0.03).all() and truths.max() < 0.75


def pairs(asked: list[tuple[State, Row]]) -> Iterator[tuple[State, Row, dict[str, str]]]:
    for state, row in asked[:: 3 * ROUNDS]:
        yield state, row, slots_of(row)


def test_an_operators_own_words_change_nothing_else(asked: list[tuple[State, Row]], rated: Grid) -> None:
    compared = Counter[str]()
    for state, row, slots in pairs(asked):
        own = ask(state, rated, row["template"], slots, "please tell me")
        assert own["text"] == "please tell me" and own["context"].startswith("A: ")
        same = [k for k in row if k not in ("text", "context")]
        if own["options"] == row["options"]:
            assert repr([own[k] for k in same]) == repr([row[k] for k in same])
            compared[row["template"]] += 1
        else:  # other candidates; the truth among them is the same, or none of them
            assert row["template"] in ("suspect", "supply")
    assert {"risk", "loading", "ahead", "failure", "fault", "clause", "met", "action", "remedy"} <= set(compared)


def test_a_pair_that_the_lake_left_out_is_estimated_from_the_readings(states: list[State], rated: Grid) -> None:
    for state in states[::16]:
        key = next(key for key in state.column("estimate") if ">" in key)
        outage, _, line = key.partition(">")
        less = State(state.episode, state.time, {k: v for k, v in state.values.items() if k[0] != key}, state.outcomes)
        again = with_estimate(less, rated, outage, line)
        assert again.get(key, "estimate") == pytest.approx(state.get(key, "estimate"), rel=1e-6)
        assert ask(less, rated, "loading", {"outage": outage, "line": line}, "?")["skill"] == "what-if"
        for a, b in (("L999", line), (outage, "L999")):
            assert with_estimate(less, rated, a, b) is less
        silent = {k: v for k, v in less.values.items() if k[0] not in (outage, line)}
        assert with_estimate(State("e", state.time, silent, state.outcomes), rated, outage, line).values == silent
    bare = State("e", pd.Timestamp(0), {("L1", "loading"): 40.0}, pd.DataFrame())
    assert with_estimate(bare, rated, "L1", "L2") is bare


def test_an_operator_is_told_what_a_state_lacks(states: list[State], rated: Grid, fresh: list[Fresh]) -> None:
    (outage,) = {key.partition("|")[0] for key in states[0].column("estimate") if "|" in key}
    with pytest.raises(UserError, match=f"no remedies .* the outage of L999 .* only for that of: {outage}"):
        ask(states[0], rated, "action", {"outage": "L999"}, "what now?")
    bare = State("e", pd.Timestamp(0), {("L1", "loading"): 40.0}, pd.DataFrame(columns=states[0].outcomes.columns))
    with pytest.raises(UserError, match="residuals of three lines"):
        ask(bare, rated, "suspect", {}, "who lies?")
    for template, slots in (
        ("supply", {"outage": "L5"}),
        ("clause", {}),
        ("fault", {}),
        ("ahead", {"line": "L1", "hours": "4"}),
    ):
        assert math.isnan(ask(bare, rated, template, slots, "?")["truth"])
