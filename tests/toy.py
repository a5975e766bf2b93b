"""A small but real sector: two water tanks in series (see `toy_water`), with all seven skills and known truths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from tests import toy_water as water
from twinforge.records import KNOWLEDGE, OBSERVATION, OUTCOME, AnswerSpace, Signal
from twinforge.sectors import Clause, Episode, State, Template

NAME = "toy"
TANKS, PUMPS, CAUSES = ("tank A", "tank B"), ("pump P1", "pump P2"), ("pump P1", "pump P2", "valve V1")
ACTIONS = ("do nothing", "start pump P1", "stop pump P1", "start pump P2", "stop pump P2", "close valve V1")
FAULTS = ("nothing", "level sensor of tank A is biased", "level sensor of tank B is stuck", "status of pump P2 is false",
          "valve V1 is clogged")  # fmt: skip
HOURS = tuple(range(4, 24))  # of the day, when readings are taken
START = pd.Timestamp("2024-01-01")

SIGNALS = (
    Signal("level", "m", 0, 6, "physical", "water level"),
    Signal("change", "m/h", -6, 6, "physical", "rise of the level over the last hour"),
    Signal("flow", "m3/h", -20, 250, "physical"),
    Signal("status", "1", 0, 1, "physical", "1: running or open"),
    Signal("hour", "h", 0, 24, "abstract", "hour of the day"),
    Signal("limit", "m", 2, 5, "abstract", "highest level allowed this season"),
    Signal("age", "a", 0, 10, "abstract", "years since the overhaul"),
    Signal("1 h forecast", "m", -10, 15, "computational", "level if the flows stay as they are"),
    Signal("3 h forecast", "m", -10, 15, "computational", "level if the flows stay as they are"),
    Signal("loss estimate", "m", -10, 15, "computational", "level of tank B 2 h after this asset is lost, linear"),
)
UNITS = {signal.name: signal for signal in SIGNALS}


class Settings(BaseModel):
    """`lake.system` of the recipe: share of episodes in which the valve clogs, and the pumps' capacity after the change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    clog_rate: float = 0.1
    shift_capacity: float = 0.7


CLAUSES = (
    Clause("T-1", "Highest level", "Tank B stays at or below its limit of the season.", "toy rule book, 1",
           lambda s: s.get("tank B", "level") > s.get("tank B", "limit")),
    Clause("T-2", "Reserve", "Tank A holds at least 0.5 m.", "toy rule book, 2",
           lambda s: s.get("tank A", "level") < 0.5),
    Clause("T-3", "Peak hours", "From 7 to 9 h at least one pump runs.", "toy rule book, 3",
           lambda s: 7 <= s.get("clock", "hour") <= 9 and s.get("pump P1", "status") + s.get("pump P2", "status") == 0),
)  # fmt: skip

LEVEL = AnswerSpace("number", (), "m", 0, 5, 0.1, 0.2)
CLASSES = AnswerSpace("choice", ("below 1 m", "1 to 2 m", "2 m to its limit", "above its limit"))
TEMPLATES = (
    Template("loss-level", "what-if", "number", ("How high will tank B stand 2 h after {cause} is lost?",),
             ("{cause} fails: level of tank B two hours on?",), {"cause": "cause"}, LEVEL),
    Template("loss-class", "what-if", "choice", ("In which range is tank B 2 h after {cause} is lost?",),
             ("Suppose {cause} drops out. Where does tank B stand after two hours?",), {"cause": "cause"}, CLASSES),
    Template("later-level", "forecast", "number", ("What is the level of {tank} in {hours} h?",),
             ("Level of {tank}, {hours} hours from now?",), {"tank": "tank", "hours": "hours"}, LEVEL),
    Template("failure", "forecast", "choice", ("Will {pump} fail within a year?",),
             ("Does {pump} break down in the next twelve months?",), {"pump": "pump"}, AnswerSpace("choice", ("no", "yes"))),
    Template("fault", "diagnosis", "choice", ("What is wrong here?",), ("Which fault do the readings show?",), {},
             AnswerSpace("choice", FAULTS)),
    Template("clause", "standard", "choice", ("Which is the first clause that is broken?",),
             ("Name the first rule breached.",), {}, AnswerSpace("choice", ("none", *(c.clause for c in CLAUSES)))),
    Template("dry", "dependency", "choice", ("Who has no running source left when {cause} is lost?",),
             ("{cause} fails: who is cut off from every running source?",), {"cause": "cause"},
             AnswerSpace("choice", ("nobody", "farm", "town", "farm and town"))),
    Template("act", "recommend", "choice", ("Which action brings tank B closest to {target} m in 2 h?",),
             ("Tank B should stand at {target} m in two hours: do what?",), {"target": "level"}),
)  # fmt: skip
BY_NAME = {template.name: template for template in TEMPLATES}


def knowledge(recipe: Any) -> pd.DataFrame:
    """The plant as a graph."""
    kinds = (
        [(a, "is", "tank") for a in TANKS] + [(a, "is", "pump") for a in PUMPS] + [(a, "is", "cause") for a in CAUSES]
    )
    edges = [("pump P1", "tank A"), ("pump P2", "tank A"), ("tank A", "farm"), ("tank A", "valve V1"),
             ("valve V1", "tank B"), ("tank B", "town"), ("tank B", "weir W1")]  # fmt: skip
    return pd.DataFrame(kinds + [(a, "feeds", b) for a, b in edges], columns=KNOWLEDGE.names)


def check(recipe: Any) -> dict[str, Any]:
    """Euler against the closed form of a tank that only drains: sqrt(h) falls linearly (Torricelli)."""
    one = np.ones(1)
    runs = water.Runs(np.array([[4.0, 1.0]]), np.zeros((1, 2)), one, one, 0 * one, 0 * one)
    exact = (math.sqrt(4.0) - water.VALVE / (2 * water.AREA[0])) ** 2
    return {"drain": {"exact_m": exact, "error_m": abs(float(water.advance(runs, 0, 1).level[0, 0]) - exact)}}


def episode_count(recipe: Any) -> int:
    return int(recipe.lake.days + recipe.lake.shift_days)


def episodes(recipe: Any) -> Iterator[Episode]:
    """Days of the plant: first the calm ones, then those after the pumps lost capacity."""
    for day in range(episode_count(recipe)):
        yield _Day(recipe, day).episode()


class _Day:
    """One simulated day with its faulty sensors."""

    def __init__(self, recipe: Any, day: int) -> None:
        self.lake, self.day = recipe.lake, day
        self.settings = Settings(**dict(recipe.lake.system))
        self.rng = np.random.default_rng([recipe.seed, day])
        self.start = pd.Timestamp(recipe.lake.start or START) + pd.Timedelta(days=day)
        self.change = pd.Timestamp(recipe.lake.start or START) + pd.Timedelta(days=recipe.lake.days, hours=12)
        self.shifted = day >= recipe.lake.days
        self.name = f"toy-{self.start:%Y-%m-%d}"
        self.limit = float(self.rng.choice([2.6, 3.4]))
        self.age = self.rng.uniform(0, 3, 2).round(1)
        rates = [self.lake.bias_rate, self.lake.stuck_rate, self.lake.misreport_rate, self.settings.clog_rate]
        self.fault = int(self.rng.choice(5, p=[1 - sum(rates), *rates]))
        self.onset = int(self.rng.integers(HOURS[0], 12))
        spread = np.linspace(HOURS[1], HOURS[-4], recipe.budget.states_per_day).round().astype(int)
        self.states = sorted(set(spread.tolist()))

    def broken(self, hour: int) -> int:
        return self.fault if hour >= self.onset else 0

    def runs(self) -> dict[int, water.Runs]:
        """The true state at every hour, pumps switched at random but with regard to the level."""
        one, rng = np.ones(1), self.rng
        runs = water.Runs(
            rng.uniform(0.5, 3.5, (1, 2)),
            np.ones((1, 2)),
            one,
            one,
            one * rng.uniform(5, 20),
            one * rng.uniform(30, 70),
        )
        found = {}
        for hour in range(HOURS[0] - 1, HOURS[-1] + 1):
            now = self.start + pd.Timedelta(hours=hour)
            pumps = (rng.uniform(0.2, 4.0, (1, 2)) > runs.level[:, :1]).astype(float)
            opening = one * (0.4 if self.broken(hour) == 4 else 1.0)
            capacity = one * (self.settings.shift_capacity if self.shifted and now >= self.change else 1.0)
            found[hour] = replace(runs, pumps=pumps, opening=opening, capacity=capacity)
            runs = water.advance(found[hour], hour, 1)
        return found

    def episode(self) -> Episode:
        runs = self.runs()
        row = {
            "episode": self.name, "start": self.start + pd.Timedelta(hours=HOURS[0]),
            "end": self.start + pd.Timedelta(hours=HOURS[-1]), "regime": "weak pumps" if self.shifted else "calm",
            "change": self.change if self.shifted else pd.NaT,
            "note": json.dumps({"fault": FAULTS[self.fault], "onset_h": self.onset}),
        }  # fmt: skip
        observed = self.observations(runs)
        outcomes = [row for hour in self.states for row in self.outcomes(runs, hour)]
        return Episode(row, observed, pd.DataFrame(outcomes, columns=OUTCOME.names))

    def observations(self, runs: dict[int, water.Runs]) -> pd.DataFrame:
        rows: list[tuple[Any, ...]] = []
        before = self.read_levels(runs[HOURS[0] - 1], HOURS[0] - 1, None)
        for hour in HOURS:
            now = self.start + pd.Timedelta(hours=hour)
            level = self.read_levels(runs[hour], hour, before)
            blind: set[str] = set()  # tanks without a level: nothing is derived from it either
            for asset, quantity, value in self.read(runs[hour], hour, level, before):
                gone = UNITS[quantity].dimension == "physical" and self.rng.random() < self.lake.gap_rate
                gone |= asset in blind and quantity in ("change", "1 h forecast", "3 h forecast")
                if gone and quantity == "level":
                    blind.add(asset)
                signal = UNITS[quantity]
                rows.append((self.name, now, asset, quantity, np.nan if gone else value, signal.unit, signal.dimension, "missing" if gone else "good"))  # fmt: skip
            before = level
        return pd.DataFrame(rows, columns=OBSERVATION.names)

    def noisy(self, value: float) -> float:
        return round(float(value) * (1 + self.lake.noise * self.rng.standard_normal()), 2)

    def read_levels(self, runs: water.Runs, hour: int, before: list[float] | None) -> list[float]:
        level = [self.noisy(value) for value in runs.level[0]]
        if self.broken(hour) == 1:
            level[0] = round(level[0] + 0.7, 2)
        if self.broken(hour) == 2 and before is not None:
            level[1] = before[1]
        return level

    def read(
        self, runs: water.Runs, hour: int, level: list[float], before: list[float]
    ) -> Iterator[tuple[str, str, float]]:
        flow = {asset: self.noisy(value[0]) for asset, value in water.flows(runs, hour).items()}
        on = [int(value) for value in runs.pumps[0]]
        if self.broken(hour) == 3:
            on[1] = 1 - on[1]
        for i, asset in enumerate(TANKS):
            yield asset, "level", level[i]
            yield asset, "change", round(level[i] - before[i], 2)
        for asset, value in flow.items():
            yield asset, "flow", value
        for i, asset in enumerate(PUMPS):
            yield asset, "status", on[i]
            yield asset, "age", self.age[i]
        yield "valve V1", "status", 1
        yield "clock", "hour", hour
        yield "tank B", "limit", self.limit
        rise = water.net({asset: np.array([value]) for asset, value in flow.items()})[0]
        for i, asset in enumerate(TANKS):
            yield asset, "1 h forecast", round(level[i] + rise[i], 2)
            yield asset, "3 h forecast", round(level[i] + 3 * rise[i], 2)
        for asset in CAUSES:
            lost = flow[asset] / water.AREA[1] if asset == "valve V1" else 0.3 * flow[asset] / water.AREA[1]
            yield asset, "loss estimate", round(level[1] + 2 * (rise[1] - lost), 2)

    def outcomes(self, runs: dict[int, water.Runs], hour: int) -> Iterator[tuple[Any, ...]]:
        now, true = self.start + pd.Timedelta(hours=hour), runs[hour]

        def row(kind: str, cause: str, horizon: float, asset: str, quantity: str, value: float) -> tuple[Any, ...]:
            return (self.name, now, kind, cause, horizon, asset, quantity, float(value), "solved")

        for ahead in (0, 1, 3):
            for i, asset in enumerate(TANKS):
                yield row("later", "", ahead, asset, "level", runs[hour + ahead].level[0, i])
        for i, asset in enumerate(PUMPS):
            yield row("later", "", 0, asset, "status", true.pumps[0, i])
            hazard = ((self.age[i] + 1) / 2.2) ** 2.5 - (self.age[i] / 2.2) ** 2.5
            yield row("failure", "", 8760, asset, "failed", self.rng.random() < 1 - math.exp(-hazard))
        yield row("fault", FAULTS[self.broken(hour)], 0, "", "index", self.broken(hour))
        kinds = [("outage", cause) for cause in CAUSES] + [("action", action) for action in ACTIONS]
        many = true.take(np.zeros(len(kinds), int))
        pumps, opening = many.pumps.copy(), many.opening.copy()
        for i, (_, cause) in enumerate(kinds):
            if "valve" in cause:
                opening[i] = 0.0
            elif "pump" in cause:
                pumps[i, PUMPS.index(cause[-7:])] = float(cause.startswith("start"))
        level = water.advance(replace(many, pumps=pumps, opening=opening), hour, 2).level
        for i, (kind, cause) in enumerate(kinds):
            yield row(kind, cause, 2, "tank B", "level", level[i, 1])


# ---- questions ----


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
        body.update(truth=math.nan, payoff=[], evidence="the asset or its reading is not there")
    row = {
        "skill": template.skill if known else "unanswerable", "asked": template.skill, "template": template.name,
        "context": context(state), "facts": "", "notes": [], "text": phrase.format(**slots), "kind": space.kind, "options": list(space.options),
        "unit": space.unit, "low": space.low, "high": space.high, "step": space.step, "tolerance": space.tolerance,
        "payoff": [], "persistence": math.nan, "copy": math.nan, "rule": math.nan, "rule_defined": True,
    }  # fmt: skip
    return row | body


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


def _cut(cause: str, on: list[float]) -> float:
    lost = [cause == pump or not running for pump, running in zip(PUMPS, on, strict=True)]
    return 3.0 if all(lost) else 2.0 if cause == "valve V1" else 0.0


def _dry(state: State, slots: Mapping[str, str], _: tuple[str, ...]) -> dict[str, Any]:
    cause = slots["cause"]
    true, read = ([_true(state, "later", "", 0, p, "status") for p in PUMPS], [state.get(p, "status") for p in PUMPS])
    return {"truth": math.nan if any(map(math.isnan, true)) else _cut(cause, true), "rule": _cut(cause, read),
            "needs": [(p, "status") for p in PUMPS], "evidence": "pumps -> tank A -> farm; tank A -> valve V1 -> tank B -> town",
            "features": [_signals(state, _place(cause, CAUSES))]}  # fmt: skip


def _act(state: State, slots: Mapping[str, str], options: tuple[str, ...]) -> dict[str, Any]:
    target, ahead = float(slots["target"]), 2 * state.get("valve V1", "flow") / water.AREA[1]
    base = (state.get("tank B", "1 h forecast") - state.get("tank B", "level")) * 2 + state.get("tank B", "level")
    effect = {"do nothing": 0.0, "close valve V1": -ahead}
    for i, pump in enumerate(PUMPS):
        on, gain = state.get(pump, "status"), 0.6 * water.PUMPS[i] / water.AREA[1]
        effect |= {f"start {pump}": gain * (1 - on), f"stop {pump}": -gain * on}
    guess = [base + effect[option] for option in options]
    payoff = [-abs(_true(state, "action", option, 2, "tank B") - target) for option in options]
    miss = [abs(g - target) for g in guess]
    known = not any(math.isnan(value) for value in payoff)
    return {"truth": float(np.argmax(payoff)) if known else math.nan, "payoff": payoff if known else [],
            "rule": math.nan if any(map(math.isnan, miss)) else float(np.argmin(miss)),
            "needs": [("tank B", "level"), ("valve V1", "flow")], "evidence": "each action simulated for 2 h",
            "features": [[g, m, target, float(ACTIONS.index(o))] for g, m, o in zip(guess, miss, options, strict=True)]}  # fmt: skip


_ASK = {"loss-level": _loss_level, "loss-class": _loss_class, "later-level": _later_level, "failure": _failure,
        "fault": _fault, "clause": _clause, "dry": _dry, "act": _act}  # fmt: skip
