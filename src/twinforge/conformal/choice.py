"""Prediction sets for choices: LAC, least ambiguous sets (Sadinle, Lei and Wasserman 2019); ragged options."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import TOLERANCE, Floats, confidence, mapie_can, threshold_of


def scores(p: Sequence[Floats], truth: Sequence[int]) -> Floats:
    """Non-conformity of the truth, 1 - p[truth]: (n,)."""
    return np.array([1 - vector[index] for vector, index in zip(p, truth, strict=True)], dtype=float)


def lac(p: Sequence[Floats], truth: Sequence[int], alpha: float) -> float:
    """The LAC threshold by MAPIE, or infinity where there are too few rows (MAPIE would raise).

    Parameters
    ----------
    p : n probability vectors, each summing to 1; shorter ones are padded with options of probability 0.
    truth : (n,) index of the truth.
    alpha : miscoverage that is allowed.

    Raises
    ------
    UserError
        alpha outside (0, 1), or a NaN probability of a truth.
    """
    own = threshold_of(scores(p, truth), alpha)
    if not mapie_can(len(p), alpha):
        return own
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import LACConformityScore

    padded, score = pad(p), LACConformityScore()
    padded = np.column_stack([padded, 1 - padded.sum(axis=1)])  # what rounding left over: MAPIE insists on a sum of 1
    mapie = SplitConformalClassifier(_stub(padded.shape[1]), confidence(alpha), score, prefit=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="WARNING: your conformalization dataset has less labels")
        mapie.conformalize(padded, np.asarray(truth)).predict_set(padded[:1])
    return float(np.ravel(score.quantiles_)[0])


def members(p: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which entries of a probability vector (or array) are in the set: 1 - p <= threshold."""
    return np.asarray(1 - np.asarray(p, dtype=float) <= threshold + TOLERANCE)


def pad(p: Sequence[Floats]) -> Floats:
    """Vectors of different length as one array (n, k), the missing options with probability 0."""
    array = np.zeros((len(p), max((len(vector) for vector in p), default=0)))
    for row, vector in zip(array, p, strict=True):
        row[: len(vector)] = vector
    return array


def _stub(k: int) -> Any:
    """A "fitted classifier" for MAPIE whose features are its probabilities."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Stub(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.arange(k)

        def fit(self, x: Floats, y: Floats) -> Stub:
            return self

        def predict_proba(self, x: Floats) -> Floats:
            return np.asarray(x)

        def predict(self, x: Floats) -> NDArray[np.int64]:
            return np.asarray(np.argmax(x, axis=1))

    return Stub()
