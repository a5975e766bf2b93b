"""Clauses a grid of 110 kV, or a part of it below, is run by, in our words, each with the predicate that decides it on a state."""

from __future__ import annotations

import math

from twinforge.sectors import Clause, State
from twinforge.sectors.energy.grid import HIGH_KV

VOLTAGE_LOW, VOLTAGE_HIGH = 0.90, 1.118  # pu, 110-300 kV, Continental Europe
VOLTAGE_HIGH_BELOW = 1.10  # pu, below 110 kV
STRONG_WIND = 2.0
LEAVE_HEADROOM = 75.0  # percent; planned work needs this much room on the fullest line


def voltage_broken(state: State) -> bool:
    """A busbar is outside 0.90-1.118 pu, or 0.90-1.10 pu where its nominal voltage is below 110 kV."""
    nominal = state.column("nominal")

    def high(bus: str) -> float:
        return VOLTAGE_HIGH_BELOW if nominal.get(bus, HIGH_KV) < HIGH_KV else VOLTAGE_HIGH

    return any(not VOLTAGE_LOW <= v <= high(bus) for bus, v in state.column("voltage").items())


def thermal_broken(state: State) -> bool:
    """A line carries more than its rating in force."""
    return max(state.column("loading").values(), default=0.0) > 100.0


def listed_outage_broken(state: State) -> bool:
    """A listed outage would overload a line, and no relief is in force."""
    if state.get("grid", "relief") == 1.0:
        return False
    listed = state.column("listed")
    return any(value > 100.0 for pair, value in state.column("estimate").items() if pair.partition(">")[0] in listed)


def work_broken(state: State) -> bool:
    """A line is out for work although the wind is strong or the fullest line has too little room."""
    if not at_work(state):
        return False
    fullest = max(state.column("loading").values(), default=0.0)
    return state.get("grid", "wind_regime") >= STRONG_WIND or fullest > LEAVE_HEADROOM


def at_work(state: State) -> list[str]:
    """Lines that are out for planned work now."""
    hour, until = state.get("grid", "hour"), state.column("planned_to")
    return [line for line, start in state.column("planned_from").items() if start <= hour < until.get(line, math.inf)]


REGULATION = "Commission Regulation (EU) 2017/1485 (system operation guideline)"
CLAUSES = (
    Clause(
        "C1",
        "voltage",
        "In Continental Europe every 110 kV busbar stays between 0.90 and 1.118 per unit, every busbar below it between 0.90 and 1.10.",
        f"{REGULATION}, Annex II, Table 1 (110-300 kV); below: EN 50160, 4.2.2 and 5.2.2, taken as a limit at every moment",
        voltage_broken,
    ),
    Clause(
        "C2",
        "thermal",
        "No line carries more current than the rating in force, which follows season, hour and wind.",
        f"{REGULATION}, Article 25(1), operational security limits: current",
        thermal_broken,
    ),
    Clause(
        "C3",
        "outages",
        "The outage of any line on the day's contingency list leaves every other line within its rating in force; the "
        "rule rests while a relief is declared (switching, or remedial actions being prepared).",
        f"{REGULATION}, Articles 33 and 35(1), contingency list and (N-1) criterion; relief: Article 35(4)",
        listed_outage_broken,
    ),
    Clause(
        "C4",
        "work",
        f"A line is out for planned work only while the wind is not strong and no line is loaded above "
        f"{LEAVE_HEADROOM:.0f} %.",
        f"Maintenance rule of the twin's operator, in the frame of outage coordination ({REGULATION}, Part III, Title 3)",
        work_broken,
    ),
)


def first_broken(state: State) -> int:
    """Index of the first broken clause in the order of `CLAUSES`; `len(CLAUSES)` when none is."""
    return next((i for i, clause in enumerate(CLAUSES) if clause.predicate(state)), len(CLAUSES))
