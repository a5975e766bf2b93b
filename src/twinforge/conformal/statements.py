"""Which statements of a text to stand for: how likely each is right by its kind and how surely it was written, and from where on.

A model may be as sure of what it can't know as of what it copied, so its own probability ranks statements of different kinds badly.
A logistic regression on rows of their own learns what each kind is worth; what is promised rests on other rows alone (`text.Claims`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from twinforge.conformal.text import Claims
from twinforge.conformal.threshold import Floats, digest
from twinforge.errors import UserError

Kinds = NDArray[np.str_]


@dataclass(frozen=True)
class Sureness:
    """The chance that a statement is right: expit(intercept + offset + (slope + steepness) log - calm entropy).

    offset and steepness are those of the statement's kind, 0 for a kind that was never seen. n, data : rows it was fitted on, and
    their sha256.
    """

    n: int
    data: str
    intercept: float
    slope: float
    entropy: float
    kinds: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, kind: Kinds, log: Floats, entropy: Floats, supported: NDArray[np.bool_]) -> Sureness:
        """Penalised maximum likelihood.

        Parameters
        ----------
        kind : (r,) what sort of statement. log : (r,) log-probability of its tokens. entropy : (r,) the largest among them, nats.
        supported : (r,) whether it is right.

        Raises
        ------
        UserError
            No rows, or a log or entropy that is NaN.
        """
        kind, supported = np.asarray(kind, str), np.asarray(supported, bool)
        names = sorted(set(kind.tolist()))
        if not len(kind) or not (np.isfinite(log) & np.isfinite(entropy)).all():
            raise UserError(f"{len(kind)} statements to learn from: give one at least, each with log and entropy")
        data = digest(kind, np.asarray(log, float), np.asarray(entropy, float), supported)
        if supported.all() or not supported.any():
            share = (supported.sum() + 1) / (len(kind) + 2)
            return cls(len(kind), data, float(np.log(share / (1 - share))), 0.0, 0.0, {})
        mine = (kind[:, None] == np.array(names)).astype(float)
        table = np.column_stack([log, entropy, mine, mine * np.asarray(log)[:, None]])
        found = LogisticRegression(C=1.0, max_iter=5000).fit(table, supported)
        slope, calm, *rest = found.coef_[0].tolist()
        each = dict(zip(names, zip(rest[: len(names)], rest[len(names) :], strict=True), strict=True))
        return cls(len(kind), data, float(found.intercept_[0]), slope, calm, each)

    def chance(self, kind: Kinds, log: Floats, entropy: Floats) -> Floats:
        """(r,) the chance that each statement is right; NaN where log or entropy is."""
        known = np.array([self.kinds.get(str(k), (0.0, 0.0)) for k in kind]).reshape(-1, 2)
        told = self.intercept + known[:, 0] + (self.slope + known[:, 1]) * log + self.entropy * np.asarray(entropy)
        return np.asarray(expit(told), float)


@dataclass(frozen=True)
class Statements:
    """How sure a statement is, and from where on it is stood for."""

    sureness: Sureness
    claims: Claims

    def keep(self, kind: Kinds, log: Floats, entropy: Floats) -> NDArray[np.bool_]:
        """Which statements (r,) to stand for: all of a new text's are right with probability 1 - alpha."""
        return self.claims.keep(self.sureness.chance(kind, log, entropy))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {"sureness": asdict(self.sureness), "claims": self.claims.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Statements:
        """The inverse of `to_json`."""
        kinds = {name: (float(a), float(b)) for name, (a, b) in value["sureness"]["kinds"].items()}
        return cls(Sureness(**{**value["sureness"], "kinds": kinds}), Claims.from_json(value["claims"]))
