"""Sets of knowledge-graph nodes from scored candidates: they hold any gold answer of a query, or all of them.

The candidates of a query are what retrieval found, so its gold may be missing among them: then no threshold helps, and such a
query counts as a miss. A level that can't be reached for that reason is refused, with the lowest that can ("Towards Trustworthy
Knowledge Graph Reasoning", Ni et al. 2025, calibrate retrieval and reasoning likewise as one). For a chain of several hops, give
each final candidate the score of its whole path (`chain`) and calibrate once, end to end: a level a hop adds up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import TOLERANCE, Floats, digest, rank, threshold_of
from twinforge.errors import UserError

Cover = Literal["any", "all"]


@dataclass(frozen=True)
class Entities:
    """A score from which candidates are kept: a new query's set holds any (or all) of its gold with probability 1 - alpha.

    least : the lowest score that is kept. n : calibration queries. unreached : those whose gold was not among the candidates.
    data : sha256 of the queries' scores.
    """

    alpha: float
    cover: Cover
    n: int
    unreached: int
    least: float
    data: str

    @classmethod
    def fit(
        cls,
        query: NDArray[Any],
        score: Floats,
        gold: NDArray[np.bool_],
        alpha: float,
        cover: Cover = "any",
        gold_total: Mapping[Any, int] | None = None,
    ) -> Entities:
        """Calibrate on candidates, a row each.

        Parameters
        ----------
        query : (r,) which query a candidate is of. score : (r,) higher is likelier. gold : (r,) whether it answers.
        gold_total : gold answers of each query, found or not, for all queries (those without a candidate too); without it,
            every query is taken to have just the gold among its candidates, and at least one. A query without gold (0, for
            "all" only) is covered by any set.

        Raises
        ------
        UserError
            A level that too few queries or missing gold put out of reach, NaN scores, or lengths that differ.
        """
        keys, need = needed(query, score, gold, cover, gold_total)
        lost = int(np.isposinf(need).sum())
        threshold = threshold_of(need, alpha)
        if threshold == math.inf:
            lowest = lowest_alpha(need)
            why = (
                f"{lost} of {len(need)} queries lack gold among their candidates"
                if lost
                else f"{len(need)} queries are too few"
            )
            raise UserError(
                f"alpha {alpha}: {why}; the lowest that can be reached is {lowest:.4g}"
                if lowest < 1
                else f"alpha {alpha}: {why}; no level can be reached: retrieve more candidates"
            )
        return cls(alpha, cover, len(need), lost, -threshold, digest(np.array(keys).astype(str), need))

    def keep(self, score: Floats) -> NDArray[np.bool_]:
        """Which candidates (r,) are in their query's set."""
        return np.asarray(score, float) >= self.least - TOLERANCE

    def covered(
        self,
        query: NDArray[Any],
        score: Floats,
        gold: NDArray[np.bool_],
        gold_total: Mapping[Any, int] | None = None,
    ) -> tuple[list[Any], NDArray[np.bool_], NDArray[np.int64]]:
        """Each query, whether its set holds what it should, and how many candidates are in it; arguments as in `fit`."""
        keys, need = needed(query, score, gold, self.cover, gold_total)
        found, place = np.unique(query, return_inverse=True)
        kept = dict(zip(found.tolist(), np.bincount(place, self.keep(score), len(found)).astype(int), strict=True))
        return keys, need <= -self.least + TOLERANCE, np.array([kept.get(key, 0) for key in keys])

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back. A level from which everything is left out is null."""
        least = None if math.isinf(self.least) else self.least
        score = "minus the best gold score" if self.cover == "any" else "minus the worst gold score"
        return {"method": self.cover, "score": score, **asdict(self), "least": least}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Entities:
        """The inverse of `to_json`."""
        own = {entry.name: value[entry.name] for entry in fields(Entities)}
        return Entities(**{**own, "least": math.inf if own["least"] is None else own["least"]})


def needed(
    query: NDArray[Any],
    score: Floats,
    gold: NDArray[np.bool_],
    cover: Cover,
    gold_total: Mapping[Any, int] | None = None,
) -> tuple[list[Any], Floats]:
    """Each query and how far down the scores its set must reach, as minus the score: infinite where it can't,
    minus infinite where it needs nothing."""
    query, score, gold = np.asarray(query), np.asarray(score, float), np.asarray(gold, bool)
    if not len(query) == len(score) == len(gold):
        raise UserError(
            f"{len(query)} queries, {len(score)} scores and {len(gold)} gold marks; give one of each a candidate"
        )
    if np.isnan(score).any():
        raise UserError(f"{int(np.isnan(score).sum())} of {len(score)} scores are NaN; score those candidates again")
    if cover not in ("any", "all"):
        raise UserError(f"cover {cover!r}: give 'any' or 'all'")
    keys, place = np.unique(query, return_inverse=True)
    found = np.bincount(place[gold], minlength=len(keys))
    reach = np.full(len(keys), math.inf if cover == "any" else -math.inf)
    (np.minimum if cover == "any" else np.maximum).at(reach, place[gold], -score[gold])
    if gold_total is None:
        return keys.tolist(), np.where(found > 0, reach, math.inf)
    at = {key: i for i, key in enumerate(keys.tolist())}
    if unknown := [key for key in at if key not in gold_total]:
        raise UserError(f"gold_total lacks the query {unknown[0]!r}; give the number of gold answers of every query")
    places = np.array([at.get(key, -1) for key in gold_total], dtype=int)
    total = np.array(list(gold_total.values()), dtype=int)
    count = np.where(places >= 0, found[places] if len(found) else 0, 0)
    bad = (count > total) | (total < (1 if cover == "any" else 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise UserError(
            f"gold_total {total[first]} of query {list(gold_total)[first]!r}, which has {count[first]} gold candidates: "
            f"count all gold, found or not{'; to cover any, there must be some' if cover == 'any' else ''}"
        )
    whole = count > 0 if cover == "any" else count == total
    known = np.where(places >= 0, reach[places] if len(reach) else 0.0, -math.inf)
    return list(gold_total), np.where(whole, known, math.inf)


def lowest_alpha(need: Floats) -> float:
    """The lowest alpha with a finite threshold, given how far each query's set must reach; 1: there is none."""
    n, finite = len(need), int((need < math.inf).sum())
    alpha = 1 - finite / (n + 1)
    return next((a for a in (alpha, math.nextafter(alpha, 1), alpha + 1e-12) if a < 1 and rank(n, a) <= finite), 1.0)


def chain(*hops: Floats) -> Floats:
    """Score of whole paths from the probabilities (r,) of their hops: the product, so that a set is calibrated end to end."""
    return np.asarray(np.prod([np.asarray(hop, float) for hop in hops], axis=0))
