"""What is learnt, made harder: states of which some dimensions tell nothing, and options in another order.

Without it a language model trusts whatever stands in a state to be there, and knows options by their place.
"""

from __future__ import annotations

import zlib
from typing import Protocol, cast

import numpy as np
import pandas as pd

from twinforge.options import Row, another_order, in_order
from twinforge.sectors.dimensions import SUBSETS, Keep

STATE = ["episode", "time"]


class Section(Protocol):
    """The part of the recipe's `train` section that is read here."""

    @property
    def mask(self) -> float: ...
    @property
    def shuffle(self) -> float: ...


def augmented(questions: pd.DataFrame, keep: Keep, section: Section, seed: int) -> pd.DataFrame:
    """The questions (`records.QUESTION`), some of them changed; their number, order and truths stay.

    A share `section.mask` of the states, whole, is left with a proper subset of the dimensions, each subset as often. Of a share
    `section.shuffle` of the choices the options stand in another order. The same questions and seed give the same rows.
    """
    return shuffled(masked(questions, keep, section.mask, seed), section.shuffle, seed)


def masked(questions: pd.DataFrame, keep: Keep, share: float, seed: int) -> pd.DataFrame:
    """The questions with a share of the states left with a proper subset of the dimensions, the empty one among them."""
    if questions.empty:
        return questions
    states = questions[STATE].drop_duplicates()
    rng = np.random.default_rng([seed, zlib.crc32(b"mask")])
    chosen = rng.permutation(len(states))[: round(share * len(states))]
    subset = pd.Series(np.arange(len(chosen)) % (len(SUBSETS) - 1), pd.MultiIndex.from_frame(states.iloc[chosen]))
    told = subset.reindex(pd.MultiIndex.from_frame(questions[STATE])).to_numpy()
    parts = [questions[np.isnan(told)], *(keep(questions[told == i], kept) for i, kept in enumerate(SUBSETS[:-1]))]
    return pd.concat([part for part in parts if len(part)]).loc[questions.index]


def shuffled(questions: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The questions with the options of a share of the choices in another order."""
    rng = np.random.default_rng([seed, zlib.crc32(b"shuffle")])
    drawn = rng.random(len(questions)) < share
    told = cast(list[Row], questions.to_dict("records"))
    rows = [
        in_order(row, another_order(len(row["options"]), rng)) if moved and row["kind"] == "choice" else row
        for row, moved in zip(told, drawn, strict=True)
    ]
    return pd.DataFrame(rows, columns=questions.columns, index=questions.index)
