"""The questions that every way is measured on: curated ones of the energy sector, so many a state, and as plain text for the peers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from twinforge.export import decision_request
from twinforge.files import replacing
from twinforge.model.few_shot import answer_ids
from twinforge.model.prompt import INSTRUCTION, Prompt
from twinforge.records import space_of
from twinforge.sectors import Template

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def learnt(frame: pd.DataFrame) -> pd.DataFrame:
    """What a peer can be trained on as prompt and reply: the choices and numbers of train, without its validation share."""
    return frame[frame["kind"].isin(["choice", "number"]) & ~frame["validation"]].reset_index(drop=True)


def asked(frame: pd.DataFrame, per_state: int, templates: Sequence[Template]) -> pd.DataFrame:
    """`per_state` choice questions of each state that gives so many: all of them as they stand, then each in the other words
    that its template has, one wording after another."""
    choices, by_name = frame[frame["kind"] == "choice"], {template.name: template for template in templates}
    chosen = []
    for _, questions in choices.groupby("context", sort=False):
        worded = [other_words(row, by_name[row["template"]]) for _, row in questions.iterrows()]
        rounds = range(max(map(len, worded)))
        rows = [texts[turn] for turn in rounds for texts in worded if turn < len(texts)]
        if len(rows) >= per_state:
            chosen += rows[:per_state]
    return pd.DataFrame(chosen, columns=frame.columns).reset_index(drop=True)


def other_words(row: pd.Series, template: Template) -> list[pd.Series]:
    """A question as it stands, and in each other phrasing of its template (ids tell them apart)."""
    phrasings = (*template.phrasings, *template.held_out)
    slots = next(found for found in (_slots(phrasing, row["text"]) for phrasing in phrasings) if found is not None)
    texts = [text for phrasing in phrasings if (text := phrasing.format(**slots)) != row["text"]]
    return [row, *(_again(row, turn, text) for turn, text in enumerate(texts, 1))]


def _again(row: pd.Series, turn: int, text: str) -> pd.Series:
    again = row.copy()
    again["id"], again["text"] = f"{row['id']}-{turn}", text
    return again


def _slots(phrasing: str, text: str) -> dict[str, str] | None:
    parts = re.split(r"\{(\w+)\}", phrasing)
    pattern = "".join(f"(?P<{part}>.+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    found = re.fullmatch(pattern, text, re.DOTALL)
    return found.groupdict() if found else None


def stretched(frame: pd.DataFrame, tokens: int, prompt: Prompt) -> pd.DataFrame:
    """The same questions with states of `tokens` tokens: cut, or with the states that follow put behind them.

    For timing only: what is asked may not stand in such a state.
    """
    ids = {context: prompt.tokenizer(context + "\n")["input_ids"] for context in frame["context"].unique()}
    states = list(ids)
    longer = {}
    for place, context in enumerate(states):
        told = list(ids[context])
        for step in range(1, tokens):
            if len(told) >= tokens:
                break
            told += ids[states[(place + step) % len(states)]]
        longer[context] = f"{place}: " + prompt.tokenizer.decode(told[:tokens])  # no two alike
    return frame.assign(context=frame["context"].map(longer))


def plain(prompt: Prompt, row: pd.Series) -> dict[str, Any]:
    """One question for a peer, in every form that one takes.

    `prompt` is the whole text up to the answer, `system` and `user` its turns before the chat template is put around them,
    `assistant` the true answer, `labels` the options' letters, `decision` the question as `pipeline("decision")` takes it.
    """
    asked_ids = prompt.question_ids(row)
    choice = row["kind"] == "choice"
    return {
        "id": row["id"],
        "state": row["context"],
        "prompt": prompt.tokenizer.decode(prompt.context_ids(row["context"]) + asked_ids),
        "system": f"{INSTRUCTION}\n{row['context']}",
        "user": prompt.tokenizer.decode(asked_ids).removesuffix(prompt.after),
        "assistant": prompt.tokenizer.decode(answer_ids(prompt, row)).removesuffix(prompt.tokenizer.eos_token),
        "labels": list(_LETTERS[: space_of(row).size]) if choice else [],
        "decision": decision_request(row)["questions"]["q"] if choice else None,
    }


def write_plain(prompt: Prompt, frame: pd.DataFrame, path: Path) -> None:
    """One JSON line a question, as `plain`."""
    lines = [json.dumps(plain(prompt, row)) for _, row in frame.iterrows()]
    with replacing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tokens_alone(prompt: Prompt, frame: pd.DataFrame) -> float:
    """Mean tokens of a question asked alone, state and answer within: what a peer reads of it."""
    state = {context: len(prompt.context_ids(context)) for context in frame["context"].unique()}
    counts = [
        state[row["context"]] + len(prompt.question_ids(row)) + len(answer_ids(prompt, row))
        for _, row in frame.iterrows()
    ]
    return sum(counts) / len(counts)
