"""What one step of a stream costs: a threshold and the truth's score, told to a follower that has seen a window of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.conformal_wrong import TheirACI
from twinforge.conformal.martingale import Martingale, online_p
from twinforge.conformal.online import ACI, PID, DtACI, Follower

WINDOW, STEPS, ALPHA = 500, 2000, 0.1
BAR = 50.0  # microseconds that a step of ours may take


@dataclass(frozen=True)
class Step:
    """Microseconds of one step: median of the rounds, and the least and most. steps : in a round."""

    name: str
    way: str
    steps: int
    microseconds: float
    low: float
    high: float


def stepped(steps: int = STEPS, rounds: int = 5) -> list[Step]:
    """Followers that have seen a window of scores, and a martingale's bet; MAPIE's ACI takes a tenth of the steps."""
    scores = np.random.default_rng(5).uniform(size=WINDOW + steps)
    window, stream = scores[:WINDOW], scores[WINDOW:].tolist()
    pid: Follower = PID(ALPHA, 0.1, 1.0, at=0.9)
    ways: dict[tuple[str, str], tuple[Callable[[list[float]], object], list[float]]] = {
        ("ACI", "twinforge"): (lambda s: told(ACI(ALPHA).seen(window), s), stream),
        ("ACI", "MAPIE"): (lambda s: told(TheirACI(window), s), stream[: max(1, steps // 10)]),
        ("DtACI, 8 rates", "twinforge"): (lambda s: told(DtACI(ALPHA, scores=window), s), stream),
        ("PID", "twinforge"): (lambda s: told(pid, s), stream),
        ("martingale", "twinforge"): (lambda s: bet(sorted(window.tolist()), s), stream),
    }
    found = []
    for (name, way), (run, own) in ways.items():
        run(own[:20])
        cost = []
        for _ in range(rounds):
            start = time.perf_counter()
            run(own)
            cost.append(1e6 * (time.perf_counter() - start) / len(own))
        found.append(Step(name, way, len(own), statistics.median(cost), min(cost), max(cost)))
    return found


def told(follower: Follower | TheirACI, scores: list[float]) -> None:
    for score in scores:
        follower = follower.observe(score, follower.threshold())


def bet(seen: list[float], scores: list[float]) -> None:
    wealth = Martingale()
    for score in scores:
        wealth = wealth.observe(online_p(seen, score, 0.5))
