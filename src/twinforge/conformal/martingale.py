"""When to stop trusting: a bet against exchangeability whose wealth can hardly grow while the promises' premise holds.

Smoothed p-values of exchangeable scores, each against all earlier ones, are independent and uniform, whatever the scores'
law. A follower bets on them and is fair, so its wealth ever reaches 1 / level with probability at most level (Ville): one may
look at every step, for ever. What it earns is evidence that a static calibration no longer holds.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import gammainc, gammaln, hyp1f1

from twinforge.conformal.threshold import Floats, check_share, numbers
from twinforge.errors import UserError

Method = Literal["jumper", "mixture"]
SLOPES, JUMP = (-1.0, 0.0, 1.0), 0.01  # what the jumper bets on, and the share of its wealth that moves at each step


@dataclass(frozen=True)
class Martingale:
    """A bet so far; `observe` gives the next.

    method : "jumper", the simple jumper (Vovk et al. 2021, "Retrain or not retrain", algorithm 1), which notices scores that
        grow, or shrink, and turns round; "mixture", the mean over e in [0, 1] of the bets e p^(e - 1) (Vovk, Nouretdinov and
        Gammerman 2003), which notices only scores that grow: sooner where a few are extreme and at a stream's start, later
        after long calm.
    n : p-values observed. value : logarithm of the wealth, 0 at the start. peak : its largest so far.
    shares : of the jumper's wealth on each slope. surprise : minus the sum of log p, for the mixture.
    data : sha256 of the p-values and their order.
    """

    method: Method = "jumper"
    n: int = 0
    value: float = 0.0
    peak: float = 0.0
    shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)
    surprise: float = 0.0
    data: str = ""
    score: str = "p-value"

    def __post_init__(self) -> None:
        if self.method not in ("jumper", "mixture"):
            raise UserError(f"method {self.method!r}: give 'jumper' or 'mixture'")

    def observe(self, p: float) -> Martingale:
        """Bet on one more p-value, smoothed: an unsmoothed one is too large on average, and the jumper would earn by that.

        Raises
        ------
        UserError
            p is outside [0, 1] or NaN.
        """
        if not 0 <= p <= 1:
            raise UserError(f"p {p}: give a p-value from 0 to 1")
        shares, surprise = self.shares, self.surprise - (math.log(p) if p else -math.inf)
        if self.method == "jumper":
            held = [((1 - JUMP) * s + JUMP / 3) * (1 + e * (p - 0.5)) for s, e in zip(shares, SLOPES, strict=True)]
            value, shares = self.value + math.log(sum(held)), tuple(part / sum(held) for part in held)
        else:
            value = _mixture(self.n + 1, surprise)
        data = hashlib.sha256(f"{self.data} {p!r}".encode()).hexdigest()
        return replace(
            self, n=self.n + 1, value=value, peak=max(self.peak, value), shares=shares, surprise=surprise, data=data
        )

    def alarm(self, level: float) -> bool:
        """Whether the wealth has ever reached 1 / level: on an exchangeable stream it ever does with probability <= level."""
        check_share("level", level, ", e.g. 0.01 for one false alarm in 100 streams")
        return self.peak >= -math.log(level)

    def to_json(self) -> dict[str, Any]:
        """Plain values, infinities as text; `from_json` reads them back, and the bet goes on."""
        plain = {**asdict(self), "shares": list(self.shares)}
        return {name: "infinite" if value == math.inf else value for name, value in plain.items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Martingale:
        """The inverse of `to_json`."""
        plain: dict[str, Any] = {name: math.inf if item == "infinite" else item for name, item in value.items()}
        return Martingale(**{**plain, "shares": tuple(plain["shares"])})


def watch(
    scores: Floats, calibration: Floats | Sequence[float] = (), *, seed: int, level: float, method: Method = "jumper"
) -> tuple[Floats, int | None]:
    """Follow a stream of nonconformity scores, with earlier ones to start from.

    Parameters
    ----------
    scores : (t,) in the order they came; larger is stranger. calibration : (n,) earlier ones, in any order.
    seed : of the numbers that break ties; fix it before the stream is seen. level : probability of a false alarm, ever.

    Returns
    -------
    The logarithm of the wealth after each score (t,), and the index of the score at which it first reached 1 / level, or None.

    Raises
    ------
    UserError
        NaN scores, a level outside (0, 1), or another method.
    """
    scores, seen = numbers("scores", scores, finite=False), sorted(numbers("calibration", calibration, finite=False))
    check_share("level", level, ", e.g. 0.01 for one false alarm in 100 streams")
    bet, path, first = Martingale(method), np.empty(len(scores)), None
    breaks = 1 - np.random.default_rng(seed).random(len(scores))  # in (0, 1]: no p-value is 0 by chance
    for at, (score, u) in enumerate(zip(scores.tolist(), breaks.tolist(), strict=True)):
        bet = bet.observe(online_p(seen, score, u))
        path[at] = bet.value
        if first is None and bet.alarm(level):
            first = at
    return path, first


def online_p(seen: list[float], score: float, u: float) -> float:
    """Smoothed p-value of a score against all `seen`, an ascending list, which it then joins: its rank from above, ties by u."""
    left, right = bisect_left(seen, score), bisect_right(seen, score)
    p = (len(seen) - right + u * (right - left + 1)) / (len(seen) + 1)
    insort(seen, score)
    return p


def _mixture(n: int, surprise: float) -> float:
    """Log of the integral over e in [0, 1] of e^n exp((1 - e) * surprise): Kummer's function, or the incomplete gamma's where
    that would overflow."""
    if surprise <= n + 1:
        return math.log(hyp1f1(1, n + 2, surprise) / (n + 1))
    if math.isinf(surprise):
        return math.inf
    return float(surprise + gammaln(n + 1) + math.log(gammainc(n + 1, surprise)) - (n + 1) * math.log(surprise))
