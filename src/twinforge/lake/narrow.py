"""What a recipe leaves out on purpose: skills, training states, dimensions. By default nothing; what is left is what it would be."""

from __future__ import annotations

import zlib
from collections.abc import Collection

import numpy as np
import pandas as pd

from twinforge.records import Dimension
from twinforge.sectors.dimensions import LETTERS, Keep

STATE = ["episode", "time"]


def of_skills(frame: pd.DataFrame, skills: Collection[str]) -> pd.DataFrame:
    """The questions of these skills; one that can't be answered counts for both, that by which it is asked and "unanswerable"."""
    return frame[frame["skill"].isin(skills) & frame["asked"].isin(skills)].reset_index(drop=True)


def some_learnt(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The questions (columns of `records.QUESTION`, and `split`) with a share of the training states, whole; validation stays whole.

    States are drawn in one order, so that those of a smaller share are among those of a larger one.
    """
    learning = (frame["split"] == "train") & ~frame["validation"].astype(bool)
    states = frame.loc[learning, STATE].drop_duplicates().sort_values(STATE)
    order = np.random.default_rng([seed, zlib.crc32(b"learnt")]).permutation(len(states))
    kept = pd.MultiIndex.from_frame(states.iloc[order[: max(1, round(share * len(states)))]])
    return frame[~learning | pd.MultiIndex.from_frame(frame[STATE]).isin(kept)].reset_index(drop=True)


def told_by(frame: pd.DataFrame, kept: str, keep: Keep) -> pd.DataFrame:
    """The questions with what the dimensions of these letters tell, by the sector's own `keep`."""
    dimensions: set[Dimension] = {name for name, letter in LETTERS.items() if letter in kept}
    return keep(frame, dimensions) if len(frame) else frame
