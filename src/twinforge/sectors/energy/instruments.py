"""The control room's own instruments as tools: estimates, forecasts, residuals, clauses and a walk over the grid, all from readings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from twinforge.errors import UserError
from twinforge.sectors import State
from twinforge.sectors.energy.builders import HORIZONS, NOTHING, cost
from twinforge.sectors.energy.context import number, signed
from twinforge.sectors.energy.grid import Grid
from twinforge.sectors.energy.questions import with_estimate
from twinforge.sectors.energy.standards import CLAUSES
from twinforge.sectors.energy.templates import BY_NAME
from twinforge.sectors.energy.view import View
from twinforge.sectors.tools import Tool

NAN = float("nan")
CALLS = {
    "risk": "outage {outage} {line}",
    "loading": "outage {outage} {line}",
    "ahead": "forecast {line} {hours}",
    "failure": "log {asset}",
    "fault": "residuals",
    "suspect": "residuals",
    "clause": "clauses",
    "met": "clauses",
    "supply": "walk {outage}",
    "action": "remedies {outage}",
    "remedy": "remedies {outage}",
}
"""Template -> the call that an operator checks an answer with."""


def calls(question: pd.Series) -> tuple[str, ...]:
    """The calls that check an answer to a row of `records.QUESTION`; none for words that no template has."""
    slots = BY_NAME[question["template"]].slots_in(str(question["text"]))
    return () if slots is None else (CALLS[question["template"]].format(**slots),)


def tools(grid_of: Callable[[State], Grid]) -> tuple[Tool, ...]:
    """All instruments, for states of the grids that `grid_of` gives."""

    def on(look: Callable[[View, Sequence[str]], str]) -> Callable[[State, Sequence[str]], str]:
        return lambda state, words: look(View(state, grid_of(state)), words)

    return (
        Tool("outage", ("LINE", "LINE2"), "estimated loading of LINE2 after the outage of LINE", on(_outage)),
        Tool("forecast", ("LINE", "HOURS"), "forecast of its loading in 1 or 4 hours", on(_forecast)),
        Tool("residuals", (), "the readings that differ most from the estimator", on(_residuals)),
        Tool("clauses", (), "which clauses are met by the readings", on(_clauses)),
        Tool("walk", ("LINE",), "who loses supply without LINE", on(_walk)),
        Tool("remedies", ("LINE",), "what each remedy brings after the outage of LINE", on(_remedies)),
        Tool("log", ("ASSET",), "its age and the worst finding about it", on(_log)),
    )


def _outage(view: View, words: Sequence[str]) -> str:
    outage, line = (_reading_of(view, name) for name in words)
    state = with_estimate(view.state, view.grid, outage, line)
    estimate = state.get(f"{outage}>{line}", "estimate")
    return f"without {outage} the estimator gives {line} {number(estimate)} %, now {number(view.loading[line])} %"


def _forecast(view: View, words: Sequence[str]) -> str:
    line, hours = _reading_of(view, words[0]), words[1].removesuffix("h")
    if hours not in HORIZONS:
        raise UserError(f"no forecast for {hours} h; there are those for {' and '.join(HORIZONS)} h")
    ahead = number(view.state.get(line, f"forecast_{hours}h"))
    return f"the forecast gives {line} {ahead} % in {hours} h, now {number(view.loading[line])} %"


def _residuals(view: View, words: Sequence[str]) -> str:
    told = (
        f"{line} {signed(view.residual[line])} (reads {number(view.loading.get(line, NAN))}, an hour ago "
        f"{number(view.state.get(line, 'loading_before'))})"
        for line in view.suspects[:3]
    )
    return f"readings less the estimator's: {', '.join(told) or 'none'}"


def _clauses(view: View, words: Sequence[str]) -> str:
    return ", ".join(f"{c.clause} {'broken' if c.predicate(view.state) else 'met'}" for c in CLAUSES)


def _walk(view: View, words: Sequence[str]) -> str:
    line = _line(view, words[0])
    if line in view.open_lines:
        return f"{line} is open already"
    return f"without {line} these lose supply: {', '.join(sorted(view.cut_off(line))) or 'no one'}"


def _remedies(view: View, words: Sequence[str]) -> str:
    line = _line(view, words[0])
    effects = {action: v for (outage, action), v in view.action_estimates.items() if outage == line}
    if not effects:
        raise UserError(f"no remedies were worked out for the outage of {line}")
    told = (
        f"{action} {number(v)} %" + f" and costs {cost(action):.0f}" * (action != NOTHING)
        for action, v in effects.items()
    )
    return f"fullest line after the outage of {line}: {', '.join(told)}"


def _log(view: View, words: Sequence[str]) -> str:
    asset, get = words[0], view.state.get
    if pd.isna(age := get(asset, "age")):
        raise UserError(f"no log of {asset}")
    found = [v for (a, name), v in view.state.values.items() if a == asset and name.startswith("finding ")]
    worst = ("none", "slight", "clear", "severe")[int(max(found, default=0))]
    return (
        f"{asset} is {number(age)} years old of {number(get(asset, 'expected_life'))} expected, worst finding {worst}"
    )


def _line(view: View, name: str) -> str:
    if name not in set(view.grid.lines["name"]):
        raise UserError(f"there is no line {name}")
    return name


def _reading_of(view: View, name: str) -> str:
    """A line that is closed and read."""
    if _line(view, name) not in view.loading:
        raise UserError(f"{name} is open" if name in view.open_lines else f"{name} has no reading")
    return name
