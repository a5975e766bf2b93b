"""The toy sector's simulator: two tanks in series, fed by two pumps, emptied by a farm, a town and a weir.

    pump P1, pump P2 -> tank A -> valve V1 -> tank B -> town, weir W1
                          |
                         farm

Levels follow A dh/dt = inflow - outflow, the valve Torricelli's law, q = c sqrt(h), and the weir's overflow
q = c (h - crest)^1.5 (Rehbock's form). Explicit Euler steps of six minutes, all runs at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

AREA = np.array([50.0, 80.0])  # m2, tanks A and B
PUMPS = np.array([60.0, 40.0])  # m3/h, pumps P1 and P2
VALVE, WEIR, CREST, DEPTH = 45.0, 130.0, 3.5, 5.0
STEPS = 10  # an hour


@dataclass(frozen=True)
class Runs:
    """n runs side by side.

    level : (n, 2) m. pumps : (n, 2) 0 or 1. opening : (n,) share of V1's area. capacity : (n,) share of the pumps' rating.
    farm, town : (n,) m3/h drawn at noon.
    """

    level: np.ndarray
    pumps: np.ndarray
    opening: np.ndarray
    capacity: np.ndarray
    farm: np.ndarray
    town: np.ndarray

    def take(self, rows: np.ndarray) -> Runs:
        return Runs(**{name: value[rows] for name, value in vars(self).items()})


def demand(town: np.ndarray, hour: np.ndarray | float) -> np.ndarray:
    """The town's draw at an hour of the day, m3/h: a morning and an evening peak."""
    return town * (1 + 0.5 * np.cos((np.asarray(hour) - 8) * np.pi / 6))


def flows(runs: Runs, hour: np.ndarray | float) -> dict[str, np.ndarray]:
    """Flow through every asset, m3/h, each of shape (n,)."""
    pumped = runs.pumps * PUMPS * runs.capacity[:, None]
    wet = runs.level > 0.05
    return {
        "pump P1": pumped[:, 0],
        "pump P2": pumped[:, 1],
        "farm": np.where(wet[:, 0], runs.farm, 0.0),
        "valve V1": VALVE * runs.opening * np.sqrt(runs.level[:, 0]),
        "town": np.where(wet[:, 1], demand(runs.town, hour), 0.0),
        "weir W1": WEIR * np.clip(runs.level[:, 1] - CREST, 0, None) ** 1.5,
    }


def net(flow: dict[str, np.ndarray]) -> np.ndarray:
    """Rise of both levels, m/h, shape (n, 2)."""
    first = flow["pump P1"] + flow["pump P2"] - flow["farm"] - flow["valve V1"]
    second = flow["valve V1"] - flow["town"] - flow["weir W1"]
    return np.stack([first, second], axis=1) / AREA


def advance(runs: Runs, hour: np.ndarray | float, hours: int) -> Runs:
    """The runs `hours` later, their switches left as they are."""
    for step in range(hours * STEPS):
        rise = net(flows(runs, np.asarray(hour) + step / STEPS)) / STEPS
        runs = replace(runs, level=np.clip(runs.level + rise, 0.0, DEPTH))
    return runs
