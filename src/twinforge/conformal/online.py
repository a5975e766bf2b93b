"""Thresholds that follow a stream: a long-run promise where rows are not exchangeable, whatever the stream does.

At each time a follower gives a threshold on the nonconformity score; the set is every answer whose score is at most that. So
the same followers serve intervals (score |y - prediction|, or CQR's) and sets of options (score 1 - p). When the truth is
known, `observe` takes its score and the threshold that had been issued, so truth may come late, out of order or never.

ACI and PID promise, for every stream: after T observations the share of misses is within a stated `bound` of alpha. DtACI
promises a small regret against the best fixed rate instead (its paper, theorem 3.2). All state is in frozen data classes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Protocol, TypeVar

import numpy as np

from twinforge.conformal.threshold import Floats, check_share
from twinforge.errors import UserError

Follower_ = TypeVar("Follower_", bound="Follower")


class Follower(Protocol):
    """What a follower of a stream offers; `observe` and `reset` give a new one."""

    def threshold(self) -> float:
        """The largest score that is inside now; infinite: everything is, minus infinite: nothing is."""
        ...

    def observe(self: Follower_, score: float, issued: float) -> Follower_:
        """The truth had this score, when the threshold `issued` was in force."""
        ...

    def reset(self: Follower_) -> Follower_:
        """Forget the scores seen (after a drift alarm), keep the level that was learnt."""
        ...


@dataclass(frozen=True, eq=False)
class ACI:
    """Adaptive conformal inference (Gibbs and Candes 2021, eq. 2): the level moves, the scores' quantile follows.

    level : alpha_t. It is neither clipped nor rounded: below 0 everything is inside, above 1 nothing is; a clipped one
        loses the bound. window : how many of the latest scores the quantile is of.
    """

    alpha: float
    gamma: float = 0.02
    level: float = math.nan
    scores: Floats = field(default_factory=lambda: np.empty(0))
    window: int = 500

    def __post_init__(self) -> None:
        _check(self.alpha, gamma=self.gamma, window=self.window)
        if math.isnan(self.level):
            object.__setattr__(self, "level", self.alpha)

    def threshold(self) -> float:
        return quantile(self.scores, self.level)

    def observe(self, score: float, issued: float) -> ACI:
        level = self.level + self.gamma * (self.alpha - missed(score, issued))
        return replace(self, level=level, scores=np.append(self.scores, score)[-self.window :])

    def seen(self, scores: Iterable[float]) -> ACI:
        """Scores of the past that its quantile is of; the level stays."""
        return replace(self, scores=np.append(self.scores, list(scores))[-self.window :])

    def reset(self) -> ACI:
        return replace(self, scores=np.empty(0))

    def bound(self, count: int, delay: int = 0) -> float:
        """|share of misses - alpha| is at most this after `count` more observations (proposition 4.1), on any stream.

        delay : steps until a truth is known; the level may stray that many steps further.
        """
        return (max(self.level, 1 - self.level) + self.gamma * (1 + delay)) / (self.gamma * count)


@dataclass(frozen=True, eq=False)
class DtACI:
    """Dynamically tuned ACI (Gibbs and Candes 2024, algorithm 1): several rates, weighted by how well each did lately.

    levels, weights : of each rate in `gammas`. The level used is the weighted mean. eta, sigma : the paper's learning rate and
    the share of weight that is spread anew, from the length of the stretches over which it should adapt (`stretch`).
    """

    alpha: float
    gammas: tuple[float, ...] = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
    stretch: int = 500
    levels: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    scores: Floats = field(default_factory=lambda: np.empty(0))
    window: int = 500

    def __post_init__(self) -> None:
        _check(self.alpha, stretch=self.stretch, window=self.window, **{f"gamma {g}": g for g in self.gammas})
        if not self.levels:
            object.__setattr__(self, "levels", (self.alpha,) * len(self.gammas))
            object.__setattr__(self, "weights", (1 / len(self.gammas),) * len(self.gammas))

    def threshold(self) -> float:
        return quantile(self.scores, float(np.dot(self.levels, self.weights)))

    def observe(self, score: float, issued: float) -> DtACI:
        levels, weights, k = np.array(self.levels), np.array(self.weights), len(self.gammas)
        least = level_of(self.scores, score)  # the largest level that would still have held the truth
        loss = self.alpha * (least - levels) - np.minimum(0.0, least - levels)
        sigma = 1 / (2 * self.stretch)
        spread = ((1 - self.alpha) ** 2 * self.alpha**3 + self.alpha**2 * (1 - self.alpha) ** 3) / 3
        eta = math.sqrt((math.log(2 * k * self.stretch) + 1) / (self.stretch * spread))
        weights = weights * np.exp(-eta * loss)
        weights = (1 - sigma) * weights / weights.sum() + sigma / k
        levels = levels + np.array(self.gammas) * (self.alpha - (least < levels))
        return replace(
            self, levels=tuple(levels), weights=tuple(weights / weights.sum()), scores=np.append(self.scores, score)[-self.window :]
        )  # fmt: skip

    def reset(self) -> DtACI:
        return replace(self, scores=np.empty(0))


@dataclass(frozen=True, eq=False)
class PID:
    """Conformal PID control (Angelopoulos, Candes and Tibshirani 2023) without a scorecaster: P and I on the threshold itself.

    at : the tracked threshold q_t. rate : step of the quantile tracker (P), in units of the score. reach : a number that no
    score exceeds in size; the integrator (I) saturates there. surplus : misses so far less those promised.
    """

    alpha: float
    rate: float
    reach: float
    at: float = 0.0
    surplus: float = 0.0
    count: int = 0
    gain: float = 5.0

    def __post_init__(self) -> None:
        _check(self.alpha, rate=self.rate, reach=self.reach, gain=self.gain)

    def threshold(self) -> float:
        return self.at + self._integral()

    def observe(self, score: float, issued: float) -> PID:
        if abs(score) > self.reach:
            raise UserError(
                f"score {score}: larger in size than reach {self.reach}; give a reach that no score exceeds"
            )
        error = missed(score, issued) - self.alpha
        return replace(self, at=self.at + self.rate * error, surplus=self.surplus + error, count=self.count + 1)

    def reset(self) -> PID:
        return replace(self, surplus=0.0, count=0)

    def bound(self, count: int, delay: int = 0) -> float:
        """|share of misses - alpha| is at most this after `count` more observations without a reset (proposition 1).

        The tracker alone gives it, and the integrator only adds to the threshold what has the sign of the surplus.
        delay : as in `ACI.bound`.
        """
        return (self.reach + abs(self.at) + self.rate * (1 + delay)) / (self.rate * count)

    def _integral(self) -> float:
        """Their eq. 5, tan of the surplus over a slowly growing scale: beyond pi/2 it is infinite, so that the next is a hit."""
        if not self.count:
            return 0.0
        angle = self.surplus * math.log(self.count + 1) / (self.gain * (self.count + 1))
        return math.copysign(math.inf, angle) if abs(angle) >= math.pi / 2 else self.reach * math.tan(angle)


def follow(
    follower: Follower_, scores: Iterable[float], delay: int = 0, alarms: Iterable[bool] = ()
) -> tuple[Floats, Follower_]:
    """Run a stream: the threshold issued at each time, and the follower at its end, when all truths are in.

    scores : of the truths in order; NaN where the truth is never known. delay : steps until a truth is known.
    alarms : whether a drift detector went off before each time; the follower is then reset.
    """
    issued: list[float] = []
    waiting: deque[tuple[float, float]] = deque()
    for score, alarm in zip_longest(scores, alarms, fillvalue=False):
        follower = follower.reset() if alarm else follower
        issued.append(follower.threshold())
        waiting.append((score, issued[-1]))
        if len(waiting) > delay:
            follower = _told(follower, *waiting.popleft())
    for score, then in waiting:
        follower = _told(follower, score, then)
    return np.array(issued), follower


def _told(follower: Follower_, score: float, issued: float) -> Follower_:
    return follower if math.isnan(score) else follower.observe(score, issued)


def missed(score: float, issued: float) -> float:
    """1 where the truth was outside, else 0."""
    return float(score > issued)


def quantile(scores: Floats, level: float) -> float:
    """The ceil((n + 1)(1 - level))-th smallest score; infinite for a level of 0 or too few scores, minus infinite from 1 on."""
    if level >= 1:
        return -math.inf
    k = math.ceil((len(scores) + 1) * (1 - level) - 1e-12)
    return math.inf if level <= 0 or k > len(scores) else float(np.partition(scores, k - 1)[k - 1])


def level_of(scores: Floats, score: float) -> float:
    """The largest level whose quantile is at least `score`: (1 + scores that are not smaller) / (n + 1), a conformal p-value."""
    return (1 + float(np.count_nonzero(scores >= score))) / (len(scores) + 1)


def _check(alpha: float, **positive: float) -> None:
    check_share("alpha", alpha, ", e.g. 0.1 for sets that hold 9 truths in 10")
    if bad := [f"{name} {value}" for name, value in positive.items() if not value > 0]:
        raise UserError(f"{', '.join(bad)}: give a number above 0")
