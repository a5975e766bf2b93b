"""Claims in free text, and what the record says of each: a report is as good as the single statements in it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from twinforge.records import SLACK

EXISTS = "exists"  # the quantity of a statement that an asset is there (1) or is not (0)
STATUSES = ("supported", "contradicted", "stale", "wrong unit", "unsupported", "abstained")
WRONG = ("contradicted", "stale", "wrong unit", "unsupported")
PREMISES = ("none", "true", "false", "absent", "missing")

FACT = pa.struct(
    [
        ("asset", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("hours", pa.float64()),  # from the state's time
        ("given", pa.string()),  # the asset whose outage is supposed; else empty
        ("tolerance", pa.float64()),
    ]
)
REPORT = pa.schema(
    [
        ("id", pa.string()),
        ("episode", pa.string()),
        ("time", pa.timestamp("ms")),
        ("validation", pa.bool_()),  # train only
        ("context", pa.string()),  # as in `records.QUESTION`
        ("facts", pa.string()),
        ("text", pa.string()),  # the request
        ("premise", pa.string()),  # one of PREMISES: what the request takes for granted
        ("trap_asset", pa.string()),  # what a wrong premise is about
        ("trap_quantity", pa.string()),
        ("reference", pa.string()),  # the report that the truth writes
        ("rule", pa.string()),  # the report that the operator's rule writes, from the signals alone
        ("known", pa.list_(FACT)),  # what state and simulator know; empty where it is learnt
    ]
)
TEXT = pa.schema(
    [
        ("report", pa.string()),
        ("model", pa.string()),
        ("sample", pa.int64()),  # 0 is the one that counts
        ("text", pa.string()),
        (
            "starts",
            pa.list_(pa.int64()),
        ),  # of each token, the characters before it; empty where no model wrote the text
        ("logs", pa.list_(pa.float64())),  # log-probability of each token
        ("entropies", pa.list_(pa.float64())),  # nats
        ("tokens", pa.int64()),  # read and written
    ]
)
CLAIM = pa.schema(
    [
        ("report", pa.string()),
        ("model", pa.string()),
        ("sample", pa.int64()),
        ("asset", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("hours", pa.float64()),
        ("given", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("status", pa.string()),  # one of STATUSES
        ("made_up", pa.bool_()),  # speaks of an asset that the knowledge graph lacks as if it were there
        ("log", pa.float64()),  # log-probability of the claim's tokens, summed
        ("entropy", pa.float64()),  # largest entropy among them, nats
        ("agreement", pa.float64()),  # share of the further samples that claim the same; NaN where there are none
    ]
)


@dataclass(frozen=True)
class Fact:
    """What is known to be so; the fields of `FACT`. A claim within `tolerance` of the value says the same."""

    asset: str
    quantity: str
    value: float
    unit: str = ""
    hours: float = 0.0
    given: str = ""
    tolerance: float = 0.0


@dataclass(frozen=True)
class Claim:
    """One statement in a text: that a quantity of an asset has a value at a time, if an outage is supposed.

    value : NaN where the text says that it can't be told. hours : from the state's time, negative before it. given : the asset
    whose outage is supposed, else "". start, end : the characters of the text it stands in.
    """

    asset: str
    quantity: str
    value: float
    unit: str
    hours: float
    given: str
    start: int
    end: int

    @property
    def about(self) -> tuple[str, str, float, str]:
        """What it speaks of, whatever it says."""
        return self.asset, self.quantity, self.hours, self.given


def check(claim: Claim, facts: Sequence[Fact], assets: Collection[str]) -> str:
    """The status of a claim, one of `STATUSES`.

    supported : a fact says so. wrong unit : a fact speaks of it in other units only. stale : it was so earlier, and is no more.
    contradicted : a fact says otherwise. unsupported : nothing is known of it, as of an asset that is not there.
    abstained : it says that it can't tell.

    facts : of the state and of the simulator. assets : all that the knowledge graph names.
    """
    if claim.quantity == EXISTS:
        return "supported" if (claim.asset in assets) == bool(claim.value) else "unsupported"
    if math.isnan(claim.value):
        return "abstained"
    same = [f for f in facts if (f.asset, f.quantity, f.given) == (claim.asset, claim.quantity, claim.given)]
    now = [f for f in same if f.hours == claim.hours]
    if not now:
        return "unsupported"
    if all(f.unit != claim.unit for f in now):
        return "wrong unit"
    if any(_says(f, claim) for f in now):
        return "supported"
    return "stale" if any(_says(f, claim) for f in same if f.hours < claim.hours) else "contradicted"


def kinds_of(claims: pd.DataFrame) -> np.ndarray:
    """What sort of statement each row of `CLAIM` is, (n,) texts: its quantity, earlier (-) or later (+), if an outage is supposed (|)."""
    sign = np.sign(claims["hours"].to_numpy(float))
    when = np.select([sign < 0, sign > 0], ["-", "+"], "")
    given = np.where(claims["given"] == "", "", "|")
    return np.array([f"{q}{w}{g}" for q, w, g in zip(claims["quantity"], when, given, strict=True)], str)


def _says(fact: Fact, claim: Claim) -> bool:
    return fact.unit == claim.unit and abs(fact.value - claim.value) <= fact.tolerance + SLACK


def facts_of(report: pd.Series) -> list[Fact]:
    """What is known for one row of `REPORT`."""
    return [Fact(**fact) for fact in report["known"]]


def withstands(trap: tuple[str, str], claims: Sequence[tuple[str, str, str]]) -> bool:
    """Whether a report sets a wrong premise right: it says something true, or that it can't tell, of what the premise is about
    (asset, quantity), and nothing wrong of it; of an asset that is not there, nothing wrong at all.

    claims : asset, quantity and status of each claim.
    """
    set_right = any((a, q) == trap and status in ("supported", "abstained") for a, q, status in claims)
    about = (status for a, q, status in claims if a == trap[0] and trap[1] in (q, EXISTS))
    return set_right and not any(status in WRONG for status in about)
