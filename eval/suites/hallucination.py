"""Hallucination: what free reports claim, statement by statement, against state, knowledge and simulator.

Claims come from the stage `write`, with the status that the record gives them (`twinforge.claims`). In metrics.json a premise of the
request stands where a skill stands elsewhere. The twin is the tuned language model with the claims withheld that its calibration
does not stand for; a claim that is withheld, or says that it can't tell, is not stated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval, share_interval
from eval.evidence import Evidence, Measures, Result
from eval.meanings import Better
from eval.measures import Cell, Entry, Estimate, Sample, entry, mean_of
from twinforge.claims import CLAIM, PREMISES, WRONG, kinds_of, withstands

NAME = "hallucination"
TWIN, LLM, REFERENCE = "twin", "llm", "reference"
LEVELS = {"stated_at_5": 0.05, "stated_at_1": 0.01}
DETECTORS = {
    "auroc_sureness": "sure",
    "auroc_probability": "log",
    "auroc_entropy": "calm",
    "auroc_agreement": "agreement",
    "auroc_p_value": "p_value",
}
LEAST = 10  # wrong claims of a kind from which p-values of that kind are made; else those of all kinds
MEASURES: dict[str, tuple[Better, str]] = {
    "wrong": ("lower", "share of the stated claims that are not supported"),
    **{status.replace(" ", "_"): ("lower", f"share of the stated claims: {what}") for status, what in (
        ("contradicted", "the record says otherwise"), ("stale", "it was so earlier"), ("wrong unit", "the unit is another's"),
        ("unsupported", "nothing is known of it"))},
    "made_up": ("lower", "share of the reports that speak of an asset that is not there"),
    "abstained": ("lower", "share of all claims that are withheld or say that it can't be told"),
    "stated": ("higher", "claims stated in a report"),
    "told": ("higher", "share of what the true report tells that is told, and right"),
    "withstood": ("higher", "share of the wrong premises that are set right"),
    "all_true": ("higher", "share of the reports in which all that is stated is right; the twin's is promised"),
    "tokens": ("lower", "tokens read and written for a report"),
    **{name: ("higher", f"how well {what} tells right claims from wrong ones (AUROC)") for name, what in (
        ("auroc_sureness", "how sure the twin is of a claim, by its kind and probability,"),
        ("auroc_probability", "the claim's probability"), ("auroc_entropy", "the calm of its tokens"),
        ("auroc_agreement", "agreement of further samples"), ("auroc_p_value", "the conformal p-value of being wrong"))},
    **{name: ("higher", f"largest share of the claims, surest first, of which {level:.0%} are wrong at most")
       for name, level in LEVELS.items()},
}  # fmt: skip
JUDGED = pa.schema(
    [*CLAIM, ("split", pa.string()), ("episode", pa.string()), ("premise", pa.string()), ("stated", pa.bool_()), ("sure", pa.float64()), ("p_value", pa.float64())]
)  # fmt: skip


def run(evidence: Evidence) -> Result:
    """Measure every model that wrote reports.

    Returns
    -------
    Result
        Measures of splits "test" and "shift" by premise and "all"; nothing where no reports were written. `told` shows who only keeps
        silent. The detectors judge the language model's claims. The table has a row a claim and model (`JUDGED`).
    """
    if not len(evidence.claims):
        return Result({}, pd.DataFrame(columns=JUDGED.names), JUDGED)
    claims, texts = _both(evidence)
    measures: Measures = {}
    for split in ("test", "shift"):
        mine, written = claims[claims["split"] == split], texts[texts["split"] == split]
        if not len(written):
            continue
        sample = Sample.of(written["episode"], evidence.resamples, evidence.seed)
        measures[split] = {"all": _cell(mine, written, sample)}
        for premise in PREMISES:
            if len(own := written[written["premise"] == premise]):
                measures[split][premise] = _cell(mine[mine["report"].isin(own["report"])], own, sample)
    judged = claims[claims["split"].isin(measures) & (claims["model"] != REFERENCE)]
    return Result(measures, judged[JUDGED.names].reset_index(drop=True), JUDGED)


def _both(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """First samples: claims with what they are about and whether they are stated, and texts; the twin's beside the models'."""
    about = evidence.reports.set_index("id")[["split", "episode", "premise", "trap_asset", "trap_quantity"]]
    claims, texts = (
        frame[frame["sample"] == 0].join(about, on="report").reset_index(drop=True)
        for frame in (evidence.claims, evidence.texts)
    )
    claims["calm"], claims["stated"] = -claims["entropy"], claims["status"] != "abstained"
    claims["p_value"] = _p_values(claims)
    own = claims[claims["model"] == LLM]
    twin = own.assign(model=TWIN, stated=own["stated"] & own["kept"].astype(bool))
    return (
        pd.concat([twin, claims], ignore_index=True),
        pd.concat([texts[texts["model"] == LLM].assign(model=TWIN), texts], ignore_index=True),
    )


def _p_values(claims: pd.DataFrame) -> np.ndarray:
    """How likely a wrong claim of its kind would be as sure, by the wrong ones of the calibration split; NaN without any."""
    kinds = pd.Series(kinds_of(claims), claims.index)
    wrong = claims["status"].isin(WRONG) & (claims["split"] == "calibration") & (claims["model"] == LLM)
    everything = np.sort(claims.loc[wrong, "log"])
    known = {kind: np.sort(rows) for kind, rows in claims.loc[wrong, "log"].groupby(kinds[wrong])}
    values = np.full(len(claims), np.nan)
    for i, (kind, log) in enumerate(zip(kinds, claims["log"], strict=True)):
        own = known.get(kind, everything)
        pool = own if len(own) >= LEAST else everything
        if len(pool) and np.isfinite(log):
            values[i] = -(1 + len(pool) - np.searchsorted(pool, log)) / (len(pool) + 1)
    return values


def _cell(claims: pd.DataFrame, texts: pd.DataFrame, sample: Sample) -> Cell:
    result: Cell = {}
    true = claims[claims["model"] == REFERENCE]
    for model, written in texts[texts["model"] != REFERENCE].groupby("model", sort=False):
        own = claims[(claims["model"] == model) & claims["report"].isin(written["report"])]
        for name, found in _figures(own, written, true[true["report"].isin(written["report"])], sample).items():
            result.setdefault(name, {})[str(model)] = found
    own = claims[(claims["model"] == LLM) & (claims["status"] != "abstained")]
    for name, column in DETECTORS.items():
        if judged := _judged(name, own[own[column].notna()], _auroc, column, sample):
            result[name] = {LLM: judged}
    for name, level in LEVELS.items():
        if judged := _judged(name, own[own["sure"].notna()], partial(_reach, level), "sure", sample):
            result[name] = {LLM: judged}
    return result


def _figures(own: pd.DataFrame, texts: pd.DataFrame, true: pd.DataFrame, sample: Sample) -> dict[str, Entry]:
    stated = own[own["stated"]]
    wrong = stated["status"].isin(WRONG).astype(float)
    by_report = texts.set_index("report", drop=False)
    counts = stated.groupby("report").size().reindex(by_report.index, fill_value=0)
    right = 1 - wrong.groupby(stated["report"]).max().reindex(by_report.index, fill_value=0.0)
    made_up = stated.groupby("report")["made_up"].max().reindex(by_report.index, fill_value=False).astype(float)
    trapped = texts[texts["trap_quantity"] != ""]
    shares: dict[str, tuple[pd.DataFrame, pd.Series]] = {
        "wrong": (stated, wrong),
        **{s.replace(" ", "_"): (stated, (stated["status"] == s).astype(float)) for s in WRONG},
        "made_up": (by_report, made_up),
        "abstained": (own, (~own["stated"]).astype(float)),
        "told": (true, _told(own, true)),
        "withstood": (trapped, _withstood(own, trapped)),
        "all_true": (by_report, right),
    }
    found = {name: _entry(name, rows, values, sample, True) for name, (rows, values) in shares.items() if len(rows)}
    found["stated"] = _entry("stated", by_report, counts.astype(float), sample)
    found["tokens"] = _entry("tokens", texts, texts["tokens"].astype(float), sample)
    return found


def _entry(name: str, rows: pd.DataFrame, values: pd.Series, sample: Sample, share: bool = False) -> Entry:
    found = mean_of(rows, values, sample)
    bounds = interval(found.draws, found.episodes)
    if share:
        bounds = share_interval(found.value, found.draws, found.n, found.episodes)
    return entry(found, bounds, MEASURES[name][0])


def _told(own: pd.DataFrame, true: pd.DataFrame) -> pd.Series:
    """Of each claim of the true reports, whether one that is stated tells the same thing, rightly; that something can't be told
    is told by saying so."""
    about = ["report", "asset", "quantity", "hours", "given"]
    right = pd.MultiIndex.from_frame(own.loc[own["stated"] & (own["status"] == "supported"), about])
    untold = pd.MultiIndex.from_frame(own.loc[own["status"] == "abstained", about])
    known = pd.MultiIndex.from_frame(true[about])
    is_untold = (true["status"] == "abstained").to_numpy()
    return pd.Series(np.where(is_untold, known.isin(untold), known.isin(right)).astype(float), true.index)


def _withstood(own: pd.DataFrame, trapped: pd.DataFrame) -> pd.Series:
    """Of each report with a wrong premise, whether it sets it right: by what is said of now and of no outage, of the very thing, or of
    an asset that is not there at all. What is withheld sets nothing right and is nothing wrong."""
    seen = own[(own["stated"] | (own["status"] == "abstained")) & (own["hours"] == 0) & (own["given"] == "")]
    said = {str(report): rows for report, rows in seen.groupby("report")}
    found = []
    for report, asset, quantity in zip(trapped["report"], trapped["trap_asset"], trapped["trap_quantity"], strict=True):
        rows = said.get(str(report), seen.iloc[:0])
        found.append(
            withstands((asset, quantity), list(zip(rows["asset"], rows["quantity"], rows["status"], strict=True)))
        )
    return pd.Series(np.array(found, float), trapped.index)


Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _judged(name: str, rows: pd.DataFrame, of: Statistic, column: str, sample: Sample) -> Entry | None:
    """A statistic of scores (n,), wrong (n,) and weights (draws, n) of claims; None unless some are right and some wrong."""
    wrong = rows["status"].isin(WRONG).to_numpy()
    if wrong.all() or not wrong.any():
        return None
    score, at = rows[column].to_numpy(float), sample.episodes.get_indexer(pd.Index(rows["episode"]))
    value = float(of(score, wrong, np.ones((1, len(rows))))[0])
    draws = of(score, wrong, sample.weights[:, at])
    found = Estimate(value, draws, len(rows), rows["episode"].nunique())
    return entry(found, interval(draws, found.episodes), MEASURES[name][0])


def _auroc(score: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chance that a right claim scores above a wrong one, ties half, under each row of weights."""
    above = score[~wrong, None] - score[None, wrong]
    wins = (above > 0) + 0.5 * (above == 0)
    right, bad = weights[:, ~wrong], weights[:, wrong]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("dr,rw,dw->d", right, wins, bad, optimize=True) / (right.sum(1) * bad.sum(1))


def _reach(level: float, score: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Largest share of the claims, surest first, of which at most `level` are wrong, under each row of weights."""
    order = np.argsort(-score, kind="stable")
    kept, bad = weights[:, order].cumsum(1), (weights * wrong)[:, order].cumsum(1)
    fine = bad <= level * kept
    return np.where(fine, kept, 0.0).max(1) / kept[:, -1]
