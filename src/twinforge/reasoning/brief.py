"""A report in free text from a packaged twin, with what the twin doesn't stand for left out."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinforge.artifact import Twin
from twinforge.backing import chances, tables_of
from twinforge.claims import Claim, check, facts_of
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style, write
from twinforge.reasoning.ask import answer_rows
from twinforge.reasoning.reporting import MOST, request_ids, sureness
from twinforge.reasoning.situation import situation
from twinforge.reasoning.standing import signs_of
from twinforge.sectors import load_sector

BLANK = "[?]"


@dataclass(frozen=True)
class Brief:
    """A written report.

    text : as the language model wrote it; claims, kept : what it states, and whether the twin stands for it. level : share of reports
    in which all kept claims are right, as promised; NaN where nothing was calibrated, and then nothing is kept.
    statuses : of each claim, by the record; empty where what follows the state is not known.
    """

    wording: str
    text: str
    claims: tuple[Claim, ...]
    kept: tuple[bool, ...]
    level: float
    statuses: tuple[str, ...]
    seconds: float

    @property
    def shown(self) -> str:
        """The text with `BLANK` in place of every claim that the twin does not stand for."""
        text = self.text
        for claim, keep in sorted(zip(self.claims, self.kept, strict=True), key=lambda pair: -pair[0].start):
            if not keep and not np.isnan(claim.value):
                text = text[: claim.start] + BLANK + text[claim.end :]
        return text


def brief(twin: Twin, wording: str, state: str = "1") -> Brief | None:
    """Write a report where an operator's words ask for one; None where they don't, or where the state is no more than a text.

    state : as for `ask.ask`.

    Raises
    ------
    UserError
        The state can't be had.
    """
    plugin: Any = load_sector(twin.recipe.module)
    if not hasattr(plugin, "request"):
        return None
    where = situation(twin, state)
    row = plugin.request(where.state, wording, twin.recipe) if where.state else None
    if row is None:
        return None
    begin = time.perf_counter()
    model, tokenizer = twin.model
    prompt, report = Prompt.of(tokenizer), pd.Series(row)
    text = write(model, prompt, [request_ids(prompt, report)], Style(MOST), 1).iloc[0]
    claims = tuple(plugin.claims(text["text"]))
    fitted = twin.calibration.statements
    kept = np.zeros(len(claims), bool)
    if fitted and claims:
        told = pd.DataFrame([{"report": "", **asdict(claim), **sureness(claim, text)} for claim in claims])
        kept = fitted.keep(signs_of(told, _backing(twin, row, told)))
    names = set(twin.knowledge["subject"])
    statuses = tuple(check(claim, facts_of(report), names) for claim in claims) if where.known else ()
    level = 1 - fitted.claims.alpha if fitted else np.nan
    return Brief(wording, text["text"], claims, tuple(map(bool, kept)), level, statuses, time.perf_counter() - begin)


def _backing(twin: Twin, report: dict[str, Any], claims: pd.DataFrame) -> np.ndarray:
    """What the twin's own answers make of each claim (n,); NaN where it was asked nothing of the kind."""
    own = {"id": "", "episode": "", "time": pd.Timestamp(0), "validation": False, "backing": report.get("backing", [])}
    links, questions = tables_of([own])
    if questions.empty:
        return np.full(len(claims), np.nan)
    answers = {
        reply.question["id"]: reply.parts["twin"]
        for reply in answer_rows(twin, questions, truth_known=False)
        if "twin" in reply.parts
    }
    return chances(claims, links, questions, answers)
