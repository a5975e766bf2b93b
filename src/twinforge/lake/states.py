"""States out of sound readings, and which of them are nearly the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from twinforge.records import OUTCOME
from twinforge.sectors import State

NEAR = 0.05  # of a quantity's standard deviation
PROBES, BLOCK = 16, 512


class Key(NamedTuple):
    """Which state."""

    episode: str
    time: pd.Timestamp


@dataclass(frozen=True)
class Readings:
    """What each state's sensors say.

    values : one mapping (asset, quantity) -> value a state, in the order of `keys`.
    physical : (states, signals) physical readings in standard deviations of their quantity; NaN where one is missing.
    """

    keys: tuple[Key, ...]
    values: tuple[Mapping[tuple[str, str], float], ...]
    physical: np.ndarray


def readings_of(readings: pd.DataFrame, keys: Sequence[Key]) -> Readings:
    """Gather sound readings (ordered by episode and time, see `quality.check_readings`) into the states at `keys`.

    A state without a single reading is left out.
    """
    wanted = pd.DataFrame(keys, columns=["episode", "time"])
    rows = readings.merge(wanted, on=["episode", "time"], sort=False)
    episode, time = pd.factorize(rows["episode"]), rows["time"].to_numpy()
    change = (np.diff(episode[0]) != 0) | (time[1:] != time[:-1])
    starts = [0, *(np.flatnonzero(change) + 1).tolist(), len(rows)] if len(rows) else [0]
    names = list(zip(rows["asset"], rows["quantity"], strict=True))
    numbers = rows["value"].tolist()
    values = tuple(dict(zip(names[a:b], numbers[a:b], strict=True)) for a, b in pairwise(starts))
    found = tuple(Key(str(rows["episode"].iat[a]), pd.Timestamp(time[a])) for a in starts[:-1])
    state = np.repeat(np.arange(len(values)), np.diff(starts))
    return Readings(found, values, _physical(rows, state, len(values)))


def states_at(readings: pd.DataFrame, keys: Iterable[Key]) -> dict[Key, State]:
    """The states at `keys` from sound readings, without what followed them; one without a single reading is left out."""
    found, nothing = readings_of(readings, list(dict.fromkeys(keys))), pd.DataFrame(columns=OUTCOME.names)
    return {key: State(*key, values, nothing) for key, values in zip(found.keys, found.values, strict=True)}


def keys_of(rows: pd.DataFrame) -> list[Key]:
    """The states that rows with the columns episode and time belong to, each once."""
    named = rows[["episode", "time"]].drop_duplicates().itertuples(index=False, name=None)
    return [Key(str(episode), pd.Timestamp(time)) for episode, time in named]


def _physical(rows: pd.DataFrame, state: np.ndarray, states: int) -> np.ndarray:
    mask = (rows["dimension"] == "physical").to_numpy()
    part = rows.loc[mask, ["asset", "quantity", "value"]]
    if part.empty:
        return np.empty((states, 0), dtype=np.float32)
    spread = part["quantity"].map(part.groupby("quantity")["value"].std(ddof=0).replace(0.0, 1.0))
    middle = part["quantity"].map(part.groupby("quantity")["value"].mean())
    columns = pd.MultiIndex.from_frame(part[["asset", "quantity"]]).factorize()
    matrix = np.full((states, len(columns[1])), np.nan, dtype=np.float32)
    matrix[state[mask], columns[0]] = (part["value"] - middle) / spread
    return matrix


def near_pairs(physical: np.ndarray, radius: float = NEAR) -> np.ndarray:
    """Pairs (i < j) of states of which no physical reading differs by more than `radius`, shape (n, 2).

    physical : (states, signals), each in standard deviations of its quantity. A reading that one of the two lacks is not
        compared; two states must share at least half of all readings.
    """
    n, signals = physical.shape
    spread = np.nan_to_num(physical).std(axis=0) if n else np.zeros(signals)
    probes = np.argsort(-spread)[:PROBES]  # the most telling signals rule out nearly all pairs
    found = [np.empty((0, 2), dtype=int)]
    for start in range(0, n, BLOCK):
        block = physical[start : start + BLOCK]
        far = np.zeros((len(block), n), dtype=bool)
        for probe in probes:
            far |= np.abs(block[:, None, probe] - physical[None, :, probe]) > radius
        left, right = np.nonzero(~far)
        later = right > left + start
        found.append(np.stack([left[later] + start, right[later]], axis=1))
    pairs = np.concatenate(found)
    near = [_near(physical[p[:, 0]], physical[p[:, 1]], radius) for p in np.array_split(pairs, len(pairs) // BLOCK + 1)]
    return pairs[np.concatenate(near)]


def _near(left: np.ndarray, right: np.ndarray, radius: float) -> np.ndarray:
    gap = np.abs(left - right)
    return ~(gap > radius).any(axis=1) & (2 * np.isfinite(gap).sum(axis=1) >= gap.shape[1])


def drop_near(pairs: np.ndarray, splits: Sequence[str]) -> np.ndarray:
    """Indices of the states to drop, so that no pair is left within a split, nor with one of it in `train`.

    Within a split the later state goes; of two splits, the one in `train`. Pairs of calibration, test and shift with one
    another stay: nothing is learned from either.
    """
    gone: set[int] = set()
    for i, j in pairs.tolist():
        if i in gone or j in gone:
            continue
        if splits[i] == splits[j]:
            gone.add(j)
        elif "train" in (splits[i], splits[j]):
            gone.add(i if splits[i] == "train" else j)
    return np.array(sorted(gone), dtype=int)
