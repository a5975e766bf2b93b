"""Bounds on a risk other than "the truth is outside": expected losses, and shares of wrong answers, by choice of a threshold.

control : conformal risk control, the expected loss of the next row, for losses that only fall along the candidates.
learn_then_test : any losses, several risks at once, with high probability over the calibration rows.
Selective : the share of all questions that are answered and wrong, with high probability, answering as many as it can.

Where no candidate is safe, that is said (None, or nothing is answered); no threshold is ever made up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from twinforge.conformal.threshold import Floats, check_share, digest
from twinforge.errors import UserError


def control(losses: Floats, alpha: float, most: float = 1.0) -> int | None:
    """The first candidate under which the next row's expected loss is at most alpha (Angelopoulos et al. 2024, theorem 1).

    Parameters
    ----------
    losses : (n, m) loss of each calibration row under each candidate, never rising along the candidates.
    alpha : bound on the expected loss. most : the largest loss there can be.

    Returns
    -------
    Index of the candidate, or None: (n * mean + most) / (n + 1) exceeds alpha for all of them.

    Raises
    ------
    UserError
        Losses that rise, are NaN or exceed `most`.
    """
    losses = _losses(losses, most)
    if len(losses) and (np.diff(losses, axis=1) > 1e-12).any():
        raise UserError("losses rise along the candidates; order these, or use learn_then_test, which needs no order")
    bound = (losses.sum(axis=0) + most) / (len(losses) + 1)
    safe = np.flatnonzero(bound <= alpha + 1e-12)
    return int(safe[0]) if len(safe) else None


def learn_then_test(
    losses: Sequence[Floats],
    limits: Sequence[float],
    delta: float,
    method: Literal["sequence", "bonferroni"] = "sequence",
) -> NDArray[np.int64]:
    """Candidates under all of whose risks lie within their limits, all of them at once with probability 1 - delta.

    Learn then Test (Angelopoulos et al. 2021): a candidate is kept where every risk's p-value rejects "above its limit".

    Parameters
    ----------
    losses : for each risk, (n, m) losses in [0, 1] of every calibration row under every candidate.
    limits : a limit for each risk.
    delta : chance that any kept candidate breaks a limit.
    method : "sequence" tests in the given order and stops at the first that fails (put what is surely safe first);
        "bonferroni" tests each at delta / m.

    Returns
    -------
    Indices of the kept candidates, ascending; empty: abstain.
    """
    if len(losses) != len(limits) or not len(losses):
        raise UserError(f"{len(losses)} tables of losses for {len(limits)} limits; give one of each a risk")
    check_share("delta", delta)
    p = np.max([p_values(_losses(table, 1.0), limit) for table, limit in zip(losses, limits, strict=True)], axis=0)
    if method == "bonferroni":
        return np.flatnonzero(p <= delta / len(p))
    failed = np.flatnonzero(p > delta)
    return np.arange(failed[0] if len(failed) else len(p))


def p_values(losses: Floats, limit: float) -> Floats:
    """P-values of "the mean loss exceeds `limit`" for losses (n, m) in [0, 1]: exact where all are 0 or 1, else
    Hoeffding-Bentkus (Bates et al. 2021, theorem 2 with equation 9)."""
    check_share("limit", limit)
    n, mean = len(losses), losses.mean(axis=0) if len(losses) else np.ones(losses.shape[1])
    binary = np.isin(losses, (0.0, 1.0)).all(axis=0)
    counts = np.ceil(n * mean - 1e-9)
    tail = binom.cdf(counts, n, limit)
    held = np.clip(np.minimum(mean, limit), 1e-12, 1 - 1e-12)
    divergence = held * np.log(held / limit) + (1 - held) * np.log((1 - held) / (1 - limit))
    return np.where(binary, tail, np.minimum(1.0, np.minimum(np.exp(-n * divergence), math.e * tail)))


def betting_p_value(losses: Floats, limit: float, delta: float) -> float:
    """P-value of "the mean loss exceeds `limit`" for independent losses (n,) in [0, 1] of small variance.

    The wealth of bets that each loss lies below the limit can't be expected to grow where the mean is above it, so it exceeds
    1 / delta with probability delta at most (Waudby-Smith and Ramdas 2024, section 4.1; stakes as in Bates et al. 2021, section
    3.1.3, tuned to reject at `delta`). Far sharper than Hoeffding-Bentkus where losses are means of many rows.
    """
    n = len(losses)
    before, count = np.concatenate([[limit], losses[:-1]])[:n], np.arange(1, n + 1)
    mean = np.cumsum(before) / count  # of the losses before each; a stake may rest on nothing else
    variance = (limit * (1 - limit) + np.cumsum((before - mean) ** 2)) / count
    stake = np.minimum(0.999 / (1 - limit), np.sqrt(2 * math.log(1 / delta) / (max(n, 1) * variance)))
    wealth = np.cumsum(np.log1p(-stake * (losses - limit)))
    return float(np.exp(-max(0.0, wealth.max(initial=0.0))))


@dataclass(frozen=True)
class Selective:
    """A confidence above which a twin may answer: over all questions, "answers and is wrong" at most `risk`, with
    probability 1 - delta over the calibration rows.

    threshold : answer where the confidence is larger. Infinite: never. n : calibration rows. clusters : groups of rows that
    depend on each other, 0 where none do. allowed : how many rows may be answered wrongly. data : sha256 of the rows.
    """

    risk: float
    delta: float
    n: int
    clusters: int
    allowed: int
    threshold: float
    data: str

    @classmethod
    def fit(
        cls,
        confidence: Floats,
        correct: NDArray[np.bool_],
        risk: float,
        delta: float,
        cluster: NDArray[Any] | None = None,
    ) -> Selective:
        """The lowest threshold that is safe.

        The rows answered wrongly only become fewer as the threshold rises; so it is the lowest above all at which more than
        `risk` would have shown as little error with probability delta at most (Bates et al. 2021, theorem 1): by the exact
        binomial tail where rows are independent, by `betting_p_value` over whole clusters where they are not.

        Parameters
        ----------
        confidence : (n,) of each calibration row's answer, any scale. correct : (n,) whether it was right (or not given).
        cluster : (n,) which rows depend on each other; clusters are independent, and none to come is larger than the largest.

        Raises
        ------
        UserError
            Lengths that differ, a NaN confidence, or shares outside (0, 1).
        """
        confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
        check_share("risk", risk)
        check_share("delta", delta)
        if confidence.shape != correct.shape or confidence.ndim != 1:
            raise UserError(
                f"confidence {confidence.shape} and correct {correct.shape}: give two vectors of one length"
            )
        if np.isnan(confidence).any():
            raise UserError(
                f"{int(np.isnan(confidence).sum())} of {len(confidence)} confidences are NaN; answer those rows again"
            )
        wrong = np.flatnonzero(~correct)
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
        if cluster is None:
            tail = binom.cdf(np.arange(len(confidence) + 1), len(confidence), risk)
            clusters, allowed = 0, int(np.sum(tail <= delta)) - 1
        else:
            clusters, allowed = _allowed(np.asarray(cluster), wrong, len(confidence), risk, delta)
        at = confidence[wrong]
        threshold = math.inf if allowed < 0 else -math.inf if len(at) <= allowed else float(at[allowed])
        return cls(risk, delta, len(confidence), clusters, allowed, threshold, digest(confidence, correct))

    def answers(self, confidence: Floats) -> NDArray[np.bool_]:
        """Which questions to answer; a NaN confidence is not."""
        return np.asarray(confidence, float) > self.threshold

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold is the text "never" or "always"."""
        text = {math.inf: "never", -math.inf: "always"}.get(self.threshold, self.threshold)
        return {"method": "selective", "score": "confidence", "alpha": self.risk, **asdict(self), "threshold": text}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Selective:
        """The inverse of `to_json`."""
        threshold = {"never": math.inf, "always": -math.inf}.get(value["threshold"], value["threshold"])
        own = {entry.name: value[entry.name] for entry in fields(Selective)}
        return Selective(**{**own, "threshold": float(threshold)})


def _allowed(cluster: NDArray[Any], wrong: NDArray[np.int64], n: int, risk: float, delta: float) -> tuple[int, int]:
    """Clusters, and the most rows, from the most confident wrong one on, that may be answered wrongly (-1: none is safe)."""
    if cluster.shape != (n,):
        raise UserError(f"cluster {cluster.shape}: give one a row, ({n},)")
    names, place = np.unique(cluster, return_inverse=True)
    size = np.bincount(place, minlength=len(names))
    most = size.max(initial=1)
    # in [0, 1], and of mean `risk` exactly where the share of rows answered wrongly is: clusters may differ in size
    loss = risk * (1 - size / most)
    allowed = -1
    while allowed < len(wrong) and betting_p_value(loss, risk, delta) <= delta:
        allowed += 1
        if allowed < len(wrong):
            loss[place[wrong[allowed]]] += 1 / most
    return len(names), allowed


def smallest_n(risk: float, delta: float) -> int:
    """Fewest calibration rows with which anything can be answered: (1 - risk)^n <= delta."""
    check_share("risk", risk)
    check_share("delta", delta)
    return math.ceil(math.log(delta) / math.log1p(-risk))


def _losses(losses: Floats, most: float) -> Floats:
    losses = np.asarray(losses, dtype=float)
    if losses.ndim != 2:
        raise UserError(f"losses of shape {losses.shape}: give (rows, candidates)")
    if not ((losses >= 0) & (losses <= most + 1e-12)).all():
        raise UserError(
            f"losses must be numbers from 0 to {most:g}; found {losses[~((losses >= 0) & (losses <= most))][0]}"
        )
    return losses
