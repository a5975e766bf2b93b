"""Which episodes teach, calibrate, test, and which only show a shift. The unit is always the whole episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from twinforge.errors import UserError

CALM = "calm"


@dataclass(frozen=True)
class Splits:
    """of : episode -> split. validation : the episodes of `train` that choose, and never teach."""

    of: dict[str, str]
    validation: frozenset[str]

    def part(self, episode: str) -> str:
        """The episode's split, or "validation"."""
        return "validation" if episode in self.validation else self.of[episode]


def split_episodes(episodes: pd.DataFrame, *, validation: float, calibration: float, test: float, seed: int) -> Splits:
    """Draw the calm episodes at random into train, calibration and test; every other regime is shift.

    Random whole episodes of one period are exchangeable, which the conformal promises need; later days than the
    calibration's are not (coverage .847 instead of .9, measured).

    episodes : rows of `records.EPISODE`.
    calibration, test : shares of the calm episodes. validation : share of those left for train.

    Raises
    ------
    UserError
        Too few calm episodes for one in each split, or an episode that reaches into one of another split.
    """
    calm = np.sort(episodes.loc[episodes["regime"] == CALM, "episode"].to_numpy(str))
    drawn = np.random.default_rng(seed).permutation(calm)
    n_test, n_calibration = (max(1, round(share * len(calm))) for share in (test, calibration))
    left = len(calm) - n_test - n_calibration
    n_validation = max(1, round(validation * left))
    if left <= n_validation:
        raise UserError(
            f"{len(calm)} calm episode(s), of which {n_test} go to test, {n_calibration} to calibration and {n_validation} to validation, "
            "leave none to train; raise `lake.days` or lower these shares in `curate`"
        )
    parts = np.split(drawn, [n_test, n_test + n_calibration, n_test + n_calibration + n_validation])
    names = ("test", "calibration", "train", "train")
    of = {str(episode): name for name, part in zip(names, parts, strict=True) for episode in part}
    of |= {str(episode): "shift" for episode in episodes.loc[episodes["regime"] != CALM, "episode"]}
    splits = Splits(of, frozenset(str(episode) for episode in parts[2]))
    check_horizons(episodes, splits)
    return splits


def check_horizons(episodes: pd.DataFrame, splits: Splits) -> None:
    """Refuse two episodes that share a stretch of time though they belong to different splits (or to train and validation).

    Raises
    ------
    UserError
        Names the two episodes. An `end` that equals the other's `start` is no overlap.
    """
    latest: dict[
        str, tuple[pd.Timestamp, str]
    ] = {}  # split -> end and name of the episode that reaches furthest so far
    ordered = episodes.sort_values("start")
    for name, start, end in zip(ordered["episode"], ordered["start"], ordered["end"], strict=True):
        part = splits.part(name)
        for other, (reach, earlier) in latest.items():
            if other != part and reach > start:
                raise UserError(
                    f"episode {earlier!r} ({other}) reaches to {reach}, into episode {name!r} ({part}), which starts at {start}: "
                    "shorten the horizons or set the episodes further apart"
                )
        if part not in latest or end > latest[part][0]:
            latest[part] = (end, name)
