"""Synthetic question tables (`records.QUESTION`) whose truth depends on their features in a known way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from twinforge.records import QUESTION

TIME = pd.Timestamp("2020-01-01")
CLASSES = ("low", "middle", "high")


def question(n: int, episode: str, asked: str, **values: Any) -> dict[str, Any]:
    """One row with neutral values wherever none is given."""
    row = {name: "" for name in QUESTION.names}
    row |= {
        "options": [],
        "notes": [],
        "low": 0.0,
        "high": 0.0,
        "step": 1.0,
        "tolerance": 0.0,
        "payoff": [],
        "harm": [],
        "validation": False,
        "gold": [],
        "gold_total": 0,
        "rule_gold": [],
    }
    row |= {"rule": np.nan, "rule_defined": False, "persistence": np.nan, "copy": np.nan, "truth": np.nan}
    row["id"] = f"{asked}-{values.get('kind', 'choice')}-{n}"
    row |= {"episode": episode, "time": TIME, "asked": asked, "skill": asked, "kind": "choice"}
    row["template"] = values.get("kind", "choice")
    row |= values
    if np.isnan(row["truth"]):
        row["skill"] = "unanswerable"
    return row


def classes(n: int, rng: np.random.Generator, asked: str = "what-if", unknown: float = 0.1) -> list[dict[str, Any]]:
    """One row of features; the class is the third that the first feature lies in; unknown ones lack it."""
    rows = []
    for i in range(n):
        x = rng.uniform(0, 3, 3)
        truth = float(int(x[0]))
        rule = float(int(np.clip(x[0] + rng.normal(0, 0.4), 0, 2.99)))
        if rng.random() < unknown:
            x[0], truth, rule = np.nan, np.nan, np.nan
        values = {"options": list(CLASSES), "features": [list(x)], "truth": truth, "rule": rule, "rule_defined": True}
        rows.append(question(i, f"day-{i // 10}", asked, **values))
    return rows


def picks(n: int, rng: np.random.Generator, asked: str = "recommend", unknown: float = 0.1) -> list[dict[str, Any]]:
    """One row of features an option, two to five options; the one with the largest first feature is right."""
    rows = []
    for i in range(n):
        k = int(rng.integers(2, 6))
        x = rng.normal(size=(k, 2))
        truth = float(np.argmax(x[:, 0]))
        if rng.random() < unknown:
            x[:, 0], truth = np.nan, np.nan
        options = [f"action {j}" for j in rng.permutation(8)[:k]]
        rows.append(question(i, f"day-{i // 10}", asked, options=options, features=x.tolist(), truth=truth))
    return rows


def numbers(n: int, rng: np.random.Generator, asked: str = "forecast", unknown: float = 0.1) -> list[dict[str, Any]]:
    """50 + 20 x with noise of 3; persistence is the truth of an older x, the rule has noise of 6."""
    rows = []
    for i in range(n):
        x = rng.normal(size=2)
        truth = float(np.clip(round(50 + 20 * x[0] + rng.normal(0, 3)), 0, 120))
        values = {"persistence": truth + rng.normal(0, 10), "copy": truth + 5.0 if i % 2 else np.nan}
        values |= {"rule": float(np.clip(truth + rng.normal(0, 6), 0, 120)), "rule_defined": True}
        if rng.random() < unknown:
            x[0], truth, values["rule"] = np.nan, np.nan, np.nan
        space = {"kind": "number", "unit": "%", "high": 120.0, "tolerance": 5.0}
        rows.append(question(i, f"day-{i // 10}", asked, features=[list(x)], truth=truth, **space, **values))
    return rows


def sets(n: int, rng: np.random.Generator, asked: str = "dependency", unknown: float = 0.1) -> list[dict[str, Any]]:
    """Three to six candidates with a row of features each; those whose first is above 0.3 belong to the set, one in twelve of
    the sets has one more that is no candidate, and the rule errs on one candidate in ten."""
    rows = []
    for i in range(n):
        k = int(rng.integers(3, 7))
        x = rng.normal(size=(k, 2))
        gold, said = x[:, 0] > 0.3, (x[:, 0] > 0.3) ^ (rng.random(k) < 0.1)
        known, more = rng.random() >= unknown, int(rng.random() < 1 / 12)
        if not known:
            x[:, 0], gold, said = np.nan, gold & False, said & False
        values = {"options": [f"node {j}" for j in range(k)], "features": x.tolist(), "rule_defined": True}
        values |= {"gold": np.flatnonzero(gold).tolist(), "rule_gold": np.flatnonzero(said).tolist()}
        values["gold_total"] = int(gold.sum()) + more if known else 0
        values |= {"truth": float(values["gold_total"]), "rule": float(said.sum())} if known else {}
        rows.append(question(i, f"day-{i // 10}", asked, kind="entities", **values))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame with the columns of `records.QUESTION`."""
    return pd.DataFrame(list(rows), columns=QUESTION.names)
