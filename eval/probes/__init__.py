"""Probes: the extra questions that suites ask, as data. The `probe` stage answers them; a suite reads the answers.

A module here has `ask(questions, words, seed) -> rows of PROBE` and is listed in `PROBES` under its suite's name.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from eval.probes import robustness
from eval.probes.words import Words
from twinforge.records import QUESTION

FAILING = "failing"  # the suite of `eval.probes.failing`, which alone reads the lake
PROBE = pa.schema(
    [
        *QUESTION,
        ("suite", pa.string()),
        ("probe", pa.string()),  # what was done to the question
        ("original", pa.string()),  # id of the question it was made of
        ("order", pa.list_(pa.int64())),  # original index of each option, where they moved; else empty
    ]
)
PROBES: dict[str, Callable[[pd.DataFrame, Words, int], pd.DataFrame]] = {"robustness": robustness.ask}


def probes_of(questions: pd.DataFrame, words: Words, states: int, seed: int) -> pd.DataFrame:
    """What all suites ask about some states of `questions` (`records.QUESTION`): rows of `PROBE`."""
    chosen = some_states(questions, states, seed)
    asked = [ask(chosen, words, seed).assign(suite=suite) for suite, ask in PROBES.items()]
    return pd.concat(asked, ignore_index=True)[PROBE.names]


def some_states(questions: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """The questions of `count` whole states, by chance, a second one of an episode only when each has one.

    More states hold the fewer ones, so that answers given to these can be kept.
    """
    states = questions[["episode", "context"]].drop_duplicates().sample(frac=1, random_state=seed)
    turn = states.groupby("episode").cumcount().sort_values(kind="stable")
    chosen = states.loc[turn.index[:count], "context"]
    return questions[questions["context"].isin(chosen)].reset_index(drop=True)
