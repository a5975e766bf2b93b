"""Checks of readings: unit, range, duplicates, impossible jumps, gaps. What is dropped or flagged is counted by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import Signal

Counts = Mapping[str, Mapping[str, int]]  # reason -> quantity -> rows


@dataclass(frozen=True)
class Checked:
    """Sound readings, ordered by episode and time; and how many rows were dropped or flagged, by reason and quantity."""

    readings: pd.DataFrame
    read: int
    dropped: Counts
    flagged: Counts

    def report(self) -> dict[str, Any]:
        """The counts, for a JSON report."""
        return {
            "read": self.read,
            "kept": len(self.readings),
            "dropped": dict(self.dropped),
            "flagged": dict(self.flagged),
        }


def check_readings(observations: pd.DataFrame, signals: Sequence[Signal], jump: float) -> Checked:
    """Keep the readings that can be true.

    Dropped: an unknown quantity, another unit than the signal's, a value outside the signal's range, a repeat, readings
    that contradict each other (all of them), an impossible jump. Flagged: a reading that is marked missing, a gap (no row
    where other assets of the episode have one) and a reading that its source suspects, which is kept.

    observations : rows of `records.OBSERVATION`.
    jump : share of a signal's range. A physical reading that lies further than this from the one before and the one
        after it, on the same side of both, is impossible. Switches, which read 0 or 1 only, are exempt.
    """
    frame = observations.reset_index(drop=True)
    known = {signal.name: signal for signal in signals}
    low, high, unit = (
        frame["quantity"].map({n: getattr(s, part) for n, s in known.items()}) for part in ("low", "high", "unit")
    )
    dropped: dict[str, dict[str, int]] = {}
    flagged = {"gap": _gaps(frame)}
    strange = ~frame["quantity"].isin(known)
    silent = (frame["quality"] == "missing") | frame["value"].isna()
    alive = np.ones(len(frame), dtype=bool)

    def remove(reason: str, rows: pd.Series | np.ndarray, counts: dict[str, dict[str, int]]) -> None:
        hit = alive & np.asarray(rows)
        alive[hit] = False
        counts[reason] = _count(frame, hit)

    remove("unknown quantity", strange, dropped)
    remove("marked missing", silent, flagged)
    remove("wrong unit", frame["unit"] != unit, dropped)
    remove("out of range", ~frame["value"].between(low, high), dropped)
    twice, differs = _duplicates(frame, alive)
    remove("contradiction", differs, dropped)
    remove("repeat", twice, dropped)
    remove("impossible jump", _jumps(frame, alive, (high - low).to_numpy(float), jump), dropped)
    flagged["suspect"] = _count(frame, alive & (frame["quality"] == "suspect").to_numpy())
    sound = frame[alive].sort_values(["episode", "time"], kind="stable", ignore_index=True)
    return Checked(sound, len(frame), _filled(dropped), _filled(flagged))


def _count(frame: pd.DataFrame, rows: np.ndarray) -> dict[str, int]:
    return {str(name): int(n) for name, n in frame.loc[rows, "quantity"].value_counts().sort_index().items()}


def _filled(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {reason: found for reason, found in counts.items() if found}


def _duplicates(frame: pd.DataFrame, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of repeats (the same value again) and of contradictions (the same reading with several values)."""
    key = ["episode", "time", "asset", "quantity"]
    twice, differs = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    several = frame.index[alive][frame[alive].duplicated(key, keep=False)]
    if len(several):
        rows = frame.loc[several]
        differs[several] = rows.groupby(key)["value"].transform("nunique") > 1
        twice[several] = rows.duplicated(key, keep="first")
    return twice, differs


def _jumps(frame: pd.DataFrame, alive: np.ndarray, span: np.ndarray, jump: float) -> np.ndarray:
    """Mask of readings that leap away from both neighbours in time and back."""
    found = np.zeros(len(frame), dtype=bool)
    rows = np.flatnonzero(alive & (frame["dimension"] == "physical").to_numpy())
    if not len(rows):
        return found
    part = frame.iloc[rows]
    switches = part["value"].isin([0.0, 1.0]).groupby(part["quantity"]).transform("all")
    part = part[~switches].sort_values(["episode", "asset", "quantity", "time"])
    series = _codes(part, ["episode", "asset", "quantity"])
    step = np.diff(part["value"].to_numpy(float)) / span[part.index[1:]]
    step[series[1:] != series[:-1]] = 0.0
    leap = (np.abs(step[:-1]) > jump) & (np.abs(step[1:]) > jump) & (step[:-1] * step[1:] < 0)
    found[part.index[1:-1][leap]] = True
    return found


def _gaps(frame: pd.DataFrame) -> dict[str, int]:
    """Physical readings without a row, by quantity: an asset should have one whenever another asset of its episode has."""
    physical = frame[frame["dimension"] == "physical"]
    group = _codes(physical, ["quantity", "episode"])
    distinct = {
        part: pd.Series(group[~pd.Series(_codes(physical, ["quantity", "episode", *part])).duplicated()]).value_counts()
        for part in (("time",), ("asset",), ("time", "asset"))
    }
    missing = distinct["time",] * distinct["asset",] - distinct["time", "asset"]
    quantity = pd.Series(physical["quantity"].to_numpy(), index=group).groupby(level=0).first()
    return {str(name): int(n) for name, n in missing.groupby(quantity).sum().items() if n > 0}


def _codes(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """One integer for each distinct combination of the columns' values."""
    code = np.zeros(len(frame), dtype=np.int64)
    for column in columns:
        part, names = pd.factorize(frame[column])
        code = code * len(names) + part
    return code
