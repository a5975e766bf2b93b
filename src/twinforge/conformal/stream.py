"""Intervals and sets along a stream: a follower of `online`, the score it follows, and its state between two files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.online import ACI, PID, DtACI, follow
from twinforge.conformal.threshold import TOLERANCE, Floats, digest
from twinforge.errors import UserError

Score = Literal["|y - prediction|", "max(lower - y, y - upper)", "1 - p"]
FOLLOWERS: Mapping[str, Any] = {"aci": ACI, "dtaci": DtACI, "pid": PID}
NEEDS: Mapping[Score, tuple[str, ...]] = {
    "|y - prediction|": ("prediction",), "max(lower - y, y - upper)": ("lower", "upper"), "1 - p": ("probabilities",),
}  # fmt: skip
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stream:
    """A follower, with the score it follows. n : truths it has seen. delay : steps until a truth is known."""

    method: str
    score: Score
    follower: ACI | DtACI | PID
    n: int
    delay: int
    data: str

    @classmethod
    def fit(cls, columns: Columns, truth: NDArray[Any], alpha: float, method: str = "aci", delay: int = 0) -> Stream:
        """Run over a first stretch of a stream, as in `run`; the follower then starts from what it has learnt.

        method : "aci", "dtaci" or "pid". PID's step is a tenth of the largest score here, and its reach ten of it: a score
        beyond that is refused.

        Raises
        ------
        UserError
            An unknown method, no columns that a score could be made of, lengths that differ, no truth at all.
        """
        score = next((name for name, needs in NEEDS.items() if set(needs) <= set(columns)), None)
        if score is None:
            raise UserError("a stream needs prediction, or lower and upper, or probabilities; none is complete")
        if method not in FOLLOWERS:
            raise UserError(f"method {method!r}: choose one of {', '.join(FOLLOWERS)}")
        if delay < 0:
            raise UserError(f"delay {delay}: give steps, 0 or more")
        scores = scores_of(score, columns, truth)
        if np.isnan(scores).all():
            raise UserError(f"truth: none of {len(scores)} is known; a stream starts from at least one")
        largest = float(np.nanmax(np.abs(scores))) or 1.0
        follower = PID(alpha, largest / 10, 10 * largest) if method == "pid" else FOLLOWERS[method](alpha)
        start = cls(method, score, follower, 0, delay, digest(scores))
        return start.run(columns, truth)[1]

    def run(
        self, columns: Columns, truth: NDArray[Any], alarms: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Stream]:
        """The threshold in force at each time (t,), and the stream at the end.

        columns : those of the score, (t,) or (t, k). truth : (t,) numbers or labels in order; NaN, or a label of -1, where it
        is never known. alarms : (t,) a drift alarm before that time.
        """
        scores = scores_of(self.score, columns, truth)
        issued, follower = follow(self.follower, scores.tolist(), self.delay, () if alarms is None else alarms.tolist())
        return issued, replace(self, follower=follower, n=self.n + int((~np.isnan(scores)).sum()))

    def intervals(self, columns: Columns, issued: Floats) -> tuple[Floats, Floats]:
        """Ends (t,) under the thresholds in force; where nothing is inside, the point in the middle."""
        low, high = (
            (columns["prediction"],) * 2 if self.score == "|y - prediction|" else (columns["lower"], columns["upper"])
        )
        none = low - issued > high + issued
        middle = (low + high) / 2
        return np.where(none, middle, low - issued), np.where(none, middle, high + issued)

    def sets(self, columns: Columns, issued: Floats) -> NDArray[np.bool_]:
        """Options (t, k) in each set."""
        return np.asarray(1 - columns["probabilities"] <= issued[:, None] + TOLERANCE)

    def bound(self, count: int) -> float | None:
        """Long-run bound of the method on |misses - alpha| after `count` more truths; None: it has none."""
        return None if isinstance(self.follower, DtACI) else self.follower.bound(count, self.delay)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        own = {
            "method": self.method,
            "score": self.score,
            "alpha": self.follower.alpha,
            "n": self.n,
            "delay": self.delay,
        }
        return {**own, "state": state_of(self.follower), "data": self.data}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Stream:
        """The inverse of `to_json`."""
        follower = from_state(value["method"], value["state"])
        return Stream(value["method"], value["score"], follower, value["n"], value["delay"], value["data"])


def state_of(follower: ACI | DtACI | PID) -> dict[str, Any]:
    """A follower as plain values; an infinite score is text."""
    state = {name: np.asarray(v).tolist() for name, v in asdict(follower).items()}
    if "scores" in state:
        state["scores"] = [score if math.isfinite(score) else str(score) for score in state["scores"]]
    return state


def from_state(method: str, state: Mapping[str, Any]) -> Any:
    """The follower that `state_of` gave."""
    held: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in state.items()}
    if "scores" in held:
        held["scores"] = np.array([float(score) for score in held["scores"]])
    return FOLLOWERS[method](**held)


def scores_of(score: Score, columns: Columns, truth: NDArray[Any]) -> Floats:
    """Scores (t,) of the truths, NaN where these are unknown."""
    needs = NEEDS[score]
    if missing := [name for name in needs if name not in columns]:
        raise UserError(f"{', '.join(missing)}: missing; this stream follows {score}")
    arrays, truth = [np.asarray(columns[name], float) for name in needs], np.asarray(truth, float)
    for name, array in zip(needs, arrays, strict=True):
        if array.shape[:1] != truth.shape or array.ndim != (2 if score == "1 - p" else 1):
            raise UserError(f"{name} {array.shape}: does not fit the {truth.shape} truths")
        if score != "1 - p" and np.isnan(array).any():
            raise UserError(f"{name}: {int(np.isnan(array).sum())} of {array.size} are NaN; a set needs an answer")
    if score == "|y - prediction|":
        return np.abs(truth - arrays[0])
    if score == "max(lower - y, y - upper)":
        return np.maximum(arrays[0] - truth, truth - arrays[1])
    known = ~np.isnan(truth) & (truth >= 0)
    at = np.where(known, truth, 0).astype(int)
    if (at >= arrays[0].shape[1]).any():
        raise UserError(f"labels {at.max()}: give the index of an option, 0 to {arrays[0].shape[1] - 1}, or -1")
    found = 1 - np.take_along_axis(arrays[0], at[:, None], axis=1)[:, 0]
    if (known & np.isnan(found)).any():
        row = int(np.argmax(known & np.isnan(found)))
        raise UserError(f"labels {at[row]} in row {row}: that option is absent (NaN)")
    return np.where(known, found, np.nan)
