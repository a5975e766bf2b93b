"""Quality: accuracy, calibration, sets, refusals, regret and cost of every model, per skill and split.

`run` is a pure function of stored answers. Beside each split stands "<split>|rule-wrong": the part where the operator's
rule is defined and wrong, so that no credit is given for repeating a cheap rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from eval.coverage import bands
from eval.evidence import Evidence, Measures, Result
from eval.measures import Cell, Sample, cell
from eval.scores import score

REPORTED = ("test", "shift")
PROMISED = ("test",)  # splits exchangeable with the calibration rows: the only ones whose coverage is promised
RULE_WRONG = "|rule-wrong"
BASES = ("base", "base-few", "base-prior")
BEST = "base-best"


def run(evidence: Evidence) -> Result:
    """Measure every model that answered.

    Returns
    -------
    Result
        Measures of splits "test" and "shift" and their "|rule-wrong" parts, each per skill and "all". A measure that is not
        defined for a model is left out. Coverage on a promised split has `promise`, `band_low`, `band_high` and `ok` beside the usual.
        The table has a row a question and model of `eval.scores.SCORE`, the calibration rows included.

    Raises
    ------
    UserError
        Answers that don't fit the questions.
    """
    questions, alpha, sets = evidence.questions, evidence.alpha, evidence.sets
    scored = [score(questions, rows, model, alpha, sets.get(model)) for model, rows in evidence.answers.items()]
    table = with_base_at_best(pd.concat(scored, ignore_index=True))
    measures: Measures = {}
    for split in REPORTED:
        rows = table[table["split"] == split]
        if not len(rows):
            continue
        sample = Sample.of(rows["episode"], evidence.resamples, evidence.seed)
        measures[split] = _cells(rows, sample)
        wrong = rows[rows["rule_wrong"]]
        if len(wrong):
            measures[split + RULE_WRONG] = _cells(wrong, sample)
        if split in PROMISED:
            _judge_coverage(measures[split], rows, table, sample, evidence)
    return Result(measures, table)


def with_base_at_best(table: pd.DataFrame) -> pd.DataFrame:
    """Add the model "base-best": the untuned base as it does best, with plain, few-shot or prior-corrected prompts.

    One way is chosen per split, by its accuracy on all the questions it answered there (few-shot: the stated sample); its rows
    are repeated under the new name. Choosing on the test rows themselves favours the base.
    """
    added = []
    for split in REPORTED:
        rows = table[(table["split"] == split) & table["model"].isin(BASES)]
        if len(rows):
            best = rows.groupby("model")["right"].mean().reindex(list(BASES)).idxmax()
            added.append(rows[rows["model"] == best].assign(model=BEST))
    return pd.concat([table, *added], ignore_index=True)


def _cells(rows: pd.DataFrame, sample: Sample) -> dict[str, Cell]:
    skills: Sequence[str] = sorted(rows["skill"].unique())
    return {"all": cell(rows, sample), **{skill: cell(rows[rows["skill"] == skill], sample) for skill in skills}}


def _judge_coverage(
    cells: dict[str, Cell], rows: pd.DataFrame, table: pd.DataFrame, sample: Sample, evidence: Evidence
) -> None:
    calibration = table[(table["split"] == "calibration") & table["covered"].notna()]
    plan = Sample.of(calibration["episode"], evidence.resamples, evidence.seed + 1)
    for model, own in rows[rows["covered"].notna()].groupby("model"):
        mine = calibration[calibration["model"] == model]
        for skill, band in bands(own, mine, evidence.alpha, sample, plan).items():
            judged = {"promise": 1 - evidence.alpha, "band_low": band.low, "band_high": band.high, "ok": band.ok}
            cells[skill]["coverage"][str(model)] |= judged
