"""A second opinion on a report: what the twin's own answers say of the statements that its language model wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from twinforge.records import QUESTION, SLACK, AnswerSpace, question_id, space_of

BACKING = pa.schema(
    [
        ("report", pa.string()),
        ("asset", pa.string()),  # with the three below: what a claim speaks of, as in `claims.CLAIM`
        ("quantity", pa.string()),
        ("hours", pa.float64()),
        ("given", pa.string()),
        ("question", pa.string()),  # id of the question whose answer tells of it
        ("holds", pa.list_(pa.int64())),  # entries of its answer vector by which a claim of 1 is so; empty: of a value
    ]
)
ABOUT = ["report", "asset", "quantity", "hours", "given"]


def tables_of(rows: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What backs reports (`BACKING`), and the questions asked for it (`records.QUESTION`), each once.

    rows : of reports with id, episode, time, validation and `backing` (see `sectors.Sector.report`).
    """
    links, asked = [], {}
    for row in rows:
        for one in row["backing"]:
            question = one["question"]
            own = question_id(row["episode"], row["time"], question["asked"], question["text"])
            asked[own] = {**question, "id": own, **{name: row[name] for name in ("episode", "time", "validation")}}
            links.append({**one, "report": row["id"], "question": own})
    return pd.DataFrame(links, columns=BACKING.names), pd.DataFrame(list(asked.values()), columns=QUESTION.names)


def chances(
    claims: pd.DataFrame, backing: pd.DataFrame, questions: pd.DataFrame, answers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The chance (n,) that each claim is so by the answer to the question that backs it; NaN where none does.

    Parameters
    ----------
    claims : rows of `claims.CLAIM`. backing, questions : from `tables_of`. answers : question id -> answer vector.
    """
    spaces = {row["id"]: space_of(row) for _, row in questions.iterrows()}
    links = {tuple(row[:5]): row[5:] for row in backing[BACKING.names].itertuples(index=False, name=None)}
    found = np.full(len(claims), np.nan)
    for place, claim in enumerate(claims[[*ABOUT, "value", "unit"]].itertuples(index=False, name=None)):
        question, holds = links.get(claim[:5], ("", ()))
        value, unit = claim[5:]
        if question in answers:
            found[place] = chance(value, unit, spaces[question], np.asarray(answers[question]), holds)
    return found


def chance(value: float, unit: str, space: AnswerSpace, p: np.ndarray, holds: Collection[int]) -> float:
    """The chance that a quantity has this value by an answer vector; what is put on a refusal speaks against every value.

    holds : entries of the vector by which a quantity of 0 or 1 is 1; empty for a number, which is so if it is within the tolerance.
    """
    if len(holds):
        yes = float(p[list(holds)].sum())
        return {1.0: yes, 0.0: float(p[:-1].sum()) - yes}.get(value, 0.0)
    if unit != space.unit:
        return 0.0
    return float(p[:-1][np.abs(space.values - value) <= space.tolerance + SLACK].sum())
