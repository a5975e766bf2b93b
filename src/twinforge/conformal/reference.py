"""The same thresholds by MAPIE, which knows nothing of ours: a calibration that differs is not handed over.

MAPIE 1.6 takes a fixed number of options and at least 1/alpha rows; absent options are given to it with probability 0. It reads
probabilities and quantiles through "fitted" estimators that hand on their features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import Floats, Thresholds
from twinforge.errors import UserError

SAME = 1e-12


def can(n: int, alpha: float) -> bool:
    """Whether MAPIE takes n rows at this level; else it raises (even at n = 1/alpha - 1, which has a threshold)."""
    return n >= max(1 / alpha, 1 / (1 - alpha))


def confidence(alpha: float) -> float:
    """1 - alpha so that MAPIE, which takes it back by decimals, arrives at the same alpha."""
    return float(1 - Decimal(str(alpha)))


def lac(p: Floats, labels: Floats, alpha: float) -> float:
    """The threshold of 1 - p for probabilities (n, k), NaN where absent, and labels (n,)."""
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import LACConformityScore

    padded = np.nan_to_num(p)
    padded = np.column_stack([padded, 1 - padded.sum(axis=1)])  # what rounding left over: MAPIE insists on a sum of 1
    score = LACConformityScore()
    mapie = SplitConformalClassifier(classifier(padded.shape[1]), confidence(alpha), score, prefit=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="WARNING: your conformalization dataset has less labels")
        mapie.conformalize(padded, np.asarray(labels)).predict_set(padded[:1])
    return float(np.ravel(score.quantiles_)[0])


def cqr(lower: Floats, upper: Floats, truth: Floats, alpha: float) -> float:
    """The threshold of max(lower - y, y - upper), one for both sides, for (n,) each."""
    from mapie.regression import ConformalizedQuantileRegressor

    quantile = np.column_stack([lower, upper, (lower + upper) / 2])
    own = np.maximum(lower - truth, truth - upper)
    mapie = ConformalizedQuantileRegressor([regressor(column) for column in range(3)], confidence(alpha), prefit=True)
    mapie.conformalize(quantile, truth)
    reach = float(np.abs(own).max()) + 1.0  # so wide that no threshold turns the probe's interval inside out
    _, interval = mapie.predict_interval(np.array([[-reach, reach, 0.0]]), symmetric_correction=True)
    found = float(interval[0, 1, 0]) - reach
    return float(own[np.argmin(np.abs(own - found))])  # the score itself, free of the probe's rounding


def agree(thresholds: Thresholds, groups: NDArray[Any], theirs: Callable[[NDArray[np.bool_]], float]) -> None:
    """Hold the threshold of every group that MAPIE can take against its own.

    groups : (n,) of the calibration rows. theirs : MAPIE's threshold of the rows that a mask (n,) picks.

    Raises
    ------
    UserError
        Two thresholds differ.
    """
    for group, (n, ours) in thresholds.groups.items():
        if can(n, thresholds.alpha) and not abs(ours - (found := theirs(groups == group))) <= SAME:
            raise UserError(
                f"{group}: threshold {ours!r}, but by MAPIE {found!r}; report this with its calibration rows"
            )


def classifier(k: int) -> Any:
    """A "fitted classifier" of k classes for MAPIE whose features are its probabilities."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Stub(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.arange(k)

        def fit(self, x: Floats, y: Floats) -> Stub:
            return self

        def predict_proba(self, x: Floats) -> Floats:
            return np.asarray(x)

        def predict(self, x: Floats) -> Any:
            return np.argmax(x, axis=1)

    return Stub()


def regressor(column: int) -> Any:
    """A "fitted regressor" for MAPIE that gives one column of its features."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Stub(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        fitted_ = True

        def fit(self, x: Floats, y: Floats) -> Stub:
            return self

        def predict(self, x: Floats) -> Floats:
            return np.asarray(x)[:, column]

    return Stub()
