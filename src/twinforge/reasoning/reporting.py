"""From written reports to judged claims: each statement with how sure the model was of it, and what the record says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from twinforge.claims import CLAIM, EXISTS, Claim, check, facts_of
from twinforge.model.prompt import Prompt
from twinforge.records import asked_text

Parse = Callable[[str], list[Claim]]
MOST = 96  # tokens of a report
CLOSE = 0.05  # numbers that differ by less than this share of the larger, or by one, claim the same


def request_ids(prompt: Prompt, report: pd.Series, shots: Sequence[pd.Series] = ()) -> list[int]:
    """Tokens of a request for a report (a row of `claims.REPORT`), after worked examples as earlier turns of the chat."""
    ids: list[int] = []
    for shot in shots:
        told = prompt.reference_ids(str(shot["reference"]))[:-1]
        ids += [*request_ids(prompt, shot), *told, *prompt.end_ids()]
    return [*ids, *prompt.context_ids(str(report["context"])), *prompt.text_ids(asked_text(report))]


def claims_of(texts: pd.DataFrame, reports: pd.DataFrame, parse: Parse, assets: Collection[str]) -> pd.DataFrame:
    """The claims of all texts (rows of `claims.CLAIM`), each held against what is known.

    Parameters
    ----------
    texts : rows of `claims.TEXT`; empty `starts` where there were no tokens.
    reports : rows of `claims.REPORT` with the requests that they answer. parse : the sector's `claims`.
    assets : what the knowledge graph names.
    """
    known = {str(report["id"]): facts_of(report) for _, report in reports.iterrows()}
    parsed = [parse(text) for text in texts["text"]]
    others: dict[tuple[str, str], list[list[Claim]]] = {}
    rows_of = [text for _, text in texts.iterrows()]
    for text, found in zip(rows_of, parsed, strict=True):
        if text["sample"]:
            others.setdefault((text["report"], text["model"]), []).append(found)
    rows = []
    for text, found in zip(rows_of, parsed, strict=True):
        samples = others.get((text["report"], text["model"]), []) if not text["sample"] else []
        for claim in found:
            status = check(claim, known[text["report"]], assets)
            if claim.quantity == EXISTS and claim.value and status == "supported":
                continue  # to name what is there claims nothing
            rows.append(
                {
                    **{name: text[name] for name in ("report", "model", "sample")},
                    **asdict(claim),
                    "status": status,
                    "made_up": claim.asset not in assets and status != "supported",
                    **sureness(claim, text),
                    "agreement": np.mean([any(same(claim, c) for c in s) for s in samples]) if samples else np.nan,
                }
            )
    return pd.DataFrame(rows, columns=CLAIM.names)


def sureness(claim: Claim, text: pd.Series) -> dict[str, float]:
    """Log-probability of a claim's tokens together, and the largest entropy (nats) among them; NaN where no tokens are known."""
    starts = np.asarray(text["starts"], dtype=int)
    ends = np.append(starts[1:], len(text["text"])) if len(starts) else starts
    mine = (starts < claim.end) & (ends > claim.start)
    if not mine.any():
        return {"log": np.nan, "entropy": np.nan}
    return {
        "log": float(np.asarray(text["logs"], float)[mine].sum()),
        "entropy": float(np.asarray(text["entropies"], float)[mine].max()),
    }


def same(left: Claim, right: Claim) -> bool:
    """Whether two claims say the same of the same: numbers with a unit may differ a little."""
    if left.about != right.about or left.unit != right.unit or np.isnan(left.value) != np.isnan(right.value):
        return False
    if np.isnan(left.value):
        return True
    room = max(1.0, CLOSE * max(abs(left.value), abs(right.value))) if left.unit else 0.0
    return abs(left.value - right.value) <= room
