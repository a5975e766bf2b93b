"""Which statements of a text to stand for: how likely each is right by its kind and how surely it was written, and from where on.

A model may be as sure of what it can't know as of what it copied, so its own probability ranks statements of different kinds badly;
a second opinion, where there is one, knows better. A logistic regression on rows of their own learns what each kind is worth; what is promised rests on other rows alone (`text.Claims`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from twinforge.conformal.text import Claims
from twinforge.conformal.threshold import Floats, digest
from twinforge.errors import UserError

FAR = 1e-3  # a second opinion is taken for no surer than this


@dataclass(frozen=True)
class Signs:
    """What speaks for and against statements, each (r,).

    kind : what sort of statement. log : log-probability of its tokens. entropy : the largest among them, nats. backing : the chance
    that it is right by a second opinion; NaN where there is none.
    """

    kind: NDArray[np.str_]
    log: Floats
    entropy: Floats
    backing: Floats

    def __getitem__(self, rows: NDArray[np.bool_ | np.intp]) -> Signs:
        return Signs(self.kind[rows], self.log[rows], self.entropy[rows], self.backing[rows])

    @property
    def table(self) -> Floats:
        """(r, 4): log, entropy, the second opinion's log odds (0 without one), and whether there is one."""
        backed = ~np.isnan(self.backing)
        odds = np.where(backed, logit(np.clip(self.backing, FAR, 1 - FAR)), 0.0)
        return np.column_stack([self.log, self.entropy, odds, backed.astype(float)])


@dataclass(frozen=True)
class Sureness:
    """The chance that a statement is right: expit(intercept + offset + weights · signs + steepness · log).

    weights : of the columns of `Signs.table`. offset and steepness are those of the statement's kind, 0 for a kind that was never
    seen. n, data : rows it was fitted on, and their sha256.
    """

    n: int
    data: str
    intercept: float
    weights: tuple[float, ...]
    kinds: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, signs: Signs, supported: NDArray[np.bool_]) -> Sureness:
        """Penalised maximum likelihood.

        Parameters
        ----------
        signs : of r statements. supported : (r,) whether each is right.

        Raises
        ------
        UserError
            No rows, or a log or entropy that is NaN.
        """
        kind, supported, signs_table = np.asarray(signs.kind, str), np.asarray(supported, bool), signs.table
        names = sorted(set(kind.tolist()))
        if not len(kind) or not np.isfinite(signs_table).all():
            raise UserError(f"{len(kind)} statements to learn from: give one at least, each with log and entropy")
        data = digest(kind, signs_table, supported)
        if supported.all() or not supported.any():
            share = (supported.sum() + 1) / (len(kind) + 2)
            return cls(len(kind), data, float(logit(share)), (0.0,) * signs_table.shape[1], {})
        mine = (kind[:, None] == np.array(names)).astype(float)
        table = np.column_stack([signs_table, mine, mine * np.asarray(signs.log)[:, None]])
        found = LogisticRegression(C=1.0, max_iter=5000).fit(table, supported)
        weights, offsets, steepness = np.split(found.coef_[0], [signs_table.shape[1], table.shape[1] - len(names)])
        each = dict(zip(names, zip(offsets.tolist(), steepness.tolist(), strict=True), strict=True))
        return cls(len(kind), data, float(found.intercept_[0]), tuple(weights.tolist()), each)

    def chance(self, signs: Signs) -> Floats:
        """(r,) the chance that each statement is right; NaN where log or entropy is."""
        known = np.array([self.kinds.get(str(k), (0.0, 0.0)) for k in signs.kind]).reshape(-1, 2)
        told = self.intercept + known[:, 0] + known[:, 1] * signs.log + signs.table @ np.array(self.weights)
        return np.asarray(expit(told), float)


@dataclass(frozen=True)
class Statements:
    """How sure a statement is, and from where on it is stood for."""

    sureness: Sureness
    claims: Claims

    def keep(self, signs: Signs) -> NDArray[np.bool_]:
        """Which statements (r,) to stand for: all of a new text's are right with probability 1 - alpha."""
        return self.claims.keep(self.sureness.chance(signs))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {"sureness": asdict(self.sureness), "claims": self.claims.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Statements:
        """The inverse of `to_json`."""
        plain = value["sureness"]
        kinds = {name: (float(a), float(b)) for name, (a, b) in plain["kinds"].items()}
        sureness = Sureness(**{**plain, "kinds": kinds, "weights": tuple(map(float, plain["weights"]))})
        return cls(sureness, Claims.from_json(value["claims"]))
