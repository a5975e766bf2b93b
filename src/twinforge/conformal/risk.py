"""Bounds on a risk other than "the truth is outside": expected losses, and shares of wrong answers, by choice of a threshold.

control : conformal risk control, the expected loss of the next row, for losses that only fall along the candidates.
learn_then_test : any losses, several risks at once, with high probability over the calibration rows.
Selective : the share of all questions that are answered and wrong, with high probability, answering as many as it can.

Where no candidate is safe, that is said (None, or nothing is answered); no threshold is ever made up.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from twinforge.conformal.threshold import Floats, check_share
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


@dataclass(frozen=True)
class Selective:
    """A confidence above which a twin may answer: over all questions, "answers and is wrong" at most `risk`, with
    probability 1 - delta over the calibration rows.

    threshold : answer where the confidence is larger. Infinite: never. n : calibration rows. allowed : how many of them may be
    answered wrongly. data : sha256 of the rows' confidences and hits.
    """

    risk: float
    delta: float
    n: int
    allowed: int
    threshold: float
    data: str

    @classmethod
    def fit(cls, confidence: Floats, correct: NDArray[np.bool_], risk: float, delta: float) -> Selective:
        """The lowest threshold that is safe.

        The count of rows answered wrongly is binomial, and falls as the threshold rises; so the threshold is the lowest at which
        a share above `risk` would have shown more of them with probability 1 - delta (Bates et al. 2021, theorem 1, with the
        exact binomial tail). Rows must be independent: give one a cluster where they are not.

        Parameters
        ----------
        confidence : (n,) of each calibration row's answer, any scale. correct : (n,) whether it was right.

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
        allowed = int(np.sum(binom.cdf(np.arange(len(confidence) + 1), len(confidence), risk) <= delta)) - 1
        wrong = np.sort(confidence[~correct])[::-1]
        threshold = math.inf if allowed < 0 else -math.inf if len(wrong) <= allowed else float(wrong[allowed])
        data = hashlib.sha256(confidence.tobytes() + correct.tobytes()).hexdigest()
        return cls(risk, delta, len(confidence), allowed, threshold, data)

    def answers(self, confidence: Floats) -> NDArray[np.bool_]:
        """Which questions to answer; a NaN confidence is not."""
        return np.asarray(confidence, float) > self.threshold

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold is the text "never" or "always"."""
        text = {math.inf: "never", -math.inf: "always"}.get(self.threshold, self.threshold)
        return {**asdict(self), "threshold": text}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Selective:
        """The inverse of `to_json`."""
        threshold = {"never": math.inf, "always": -math.inf}.get(value["threshold"], value["threshold"])
        return Selective(**{**value, "threshold": float(threshold)})


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
