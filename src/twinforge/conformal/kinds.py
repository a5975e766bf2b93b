"""One adapter a kind of answer: from a table of scores to its calibrator, its sets, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal import choice, number, stream, text
from twinforge.conformal.choice import Choice
from twinforge.conformal.entities import Entities
from twinforge.conformal.number import Number
from twinforge.conformal.report import Outcome, Promise
from twinforge.conformal.risk import Selective
from twinforge.conformal.stream import Stream
from twinforge.conformal.tables import Scores
from twinforge.errors import UserError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Options:
    """What a calibration is asked for. method : the kind's first where it is empty. group : column of the groups."""

    alpha: float = 0.1
    method: str = ""
    group: str | None = None
    side: number.Side = "both"
    cover: str = "any"
    risk: float = 0.05
    delta: float = 0.1
    delay: int = 0
    seed: int = 0
    plain: bool = False


class Kind(Protocol):
    """What the command asks of a kind. `group` is the column that it was calibrated by, if any."""

    methods: tuple[str, ...]

    def fit(self, scores: Scores, options: Options) -> Any: ...
    def load(self, value: Mapping[str, Any]) -> Any: ...
    def predict(self, calibrator: Any, scores: Scores, group: str | None) -> Arrays: ...
    def outcome(self, calibrator: Any, scores: Scores, group: str | None) -> tuple[Outcome, Promise]: ...


class _Choices:
    methods: tuple[str, ...] = tuple(choice.SCORES)

    def fit(self, scores: Scores, options: Options) -> Choice:
        p, labels = scores.need("probabilities", "labels")
        groups, weights = _groups(scores, options.group, "labels"), scores.per_row("weight", "labels")
        method: Any = options.method or "lac"
        return Choice.fit(
            p, labels, options.alpha, method, groups, weights, randomised=not options.plain, seed=options.seed
        )

    def load(self, value: Mapping[str, Any]) -> Choice:
        return Choice.from_json(value)

    def predict(self, calibrator: Choice, scores: Scores, group: str | None) -> Arrays:
        (p,) = scores.need("probabilities")
        groups = _groups(scores, group, "probabilities")
        return {"sets": calibrator.sets(p, groups, scores.per_row("weight", "probabilities"))}

    def outcome(self, calibrator: Choice, scores: Scores, group: str | None) -> tuple[Outcome, Promise]:
        p, labels = scores.need("probabilities", "labels")
        sets = self.predict(calibrator, scores, group)["sets"]
        held = np.take_along_axis(sets, choice.labels_of(labels, p)[:, None], axis=1)[:, 0]
        sure = np.nanmax(p.astype(float), axis=1)
        return _rows(held, sets.sum(axis=1), "set size", scores, group, calibrator.thresholds, sure, "largest p")


class _Numbers:
    methods: tuple[str, ...] = tuple(number.NEEDS)

    def fit(self, scores: Scores, options: Options) -> Number:
        method: Any = options.method or "cqr"
        (truth,) = scores.need("truth")
        groups, weights = _groups(scores, options.group, "truth"), scores.per_row("weight", "truth")
        return Number.fit(scores.columns, truth, options.alpha, method, options.side, groups, weights, options.seed)

    def load(self, value: Mapping[str, Any]) -> Number:
        return Number.from_json(value)

    def predict(self, calibrator: Number, scores: Scores, group: str | None) -> Arrays:
        first = next((name for name in (*number.NEEDS[calibrator.method], "mass") if name in scores), "lower")
        scores.need(first)
        place = _groups(scores, group, first), scores.per_row("weight", first)
        low, high = calibrator.intervals(scores.columns, *place)
        cells = {"sets": calibrator.cells(scores.columns, *place)} if calibrator.method == "density" else {}
        return {"lower": low, "upper": high, **cells}

    def outcome(self, calibrator: Number, scores: Scores, group: str | None) -> tuple[Outcome, Promise]:
        (truth,) = scores.need("truth")
        made = self.predict(calibrator, scores, group)
        held: NDArray[np.bool_] = (made["lower"] <= truth) & (truth <= made["upper"])
        width = made["upper"] - made["lower"]
        if "sets" in made:
            grid = np.asarray(scores["grid"], float)
            held = made["sets"][np.arange(len(truth)), number.nearest(grid, truth)]
            width = (made["sets"] * np.diff(number.edges_of(grid))).sum(axis=1)
        if truth.ndim == 2:
            held, width = np.atleast_1d(held.all(axis=1)), width.mean(axis=1)
        return _rows(held, width, "width", scores, group, calibrator.thresholds)


class _Entities:
    methods: tuple[str, ...] = ("any", "all")

    def fit(self, scores: Scores, options: Options) -> Entities:
        query, score, gold = scores.need("query", "score", "gold")
        cover: Any = options.method or options.cover
        return Entities.fit(query, score, gold, options.alpha, cover, _totals(scores))

    def load(self, value: Mapping[str, Any]) -> Entities:
        return Entities.from_json(value)

    def predict(self, calibrator: Entities, scores: Scores, group: str | None) -> Arrays:
        return {"keep": calibrator.keep(scores.need("score")[0])}

    def outcome(self, calibrator: Entities, scores: Scores, group: str | None) -> tuple[Outcome, Promise]:
        query, score, gold = scores.need("query", "score", "gold")
        keys, held, kept = calibrator.covered(query, score, gold, _totals(scores))
        cluster = _of_queries(scores, "cluster", keys)
        promise = Promise(1 - calibrator.alpha, {"": calibrator.n})
        return Outcome(held, kept.astype(float), "nodes kept", cluster=cluster), promise


class _Text:
    methods: tuple[str, ...] = ("claims", "first-k", "max", "sum")

    def fit(self, scores: Scores, options: Options) -> text.Claims | text.Sampler:
        method = options.method or ("claims" if "supported" in scores else "max")
        if method == "claims":
            query, score, supported = scores.need("query", "score", "supported")
            return text.Claims.fit(query, score, supported, options.alpha)
        query, score, correct = scores.need("query", "score", "correct")
        alike: Any = scores.per_row("similarity", "query")
        return text.Sampler.fit(query, score, correct, options.alpha, options.delta, method, alike)  # type: ignore[arg-type]

    def load(self, value: Mapping[str, Any]) -> text.Claims | text.Sampler:
        return (text.Claims if value["method"] == "claims" else text.Sampler).from_json(value)

    def predict(self, calibrator: text.Claims | text.Sampler, scores: Scores, group: str | None) -> Arrays:
        query, score = scores.need("query", "score")
        if isinstance(calibrator, text.Claims):
            return {"keep": calibrator.keep(score)}
        return {"keep": calibrator.keep(query, score, scores.per_row("similarity", "query"))}

    def outcome(
        self, calibrator: text.Claims | text.Sampler, scores: Scores, group: str | None
    ) -> tuple[Outcome, Promise]:
        claims = isinstance(calibrator, text.Claims)
        query, good = scores.need("query", "supported" if claims else "correct")
        keep, good = self.predict(calibrator, scores, group)["keep"], good.astype(bool)
        keys, place = np.unique(query, return_inverse=True)
        kept = np.bincount(place, keep, minlength=len(keys))
        right = np.bincount(place, keep & good, minlength=len(keys))
        held = right == kept if claims else right > 0
        promise = Promise(1 - calibrator.alpha, {"": calibrator.n} if claims else {})
        name = "claims kept" if claims else "samples kept"
        return Outcome(held, kept.astype(float), name, cluster=_of_queries(scores, "cluster", keys)), promise


class _Risk:
    methods: tuple[str, ...] = ("selective",)

    def fit(self, scores: Scores, options: Options) -> Selective:
        confidence, correct = scores.need("confidence", "correct")
        cluster = scores.per_row("cluster", "confidence")
        return Selective.fit(confidence, correct, options.risk, options.delta, cluster)

    def load(self, value: Mapping[str, Any]) -> Selective:
        return Selective.from_json(value)

    def predict(self, calibrator: Selective, scores: Scores, group: str | None) -> Arrays:
        return {"answer": calibrator.answers(scores.need("confidence")[0])}

    def outcome(self, calibrator: Selective, scores: Scores, group: str | None) -> tuple[Outcome, Promise]:
        confidence, correct = scores.need("confidence", "correct")
        answer = calibrator.answers(confidence)
        safe, cluster = ~answer | correct.astype(bool), scores.per_row("cluster", "confidence")
        found = Outcome(safe, answer.astype(float), "answered", confidence.astype(float), "confidence", cluster=cluster)
        return found, Promise(1 - calibrator.risk, {})


class _Online:
    methods: tuple[str, ...] = tuple(stream.FOLLOWERS)

    def fit(self, scores: Scores, options: Options) -> Stream:
        truth = self._truth(scores)
        return Stream.fit(scores.columns, truth, options.alpha, options.method or "aci", options.delay)

    def load(self, value: Mapping[str, Any]) -> Stream:
        return Stream.from_json(value)

    def predict(self, calibrator: Stream, scores: Scores, group: str | None) -> Arrays:
        first = stream.NEEDS[calibrator.score][0]
        (shape,) = scores.need(first)
        name = "labels" if first == "probabilities" else "truth"
        truth = self._truth(scores) if name in scores else np.full(len(shape), math.nan)
        issued, _ = calibrator.run(scores.columns, truth, scores.per_row("alarm", first))
        if first == "probabilities":
            return {"sets": calibrator.sets(scores.columns, issued), "threshold": issued}
        low, high = calibrator.intervals(scores.columns, issued)
        return {"lower": low, "upper": high, "threshold": issued}

    def outcome(self, calibrator: Stream, scores: Scores, group: str | None) -> tuple[Outcome, Promise]:
        made, truth = self.predict(calibrator, scores, group), self._truth(scores)
        score = stream.scores_of(calibrator.score, scores.columns, truth)
        known = ~np.isnan(score)
        size = made["sets"].sum(axis=1) if "sets" in made else made["upper"] - made["lower"]
        bound = calibrator.bound(max(int(known.sum()), 1))
        name = "set size" if "sets" in made else "width"
        found = Outcome((score <= made["threshold"])[known], size[known].astype(float), name)
        return found, Promise(1 - calibrator.follower.alpha, {}, bound=math.inf if bound is None else bound)

    def _truth(self, scores: Scores) -> NDArray[Any]:
        return scores.need("labels" if "probabilities" in scores and "labels" in scores else "truth")[0]


KINDS: Mapping[str, Kind] = {
    "choice": _Choices(), "number": _Numbers(), "entities": _Entities(), "text": _Text(), "risk": _Risk(), "online": _Online(),
}  # fmt: skip


def _groups(scores: Scores, group: str | None, like: str) -> NDArray[Any] | None:
    return scores.need(like, group)[1] if group else None


def _rows(
    held: NDArray[np.bool_], size: NDArray[Any], size_name: str, scores: Scores, group: str | None, thresholds: Any,
    sure: NDArray[Any] | None = None, sure_name: str = "",
) -> tuple[Outcome, Promise]:  # fmt: skip
    """Outcome and promise of a kind whose rows each have a set: by group where the promise is, or where there are any."""
    groups, cluster = scores.get(group or "groups"), scores.get("cluster")
    found = Outcome(held, size.astype(float), size_name, sure, sure_name, groups, group is not None, cluster)
    return found, Promise(1 - thresholds.alpha, {name: n for name, (n, _) in thresholds.groups.items()})


def _totals(scores: Scores) -> dict[Any, int] | None:
    """Gold answers of each query: an entry a query numbered from 0, or an entry a row (the same within a query)."""
    total = scores.get("gold_total")
    if total is None:
        return None
    query = scores["query"]
    numbered = np.issubdtype(query.dtype, np.integer) and (
        not len(query) or 0 <= query.min() <= query.max() < len(total)
    )
    if numbered and (scores.path.suffix == ".npz" or len(total) != len(query)):
        return dict(enumerate(total.astype(int).tolist()))
    if len(total) != len(query):
        raise UserError(
            f"{scores.path}: gold_total has {len(total)} entries; give one a query, these numbered from 0, or one a row"
        )
    found = dict(zip(query.tolist(), total.astype(int).tolist(), strict=True))
    differ = [key for key, each in zip(query.tolist(), total.tolist(), strict=True) if found[key] != int(each)]
    if differ:
        raise UserError(f"{scores.path}: gold_total differs between the rows of query {differ[0]!r}")
    return found


def _of_queries(scores: Scores, name: str, keys: Any) -> NDArray[Any] | None:
    """A row-wise column as one entry a query, in the order of `keys`; a query without rows is alone."""
    column = scores.per_row(name, "query")
    if column is None:
        return None
    found = dict(zip(scores["query"].tolist(), column.tolist(), strict=True))
    return np.array([str(found.get(key, f"alone {key}")) for key in np.asarray(keys).tolist()])
