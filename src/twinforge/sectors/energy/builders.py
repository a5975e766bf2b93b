"""One builder a template: from slots and a state to the answer space, the truth, and what experts and simple rules see.

Every builder returns a `Draft`. A truth of NaN is "to be refused": an asset, a time or a reading that the question needs
is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from twinforge.records import AnswerSpace
from twinforge.sectors.energy.context import number, signed
from twinforge.sectors.energy.standards import CLAUSES, first_broken
from twinforge.sectors.energy.templates import BROKEN, FAULTS, LOADING, RISK, RISK_EDGES, YES_NO
from twinforge.sectors.energy.view import View, distances

NAN = math.nan
HORIZONS = {"1": 1.0, "4": 4.0}
NONE = "none"
NOTHING = "do nothing"
RATED, TOLD = 100.0, 1.0  # percent; percent and MW


@dataclass(frozen=True)
class Draft:
    """What a builder makes of one question; the fields are those of `records.QUESTION`."""

    space: AnswerSpace
    truth: float
    evidence: str
    features: list[list[float]]
    rule: float = NAN
    rule_defined: bool = True
    persistence: float = NAN
    copy: float = NAN
    payoff: tuple[float, ...] = ()
    harm: tuple[int, ...] = ()
    gold: tuple[int, ...] = ()
    rule_gold: tuple[int, ...] = ()


Slots = Mapping[str, str]


def band(loading: float) -> float:
    """Risk class of a loading in percent; NaN stays NaN."""
    return NAN if math.isnan(loading) else float(np.searchsorted(RISK_EDGES, loading, side="right"))


def risk(view: View, slots: Slots) -> Draft:
    """Band of a line's loading after the outage of another."""
    draft = loading(view, slots)
    return Draft(RISK, band(draft.truth), draft.evidence, draft.features, band(draft.rule), copy=band(draft.copy))


def loading(view: View, slots: Slots) -> Draft:
    """Loading of a line after the outage of another, percent."""
    outage, line = slots["outage"], slots["line"]
    now = view.loading.get(line, NAN)
    estimate = view.estimates.get((outage, line), NAN)
    known = not math.isnan(now) and outage in view.loading and not math.isnan(estimate)
    truth = view.future("outage", outage, line, "loading") if known else NAN
    get = view.state.get
    features = [
        estimate, now, estimate - now, view.loading.get(outage, NAN), get(outage, "flow"), get(line, "flow"),
        get(line, "reactive"), get(outage, "reactive"), view.residual.get(outage, NAN), view.residual.get(line, NAN),
        *_common(view),
    ]  # fmt: skip
    evidence = f"estimate {outage}>{line} {number(estimate)} %, {line} now {number(now)} %"
    return Draft(LOADING, _clip(truth), evidence, [features], _clip(estimate) if known else NAN, copy=_clip(now))


def ahead(view: View, slots: Slots) -> Draft:
    """Loading of a line some hours from now, percent."""
    line, hours = slots["line"], HORIZONS.get(slots["hours"], NAN)
    now, forecast = view.loading.get(line, NAN), view.state.get(line, f"forecast_{slots['hours']}h")
    known = not math.isnan(now) and not math.isnan(forecast)
    truth = view.future("later", "", line, "loading", hours) if known else NAN
    get = view.state.get
    features = [
        now, forecast, forecast - now, hours, get(line, "flow"), view.residual.get(line, NAN),
        *_planned_effect(view, line, hours), *_common(view),
    ]  # fmt: skip
    evidence = f"{line} now {number(now)} %, seasonal forecast {number(forecast)} %"
    rule = _clip(forecast) if known else NAN
    return Draft(LOADING, _clip(truth), evidence, [features], rule, persistence=_clip(now), copy=_clip(now))


def failure(view: View, slots: Slots) -> Draft:
    """Whether an ageing line or transformer fails within a year."""
    asset, get = slots["asset"], view.state.get
    age, life = get(asset, "age"), get(asset, "expected_life")
    known = not math.isnan(age)
    findings = {name: v for (a, name), v in view.state.values.items() if a == asset and name.startswith("finding ")}
    worst = max(findings.values(), default=0.0)
    features = [
        age, life, age - life, float(asset.startswith("T")), worst, sum(findings.values()), float(len(findings)), get(asset, "length"),
    ]  # fmt: skip
    rule = float(age > life or worst >= 3) if known else NAN
    truth = view.future("failure", asset, asset, "failed", 8760.0) if known else NAN
    evidence = f"{number(age)} years old, expected life {number(life)}, worst finding {worst:.0f}"
    return Draft(YES_NO, truth, evidence, [features], rule)


def fault(view: View, slots: Slots) -> Draft:
    """What is wrong with the sensors or switches."""
    top = view.suspects[:3]
    first = top[0] if top else ""
    size = abs(view.residual.get(first, 0.0))
    stuck = [_frozen(view, line) for line in top]
    dead = [line for line in top if view.loading.get(line, 1.0) < 1.5]
    rule = 0.0 if size < 5 else 3.0 if dead else 2.0 if any(stuck) else 1.0
    features = [
        *_pad([view.residual[line] for line in top], 3), *_pad([view.loading.get(line, NAN) for line in top], 3),
        *_pad([float(s) for s in stuck], 3), float(len(dead)), float(sum(_frozen(view, line) for line in view.loading)), *_common(view),
    ]  # fmt: skip
    evidence = f"largest residual {first} {signed(view.residual.get(first, NAN))} %" if top else "no residuals"
    return Draft(FAULTS, view.future("fault", "kind", "grid", "fault"), evidence, [features], rule)


def suspect(view: View, slots: Slots, candidates: tuple[str, ...]) -> Draft:
    """Which line's readings are wrong, among candidates."""
    space = AnswerSpace("choice", (*candidates, NONE))
    size = [abs(view.residual.get(line, 0.0)) for line in candidates]
    faulty = next((line for line in view.causes("fault").get("kind", []) if line != "grid"), NONE)
    rows = [
        [view.residual.get(line, NAN), abs(view.residual.get(line, NAN)), view.loading.get(line, NAN), float(_frozen(view, line)),
         view.state.get(line, "loading") - view.state.get(line, "loading_before"), float(sorted(size)[::-1].index(s)), 0.0]
        for line, s in zip(candidates, size, strict=True)
    ]  # fmt: skip
    rows.append([max(size), max(size), NAN, float(sum(r[3] for r in rows)), NAN, NAN, 1.0])
    rule = float(np.argmax(size)) if max(size) >= 5 else float(len(candidates))
    truth = float(space.options.index(faulty)) if faulty in space.options else float(len(candidates))
    evidence = ", ".join(f"{line} residual {signed(view.residual.get(line, NAN))}" for line in candidates)
    return Draft(space, truth if len(view.state.outcomes) else NAN, evidence, rows, rule)


def clause(view: View, slots: Slots) -> Draft:
    """The first clause that is broken; the rule decides the clauses on the signals as they are."""
    broken = [view.future("breach", c.clause, "grid", "broken") for c in CLAUSES]
    truth = NAN if np.isnan(broken).any() else float(broken.index(1.0)) if 1.0 in broken else float(len(CLAUSES))
    features, evidence = _rules(view)
    return Draft(BROKEN, truth, evidence, [features], float(first_broken(view.state)))


def met(view: View, slots: Slots) -> Draft:
    """Whether one clause is met."""
    names = [c.clause for c in CLAUSES]
    features, evidence = _rules(view)
    features += [float(name == slots["clause"]) for name in names]
    if slots["clause"] not in names:
        return Draft(YES_NO, NAN, f"the clauses in force are {', '.join(names)}", [features])
    broken = CLAUSES[names.index(slots["clause"])].predicate(view.state)
    truth = 1.0 - view.future("breach", slots["clause"], "grid", "broken")
    return Draft(YES_NO, truth, evidence, [features], float(not broken))


def _rules(view: View) -> tuple[list[float], str]:
    """What the clauses are decided by: features, and the same in words."""
    volts, get = view.state.column("voltage"), view.state.get
    worst = (max((v for (o, _), v in view.estimates.items() if o == out), default=NAN) for out in view.listed)
    known = sorted((v for v in worst if not math.isnan(v)), reverse=True)
    top = sorted(view.loading.values(), reverse=True)[:2]
    features = [
        max(volts.values(), default=NAN), min(volts.values(), default=NAN), *_pad(top, 2), *_pad(known, 3),
        get("grid", "relief"), float(len(view.plans)),
        float(sum(start <= view.hour < end for start, end in view.plans.values())),
        *(float(c.predicate(view.state)) for c in CLAUSES), *_common(view),
    ]  # fmt: skip
    evidence = (
        f"voltage {number(min(volts.values(), default=NAN), 3)} to {number(max(volts.values(), default=NAN), 3)} pu, highest "
        f"loading {number(max(top, default=NAN))} %, worst listed outage {number(max(known, default=NAN))} %"
    )
    return features, evidence


def supply(view: View, slots: Slots, candidates: tuple[str, ...]) -> Draft:
    """The demands that lose supply after an outage; the rule walks over the graph with the reported open lines.

    Who hangs on an open line that nobody reports may stand outside the candidates: the truth counts them too.
    """
    outage = slots["outage"]
    space = AnswerSpace("entities", candidates)
    if outage not in set(view.grid.lines["name"]) or outage in view.open_lines:
        return Draft(space, NAN, f"no line {outage} in service", [[NAN] * 6] * len(candidates))
    dark, walked = set(view.causes("outage").get(outage, ())), view.cut_off(outage)
    gold, rule = (tuple(i for i, d in enumerate(candidates) if d in names) for names in (dark, walked))
    known = len(view.state.outcomes) > 0
    hops, flow = view.hops(outage), view.state.get(outage, "flow")
    slack = distances(view.grid)[view.grid.slack]
    line = view.grid.lines.set_index("name").loc[outage]
    at = view.grid.loads.set_index("name")["at"]
    rows = [
        [hops[at[d]], slack[at[d]] - min(slack[line["from"]], slack[line["to"]]), view.state.get(d, "demand"), abs(flow), slack[at[d]], float(d in walked)]
        for d in candidates
    ]  # fmt: skip
    evidence = f"walk from {outage}: {', '.join(sorted(walked)) or 'no one'}"
    truth = float(len(dark & set(view.grid.loads["name"]))) if known else NAN
    return Draft(space, truth, evidence, rows, float(len(rule)), gold=gold if known else (), rule_gold=rule)


def action(view: View, slots: Slots) -> Draft:
    """The action after an outage that leaves the grid best: least highest loading, the action's own cost added.

    An action that cuts demand off, as only an unreported open line can make it do, pays one point for every MW.
    """
    outage = slots["outage"]
    effects = {a: v for (o, a), v in view.action_estimates.items() if o == outage}
    options = tuple(sorted(effects, key=lambda a: (a == NOTHING, a)))
    space = AnswerSpace("choice", options)
    effect, lost = (
        {a: view.future("action", f"{outage}|{a}", "grid", name) for a in options}
        for name in ("worst_loading", "lost_mw")
    )
    payoff = tuple(-effect[a] - cost(a) - (lost[a] - lost[NOTHING]) for a in options)
    estimates = np.array([effects[a] + cost(a) for a in options])
    base = effects[NOTHING]
    rows = [
        [effects[a], effects[a] - base, base, float(a.startswith("curtail")), float(a.startswith("open")), cost(a), float(a == NOTHING),
         estimates[i] - min(np.delete(estimates, i))]
        for i, a in enumerate(options)
    ]  # fmt: skip
    known = not any(math.isnan(p) for p in payoff)
    evidence = ", ".join(f"{a}: {number(effects[a])} %" for a in options)
    return Draft(
        space, float(np.argmax(payoff)) if known else NAN, evidence, rows, float(np.argmin(estimates)), payoff=payoff if known else (),
        harm=tuple(_harm(effect[a], lost[a], effect[NOTHING], lost[NOTHING]) for a in options) if known else (),
    )  # fmt: skip


def _harm(effect: float, lost: float, undisturbed: float, already: float) -> int:
    """What an action does beside doing nothing (`records.HARMS`), from the highest loadings (percent) and the lost demand (MW).

    An overload where there was none breaks the thermal clause. A rise of less than `TOLD` is none: no sensor tells it.
    """
    if effect > RATED >= undisturbed:
        return 2
    return int(effect > undisturbed + TOLD or lost > already + TOLD)


def remedy(view: View, slots: Slots) -> Draft:
    """Highest loading after an outage and one of its candidate actions, percent."""
    outage = slots["outage"]
    effects = {a: v for (o, a), v in view.action_estimates.items() if o == outage}
    taken = next((a for a in effects if a != NOTHING and a.split()[-1] == slots["asset"]), "")
    effect, base = effects.get(taken, NAN), effects.get(NOTHING, NAN)
    known = not math.isnan(effect)
    truth = view.future("action", f"{outage}|{taken}", "grid", "worst_loading") if known else NAN
    now = max(view.loading.values(), default=NAN)
    verbs = [float(taken.startswith(verb)) for verb in ("curtail", "halve", "open", "close")]
    features = [effect, base, effect - base, now, *verbs, *_common(view)]
    evidence = f"{taken or 'no such remedy'}: {number(effect)} %, do nothing: {number(base)} %"
    return Draft(LOADING, _clip(truth), evidence, [features], _clip(effect), copy=_clip(base))


def cost(name: str) -> float:
    """What an action costs, in points of loading: shed demand, spilled energy and switching are not free."""
    costs = {NOTHING: 0.0, "open": 1.0, "close": 1.0, "curtail": 3.0, "halve": 8.0}
    return next(points for verb, points in costs.items() if name.startswith(verb))


BUILDERS: dict[str, Callable[[View, Slots], Draft]] = {
    "risk": risk, "loading": loading, "ahead": ahead, "failure": failure, "fault": fault, "clause": clause, "met": met,
    "action": action, "remedy": remedy,
}  # fmt: skip
CHOOSERS: dict[str, Callable[[View, Slots, tuple[str, ...]], Draft]] = {"suspect": suspect, "supply": supply}


def _common(view: View) -> list[float]:
    get = view.state.get
    worst = max((abs(v) for v in view.residual.values()), default=NAN)
    return [worst, *(get("grid", n) for n in ("rating", "wind_regime", "demand", "wind", "solar", "hour", "month"))]


def _planned_effect(view: View, line: str, hours: float) -> list[float]:
    """Whether planned work starts or ends within the horizon, and the linear estimate of the loading with it begun."""
    starts = [n for n, (start, _) in view.plans.items() if view.hour < start <= view.hour + hours]
    ends = [n for n, (start, end) in view.plans.items() if start <= view.hour < end <= view.hour + hours]
    begun = max((view.estimates.get((n, line), NAN) for n in starts), default=NAN)
    return [float(len(starts)), float(len(ends)), begun]


def _frozen(view: View, line: str) -> bool:
    """A reading that equals that of an hour ago to the last digit."""
    return view.state.get(line, "loading") == view.state.get(line, "loading_before")


def _pad(values: list[float], n: int) -> list[float]:
    """`n` values, NaN where there are fewer."""
    return [*values, *[NAN] * (n - len(values))][:n]


def _clip(value: float) -> float:
    return value if math.isnan(value) else float(np.clip(round(value), LOADING.low, LOADING.high))
