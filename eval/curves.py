"""The points behind the plots, as tables that `dvc plots` reads too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from eval.meanings import COSTS
from eval.measures import confidence_bins, front
from twinforge.sectors.dimensions import LETTERS

SHOWN = ("twin", "llm", "boost", "rule", "base-best")
FIRST, STEPS = 5, 100  # the risk is drawn from 5 % answered on: before that it is a handful of rows


def reliability(table: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Mean confidence and share right per model and bin of confidence; columns model, confidence, accuracy, n."""
    rows = _shown(table, split)
    rows = rows.assign(bin=confidence_bins(rows["confidence"].to_numpy()))
    groups = rows.groupby(["model", "bin"], sort=True)
    means = groups.agg(confidence=("confidence", "mean"), accuracy=("right", "mean"), n=("right", "size"))
    return _in_order(means.reset_index().drop(columns="bin"))


def risk_coverage(table: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Share wrong among the most confident answers, against their share; columns model, answered, wrong.

    El-Yaniv and Wiener (2010), "On the Foundations of Noise-free Selective Classification", JMLR 11.
    """
    parts = []
    for model, rows in _shown(table, split).groupby("model"):
        wrong = 1 - rows.sort_values(["confidence", "question"], ascending=[False, True])["right"].to_numpy()
        kept = np.unique(np.ceil(len(wrong) * np.arange(FIRST, STEPS + 1) / STEPS).astype(int))
        parts.append(
            pd.DataFrame({"model": model, "answered": kept / len(wrong), "wrong": wrong.cumsum()[kept - 1] / kept})
        )
    return (
        _in_order(pd.concat(parts, ignore_index=True))
        if parts
        else pd.DataFrame(columns=["model", "answered", "wrong"])
    )


def of_measure(measures: Mapping[str, Any], name: str, split: str = "test") -> pd.DataFrame:
    """One measure over skills and models; columns skill, model and those of the entries (value, low, high, n, ...)."""
    rows = [
        {"skill": skill, "model": model, **entry}
        for skill, cell in measures.get(split, {}).items()
        for model, entry in cell.get(name, {}).items()
    ]
    frame = pd.DataFrame(rows, columns=None if rows else ["skill", "model", "value", "low", "high", "n"])
    return frame.drop(columns="better", errors="ignore")


def of_changes(measures: Mapping[str, Any]) -> pd.DataFrame:
    """Flips and accuracy lost of the suite "robustness"; columns measure, change, model, value, low, high, n (and smallest)."""
    names = ("flipped", "accuracy_lost")
    parts = [of_measure(measures, name).rename(columns={"skill": "change"}).assign(measure=name) for name in names]
    return pd.concat(parts, ignore_index=True)


def of_credits(measures: Mapping[str, Any]) -> pd.DataFrame:
    """What each dimension is worth in accuracy, of the suite "dimensions"; columns dimension, skill, model, value, low, high, n."""
    parts = [of_measure(measures, f"accuracy_credit_{name}").assign(dimension=name) for name in LETTERS]
    return pd.concat(parts, ignore_index=True)


def of_costs(measures: Mapping[str, Any], split: str = "test") -> pd.DataFrame:
    """The suite "cost", on the sample where there is one; columns cost, model, spent, value, low, high, n, front (no cheaper one beats it)."""
    cells = measures.get(split, {})
    cell = cells.get("sample", cells.get("all", {}))
    rows = [
        {
            "cost": cost,
            "model": model,
            "spent": found["value"],
            **cell["accuracy"][model],
            "front": model in front(cell, cost),
        }
        for cost in COSTS
        for model, found in cell.get(cost, {}).items()
    ]
    names = ["cost", "model", "spent", "value", "low", "high", "n", "front"]
    return pd.DataFrame(rows, columns=names).sort_values(["cost", "spent", "model"], ignore_index=True)


def example_day(table: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """The twin's answered numbers on one test episode, by time: the episode with most of them, the first by name.

    Columns asked, time, text, unit, truth, predicted, low, high, copy (what stood in the context; NaN where it has none).
    """
    twin = table[(table["model"] == "twin") & (table["split"] == "test") & (table["kind"] == "number")]
    twin = twin[twin["truth"].notna() & twin["predicted"].notna()]
    if not len(twin):
        return twin.assign(text="", copy=np.nan)
    counts = twin["episode"].value_counts()
    day = twin[twin["episode"] == counts[counts == counts.max()].index.min()]
    more = questions.set_index("id")[["text", "copy"]]
    return day.join(more, on="question").sort_values(["time", "question"], ignore_index=True)


def _shown(table: pd.DataFrame, split: str) -> pd.DataFrame:
    return table[(table["split"] == split) & table["model"].isin(SHOWN)]


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("model", key=lambda names: names.map(SHOWN.index), kind="stable", ignore_index=True)
