"""The toy sector's reports: how high a tank stands, now and in an hour; some ask for a tank that is not there."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

import numpy as np

from tests.toy_questions import ask, context
from tests.toy_terms import TANKS
from twinforge.claims import EXISTS, Claim, Fact
from twinforge.sectors import State

REQUEST = re.compile(r"report on (tank \w)\b", re.I)
_SAID = re.compile(r"(?:In (\d) h )?(tank \w) (?:holds|will hold) (-?\d+\.\d) m\.")
_ABSENT = re.compile(r"There is no (tank \w)\.")


def report(state: State, phrasing: str, rng: np.random.Generator, recipe: Any) -> dict[str, Any] | None:
    """See `twinforge.sectors.Sector`."""
    tank = str(rng.choice([*TANKS, "tank C"]))
    return request(state, f"Report on {tank}.", recipe)


def request(state: State, wording: str, recipe: Any) -> dict[str, Any] | None:
    """The request in an operator's own words."""
    found = REQUEST.search(wording)
    if not found:
        return None
    tank = found.group(1)
    now, guess = state.get(tank, "level"), state.get(tank, "1 h forecast")
    o = state.outcomes
    rows = o[(o["kind"] == "later") & (o["asset"] == tank) & (o["quantity"] == "level") & (o["horizon_h"] == 1)]
    truth = float(rows["value"].iloc[0]) if len(rows) else math.nan
    absent = tank not in TANKS
    if not absent and math.isnan(now + guess):
        return None
    known = [Fact(tank, "level", now, "m", tolerance=0.06), Fact(tank, "level", truth, "m", 1.0, tolerance=0.2)]
    return {
        "context": context(state), "facts": "", "text": wording, "premise": "absent" if absent else "none",
        "trap_asset": tank if absent else "", "trap_quantity": EXISTS if absent else "",
        "reference": written(tank, now, truth), "rule": written(tank, now, guess),
        "known": [asdict(fact) for fact in known if not math.isnan(fact.value)],
        "backing": [] if absent else [_backing(state, tank)],
    }  # fmt: skip


def _backing(state: State, tank: str) -> dict[str, Any]:
    question = ask(state, "later-level", {"tank": tank, "hours": "1"}, f"How high does {tank} stand in 1 h?", None)
    return {"asset": tank, "quantity": "level", "hours": 1.0, "given": "", "holds": [], "question": question}


def written(tank: str, now: float, then: float) -> str:
    if tank not in TANKS:
        return f"There is no {tank}."
    later = "" if math.isnan(then) else f" In 1 h {tank} will hold {then:.1f} m."
    return f"{tank} holds {now:.1f} m.{later}"


def claims(text: str) -> list[Claim]:
    """See `twinforge.sectors.Sector`."""
    said = [
        Claim(m.group(2), "level", float(m.group(3)), "m", float(m.group(1) or 0), "", m.start(), m.end())
        for m in _SAID.finditer(text)
    ]
    return said + [Claim(m.group(1), EXISTS, 0.0, "", 0.0, "", m.start(), m.end()) for m in _ABSENT.finditer(text)]
