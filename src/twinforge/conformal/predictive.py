"""P-values of scores, and whole predictive distributions: "how likely is it that the truth stays below this?", asked later.

A split conformal predictive system (Vovk, Petej, Nouretdinov, Manokhin and Gammerman 2020) is calibrated once and answers
any threshold, quantile or interval. It equals that of crepes, and ranks levels as they are written, in fractions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from twinforge.conformal.threshold import Floats, check_share, digest, numbers, rank
from twinforge.errors import UserError

PLAIN, SCALED = "residual", "residual / scale"


def p_values(calibration: Floats, fresh: Floats, u: Floats | None = None) -> Floats:
    """Conformal p-values (m,) of new nonconformity scores: small where a score is larger than what calibration showed.

    With exchangeable scores P(p <= a) is at most a for every a, ties or none; with `u` it is just a: those p-values are
    uniform (Vovk, Gammerman and Shafer 2005, chapter 2).

    Parameters
    ----------
    calibration : (n,) scores; n may be 0. fresh : (m,) new scores, each judged by itself.
    u : (m,) independent uniform numbers that break ties; without them, (1 + those at least as large) / (n + 1).

    Raises
    ------
    UserError
        NaN scores, or a `u` of another length or outside [0, 1].
    """
    known, fresh = np.sort(numbers("calibration", calibration, finite=False)), numbers("fresh", fresh, finite=False)
    larger, least = (len(known) - np.searchsorted(known, fresh, side) for side in ("right", "left"))
    if u is None:
        return np.asarray((1 + least) / (len(known) + 1))
    u = numbers("u", u, len(fresh))
    if ((u < 0) | (u > 1)).any():
        raise UserError(f"u {u[(u < 0) | (u > 1)][0]}: give numbers from 0 to 1")
    return np.asarray((larger + u * (least - larger + 1)) / (len(known) + 1))


@dataclass(frozen=True, eq=False)
class Predictive:
    """A distribution of the truth about each prediction, made of the calibration rows' errors.

    residuals : (n,) ascending, truth - prediction, over the row's scale where score says so. data : sha256 of the rows.
    """

    n: int
    residuals: Floats
    score: str
    data: str
    method: str = "split-cps"

    @classmethod
    def fit(cls, prediction: Floats, truth: Floats, scale: Floats | None = None) -> Predictive:
        """Keep the errors of calibration rows that the predictor was not fitted on.

        Parameters
        ----------
        prediction, truth : (n,); n may be 0: then everything stays possible. scale : (n,) above 0, how far off each row is
            expected to be (an expert's spread, say); with it, later calls need one too.

        Raises
        ------
        UserError
            Values that are not finite, lengths that differ, or a scale that is not above 0.
        """
        prediction = numbers("prediction", prediction)
        truth = numbers("truth", truth, len(prediction))
        wide = _scale(scale, len(prediction))
        score = PLAIN if scale is None else SCALED
        residuals = np.sort(numbers(score, (truth - prediction) / wide))
        return cls(len(truth), residuals, score, digest(prediction, truth, wide))

    def below(
        self, prediction: Floats, threshold: Floats | float, scale: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Lower and upper bound (m,) on P(truth <= threshold), a threshold for all or (m,): they lie (1 + ties) / (n + 1) apart.

        low + u * (high - low) at the truth itself, u uniform, is uniform on fresh exchangeable rows: the distribution is right on
        average over rows, not for each prediction by itself.
        """
        prediction, wide = self._rows(prediction, scale)
        given = np.asarray(threshold, float)
        given = numbers("threshold", given if given.ndim else np.full(len(prediction), given), len(prediction), False)
        at = (given - prediction) / wide
        low, high = (np.searchsorted(self.residuals, at, side) for side in ("left", "right"))
        return np.asarray(low / (self.n + 1)), np.asarray((high + 1) / (self.n + 1))

    def quantile(self, level: float, prediction: Floats, scale: Floats | None = None) -> Floats:
        """(m,) what the truth stays at or below with probability at least `level`; infinite where n < level / (1 - level)."""
        check_share("level", level)
        prediction, wide = self._rows(prediction, scale)
        return np.asarray(prediction + wide * self._ends()[math.ceil((self.n + 1) * Fraction(str(float(level))))])

    def interval(self, alpha: float, prediction: Floats, scale: Floats | None = None) -> tuple[Floats, Floats]:
        """Ends (m,) that hold the truth with probability at least 1 - alpha, and miss it at most alpha / 2 on each side.

        Both are infinite where n < 2 / alpha - 1: too few rows for a promise on each side.
        """
        check_share("alpha", alpha, ", e.g. 0.1 for intervals that hold 9 truths in 10")
        prediction, wide = self._rows(prediction, scale)
        k, ends = rank(self.n, alpha / 2), self._ends()
        return np.asarray(prediction + wide * ends[self.n + 1 - k]), np.asarray(prediction + wide * ends[k])

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {**asdict(self), "residuals": self.residuals.tolist()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Predictive:
        """The inverse of `to_json`."""
        return Predictive(**{**value, "residuals": np.array(value["residuals"], float)})

    def _ends(self) -> Floats:
        """(n + 2,) where the distribution may step: the residuals, with everything beyond them left possible."""
        return np.concatenate([[-math.inf], self.residuals, [math.inf]])

    def _rows(self, prediction: Floats, scale: Floats | None) -> tuple[Floats, Floats]:
        if (scale is None) != (self.score == PLAIN):
            held = "without a scale; leave it out" if self.score == PLAIN else "with a scale; give one for each row"
            raise UserError(f"scale: this was calibrated {held}")
        prediction = numbers("prediction", prediction)
        return prediction, _scale(scale, len(prediction))


def _scale(scale: Floats | None, n: int) -> Floats:
    if scale is None:
        return np.ones(n)
    wide = numbers("scale", scale, n)
    if (wide <= 0).any():
        raise UserError(f"scale {wide[wide <= 0][0]} in row {int(np.argmax(wide <= 0))}: give numbers above 0")
    return wide
