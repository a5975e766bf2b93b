"""Intervals by resampling whole episodes: questions of one episode are not independent."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

Draws = np.ndarray
POWER = 0.8


def episode_weights(episodes: int, resamples: int, seed: int) -> np.ndarray:
    """How often each episode is drawn in each bootstrap sample, shape (resamples, episodes); every row sums to `episodes`.

    One set of weights serves all models and measures of a split, so that their differences are paired.
    """
    if not episodes:
        return np.zeros((resamples, 0))
    rng = np.random.default_rng(seed)
    return rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=resamples).astype(float)


def ratio_draws(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> Draws:
    """Resampled means, shape (resamples, measures).

    Parameters
    ----------
    sums, counts : arrays of shape (episodes, measures)
        Total and number of the rows that each episode holds.
    weights : array of shape (resamples, episodes)
        From `episode_weights`. A resample that holds no row gives NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ sums) / (weights @ counts)


def interval(draws: Draws, episodes: int, level: float = 0.95) -> tuple[float, float]:
    """Expanded percentile interval of resampled values; (NaN, NaN) for fewer than two episodes.

    The plain percentile interval is too short for few clusters; its tail level is moved from 1 - level to
    2 Phi(-sqrt(m / (m - 1)) t), t the Student quantile with m - 1 degrees of freedom, m the number of episodes
    (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3).
    """
    draws = draws[np.isfinite(draws)]
    if episodes < 2 or not len(draws):
        return float("nan"), float("nan")
    t = stats.t.ppf((1 + level) / 2, episodes - 1)
    tail = stats.norm.cdf(-np.sqrt(episodes / (episodes - 1)) * t)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def share_interval(share: float, draws: Draws, n: int, episodes: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share; at exactly 0 or 1, where all resamples agree, the exact binomial one of `n` rows.

    Clopper and Pearson (1934) for no or all successes. It takes the rows as independent: where none differs from the rest,
    clustering can't be seen.
    """
    if share not in (0.0, 1.0) or n < 1:
        return interval(draws, episodes, level)
    edge = float(((1 - level) / 2) ** (1 / n))
    return (edge, 1.0) if share == 1.0 else (0.0, 1 - edge)


def basic_interval(value: float, draws: Draws, episodes: int, level: float = 0.95) -> tuple[float, float]:
    """Basic (reflected) interval for a measure that is biased upwards and can't be negative, widened to hold `value`.

    Davison and Hinkley (1997), "Bootstrap Methods and their Application", equation 5.6.
    """
    low, high = interval(draws, episodes, level)
    return max(0.0, min(2 * value - high, value)), max(2 * value - low, value)


def smallest_difference(
    error: float, n: int, episodes: int, level: float = 0.025, margin: float = 0.0, share: bool = True
) -> float | None:
    """The smallest true difference d that would have been found beyond `margin` with 80 % power; None where none would.

    It solves margin + (t_level + t_power) * error(d) = d, t with episodes - 1 degrees of freedom. error : the standard error
    that was seen. For a share, error(d) is at least that of a loss d in which no answer got better: sqrt(d (1 - d) / n).
    """
    if episodes < 2:
        return None
    reach = stats.t.ppf(1 - level, episodes - 1) + stats.t.ppf(POWER, episodes - 1)
    if not share:
        return margin + reach * error if error > 1e-12 else None

    def lack(loss: float) -> float:
        return float(margin + reach * max(error, np.sqrt(loss * (1 - loss) / n)) - loss)

    start = margin + 1e-9
    return float(optimize.brentq(lack, start, 1.0)) if lack(1.0) < 0 < lack(start) else None
