"""Slow ways of answering: thoughts are written first, then the answer is read as everywhere, with them among the facts.

Chain of thought: Wei et al. (2022), arXiv:2201.11903, without worked examples as Kojima et al. (2022), arXiv:2205.11916. Several thoughts:
self-consistency, Wang et al. (2023), arXiv:2203.11171. Asked again: Shinn et al. (2023), "Reflexion", arXiv:2303.11366.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from twinforge.files import kept
from twinforge.model.answers import Model, answer, plan
from twinforge.model.prompt import Prompt, spoken
from twinforge.model.write import Style
from twinforge.reasoning.talk import Cached, Talk
from twinforge.records import ANSWER, asked_text

ROWS = 64  # texts a pass
MOST = 40  # tokens of a thought, at most
SAMPLES, TEMPERATURE = 5, 0.7  # of several thoughts; the temperature of Wang et al., section 3.1
STEPWISE = "Let's think step by step."
AGAIN = "Look at your answer again: is it right? Say why or why not."
THOUGHT = pa.schema(
    [
        ("question", pa.string()),
        ("sample", pa.int64()),  # 0, 1, ... of this question
        ("text", pa.string()),
        ("tokens", pa.float64()),  # read and written; what rows share is shared out among them
        ("seconds", pa.float64()),
    ]
)
GoOn = Callable[[Talk, Sequence[int]], list[str]]
"""A talk and the request that each of its rows goes on from -> what each row came to."""


@dataclass(frozen=True)
class Request:
    """What a thought starts from: a state, which is read once for all requests about it, the user's words and the reply's start.

    lead : what stands before the thought where the answer is read.
    """

    question: str
    context: str
    text: str
    start: str = ""
    lead: str = ""


def wording(question: pd.Series) -> str:
    """A row of `records.QUESTION` in words, with its options or candidates and their notes."""
    if question["kind"] != "entities":
        return spoken(question)[0].rstrip()
    notes = list(question["notes"]) or [""] * len(question["options"])
    pairs = zip(question["options"], notes, strict=True)
    return "\n".join([asked_text(question), *(f"{name}: {note}" if note else str(name) for name, note in pairs)])


def write_on(talk: Talk, rows: Sequence[int]) -> list[str]:
    """A thought of `MOST` tokens at most."""
    return talk.write(MOST)


def think(
    model: Model,
    prompt: Prompt,
    requests: Sequence[Request],
    style: Style,
    go_on: GoOn = write_on,
    label: str = "",
    keep: Path | None = None,
) -> pd.DataFrame:
    """Write a thought, or `style.samples` of them, on each request.

    keep : folder for finished parts; a call that was cut off goes on from there. One folder for exactly one call.

    Returns
    -------
    `THOUGHT`, by the requests' order.
    """
    order = sorted(range(len(requests)), key=lambda i: requests[i].context)
    size = max(1, ROWS // style.samples)
    parts = [pd.DataFrame(columns=["request", *THOUGHT.names[1:]])]
    with tqdm(total=len(requests) * style.samples, desc=label, unit="thought", disable=not label) as bar:
        for number, start in enumerate(range(0, len(order), size)):
            path, chosen = keep / f"{number:05}.parquet" if keep else None, order[start : start + size]
            parts.append(kept(path, _PART, partial(_part, model, prompt, requests, chosen, style, go_on, number)))
            bar.update(len(parts[-1]))
    made = pd.concat(parts[1:] or parts).sort_values(["request", "sample"], ignore_index=True)
    names = [requests[i].question for i in made["request"]]
    return made.assign(question=pd.Series(names, dtype=str))[THOUGHT.names]


_PART = THOUGHT.set(0, pa.field("request", pa.int64()))


def _part(
    model: Model,
    prompt: Prompt,
    requests: Sequence[Request],
    chosen: Sequence[int],
    style: Style,
    go_on: GoOn,
    number: int,
) -> pd.DataFrame:
    states = list(dict.fromkeys(requests[i].context for i in chosen))
    of = [states.index(requests[i].context) for i in chosen]
    talk = Cached(model, prompt, [prompt.context_ids(s) for s in states], of, style.temperature, style.seed + number)
    talk.read([[*prompt.text_ids(requests[i].text), *prompt.reference_ids(requests[i].start)[:-1]] for i in chosen])
    talk.repeat(style.samples)
    rows = [i for i in chosen for _ in range(style.samples)]
    texts = go_on(talk, rows)
    samples = [row % style.samples for row in range(len(rows))]
    return pd.DataFrame(
        {"request": rows, "sample": samples, "text": texts, "tokens": talk.tokens, "seconds": talk.seconds}
    )


def read_each(
    model: Model,
    prompt: Prompt,
    questions: pd.DataFrame,
    thoughts: pd.DataFrame,
    batch: int,
    label: str = "",
    keep: Path | None = None,
) -> pd.DataFrame:
    """The answer after each thought (rows of `THOUGHT`), read with the thought before the question's own facts.

    Returns
    -------
    `records.ANSWER` and `sample`. Tokens and seconds are those of the thought and of the reading.
    """
    rows = questions.set_index("id", drop=False).loc[thoughts["question"]].reset_index(drop=True)
    texts = [" ".join(text.split()) for text in thoughts["text"]]
    facts = [f"{text}\n{facts}".strip() for text, facts in zip(texts, rows["facts"], strict=True)]
    rows = rows.assign(facts=facts, id=[str(place) for place in range(len(rows))])
    answers = answer(model, prompt, plan(prompt, rows), rows["id"].tolist(), batch, label, keep)
    costs = {name: answers[name].to_numpy() + thoughts[name].to_numpy() for name in ("tokens", "seconds")}
    return answers.assign(question=thoughts["question"].to_numpy(), sample=thoughts["sample"].to_numpy(), **costs)


def pooled(answers: pd.DataFrame) -> pd.DataFrame:
    """The mean of all distributions of each question, at what they cost together: `records.ANSWER`."""
    rows = [
        (
            question,
            np.mean(np.stack(own["p"].to_list()), axis=0),
            round(own["tokens"].sum()),
            float(own["seconds"].sum()),
        )
        for question, own in answers.groupby("question", sort=False)
    ]
    return pd.DataFrame(rows, columns=ANSWER.names)
