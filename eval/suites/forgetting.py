"""Forgetting: what the tuned language model lost of what the base could do, on general items of no sector.

Items and how they are answered: `eval.probes.general`. In metrics.json a topic stands where a skill stands elsewhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval, smallest_difference
from eval.evidence import Evidence, Measures, Result
from eval.meanings import better
from eval.measures import Cell, Entry, Sample, entry, mean_of, share_entry
from twinforge.errors import UserError

BASE = "base"
SPLIT = "general"
ITEM = pa.schema(
    [
        ("item", pa.string()),
        ("topic", pa.string()),
        ("model", pa.string()),
        ("right", pa.float64()),  # the right continuation is the likeliest
        ("surprise", pa.float64()),  # nats a token of the right continuation
    ]
)


def run(evidence: Evidence) -> Result:
    """Measure every model that was asked the general items; what each lost stands against the base, paired item by item.

    Returns
    -------
    Result
        Measures of split "general" by topic and "all": `accuracy` and `surprise` of each model, `accuracy_forgotten` and
        `surprise_gained` of each but the base, `accuracy_forgotten` with `smallest`. Items are independent: each is its own cluster. Nothing
        where no item was asked. The table has a row an item and model (`ITEM`).

    Raises
    ------
    UserError
        An item answered twice, or by one model only.
    """
    rows = evidence.general
    if not len(rows):
        return Result({}, pd.DataFrame(columns=ITEM.names), ITEM)
    _check(rows)
    logs = np.stack([np.asarray(each, dtype=float) for each in rows["logs"]])
    table = rows[["item", "topic", "model"]].assign(right=(logs.argmax(1) == 0).astype(float), surprise=-logs[:, 0])
    table = table.reset_index(drop=True).assign(episode=table["item"].to_numpy())
    sample = Sample.of(table["item"], evidence.resamples, evidence.seed)
    cells = {"all": _cell(table, sample)}
    cells |= {str(topic): _cell(own, sample) for topic, own in table.groupby("topic", sort=False)}
    measures: Measures = {SPLIT: cells}
    return Result(measures, table[ITEM.names], ITEM)


def _check(rows: pd.DataFrame) -> None:
    if len(twice := rows.loc[rows.duplicated(["item", "model"]), "item"].unique()):
        raise UserError(f"general items: {list(twice[:3])} are answered twice by one model; run `dvc repro` again")
    asked = rows.groupby("model")["item"].agg(set)
    every = set(rows["item"])
    if BASE not in asked.index or any(found != every for found in asked):
        raise UserError(
            f"general items: each model must answer all {len(every)}, and {BASE!r} too; run `dvc repro` again"
        )


def _cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    result: Cell = {}
    base = rows[rows["model"] == BASE].set_index("item")
    for model, own in rows.groupby("model", sort=False):
        found = {
            "accuracy": share_entry("accuracy", own, own["right"], sample),
            "surprise": _mean("surprise", own, own["surprise"], sample),
        }
        if model != BASE:
            then = base.loc[own["item"]].set_index(own.index)
            found["accuracy_forgotten"] = _mean("accuracy_forgotten", own, then["right"] - own["right"], sample, True)
            found["surprise_gained"] = _mean("surprise_gained", own, own["surprise"] - then["surprise"], sample)
        for name, figure in found.items():
            result.setdefault(name, {})[str(model)] = figure
    return result


def _mean(name: str, rows: pd.DataFrame, values: pd.Series, sample: Sample, smallest: bool = False) -> Entry:
    """A mean with its interval; with the smallest difference that would have been seen, if asked."""
    found = mean_of(rows, values, sample)
    error = float(np.nanstd(found.draws, ddof=1))
    more = {"smallest": smallest_difference(error, found.n, found.episodes)} if smallest else {}
    return entry(found, interval(found.draws, found.episodes), better(name), **more)
