"""The state as text: what an operator would put on one page, with its three dimensions marked.

A: abstract (calendar, weather, work, list, clauses). P: physical (readings). C: computational (estimates). A name stands
beside its reading, `L7=85`, since digits cost a token each; `?` is a reading that is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from twinforge.sectors.energy.view import View

NAN = math.nan
WIND = ("weak", "fresh", "strong")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class Touched:
    """What the questions about one state need to find in its text; ordered, without repetition."""

    lines: dict[str, None] = field(default_factory=dict)
    pairs: dict[tuple[str, str], None] = field(default_factory=dict)
    ahead: dict[tuple[str, str], None] = field(default_factory=dict)
    aged: dict[str, None] = field(default_factory=dict)
    remedies: dict[str, None] = field(default_factory=dict)


def context(view: View, touched: Touched) -> str:
    """The state of the grid in three marked paragraphs, at most 400 tokens of the base tokenizer."""
    return "\n".join((_abstract(view, touched), _physical(view, touched), _computational(view, touched)))


def number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.0f}"


def _abstract(view: View, touched: Touched) -> str:
    get = view.state.get
    time = view.state.time
    wind, rating = get("grid", "wind_regime"), get("grid", "rating")
    parts = [
        f"{DAYS[time.dayofweek]} {time.day} {MONTHS[time.month - 1]} {time:%H:%M}",
        f"wind {WIND[int(wind)] if wind == wind else '?'}",
        f"rating {number(rating)} %",
        *(f"work on {line} {start:.0f}-{end:.0f} h" for line, (start, end) in view.plans.items()),
        f"relief {'yes' if get('grid', 'relief') == 1.0 else 'no'}",
    ]
    logs = (f"Log {asset}: {_log(view, asset)}." for asset in touched.aged)
    return " ".join([f"A: {', '.join(parts)}.", *logs])


def _log(view: View, asset: str) -> str:
    age = view.state.get(asset, "age")
    if age != age:
        return "no entry"
    prefix = "finding "
    notes = [
        (name.removeprefix(prefix), v) for (a, name), v in view.state.values.items() if a == asset and name.startswith(prefix)
    ]
    grades = ("slight", "clear", "severe")
    worst = sorted(notes, key=lambda note: -note[1])[:2]
    words = [f"{grades[min(int(v), 3) - 1]} {name}" for name, v in worst if v >= 1]
    return ", ".join([f"{age:.0f} years", f"{view.state.get(asset, 'length'):.0f} km", *(words or ["no findings"])])


def _physical(view: View, touched: Touched) -> str:
    get, volts = view.state.get, view.state.column("voltage").values()
    totals = [f"{name} {number(get('grid', name))}" for name in ("demand", "wind", "solar")]
    lines = dict.fromkeys([*view.fullest[:1], *view.suspects[:2], *touched.lines])
    readings = " ".join(f"{line}={number(view.loading.get(line, NAN))}" for line in lines if line not in view.open_lines)
    before = " ".join(f"{line}={number(get(line, 'loading_before'))}" for line in view.suspects[:2])
    return (
        f"P: MW {' '.join(totals)}. U {min(volts, default=NAN):.3f}-{max(volts, default=NAN):.3f}. "
        f"Loading {readings}; 1h ago {before}. Open {' '.join(view.open_lines) or 'none'}."
    )


def _computational(view: View, touched: Touched) -> str:
    get = view.state.get
    residual = " ".join(f"{line}{view.residual[line]:+.0f}" for line in view.suspects[:2])
    worst = " ".join(f"{outage}={number(view.estimates[outage, line])}" for outage, line in worst_listed(view))
    pairs = " ".join(f"{a}>{b}={number(view.estimates.get((a, b), NAN))}" for a, b in touched.pairs)
    parts = [f"C: residual {residual}.", f"Listed {worst}." if worst else "", f"Outage {pairs}." if pairs else ""]
    for name, hours in touched.ahead:
        parts.append(f"Ahead {name} {hours}h={number(get(name, f'forecast_{hours}h'))}.")
    for outage in touched.remedies:
        effects = (f"{action.split()[-1]}={number(v)}" for (o, action), v in view.action_estimates.items() if o == outage)
        parts.append(f"Remedies {' '.join(effects)}.")
    return " ".join(part for part in parts if part)


def worst_listed(view: View) -> list[tuple[str, str]]:
    """For every listed outage, the pair with the highest estimate."""
    worst: dict[str, tuple[str, str]] = {}
    for (outage, line), value in view.estimates.items():
        if outage in view.listed and (outage not in worst or value > view.estimates[worst[outage]]):
            worst[outage] = (outage, line)
    return list(worst.values())
