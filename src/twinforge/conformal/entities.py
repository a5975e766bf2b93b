"""Sets of knowledge-graph nodes from scored candidates: they hold any gold answer of a query, or all of them.

The candidates of a query are what retrieval found, so its gold may be missing among them: then no threshold helps, and such a
query counts as a miss. A level that can't be reached for that reason is refused, with the lowest that can ("Towards Trustworthy
Knowledge Graph Reasoning", Ni et al. 2025, calibrate retrieval and reasoning likewise as one). For a chain of several hops, give
each final candidate the score of its whole path (`chain`) and calibrate once, end to end: a level a hop adds up.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.threshold import TOLERANCE, Floats, rank, threshold_of
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
            every query is taken to have just the gold among its candidates, and at least one. To cover all of none, a query
            needs nothing.

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
        data = hashlib.sha256(repr(list(zip(keys, need.tolist(), strict=True))).encode()).hexdigest()
        return cls(alpha, cover, len(need), lost, -threshold, data)

    def keep(self, score: Floats) -> NDArray[np.bool_]:
        """Which candidates (r,) are in their query's set."""
        return np.asarray(score, float) >= self.least - TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Entities:
        """The inverse of `to_json`."""
        return Entities(**value)


def needed(
    query: NDArray[Any],
    score: Floats,
    gold: NDArray[np.bool_],
    cover: Cover,
    gold_total: Mapping[Any, int] | None = None,
) -> tuple[list[Any], Floats]:
    """Each query and how far down the scores its set must reach, as minus the score: infinite where it can't, -infinite where
    it needs nothing."""
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
    totals = (
        dict(zip(keys.tolist(), np.maximum(found, 1).tolist(), strict=True)) if gold_total is None else dict(gold_total)
    )
    if unknown := [key for key in keys.tolist() if key not in totals]:
        raise UserError(f"gold_total lacks the query {unknown[0]!r}; give the number of gold answers of every query")
    at = {key: i for i, key in enumerate(keys.tolist())}
    need = []
    for key, total in totals.items():
        count = int(found[at[key]]) if key in at else 0
        if count > total or total < (cover == "any"):
            raise UserError(
                f"query {key!r}: {count} gold candidates of {total} gold answers; give at least one, and all of them"
            )
        whole = count > 0 if cover == "any" else count == total
        need.append((float(reach[at[key]]) if count else -math.inf) if whole else math.inf)
    return list(totals), np.array(need)


def lowest_alpha(need: Floats) -> float:
    """The lowest alpha with a finite threshold, given how far each query's set must reach; 1: there is none."""
    n, finite = len(need), int((need < math.inf).sum())
    alpha = 1 - finite / (n + 1)
    return next((a for a in (alpha, math.nextafter(alpha, 1), alpha + 1e-12) if a < 1 and rank(n, a) <= finite), 1.0)


def chain(*hops: Floats) -> Floats:
    """Score of whole paths from the probabilities (r,) of their hops: the product, so that a set is calibrated end to end."""
    return np.asarray(np.prod([np.asarray(hop, float) for hop in hops], axis=0))
