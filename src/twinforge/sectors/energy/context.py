"""The state as text: what an operator would put on one page, with its three dimensions marked.

A: abstract (calendar, weather, work, list, clauses). P: physical (readings). C: computational (estimates). A name stands
beside its reading, `L7=85`, since digits cost a token each; `was` is an hour ago, `?` is a reading that is missing.
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


def number(value: float, digits: int = 0) -> str:
    """A reading as text; "?" when it is missing."""
    return "?" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference as text; "?" when it is missing."""
    return "?" if math.isnan(value) else f"{value:+.0f}"


def _abstract(view: View, touched: Touched) -> str:
    get = view.state.get
    time = view.state.time
    wind, rating, relief = (get("grid", name) for name in ("wind_regime", "rating", "relief"))
    parts = [
        f"{DAYS[time.dayofweek]} {MONTHS[time.month - 1]} {time.hour} h",
        f"wind {'?' if math.isnan(wind) else WIND[int(wind)]}",
        f"rating {number(rating)} %",
        *(f"work on {line} {start:.0f}-{end:.0f} h" for line, (start, end) in view.plans.items()),
        f"relief {'?' if math.isnan(relief) else 'yes' if relief == 1.0 else 'no'}",
    ]
    logs = (f"Log {asset}: {_log(view, asset)}." for asset in touched.aged)
    return " ".join([f"A: {', '.join(parts)}.", *logs])


def _log(view: View, asset: str) -> str:
    age = view.state.get(asset, "age")
    if math.isnan(age):
        return "no entry"
    prefix = "finding "
    notes = [
        (name.removeprefix(prefix), v)
        for (a, name), v in view.state.values.items()
        if a == asset and name.startswith(prefix)
    ]
    grades = ("slight", "clear", "severe")
    worst = sorted(notes, key=lambda note: -note[1])[:2]
    words = [f"{grades[min(int(v), 3) - 1]} {name}" for name, v in worst if v >= 1]
    length = [] if asset.startswith("T") else [f"{number(view.state.get(asset, 'length'))} km"]
    return ", ".join([f"{number(age)} years", *length, *(words or ["no findings"])])


def _physical(view: View, touched: Touched) -> str:
    get, volts = view.state.get, view.state.column("voltage").values()
    totals = [f"{name} {number(get('grid', name))}" for name in ("demand", "wind", "solar")]
    lines = dict.fromkeys([*view.fullest[:1], *view.suspects[:2], *touched.lines])
    before = {line: f" was {number(get(line, 'loading_before'))}" for line in view.suspects[:2]}
    readings = " ".join(
        f"{line}={number(view.loading.get(line, NAN))}{before.get(line, '')}"
        for line in lines
        if line not in view.open_lines
    )
    return (
        f"P: MW {' '.join(totals)}. U {number(min(volts, default=NAN), 3)}-{number(max(volts, default=NAN), 3)}. "
        f"Loading {readings}. Open {' '.join(view.open_lines) or 'none'}."
    )


def _computational(view: View, touched: Touched) -> str:
    get = view.state.get
    residual = " ".join(f"{line}{signed(view.residual[line])}" for line in view.suspects[:2])
    worst = worst_listed(view)
    pairs = " ".join(f"{a}>{b}={number(view.estimates.get((a, b), NAN))}" for a, b in touched.pairs)
    parts = [f"C: residual {residual}.", f"Listed worst {number(view.estimates[worst])}." if worst else "", f"Outage {pairs}." if pairs else ""]
    for name, hours in touched.ahead:
        parts.append(f"Ahead {name} {hours}h={number(get(name, f'forecast_{hours}h'))}.")
    for outage in touched.remedies:
        effects = (
            f"{action.split()[-1]}={number(v)}" for (o, action), v in view.action_estimates.items() if o == outage
        )
        parts.append(f"Remedies {' '.join(effects)}.")
    return " ".join(part for part in parts if part)


def worst_listed(view: View) -> tuple[str, str] | None:
    """Of all listed outages, the pair with the highest estimate."""
    return max((pair for pair in view.estimates if pair[0] in view.listed), key=view.estimates.__getitem__, default=None)
