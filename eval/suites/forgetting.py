"""Forgetting: what the tuned language model lost of what the base could do, on general items of no sector.

Items and how they are answered: `eval.probes.general`. In metrics.json a topic stands where a skill stands elsewhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval, share_interval, smallest_difference
from eval.evidence import Evidence, Measures, Result
from eval.measures import Cell, Sample, better, entry, mean_of
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
        right = mean_of(own, own["right"], sample)
        bounds = share_interval(right.value, right.draws, right.n, right.episodes)
        result.setdefault("accuracy", {})[str(model)] = entry(right, bounds, better("accuracy"))
        surprise = mean_of(own, own["surprise"], sample)
        result.setdefault("surprise", {})[str(model)] = entry(
            surprise, interval(surprise.draws, surprise.episodes), better("surprise")
        )
        if model != BASE:
            then = base.loc[own["item"]]
            lost = mean_of(own, pd.Series(then["right"].to_numpy() - own["right"].to_numpy()), sample)
            error = float(np.nanstd(lost.draws, ddof=1))
            result.setdefault("accuracy_forgotten", {})[str(model)] = entry(
                lost,
                interval(lost.draws, lost.episodes),
                better("accuracy_forgotten"),
                smallest=smallest_difference(error, lost.n, lost.episodes),
            )
            more = mean_of(own, pd.Series(own["surprise"].to_numpy() - then["surprise"].to_numpy()), sample)
            result.setdefault("surprise_gained", {})[str(model)] = entry(
                more, interval(more.draws, more.episodes), better("surprise_gained")
            )
    return result
