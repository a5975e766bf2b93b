"""The toy sector's questions: the state as text, slots, and one builder a template with the truth it takes from the outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tests import toy_water as water
from tests.toy_terms import ACTIONS, BY_NAME, CAUSES, CLAUSES, LEVEL, PUMPS, SIGNALS, TANKS, USERS
from twinforge.records import AnswerSpace, Dimension
from twinforge.sectors import State, Template
from twinforge.sectors.failing import TOLD, mixed, retold, slots_of


def context(state: State) -> str:
    """The state as text; physical, abstract and computational signals marked P, A, C."""

    def say(asset: str, quantity: str) -> str:
        value = state.get(asset, quantity)
        return "missing" if math.isnan(value) else f"{value:.4g}"

    tanks = "; ".join(f"{t[5:]} {say(t, 'level')} m, change {say(t, 'change')}" for t in TANKS)
    pumps = "; ".join(f"{c[-2:]} on {say(c, 'status')} flow {say(c, 'flow')}" for c in CAUSES)
    ages = ", ".join(f"{p[-2:]} {say(p, 'age')}" for p in PUMPS)
    ahead = "; ".join(f"{t[5:]} 1 h {say(t, '1 h forecast')}, 3 h {say(t, '3 h forecast')}" for t in TANKS)
    lost = ", ".join(f"without {c[-2:]} {say(c, 'loss estimate')}" for c in CAUSES)
    return (f"P tank {tanks}\nP {pumps}; town {say('town', 'flow')}\nA {say('clock', 'hour')} h; limit {say('tank B', 'limit')} m; age {ages}\n"
            f"C tank {ahead}; B 2 h {lost}")  # fmt: skip


def questions(state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> list[dict[str, Any]]:
    """One question of each template about assets drawn at random, and one or two that name an unknown asset."""
    rows = []
    for name, template in BY_NAME.items():
        slots = {slot: str(rng.choice(_choices(kind))) for slot, kind in template.slots.items()}
        rows.append(_row(state, template, slots, _pick(template, phrasing, rng, recipe), rng))
        if name in ("loss-level", "later-level", "failure") and rng.random() < 0.3:
            rows.append(_row(state, template, _unknown(slots, rng), _pick(template, phrasing, rng, recipe), rng))
    return rows


def ask(state: State, template: str, slots: Mapping[str, str], wording: str, recipe: Any) -> dict[str, Any]:
    """One question of a template in an operator's own wording."""
    return {**_row(state, BY_NAME[template], slots, wording, np.random.default_rng(0)), "text": wording}


def retell(
    row: Mapping[str, Any], state: State, other: State, dimension: Dimension, recipe: Any
) -> dict[str, Any] | None:
    """A question about a state as it stood if one dimension's signals were those of another one."""
    template, told = BY_NAME[row["template"]], mixed(state, other, dimension, SIGNALS)
    body = _ASK[template.name](told, slots_of(template, row["text"]), tuple(row["options"]))
    return retold(row, {**row, "context": context(told), **{name: body[name] for name in TOLD if name in body}})


def _choices(kind: str) -> tuple[str, ...]:
    return {"cause": CAUSES, "tank": TANKS, "pump": PUMPS, "hours": ("1", "3"), "level": ("1.5", "2", "2.5", "3")}[kind]


def _unknown(slots: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    strange = {"cause": "pump P7", "tank": "tank C", "pump": "pump P5"}
    return {slot: strange.get(slot, value) for slot, value in slots.items()}


def _pick(template: Template, phrasing: str, rng: np.random.Generator, recipe: Any) -> str:
    held = phrasing == "any" and rng.random() < recipe.curate.held_out_phrasings
    return str(rng.choice(template.held_out if held else template.phrasings))


def _row(
    state: State, template: Template, slots: Mapping[str, str], phrase: str, rng: np.random.Generator
) -> dict[str, Any]:
    options = tuple(rng.permutation(ACTIONS)[:4].tolist()) if template.name == "act" else ()
    space = template.space or AnswerSpace("choice", options)
    body = _ASK[template.name](state, slots, options)
    readable = not any(math.isnan(state.get(*reading)) for reading in body.pop("needs"))
    known = readable and all(slots[slot] in _choices(kind) for slot, kind in template.slots.items())
    if not known:
        body.update(truth=math.nan, payoff=[], harm=[], gold=[], evidence="the asset or its reading is not there")
    row = {
        "skill": template.skill if known else "unanswerable", "asked": template.skill, "template": template.name,
        "context": context(state), "facts": "", "notes": [], "text": phrase.format(**slots), "kind": space.kind, "options": list(space.options),
        "unit": space.unit, "low": space.low, "high": space.high, "step": space.step, "tolerance": space.tolerance,
        "payoff": [], "harm": [], "persistence": math.nan, "copy": math.nan, "rule": math.nan, "rule_defined": True,
        "gold": [], "gold_total": 0, "rule_gold": [],
    }  # fmt: skip
    row |= body
    return row | {"gold_total": len(row["gold"])}


def _true(state: State, kind: str, cause: str, horizon: float, asset: str, quantity: str = "level") -> float:
    o = state.outcomes
    for row in zip(o["kind"], o["cause"], o["horizon_h"], o["asset"], o["quantity"], o["value"], strict=True):
        if row[:5] == (kind, cause if kind != "fault" else row[1], horizon, asset, quantity):
            return float(row[5])
    return math.nan


def _signals(state: State, *extra: float) -> list[float]:
    read = [("tank A", "level"), ("tank A", "change"), ("tank B", "level"), ("tank B", "change"), ("valve V1", "flow"),
            ("pump P1", "flow"), ("pump P2", "flow"), ("pump P1", "status"), ("pump P2", "status"), ("town", "flow"),
            ("clock", "hour"), ("tank B", "limit")]  # fmt: skip
    return [*(state.get(*key) for key in read), *extra]


def _place(name: str, names: tuple[str, ...]) -> float:
    return float(names.index(name)) if name in names else math.nan


def _grid(value: float) -> float:
    return value if math.isnan(value) else float(np.clip(round(value, 1), LEVEL.low, LEVEL.high))


def _class(level: float, limit: float) -> float:
    return math.nan if math.isnan(level + limit) else float(np.searchsorted([1.0, 2.0, limit], level))


def _loss_level(state: State, slots: Mapping[str, str], _: tuple[str, ...]) -> dict[str, Any]:
    cause, now = slots["cause"], state.get("tank B", "level")
    guess = state.get(cause, "loss estimate")
    return {"truth": _grid(_true(state, "outage", cause, 2, "tank B")), "rule": _grid(guess), "copy": _grid(now),
            "needs": [("tank B", "level"), ("tank A", "level")], "evidence": f"outage of {cause}, simulated",
            "features": [_signals(state, _place(cause, CAUSES), guess)]}  # fmt: skip


def _loss_class(state: State, slots: Mapping[str, str], options: tuple[str, ...]) -> dict[str, Any]:
    row, limit = _loss_level(state, slots, options), state.get("tank B", "limit")
    true = _true(state, "outage", slots["cause"], 2, "tank B")
    return row | {"truth": _class(true, limit), "rule": _class(state.get(slots["cause"], "loss estimate"), limit),
                  "copy": _class(state.get("tank B", "level"), limit)}  # fmt: skip


def _later_level(state: State, slots: Mapping[str, str], _: tuple[str, ...]) -> dict[str, Any]:
    tank, hours = slots["tank"], slots["hours"]
    now, guess = state.get(tank, "level"), state.get(tank, f"{hours} h forecast")
    return {"truth": _grid(_true(state, "later", "", float(hours), tank)), "rule": _grid(guess), "persistence": _grid(now),
            "copy": _grid(now), "needs": [(tank, "level")], "evidence": f"simulated, {hours} h on",
            "features": [_signals(state, _place(tank, TANKS), float(hours), guess)]}  # fmt: skip


def _failure(state: State, slots: Mapping[str, str], _: tuple[str, ...]) -> dict[str, Any]:
    age = state.get(slots["pump"], "age")
    return {"truth": _true(state, "failure", "", 8760, slots["pump"], "failed"), "persistence": 0.0,
            "rule": math.nan if math.isnan(age) else float(age > 1.2), "needs": [(slots["pump"], "age")],
            "evidence": "Weibull hazard, shape 2.5, scale 2.2 a", "features": [_signals(state, age)]}  # fmt: skip


def _fault(state: State, *_: Any) -> dict[str, Any]:
    flow, level = state.get("valve V1", "flow"), state.get("tank A", "level")
    off = flow / (water.VALVE * math.sqrt(max(level, 0.01)))
    p2 = abs((state.get("pump P2", "flow") > 5) - state.get("pump P2", "status"))
    rule = 3 if p2 == 1 else 2 if state.get("tank B", "change") == 0 else 4 if off < 0.6 else 1 if off < 0.93 else 0
    return {"truth": _true(state, "fault", "", 0, "", "index"), "rule": float(rule), "needs": [("tank A", "level"), ("valve V1", "flow")],
            "evidence": "injected fault", "features": [_signals(state, off, p2)]}  # fmt: skip


def _broken(state: State) -> float:
    return float(next((i + 1 for i, clause in enumerate(CLAUSES) if clause.predicate(state)), 0))


def _clause(state: State, *_: Any) -> dict[str, Any]:
    now = {(asset, "level"): _true(state, "later", "", 0, asset) for asset in TANKS}
    now |= {(asset, "status"): _true(state, "later", "", 0, asset, "status") for asset in PUMPS}
    unknown = any(math.isnan(value) for value in now.values())
    return {"truth": math.nan if unknown else _broken(replace(state, values={**state.values, **now})), "rule": _broken(state),
            "needs": [("tank A", "level"), ("tank B", "level")], "evidence": "clause on the true levels",
            "features": [_signals(state)]}  # fmt: skip


def _cut(cause: str, on: list[float]) -> list[int]:
    """Who of USERS is cut off, by index."""
    lost = [cause == pump or not running for pump, running in zip(PUMPS, on, strict=True)]
    return [0, 1] if all(lost) else [1] if cause == "valve V1" else []


def _dry(state: State, slots: Mapping[str, str], _: tuple[str, ...]) -> dict[str, Any]:
    cause = slots["cause"]
    true, read = ([_true(state, "later", "", 0, p, "status") for p in PUMPS], [state.get(p, "status") for p in PUMPS])
    gold, said = ([] if any(map(math.isnan, on)) else _cut(cause, on) for on in (true, read))
    return {"truth": math.nan if any(map(math.isnan, true)) else float(len(gold)), "gold": gold, "rule": float(len(said)), "rule_gold": said,
            "needs": [(p, "status") for p in PUMPS], "evidence": "pumps -> tank A -> farm; tank A -> valve V1 -> tank B -> town",
            "features": [_signals(state, _place(cause, CAUSES), float(i)) for i in range(len(USERS))]}  # fmt: skip


def _act(state: State, slots: Mapping[str, str], options: tuple[str, ...]) -> dict[str, Any]:
    target, ahead = float(slots["target"]), 2 * state.get("valve V1", "flow") / water.AREA[1]
    base = (state.get("tank B", "1 h forecast") - state.get("tank B", "level")) * 2 + state.get("tank B", "level")
    effect = {"do nothing": 0.0, "close valve V1": -ahead}
    for i, pump in enumerate(PUMPS):
        on, gain = state.get(pump, "status"), 0.6 * water.PUMPS[i] / water.AREA[1]
        effect |= {f"start {pump}": gain * (1 - on), f"stop {pump}": -gain * on}
    guess = [base + effect[option] for option in options]
    level, idle = (
        [_true(state, "action", option, 2, "tank B") for option in names] for names in (options, ["do nothing"])
    )
    payoff, limit = [-abs(one - target) for one in level], state.get("tank B", "limit")
    harm = [2 if one > limit >= idle[0] else int(abs(one - target) > abs(idle[0] - target)) for one in level]
    miss = [abs(g - target) for g in guess]
    known = not any(math.isnan(value) for value in payoff)
    return {"truth": float(np.argmax(payoff)) if known else math.nan, "payoff": payoff if known else [], "harm": harm if known else [],
            "rule": math.nan if any(map(math.isnan, miss)) else float(np.argmin(miss)),
            "needs": [("tank B", "level"), ("valve V1", "flow")], "evidence": "each action simulated for 2 h",
            "features": [[g, m, target, float(ACTIONS.index(o))] for g, m, o in zip(guess, miss, options, strict=True)]}  # fmt: skip


_ASK = {"loss-level": _loss_level, "loss-class": _loss_class, "later-level": _later_level, "failure": _failure,
        "fault": _fault, "clause": _clause, "dry": _dry, "act": _act}  # fmt: skip
