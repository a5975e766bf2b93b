"""Does today's twin fall behind the released one, or miss a bar? Every suite is read; at most eight figures decide.

A paired measure fails when today is worse than the release by more than its margin, beyond chance: whole episodes are the unit, Holm
over all of them. A bar (`eval.bars`) fails when it is missed beyond chance, coverage when it is below its band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from eval.bars import Held, hold
from eval.bootstrap import smallest_difference
from eval.meanings import MEANS, better
from eval.measures import Sample, estimate, unit_of
from eval.scores import SCORE
from eval.verdict import Comparison, Coverage, GateReport

QUALITY, SPLIT, MODEL = "quality", "test", "twin"
PAIRED = (QUALITY, "robustness", "dimensions")  # the suites whose rows are kept with a release, a row a question


Tables = Mapping[str, pd.DataFrame]
NOTHING = pd.DataFrame(columns=SCORE.names)


class Primary(Protocol):
    """One measure that may not get worse by more than `margin` (the recipe's `gate.measures`)."""

    @property
    def suite(self) -> str: ...
    @property
    def skill(self) -> str: ...
    @property
    def measure(self) -> str: ...
    @property
    def margin(self) -> float: ...


def verdict(
    today: Tables,
    release: Tables,
    metrics: Mapping[str, Any],
    measures: Sequence[Primary],
    bars: Sequence[str],
    alpha: float,
    episodes_seen: int = 3,
) -> GateReport:
    """Judge today's twin.

    Parameters
    ----------
    today, release : suite -> rows of `eval.scores.SCORE` (other models and splits are ignored); no release yet: empty.
    metrics : suite -> split -> skill -> measure -> model -> entry; the coverage bands of "quality" are held too.
    measures, bars : at most eight together; bars are suites of `eval.bars.BARS`.
    alpha : chance of failing a twin no worse than the margins, over all paired measures (Holm 1979).
    episodes_seen : with fewer episodes in common nothing can be compared.

    Returns
    -------
    GateReport
        "fail" where a measure is worse or undefined, a bar is missed, or coverage is too low; "not comparable" (not passed) where
        fewer than half of the released questions are there today; "no baseline" (passed) where there is no release. What is
        unclear, was not measured or has no release fails nothing, and is named.
    """
    coverage, held = _coverage(metrics.get(QUALITY, {})), tuple(hold(metrics, suite) for suite in bars)
    notes = (
        [f"coverage is too low on: {', '.join(low)}"] if (low := [row.skill for row in coverage if not row.ok]) else []
    )
    notes += [f"{row.suite} misses its bar, {row.bar}" for row in held if row.finding == "missed"]
    bad = bool(notes)
    notes += _named(held)
    if QUALITY not in release:
        notes.append("no released answers to compare with: `twinforge gate --accept` makes today's the baseline")
        return GateReport("fail" if bad else "no baseline", not bad, alpha, (), held, coverage, tuple(notes))
    ours, theirs = paired(_twin(today[QUALITY]), _twin(release[QUALITY]))
    share = len(ours) / max(len(_twin(release[QUALITY])), 1)
    if share < 0.5 or ours["episode"].nunique() < episodes_seen:
        notes.append(
            f"only {share:.0%} of the released questions are among today's, so the two can't be compared: "
            "if the data changed on purpose, look at the report and run `twinforge gate --accept`"
        )
        return GateReport("not comparable", False, alpha, (), held, coverage, tuple(notes))
    rows = _with_holm(
        [_compared(today, release, each, alpha / len(measures), episodes_seen) for each in measures], alpha
    )
    worse = [f"{row.suite} {row.skill} {row.measure} fails" for row in rows if row.finding in ("worse", "undefined")]
    seen = f"{len(ours)} questions in {ours['episode'].nunique()} episodes compared; {share:.0%} of the released ones"
    bad = bad or bool(worse)
    notes = [*worse, *notes, *_named(rows), seen]
    return GateReport("fail" if bad else "pass", not bad, alpha, rows, held, coverage, tuple(notes))


def _named(rows: Sequence[Comparison | Held]) -> list[str]:
    """A note a finding that decides nothing."""
    words = {
        "unclear": "too few episodes to say",
        "not measured": "not measured (`make suites` does)",
        "no release": "nothing released",
    }
    found = {name: [f"{row.suite} {row.measure}" for row in rows if row.finding == name] for name in words}
    return [f"{words[name]}: {', '.join(names)}" for name, names in found.items() if names]


def _compared(today: Tables, release: Tables, primary: Primary, level: float, episodes_seen: int) -> Comparison:
    """One primary measure on the questions both answered; of another suite than quality it says where there are too few."""
    new, old = (_twin(side.get(primary.suite, NOTHING)) for side in (today, release))
    ours, theirs = paired(new, old)
    empty = Comparison(primary.skill, primary.measure, primary.margin, 0, 0, suite=primary.suite)
    if primary.suite != QUALITY and not len(old):
        return replace(empty, finding="no release")
    if primary.suite != QUALITY and ours["episode"].nunique() < episodes_seen:
        return replace(empty, finding="not measured")
    return replace(compare_measure(ours, theirs, primary, level), suite=primary.suite)


def baseline(table: pd.DataFrame) -> pd.DataFrame:
    """The rows to keep as the released answers: the twin's on the test split, under `SCORE`."""
    return _twin(table)[SCORE.names].sort_values("question", ignore_index=True)


def _twin(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["model"] == MODEL) & (table["split"] == SPLIT)]


def paired(today: pd.DataFrame, release: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    common = sorted(set(today["question"]) & set(release["question"]))
    return (frame.set_index("question", drop=False).loc[common] for frame in (today, release))  # type: ignore[return-value]


def compare_measure(today: pd.DataFrame, release: pd.DataFrame, primary: Primary, level: float) -> Comparison:
    """Jackknife over episodes of the paired difference: Efron and Tibshirani (1993), chapter 11; Student's t, episodes - 1."""
    mine = pd.Series(True, today.index) if primary.skill == "all" else today["skill"] == primary.skill
    column = next((measure.column for measure in MEANS if measure.name == primary.measure), "right")
    rows = mine & today[column].notna() & release[column].notna()
    ours, theirs = today[rows], release[rows]
    count = ours["episode"].nunique()
    left_out = 1 - np.eye(count)
    sample = Sample(pd.Index(sorted(ours["episode"].unique())), left_out)
    unit = unit_of(ours)
    new, old = (estimate(each, primary.measure, sample, unit) for each in (ours, theirs))
    if new is None or old is None or count < 2:
        return Comparison(primary.skill, primary.measure, primary.margin, n=len(ours), episodes=count)
    sign = -1 if better(primary.measure) == "lower" else 1
    gain, kept = sign * (new.value - old.value), sign * (new.draws - old.draws)
    error = float(np.sqrt((count - 1) / count * np.nansum((kept - np.nanmean(kept)) ** 2)))
    half = stats.t.ppf(0.975, count - 1) * error
    share = any(measure.share for measure in MEANS if measure.name == primary.measure)
    return Comparison(
        skill=primary.skill,
        measure=primary.measure,
        margin=primary.margin,
        release=old.value,
        today=new.value,
        gain=gain,
        low=gain - half,
        high=gain + half,
        n=new.n,
        episodes=count,
        p=_chance(gain + primary.margin, error, count),
        smallest=smallest_difference(error, new.n, count, level, primary.margin, share),
        finding="not worse" if gain - stats.t.ppf(0.95, count - 1) * error >= -primary.margin else "unclear",
    )


def _chance(excess: float, error: float, episodes: int) -> float:
    if error < 1e-12:
        return 1.0 if excess >= -1e-12 else 0.0
    return float(stats.t.cdf(excess / error, episodes - 1))


def _with_holm(rows: list[Comparison], alpha: float) -> tuple[Comparison, ...]:
    """Holm (1979): the i-th smallest of m p-values times m - i, made monotone."""
    order = np.argsort([row.p for row in rows], kind="stable")
    adjusted = np.minimum(1, np.maximum.accumulate([rows[at].p * (len(rows) - i) for i, at in enumerate(order)]))
    holm = dict(zip(order.tolist(), adjusted.tolist(), strict=True))
    judged = [replace(row, holm=holm[i]) for i, row in enumerate(rows)]
    return tuple(replace(row, finding="worse") if row.holm <= alpha else row for row in judged)


def _coverage(metrics: Mapping[str, Any]) -> tuple[Coverage, ...]:
    found = []
    for skill, cell in metrics.get(SPLIT, {}).items():
        entry = cell.get("coverage", {}).get(MODEL, {})
        if "ok" in entry:
            found.append(Coverage(skill, *(entry[key] for key in ("value", "band_low", "band_high", "n", "ok"))))
    return tuple(found)
