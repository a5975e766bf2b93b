"""Drift: how soon a known change is found, how often a detector alarms for nothing, and whether the right thing is named.

Splits: "test" is held-out calm, a quantity a skill; "shift" holds the changes, a scenario a skill. Models are the detectors, and
"<detector>-raw" the same one at the same threshold on the signal as it comes. In the scenario "nothing" nothing changes: what is
found there is found by chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eval.bootstrap import interval, ratio_draws, share_interval
from eval.evidence import Evidence, Measures, Result
from eval.meanings import DRIFT
from eval.measures import Cell, Estimate, Sample, entry
from twinforge.drift.trial import RUN, SOON

TOTALS = {  # measure -> the columns whose sums it divides
    "false_alarms": ("alarms", "thousands"),
    "found": ("found", "one"),
    "missed": ("missed", "one"),
    "early": ("early", "one"),
    "delay": ("delay", "timed"),
    "right_asset": ("right_asset", "asset_known"),
    "right_dimension": ("right_dimension", "dimension_known"),
}
IN_CALM, OF_CHANGES = ("false_alarms",), tuple(name for name in TOTALS if name != "false_alarms")


def run(evidence: Evidence) -> Result:
    """Measure every detector on every quantity in calm and on every scenario; intervals resample whole streams in calm, and changes.

    An always alarming detector finds nothing, for it alarms early; one that never alarms misses everything.
    """
    rows = evidence.drift
    if not len(rows):
        return Result({}, pd.DataFrame(columns=RUN.names), RUN)
    table = judged(rows)
    calm = table["scenario"] == "calm"
    measures: Measures = {}
    for split, part, by, wanted in (
        ("test", table[calm], "quantity", IN_CALM),
        ("shift", table[~calm], "scenario", OF_CHANGES),
    ):
        if len(part):
            measures[split] = {str(skill): _cell(own, wanted, evidence) for skill, own in part.groupby(by)}
    return Result(measures, rows, RUN)


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `RUN` with the numbers that the measures sum."""
    came = rows["delay"].notna()
    timed = came & ~rows["early"]
    asset, dimension = timed & rows["named"], timed & (rows["dimension"] != "") & (rows["named_dimension"] != "")
    calm, number = rows["scenario"] == "calm", rows.groupby(["scenario", "model"]).cumcount().astype(str)
    return rows.assign(
        episode=rows["asset"].where(calm, number), one=1.0, thousands=rows["steps"] / 1000, found=timed & (rows["delay"] <= SOON), missed=~came, timed=timed,
        delay=rows["delay"].where(timed, 0.0), asset_known=asset, right_asset=asset & (rows["named_asset"] == rows["asset"]),
        dimension_known=dimension, right_dimension=dimension & (rows["named_dimension"] == rows["dimension"]),
    )  # fmt: skip


def _cell(rows: pd.DataFrame, wanted: tuple[str, ...], evidence: Evidence) -> Cell:
    sample = Sample.of(rows["episode"], evidence.resamples, evidence.seed)
    found: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        for measure in wanted:
            tops, bottoms = (sample.sums(own, own[[name]].to_numpy(float)) for name in TOTALS[measure])
            if not bottoms.sum():
                continue
            n = int(own["steps"].sum() if measure == "false_alarms" else bottoms.sum())
            draws = ratio_draws(tops, bottoms, sample.weights)[:, 0]
            estimate = Estimate(float(tops.sum() / bottoms.sum()), draws, n, int((bottoms > 0).sum()))
            found.setdefault(measure, {})[str(model)] = entry(estimate, _bounds(estimate, measure), DRIFT[measure][0])
    return found


def _bounds(found: Estimate, measure: str) -> tuple[float, float]:
    """Percentiles over resampled assets; exact for a share of 0 or 1, and for no false alarm at all (Garwood 1936)."""
    if measure == "false_alarms" and found.value == 0:
        return 0.0, 1000 * -np.log(0.025) / found.n
    if measure in ("false_alarms", "delay"):
        return interval(found.draws, found.episodes)
    return share_interval(found.value, found.draws, found.n, found.episodes)
