"""Where rows are not exchangeable: a twin's thresholds that follow its stream, group by group, as truths come in.

A set holds the truth where the threshold in force reaches the truth's score. All questions of one state are answered before the
truth of any is known. Each group's share of misses is within `ACI.bound` of alpha on any stream (Gibbs and Candes 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from twinforge.conformal.online import ACI
from twinforge.conformal.rows import REFUSAL, Row

GAMMA = 0.05  # fast: a shift is to be answered within tens of questions
COLUMNS = ("question", "covered_online", "whole_online")


def start(rows: Sequence[Row], alpha: float) -> dict[str, ACI]:
    """A follower a group (and one of the refusal) that has seen the calibration rows' scores, in the order of their time.

    Its level is still alpha: the rows are exchangeable, so the level has nothing to learn from them.
    """
    scores: dict[str, list[float]] = {}
    for row in _in_time(rows):
        scores.setdefault(_group(row), []).append(row.score(alpha))
    made = {group: ACI(alpha, GAMMA) for group in scores}
    return {group: made[group].seen(values) for group, values in scores.items()}


def follow_rows(followers: Mapping[str, ACI], rows: Sequence[Row], alpha: float) -> pd.DataFrame:
    """Answer a stream of states in the order of their time.

    Returns
    -------
    Columns question, covered_online (the set in force held the truth), whole_online (it held everything), a row a question.
    """
    now, told = dict(followers), []
    states: dict[tuple[pd.Timestamp, str], list[Row]] = {}
    for row in _in_time(rows):
        states.setdefault((row.question["time"], row.question["episode"]), []).append(row)
    for state in states.values():
        issued = [(row, now.get(_group(row), ACI(alpha, GAMMA)).threshold()) for row in state]
        for row, threshold in issued:
            score = row.score(alpha)
            told.append((row.question["id"], threshold == math.inf or score <= threshold, threshold == math.inf))
            now[_group(row)] = now.get(_group(row), ACI(alpha, GAMMA)).observe(score, threshold)
    return pd.DataFrame(told, columns=list(COLUMNS))


def _group(row: Row) -> str:
    return REFUSAL if row.refused else row.group


def _in_time(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.question["time"], str(row.question["episode"])))
