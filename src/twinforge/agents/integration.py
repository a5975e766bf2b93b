"""Integration O = f(P, A, C): the log-linear pool of the models that answer a question.

p(y) is proportional to the product of p_m(y)^w_m with w >= 0 (Genest and Zidek 1986; Heskes 1998), y running over the
options or values and the refusal. One weight a group and model, fitted by maximum likelihood on rows that no model was
trained on. Which models answered a row (its *pattern*, "boost+llm") has weights of its own, so that a model that is
absent weighs nothing and the others are weighted as they deserve without it.

Of a set of candidates (kind "entities") every entry is a yes or no of its own, pooled as the pair [1 - p, p]; in the fit
each of them is a row (`pairs`).

Fitted weights are shrunk towards those pooled over all groups of a kind. Where cross-validation over clusters
(episodes) finds the pooled weights or one model alone better, beyond noise, a group uses those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from twinforge.errors import UserError

Floats = NDArray[np.float64]
Parts = Mapping[str, Sequence[Floats | None]]
Weights = Mapping[str, float]

FLOOR = 1e-6  # of any probability, before the logarithm
LIMIT = 5.0  # of any weight
SHRINKAGE = 10.0  # the pooled weights count as about this many rows
FOLDS = 5
BEYOND_NOISE = 2.0  # standard errors, over clusters


@dataclass(frozen=True)
class Integration:
    """Weights by group and pattern, and the pooled ones by kind and pattern for groups that were not seen.

    groups : group "asked/kind" -> pattern -> model -> weight.
    pooled : kind -> pattern -> model -> weight.
    A pattern that neither knows gets equal weights that sum to 1.
    """

    groups: Mapping[str, Mapping[str, Weights]]
    pooled: Mapping[str, Mapping[str, Weights]]

    def weights(self, group: str, models: Sequence[str]) -> dict[str, float]:
        """The weight of each of the models that answered."""
        pattern = _pattern(models)
        for known in (self.groups.get(group, {}), self.pooled.get(_kind(group), {})):
            if pattern in known:
                return dict(known[pattern])
        return {model: 1 / len(models) for model in models}

    def pool(self, parts: Mapping[str, Floats], group: str) -> Floats:
        """Pool answer vectors of one question, or (n, k) arrays of them, by the models that answered.

        Returns probabilities of the same shape; each sums to 1 (of a set: lies between 0 and 1) and none is 0.
        """
        weights = self.weights(group, list(parts))
        if _kind(group) == "entities":
            return pool({model: pairs(p) for model, p in parts.items()}, weights)[..., 1]
        return pool(parts, weights)

    def to_json(self) -> dict[str, Any]:
        """Plain nested mappings; `from_json` reads them back."""
        copy = {
            name: {key: {pattern: dict(w) for pattern, w in value.items()} for key, value in table.items()}
            for name, table in (("groups", self.groups), ("pooled", self.pooled))
        }
        return {"method": "log-linear pool", **copy}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Integration:
        """The inverse of `to_json`; raises `UserError` on anything else."""
        try:
            tables = [{key: dict(table) for key, table in value[name].items()} for name in ("groups", "pooled")]
            found = [w for table in tables for by in table.values() for each in by.values() for w in each.values()]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"integration: not weights by group, pattern and model ({error!r})") from error
        if any(not isinstance(w, int | float) or not 0 <= w <= LIMIT for w in found):
            raise UserError(f"integration: a weight is not a number from 0 to {LIMIT}; run `dvc repro` again")
        return Integration(*tables)


def pool(parts: Mapping[str, Floats], weights: Weights) -> Floats:
    """The log-linear pool of (..., k) arrays of probabilities; a weight that is not given is 0."""
    names = sorted(parts)
    logs = np.stack([log_floor(parts[name]) for name in names])
    w = np.array([weights.get(name, 0.0) for name in names])
    return np.asarray(softmax(np.tensordot(w, logs, axes=1), axis=-1))


def pairs(p: Floats) -> Floats:
    """Each probability (...) as the distribution of a yes or no, [1 - p, p]: (..., 2)."""
    p = np.asarray(p, dtype=float)
    return np.stack([1 - p, p], axis=-1)


def log_floor(p: Floats) -> Floats:
    """Logarithms of probabilities with `FLOOR` mixed in, so that no model can forbid what the others see."""
    p = np.asarray(p, dtype=float)
    return np.asarray(np.log((p + FLOOR) / (p.sum(axis=-1, keepdims=True) + FLOOR * p.shape[-1])))


def fit(parts: Parts, truth: Sequence[int], groups: Sequence[str], clusters: Sequence[str]) -> Integration:
    """Fit the weights.

    Parameters
    ----------
    parts : model -> n answer vectors (of one length in a row), None where the model didn't answer; of sets, `pairs`.
    truth : (n,) index of the truth in the answer vector.
    groups : (n,) "asked/kind".
    clusters : (n,) what is left out together in cross-validation: the episode.

    Raises
    ------
    UserError
        No rows, vectors of different length for one row, or a truth outside its vector.
    """
    cells = _cells(parts, np.asarray(truth, dtype=int), np.asarray(groups), np.asarray(clusters))
    by_kind: dict[tuple[str, str], list[_Cell]] = {}
    for cell in cells:
        by_kind.setdefault((_kind(cell.group), _pattern(cell.models)), []).append(cell)
    fitted: dict[str, dict[str, Weights]] = {}
    pooled: dict[str, dict[str, Weights]] = {}
    for (kind, pattern), family in sorted(by_kind.items()):
        models = family[0].models
        whole = _fit_weights(family, np.full(len(models), 1 / len(models)))
        pooled.setdefault(kind, {})[pattern] = _named(models, whole)
        for cell, chosen in zip(family, _choose(family, whole), strict=True):
            fitted.setdefault(cell.group, {})[pattern] = _named(models, chosen)
    return Integration(fitted, pooled)


@dataclass(frozen=True)
class _Cell:
    """Rows of one group and pattern: logs (n, models, k), 0 where absent; truth and cluster (n,)."""

    group: str
    models: tuple[str, ...]
    logs: Floats
    absent: NDArray[np.bool_]  # (n, k): padding
    truth: NDArray[np.int64]
    cluster: NDArray[np.int64]

    @property
    def fold(self) -> NDArray[np.int64]:
        return self.cluster % FOLDS  # whole clusters, dealt out in the order of their names

    def rows(self, keep: NDArray[np.bool_]) -> _Cell:
        return _Cell(self.group, self.models, self.logs[keep], self.absent[keep], self.truth[keep], self.cluster[keep])

    def losses(self, w: Floats) -> Floats:
        """Log loss of each row (n,)."""
        return -self._score(w)[np.arange(len(self.truth)), self.truth]

    def nll(self, w: Floats) -> tuple[float, Floats]:
        """Log loss summed over the rows, and its gradient: E_p[log p_m] - log p_m(truth)."""
        score, at = self._score(w), np.arange(len(self.truth))
        expected = np.einsum("nk,nmk->m", np.exp(score), self.logs)
        return float(-score[at, self.truth].sum()), expected - self.logs[at, :, self.truth].sum(axis=0)

    def _score(self, w: Floats) -> Floats:
        logits = np.where(self.absent, -np.inf, np.einsum("m,nmk->nk", w, self.logs))
        return np.asarray(log_softmax(logits, axis=1)) if len(logits) else logits


def _cells(parts: Parts, truth: NDArray[np.int64], groups: np.ndarray, clusters: np.ndarray) -> list[_Cell]:
    if not len(truth):
        raise UserError("integration: no validation rows to fit on; raise `curate.validation`")
    names = sorted(parts)
    answered = [tuple(name for name in names if parts[name][row] is not None) for row in range(len(truth))]
    cluster = np.unique(clusters, return_inverse=True)[1]
    members: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row, models in enumerate(answered):
        if models:
            members.setdefault((str(groups[row]), models), []).append(row)
    return [
        _Cell(group, models, *_pad(parts, models, rows, truth), truth[rows], cluster[rows])
        for (group, models), rows in sorted(members.items())
    ]


def _pad(
    parts: Parts, models: tuple[str, ...], rows: list[int], truth: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    vectors = [[np.asarray(parts[model][row], dtype=float) for model in models] for row in rows]
    sizes = np.array([len(row[0]) for row in vectors])
    for row, row_vectors, size in zip(rows, vectors, sizes, strict=True):
        if {len(vector) for vector in row_vectors} != {size} or not 0 <= truth[row] < size:
            lengths = {model: len(vector) for model, vector in zip(models, row_vectors, strict=True)}
            raise UserError(f"integration: row {row}: answers of length {lengths}, truth {truth[row]}; answer again")
    logs = np.zeros((len(rows), len(models), int(sizes.max())))
    for i, row_vectors in enumerate(vectors):
        logs[i, :, : sizes[i]] = log_floor(np.stack(row_vectors))
    return logs, np.arange(logs.shape[2])[None, :] >= sizes[:, None]


def _fit_weights(cells: Sequence[_Cell], prior: Floats) -> Floats:
    """Maximum likelihood over some cells of one pattern, shrunk to `prior`."""

    def loss(w: Floats) -> tuple[float, Floats]:
        terms = [cell.nll(w) for cell in cells]
        value = sum(term[0] for term in terms) + SHRINKAGE / 2 * float(((w - prior) ** 2).sum())
        return value, np.sum([term[1] for term in terms], axis=0) + SHRINKAGE * (w - prior)

    found = minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=[(0.0, LIMIT)] * len(prior))
    return np.asarray(found.x)


def _choose(family: Sequence[_Cell], whole: Floats) -> list[Floats]:
    """For each cell its own fit, or what held-out clusters find better beyond noise: the family's, or one model."""
    count = len(whole)
    parts = list(np.eye(count))
    loss = [np.zeros((2 + count, len(cell.truth))) for cell in family]
    for fold in range(FOLDS):
        rest = [cell.rows(cell.fold != fold) for cell in family]
        shared = _fit_weights(rest, np.full(count, 1 / count))
        for cell, train, table in zip(family, rest, loss, strict=True):
            held = cell.fold == fold
            if held.any():
                candidates = (_fit_weights([train], shared), shared, *parts)
                table[:, held] = [cell.rows(held).losses(w) for w in candidates]
    chosen = []
    for cell, table in zip(family, loss, strict=True):
        gains = [_gain(table[0] - other, cell.cluster) for other in table[1:]]
        best = int(np.argmax(gains))
        chosen.append((whole, *parts)[best] if gains[best] > BEYOND_NOISE else _fit_weights([cell], whole))
    return chosen


def _gain(difference: Floats, cluster: NDArray[np.int64]) -> float:
    """How many standard errors a sum of paired differences lies above 0; few clusters can't reach far."""
    sums = np.bincount(cluster, difference)
    spread = float(np.sqrt((sums**2).sum()))
    return float(sums.sum()) / spread if spread > 0 else 0.0


def _kind(group: str) -> str:
    return group.rpartition("/")[2]


def _pattern(models: Sequence[str]) -> str:
    return "+".join(sorted(models))


def _named(models: Sequence[str], w: Floats) -> dict[str, float]:
    return {model: float(value) for model, value in zip(models, w, strict=True)}
