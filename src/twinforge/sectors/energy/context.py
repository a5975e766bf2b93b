"""The state as text: what an operator would put on one page, with its three dimensions marked; and a question's own facts.

A: abstract (calendar, weather, work, list, clauses). P: physical (readings). C: computational (estimates). A name stands
beside its reading, `L7=85`, since digits cost a token each; `was` is an hour ago, `?` is a reading that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from twinforge.sectors.energy.standards import at_work
from twinforge.sectors.energy.view import View

NAN = math.nan
WIND = ("weak", "fresh", "strong")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def context(view: View) -> str:
    """The state of the grid in three marked paragraphs: the same whatever is asked."""
    return "\n".join((_abstract(view), _physical(view), _computational(view)))


def facts(view: View, template: str, slots: Mapping[str, str]) -> str:
    """What the state says of the things one question names, with the dimension that it comes from; "" where it names none."""
    get = view.state.get
    if template in ("risk", "loading"):
        estimate = view.estimates.get((slots["outage"], slots["line"]), NAN)
        return f"P now {_reading(view, slots['line'])}, C after {number(estimate)}"
    if template == "ahead":
        forecast = get(slots["line"], f"forecast_{slots['hours']}h")
        return f"P now {_reading(view, slots['line'])}, C then {number(forecast)}"
    if template == "failure":
        return f"A {_log(view, slots['asset'])}"
    if template == "fault":
        first = view.suspects[0] if view.suspects else ""
        return f"P {_change(view, first)}, C residual {signed(view.residual.get(first, NAN))}"
    if template == "supply":
        known = slots["outage"] in set(view.grid.lines["name"])
        return f"P {_position(view, slots['outage']) if known else '?'}, C then fed by"
    if template == "remedy":
        effects = _effects(view, slots["outage"])
        return f"C {number(effects.get(slots['asset'], NAN))}, nothing {number(effects.get('nothing', NAN))}"
    if template == "met":
        return decided_by(view, slots["clause"])
    return {"suspect": "C residual", "action": "C highest loading"}.get(template, "")


def notes(view: View, template: str, slots: Mapping[str, str], options: Sequence[str]) -> list[str]:
    """What the state says of each option; empty where it says nothing."""
    if template == "suspect":
        return [*(signed(view.residual.get(line, NAN)) for line in options[:-1]), ""]
    if template == "supply":
        return [_few(view.feeders(demand, slots["outage"])) for demand in options]
    if template == "action":
        effects = _effects(view, slots["outage"])
        return [number(effects[option.split()[-1]]) for option in options]
    if template == "clause":
        return [*(decided_by(view, option.split()[0]) for option in options[:-1]), ""]
    return []


def decided_by(view: View, clause: str) -> str:
    """What one clause is decided by; "?" for a clause that is not in force."""
    fullest = number(max(view.loading.values(), default=NAN))
    if clause == "C1":
        return f"P U {_voltages(view)}"
    if clause == "C2":
        return f"P fullest {fullest}"
    if clause == "C3":
        worst = worst_listed(view)
        return f"C {number(view.estimates[worst]) if worst else '?'}, A relief {_relief(view)}"
    if clause == "C4":
        return f"P fullest {fullest}, A {'work' if at_work(view.state) else 'no work'}, wind {_wind(view)}"
    return "A ?"


def _effects(view: View, outage: str) -> dict[str, float]:
    """Estimates after the outage by the asset that an action is on; "nothing" for none."""
    return {action.split()[-1]: v for (o, action), v in view.action_estimates.items() if o == outage}


def _few(names: list[str], most: int = 3) -> str:
    """Names, or how many where they are many or none."""
    return " ".join(names) if 0 < len(names) <= most else f"{len(names)} lines"


def number(value: float, digits: int = 0) -> str:
    """A reading as text; "?" when it is missing."""
    return "?" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference as text; "?" when it is missing."""
    return "?" if math.isnan(value) else f"{round(value):+d}"


def _abstract(view: View) -> str:
    get = view.state.get
    time = view.state.time
    parts = [
        f"{DAYS[time.dayofweek]} {MONTHS[time.month - 1]} {time.hour} h",
        f"wind {_wind(view)}",
        f"rating {number(get('grid', 'rating'))} %",
        *(f"work on {line} {start:.0f}-{end:.0f} h" for line, (start, end) in view.plans.items()),
        f"relief {_relief(view)}",
    ]
    return f"A: {', '.join(parts)}."


def _wind(view: View) -> str:
    wind = view.state.get("grid", "wind_regime")
    return "?" if math.isnan(wind) else WIND[int(wind)]


def _relief(view: View) -> str:
    relief = view.state.get("grid", "relief")
    return "?" if math.isnan(relief) else "yes" if relief == 1.0 else "no"


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


def _physical(view: View) -> str:
    get = view.state.get
    unit, times = view.grid.unit
    totals = [f"{name} {number(times * get('grid', name))}" for name in ("demand", "wind", "solar")]
    fullest = " ".join(f"{line}={_reading(view, line)}" for line in view.fullest[:4])
    changed = " ".join(f"{line}={_change(view, line)}" for line in view.suspects[:2])
    return (
        f"P: {unit} {' '.join(totals)}. U {_voltages(view)}. "
        f"Fullest {fullest or '?'}. Changed {changed or '?'}. Open {' '.join(view.open_lines) or 'none'}."
    )


def _voltages(view: View) -> str:
    volts = view.state.column("voltage").values()
    return f"{number(min(volts, default=NAN), 3)}-{number(max(volts, default=NAN), 3)}"


def _reading(view: View, line: str) -> str:
    """A line's loading in percent; one that is reported open has none."""
    return "open" if line in view.open_lines else number(view.loading.get(line, NAN))


def _change(view: View, line: str) -> str:
    """A line's loading now and an hour ago."""
    return f"{_reading(view, line)} was {number(view.state.get(line, 'loading_before'))}"


def _position(view: View, line: str) -> str:
    return "open" if line in view.open_lines else "closed"


def _residuals(view: View, lines: Iterable[str]) -> str:
    return " ".join(f"{line}{signed(view.residual[line])}" for line in lines)


def _readings(view: View, lines: Iterable[str]) -> str:
    """Loadings of lines in percent; a line that is reported open has none."""
    return " ".join(f"{n} open" if n in view.open_lines else f"{n}={number(view.loading.get(n, NAN))}" for n in lines)


def _computational(view: View) -> str:
    worst = worst_listed(view)
    listed = f" Worst listed outage {number(view.estimates[worst])}." if worst else ""
    return f"C: residual {_residuals(view, view.suspects[:2]) or '?'}.{listed}"


def worst_listed(view: View) -> tuple[str, str] | None:
    """Of all listed outages, the pair with the highest estimate."""
    return max(
        (pair for pair in view.estimates if pair[0] in view.listed), key=view.estimates.__getitem__, default=None
    )
