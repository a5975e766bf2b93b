"""Which questions are asked about a state: slots picked, wording chosen, truth built, and the state written for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from twinforge.errors import UserError
from twinforge.records import AnswerSpace, Dimension
from twinforge.sectors import State, Template
from twinforge.sectors.energy.builders import BUILDERS, CHOOSERS, NOTHING, Draft, band
from twinforge.sectors.energy.context import context, facts, notes
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.linear import linear_contingency
from twinforge.sectors.energy.signals import SIGNALS
from twinforge.sectors.energy.standards import CLAUSES
from twinforge.sectors.energy.templates import BY_NAME
from twinforge.sectors.energy.view import View
from twinforge.sectors.failing import mixed, retold, slots_of

NEAR = 6  # demands among which those that lose supply are sought
Slots = dict[str, str]
Asked = tuple[Template, Slots, tuple[str, ...]]
"""Template, slots, and candidate options where they differ from question to question."""


def questions(state: State, grid: Grid, phrasing: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """All questions about one state, as dicts of `records.QUESTION` without id, validation, episode and time.

    A question that the state could answer but the simulator could not (no solution) is left out.
    """
    view = View(state, grid)
    answerable = _answerable(view, rng)
    unanswerable = _unanswerable(view, rng)
    text = context(view)
    rows, refused = (
        [_row(view, a, text, _word(a[0], a[1], phrasing, rng)) for a in asked] for asked in (answerable, unanswerable)
    )
    return [*(row for row in rows if not np.isnan(row["truth"])), *refused]


def ask(state: State, grid: Grid, template: str, slots: Mapping[str, str], wording: str) -> dict[str, Any]:
    """One question in an operator's own wording about a state, its options chosen as in the lake's questions.

    Raises
    ------
    UserError
        The state lacks what the question is about: residuals for `suspect`, remedies of this outage for the skill `recommend`.
    """
    if {"outage", "line"} <= slots.keys():
        state = with_estimate(state, grid, slots["outage"], slots["line"])
    view, chosen = View(state, grid), BY_NAME[template]
    rng = np.random.default_rng(0)
    candidates: tuple[str, ...] = ()
    if template == "suspect":
        candidates = _suspects(view, rng)
        if not candidates:
            raise UserError(
                f"{wording!r}: needs the residuals of three lines and one more reading; this state lacks them"
            )
    if chosen.skill == "recommend" and slots["outage"] not in (
        known := {outage for outage, _ in view.action_estimates}
    ):
        raise UserError(
            f"{wording!r}: no remedies were worked out for the outage of {slots['outage']} in this state, only for that of: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    if template == "supply":
        candidates = _demands(view, slots["outage"], rng)
    asked = (chosen, dict(slots), candidates)
    return _row(view, asked, context(view), wording)


def retell(
    row: Mapping[str, Any], state: State, other: State, dimension: Dimension, grid: Grid
) -> dict[str, Any] | None:
    """A question about a state as it stood if one dimension's signals were those of another state (see `sectors.failing`).

    An estimate of the very pair is made from what the other state read. None where no remedies of this outage were worked out there.
    """
    template = BY_NAME[row["template"]]
    slots = slots_of(template, row["text"])
    if dimension == "computational" and {"outage", "line"} <= slots.keys():
        other = with_estimate(other, grid, slots["outage"], slots["line"])
    view = View(mixed(state, other, dimension, SIGNALS), grid)
    if template.skill == "recommend" and slots["outage"] not in {outage for outage, _ in view.action_estimates}:
        return None
    candidates = {"suspect": row["options"][:-1], "supply": row["options"]}.get(template.name, ())
    return retold(row, _row(view, (template, slots, tuple(candidates)), context(view), row["text"]))


def ahead(state: State, grid: Grid, lines: Sequence[str]) -> list[dict[str, Any]]:
    """What each line carries in an hour, asked of one state in words that training knows."""
    view = View(state, grid)
    return [plain(view, "ahead", {"line": line, "hours": "1"}) for line in lines]


def plain(view: View, template: str, slots: Slots) -> dict[str, Any]:
    """One question whose options are always the same, in words that training knows."""
    asked = BY_NAME[template]
    return _row(view, (asked, slots, ()), context(view), asked.phrasings[0].format(**slots))


def with_estimate(state: State, grid: Grid, outage: str, line: str) -> State:
    """The state with the linear estimate of one more pair, from the readings; as it is where these don't allow it."""
    key, names = (f"{outage}>{line}", "estimate"), list(grid.lines["name"])
    if key in state.values or outage not in names or line not in names:
        return state
    flow, reactive, loading = (np.array([state.get(n, q) for n in names]) for q in ("flow", "reactive", "loading"))
    volts = np.array([state.get(bus, "voltage") for bus in grid.lines["from_bus"]])
    factor = state.get("grid", "rating") / 100
    if np.isnan(volts).all() or np.isnan([factor, loading[names.index(outage)], loading[names.index(line)]]).any():
        return state
    out = frozenset(n for n, closed in state.column("switch").items() if closed == 0.0)
    estimate = linear_contingency(
        grid,
        flow,
        reactive,
        out,
        vm_pu=np.where(np.isnan(volts), np.nanmean(volts), volts),
        loading_pct=loading * factor,
    )[names.index(outage), names.index(line)]
    return state if np.isnan(estimate) else replace(state, values={**state.values, key: float(estimate / factor)})


def _row(view: View, asked: Asked, text: str, wording: str) -> dict[str, Any]:
    template, slots, candidates = asked
    draft = CHOOSERS[template.name](view, slots, candidates) if candidates else BUILDERS[template.name](view, slots)
    refused = np.isnan(draft.truth)
    return {
        "skill": "unanswerable" if refused else template.skill, "asked": template.skill, "template": template.name, "context": text,
        "facts": facts(view, template.name, slots), "notes": notes(view, template.name, slots, draft.space.options), "text": wording,
        **_space(draft.space), **_draft(draft),
    }  # fmt: skip


def _space(space: AnswerSpace) -> dict[str, Any]:
    return {
        "kind": space.kind, "options": list(space.options), "unit": space.unit, "low": space.low, "high": space.high,
        "step": space.step, "tolerance": space.tolerance,
    }  # fmt: skip


def _draft(draft: Draft) -> dict[str, Any]:
    whole = 0 if draft.space.kind != "entities" or np.isnan(draft.truth) else int(draft.truth)
    return {
        "truth": draft.truth, "gold": list(draft.gold), "gold_total": whole,
        "evidence": draft.evidence, "features": draft.features, "rule": draft.rule, "rule_gold": list(draft.rule_gold),
        "rule_defined": draft.rule_defined, "persistence": draft.persistence, "copy": draft.copy, "payoff": list(draft.payoff),
        "harm": list(draft.harm),
    }  # fmt: skip


def _word(template: Template, slots: Slots, phrasing: str, rng: np.random.Generator) -> str:
    """One phrasing; the held-out ones are as likely as each of the others where they may be used."""
    wordings = template.phrasings + (template.held_out if phrasing == "any" else ())
    return str(rng.choice(wordings)).format(**slots)


def _answerable(view: View, rng: np.random.Generator) -> list[Asked]:
    """Two questions a skill, where the readings allow them: they share one text, so a second one costs little."""
    pair = pair_of(view, rng)
    remedies = [key for key, v in view.action_estimates.items() if not np.isnan(v)]
    outage = min((o for o, _ in remedies), default="")
    acting = _pick(rng, [name for o, name in remedies if o == outage and name != NOTHING])
    line, asset = _pick(rng, _ahead_lines(view, rng)), _aged(view, rng)
    candidates = _suspects(view, rng)
    cut = [_outage_for_supply(view, rng) for _ in range(2)]
    slots: list[tuple[str, Slots, tuple[str, ...]] | None] = [
        *(_if(pair, name, {"outage": pair[0], "line": pair[1]} if pair else {}) for name in ("risk", "loading")),
        _if(line, "ahead", {"line": line, "hours": _hours(rng)}),
        _if(asset, "failure", {"asset": asset}),
        ("fault", {}, ()),
        _if(candidates, "suspect", {}, candidates),
        ("clause", {}, ()),
        ("met", {"clause": _clause(view, rng)}, ()),
        *(("supply", {"outage": one}, _demands(view, one, rng)) for one in dict.fromkeys(cut)),
        _if(outage, "action", {"outage": outage}),
        _if(acting, "remedy", {"outage": outage, "asset": acting.split()[-1] if acting else ""}),
    ]
    return [(BY_NAME[slot[0]], *slot[1:]) for slot in slots if slot]


def _if(
    there: object, name: str, slots: Slots, candidates: tuple[str, ...] = ()
) -> tuple[str, Slots, tuple[str, ...]] | None:
    return (name, slots, candidates) if there else None


def _unanswerable(view: View, rng: np.random.Generator) -> list[Asked]:
    """Two questions that can't be answered, of different templates: one names a real line whose reading is missing, if any is,
    the other an asset, an hour or a clause that is not there."""
    gone = [n for n, closed in view.state.column("switch").items() if closed == 1.0 and n not in view.loading]
    first = _refused(view, rng, _pick(rng, gone))
    second = first
    while second[0].name == first[0].name:
        second = _refused(view, rng)
    return [first, second]


def _refused(view: View, rng: np.random.Generator, line: str = "") -> Asked:
    """A question about `line`, whose reading is missing; or about what is not there."""
    real, good = bool(line), _pick(rng, list(view.loading))
    line = line or f"L{int(rng.integers(len(view.grid.lines) + 1, 400))}"
    name = str(rng.choice(["risk", "loading", "ahead", *([] if real else ["failure", "supply", "time", "met"])]))
    if name in ("risk", "loading"):
        slots = {"outage": line, "line": good} if rng.random() < 0.5 else {"outage": good, "line": line}
        return BY_NAME[name], slots, ()
    if name == "ahead":
        return BY_NAME["ahead"], {"line": line, "hours": _hours(rng)}, ()
    if name == "time":
        return BY_NAME["ahead"], {"line": good, "hours": str(rng.choice(["30", "72", "100", "500"]))}, ()
    if name == "failure":
        return BY_NAME["failure"], {"asset": line}, ()
    if name == "met":
        return BY_NAME["met"], {"clause": f"C{int(rng.integers(len(CLAUSES) + 1, 30))}"}, ()
    return BY_NAME["supply"], {"outage": line}, _demands(view, good, rng)


def _clause(view: View, rng: np.random.Generator) -> str:
    """A clause that by the signals is broken or, every other time, one that is met."""
    broken = {c.clause: c.predicate(view.state) for c in CLAUSES}
    wanted = bool(rng.random() < 0.5)
    return _pick(rng, [name for name, value in broken.items() if value == wanted] or list(broken))


def _hours(rng: np.random.Generator) -> str:
    return str(rng.choice(["1", "4"]))


def _pick(rng: np.random.Generator, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))] if names else ""


def pair_of(view: View, rng: np.random.Generator) -> tuple[str, str] | None:
    """An (outage, line) pair: every band of the estimate as likely, or three in four with a change the outage causes."""
    by_band = rng.random() < 0.5
    pairs = [p for p in view.estimates if p[0] in view.loading and p[1] in view.loading and view.estimates[p] > 5]
    if not pairs:
        return None
    if by_band:
        bands: dict[float, list[tuple[str, str]]] = {}
        for p in pairs:
            bands.setdefault(band(view.estimates[p]), []).append(p)
        chosen = bands[sorted(bands)[int(rng.integers(len(bands)))]]
        return chosen[int(rng.integers(len(chosen)))]
    changed = [p for p in pairs if abs(view.estimates[p] - view.loading[p[1]]) > 8]
    pairs = changed if changed and rng.random() < 0.75 else pairs
    return pairs[int(rng.integers(len(pairs)))]


def _ahead_lines(view: View, rng: np.random.Generator) -> list[str]:
    """Loaded lines; where work is planned, every other time those that it touches most."""
    loaded = [n for n, v in view.loading.items() if v > 15 and view.state.get(n, "forecast_1h") > 0] or list(
        view.loading
    )
    touched = [
        line
        for (outage, line), v in view.estimates.items()
        if outage in view.plans and line in loaded and abs(v - view.loading[line]) > 8
    ]
    return touched if touched and rng.random() < 0.5 else loaded


def _aged(view: View, rng: np.random.Generator) -> str:
    """An asset with a log; every other time one that has a finding."""
    ages = view.state.column("age")
    noted = sorted({a for (a, name) in view.state.values if name.startswith("finding ")})
    return _pick(rng, noted) if noted and rng.random() < 0.5 else _pick(rng, list(ages))


def _suspects(view: View, rng: np.random.Generator) -> tuple[str, ...]:
    """The three largest residuals and one line at random, in order of their numbers."""
    top = view.suspects[:3]
    rest = [n for n in view.loading if n not in top]
    return tuple(sorted([*top, _pick(rng, rest)], key=_order)) if len(top) == 3 and rest else ()


def _outage_for_supply(view: View, rng: np.random.Generator) -> str:
    """A line whose outage cuts someone off by the graph (three in four), or any other."""
    if view.cutting and rng.random() < 0.75:
        return _pick(rng, view.cutting)
    return _pick(rng, [str(n) for n in view.grid.lines["name"] if n not in view.open_lines])


def _demands(view: View, outage: str, rng: np.random.Generator) -> tuple[str, ...]:
    """What a walk over the graph comes to first from an outage, in order of number: all demands that it finds cut off, then the
    nearest: six in all, or two more than are cut off. By chance for a line that is not there."""
    loads = view.grid.loads
    if outage not in set(view.grid.lines["name"]):
        return tuple(sorted((str(n) for n in rng.choice(loads["name"], NEAR, replace=False)), key=_order))
    lost = loads["name"].isin(view.cut_off(outage)).to_numpy()
    walk = np.lexsort((rng.random(len(loads)), view.hops(outage)[loads["at"]], ~lost))
    return tuple(sorted((str(n) for n in loads["name"].iloc[walk[: max(NEAR, lost.sum() + 2)]]), key=_order))


def _order(name: str) -> tuple[str, int]:
    return name[0], int(name[1:])
