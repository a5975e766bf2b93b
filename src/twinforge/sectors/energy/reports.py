"""Situation reports: what is asked, what the truth writes, what the operator's rule would write, and what is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from twinforge.claims import EXISTS, Fact
from twinforge.sectors import State
from twinforge.sectors.energy.builders import HORIZONS, ahead, loading
from twinforge.sectors.energy.context import context, decided_by, number
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import pair_of, plain, with_estimate
from twinforge.sectors.energy.standards import CLAUSES
from twinforge.sectors.energy.templates import LOADING, YES_NO
from twinforge.sectors.energy.view import View

Slots = dict[str, str]
Row = dict[str, Any]
OVER = 100  # percent: from there on a line is overloaded
NAMED = ("C2", "C3")  # clauses whose state each report ends with
SHARES = {
    "none": 0.4,
    "true": 0.15,
    "false": 0.2,
    "absent": 0.15,
    "missing": 0.1,
}  # of what a request takes for granted
REQUESTS = (
    "Report on {line}: now, in {hours} h, and after the outage of {outage}.",
    "Situation of {line} now, {hours} h ahead, and should {outage} fail?",
    "Write up {line} as it is, as it will be in {hours} h, and without {outage}.",
)
HELD_OUT = ("Brief the next shift on {line}: at present, {hours} h from now, and if {outage} trips.",)

ASKED = {
    "report": re.compile(r"\b(?:report|situation|write up|brief)\b", re.I),
    "outage": re.compile(r"\b(?:outage of|without|should|if|after) (L\d+)\b", re.I),
    "hours": re.compile(r"\b(\d+) h(?:ours?)?\b"),
}


def report(state: State, grid: Grid, phrasing: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """A request for a report on one line with all that `claims.REPORT` wants but id, episode, time, split and validation, and
    the questions that back it (`sectors.Sector.report`).

    None where the state lacks the readings for one, or the simulator found no solution.
    """
    view = View(state, grid)
    pair = pair_of(view, rng)
    if pair is None:
        return None
    slots = {"outage": pair[0], "line": pair[1], "hours": str(rng.choice(["1", "4"]))}
    premise = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    gone = [n for n, closed in state.column("switch").items() if closed == 1.0 and n not in view.loading]
    if premise == "missing" and not gone:
        premise = "none"
    if premise == "absent":
        slots["line"] = f"L{int(rng.integers(len(grid.lines) + 1, 400))}"
    if premise == "missing":
        slots["line"] = str(rng.choice(gone))
    truth = _truth(view, slots)
    if premise in ("none", "true", "false") and any(math.isnan(v) for v in truth.values()):
        return None
    wordings = REQUESTS + (HELD_OUT if phrasing == "any" else ())
    lead, trap = _premise(premise, slots, truth, rng)
    return _row(view, slots, premise, trap, lead + str(rng.choice(wordings)).format(**slots))


def request(state: State, grid: Grid, wording: str) -> dict[str, Any] | None:
    """The same for an operator's own words, where they ask for a report on a line and an outage."""
    found = {name: pattern.search(wording) for name, pattern in ASKED.items()}
    if not (found["report"] and found["outage"]):
        return None
    outage = next(name for name in found["outage"].groups() if name)
    others = [name for name in re.findall(r"\bL\d+\b", wording) if name != outage]
    hours = found["hours"].group(1) if found["hours"] else "1"
    if not others or hours not in HORIZONS:
        return None
    slots = {"outage": outage, "line": others[0], "hours": hours}
    state = with_estimate(state, grid, outage, others[0])
    view = View(state, grid)
    lines = set(grid.lines["name"])
    premise = "absent" if others[0] not in lines else "missing" if others[0] not in view.loading else "none"
    return _row(view, slots, premise, {"absent": EXISTS, "missing": "loading"}.get(premise, ""), wording)


def _row(view: View, slots: Slots, premise: str, trap: str, wording: str) -> dict[str, Any]:
    truth = _truth(view, slots)
    return {
        "context": context(view), "facts": facts(view, slots), "text": wording,
        "premise": premise, "trap_asset": slots["line"] if trap else "", "trap_quantity": trap,
        "reference": written(slots, truth, premise), "rule": written(slots, _rule(view, slots), "none"),
        "known": [asdict(fact) for fact in _known(view, slots, truth, premise)], "backing": _backing(view, slots, premise),
    }  # fmt: skip


def _backing(view: View, slots: Slots, premise: str) -> list[dict[str, Any]]:
    """What a report says that the twin has an answer of its own to: clauses, the forecast, the outage."""
    line, hours, outage = slots["line"], float(slots["hours"]), slots["outage"]
    broken = [YES_NO.options.index("no")]  # "met" is asked
    found = [_backed(clause, "broken", 0.0, "", broken, plain(view, "met", {"clause": clause})) for clause in NAMED]
    if premise in ("absent", "missing"):
        return found
    over = np.flatnonzero(LOADING.values > OVER).tolist()
    then = plain(view, "ahead", {"line": line, "hours": slots["hours"]})
    after = plain(view, "loading", {"outage": outage, "line": line})
    for given, ahead_of, question in (("", hours, then), (outage, 0.0, after)):
        found += [_backed(line, "loading", ahead_of, given, [], question)]
        found += [_backed(line, "overloaded", ahead_of, given, over, question)]
    return found


def _backed(asset: str, quantity: str, hours: float, given: str, holds: list[int], question: Row) -> dict[str, Any]:
    return {
        "asset": asset, "quantity": quantity, "hours": hours, "given": given, "holds": holds, "question": question,
    }  # fmt: skip


def facts(view: View, slots: Slots) -> str:
    """What the state says of the line a report is on, and of what the named clauses are decided by."""
    get, line = view.state.get, slots["line"]
    now, before = number(view.loading.get(line, math.nan)), number(get(line, "loading_before"))
    then, after = get(line, f"forecast_{slots['hours']}h"), view.estimates.get((slots["outage"], line), math.nan)
    clauses = ", ".join(decided_by(view, clause) for clause in NAMED)
    return f"P now {now} was {before}, C then {number(then)}, C after {number(after)}, {clauses}"


def written(slots: Slots, values: Mapping[str, float], premise: str) -> str:
    """The report in sentences. values : of `now`, `before`, `then`, `after` (percent) and, of each named clause, whether it is
    broken; a clause that can't be decided is left out."""
    line = slots["line"]
    clauses = [f"{c} is {'broken' if values[c] else 'met'}" for c in NAMED if not math.isnan(values[c])]
    last = [f"{', '.join(clauses)}."] if clauses else []
    if premise == "absent":
        return " ".join([f"There is no line {line} in this grid.", *last])
    if premise == "missing" or math.isnan(values["now"]):
        return " ".join([f"The loading of {line} is missing.", *last])
    was = "" if math.isnan(values["before"]) else f", {number(values['before'])} % an hour ago"
    first = [f"{line} is {_standing(values['now'])}: it carries {number(values['now'])} %{was}."]
    then = f"In {slots['hours']} h it will carry {number(values['then'])} %."
    after = (
        f"The outage of {slots['outage']} would bring it to {number(values['after'])} %: {_standing(values['after'])}."
    )
    known = [text for name, text in (("then", then), ("after", after)) if not math.isnan(values[name])]
    return " ".join([*first, *known, *last])


def _standing(value: float) -> str:
    return "overloaded" if value > OVER else "within its rating"


def _truth(view: View, slots: Slots) -> dict[str, float]:
    return {
        **_readings(view, slots), "then": ahead(view, slots).truth, "after": loading(view, slots).truth,
        **{c: view.future("breach", c, "grid", "broken") for c in NAMED},
    }  # fmt: skip


def _rule(view: View, slots: Slots) -> dict[str, float]:
    """Forecast and linear estimate taken for true, and clauses decided by the signals as they are."""
    broken = {c.clause: float(c.predicate(view.state)) for c in CLAUSES}
    return {
        **_readings(view, slots), "then": ahead(view, slots).rule, "after": loading(view, slots).rule,
        **{c: broken[c] for c in NAMED},
    }  # fmt: skip


def _readings(view: View, slots: Slots) -> dict[str, float]:
    line = slots["line"]
    return {"now": view.loading.get(line, math.nan), "before": view.state.get(line, "loading_before")}


def _premise(premise: str, slots: Slots, truth: Mapping[str, float], rng: np.random.Generator) -> tuple[str, str]:
    """What the request states first, and the quantity that a wrong premise is about ("" for none)."""
    if premise in ("absent", "missing"):
        return "", EXISTS if premise == "absent" else "loading"
    if premise == "none":
        return "", ""
    over = (truth["now"] > OVER) == (premise == "true")
    text = f"{slots['line']} is {'overloaded' if over else 'within its rating'}. "
    return text, "" if premise == "true" else "overloaded"


def _known(view: View, slots: Slots, truth: Mapping[str, float], premise: str) -> list[Fact]:
    """What the state says of every line and of the grid, and what the simulator says of what was asked."""
    found = []
    for line, value in view.loading.items():
        found += [Fact(line, "loading", value, "%", tolerance=1.0), Fact(line, "overloaded", float(value > OVER))]
        before = view.state.get(line, "loading_before")
        found += [] if math.isnan(before) else [Fact(line, "loading", before, "%", -1.0, tolerance=1.0)]
    totals = (("demand", "MW"), ("wind", "MW"), ("solar", "MW"), ("rating", "%"))
    found += [Fact("grid", name, view.state.get("grid", name), unit, tolerance=1.0) for name, unit in totals]
    if premise in ("none", "true", "false"):
        line, hours, after = slots["line"], float(slots["hours"]), truth["after"]
        found += [
            Fact(line, "loading", truth["then"], "%", hours, tolerance=LOADING.tolerance),
            Fact(line, "loading", after, "%", 0.0, slots["outage"], LOADING.tolerance),
            Fact(line, "overloaded", float(after > OVER), "", 0.0, slots["outage"]),
            Fact(line, "overloaded", float(truth["then"] > OVER), "", hours),
        ]
    found += [Fact(clause, "broken", truth[clause]) for clause in NAMED]
    return [fact for fact in found if not math.isnan(fact.value)]
