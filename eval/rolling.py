"""Feeding a model its own answers: from a reading of the sensors on, each answer about an asset becomes its reading a step later.

What is computed of the assets starts from these answers too; under the policy "simulator" it is the simulator's at every step,
which has no new reading either but is not led astray by the answers.

A *stretch of its own* starts with sound readings and ends before the next ones. As these replace all that the state holds,
nothing of a stretch reaches into the next one, so that of a policy "feedback every k steps" only some stretches are rolled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from twinforge.records import LLM, space_of
from twinforge.sectors import Rollout

NEVER, SIMULATOR = "never", "simulator"
WRONG = {"wrong answer": NEVER, "wrong answer, simulator": SIMULATOR}  # -> the policy that it is compared with
TWIN = "twin"
RULE, PERSISTENCE = "rule", "persistence"
MODELS = (TWIN, "boost", RULE, PERSISTENCE)  # rolled under every policy
ALONE = 8  # steps for which the language model alone is rolled, under "never"
AIDED = 16  # steps under "simulator"
AT, ADDED, FOLLOWED = (
    4,
    0.1,
    12,
)  # a wrong answer: its step, share of all values by which it is too high, steps after it
ROLL = pa.schema(
    [
        ("rollout", pa.string()),
        ("time", pa.timestamp("ms")),  # that is foretold
        (
            "policy",
            pa.string(),
        ),  # "every 4", "every 16", "never", "simulator"; `WRONG`: the same with a wrong one on purpose
        ("model", pa.string()),
        ("asset", pa.string()),
        ("seen", pa.int64()),  # step at which the sensors were read last
        ("step", pa.int64()),  # that is foretold: 1 is the first behind the rollout's start
        ("said", pa.float64()),  # the median, the refusal taken out
        ("refused", pa.bool_()),
        ("truth", pa.float64()),
        ("injected", pa.float64()),  # points added on purpose; `said` holds them
    ]
)
Answer = Callable[[str, pd.DataFrame], Sequence[np.ndarray]]
"""Model and questions (`records.QUESTION`) -> their answer vectors."""


@dataclass(frozen=True)
class Own:
    """A stretch of its own: the steps `first` < step <= `last` are foretold from the readings at `first`."""

    policy: str
    first: int
    last: int
    models: tuple[str, ...] = MODELS

    @property
    def simulated(self) -> bool:
        return WRONG.get(self.policy, self.policy) == SIMULATOR


def policies(steps: int) -> list[Own]:
    """What is rolled over so many steps: whole without feedback, the first and last stretches with it, two between them."""
    found = [Own(NEVER, 0, steps), Own(NEVER, 0, min(ALONE, steps), (LLM,)), Own(SIMULATOR, 0, min(AIDED, steps))]
    for every, starts in ((16, (0, steps - 16)), (4, (0, steps // 12 * 4, steps // 6 * 4, steps - 4))):
        kept = sorted({start for start in starts if 0 <= start <= steps - every})
        found += [Own(f"every {every}", start, start + every) for start in kept]
    return [*found, *(Own(wrong, 0, min(AT + FOLLOWED, steps), (TWIN,)) for wrong in WRONG)]


def roll(rollouts: Sequence[Rollout], plans: Sequence[Own], answer: Answer) -> pd.DataFrame:
    """Feed every model its own answers; rows of `ROLL`.

    The same state is asked once a model, however many stretches come to it.
    """
    runs = [_Run(rollout, own, model) for own in plans for model in own.models for rollout in rollouts]
    rows: list[dict[str, Any]] = []
    longest = max((own.last - own.first for own in plans), default=0)
    for done in tqdm(range(longest), desc="rolled", unit="step", disable=None):
        going = [run for run in runs if run.own.first + done < run.own.last]
        for model in dict.fromkeys(run.model for run in going):
            rows += _step([run for run in going if run.model == model], model, answer)
    return pd.DataFrame(rows, columns=ROLL.names)


class _Run:
    """A model on one stretch: what its state holds of the assets now and a step before."""

    def __init__(self, rollout: Rollout, own: Own, model: str) -> None:
        self.rollout, self.own, self.model, self.step = rollout, own, model, own.first
        self.now, self.before = rollout.read(own.first)

    @property
    def state(self) -> tuple[Hashable, ...]:
        aided = self.own.simulated and self.step > self.own.first
        return self.rollout.name, self.own.first, self.step, self.now.tobytes(), self.before.tobytes(), aided

    def asked(self) -> list[dict[str, Any]]:
        return self.rollout.ask(self.step, self.own.first, self.now, self.before, self.own.simulated)

    def take(self, said: np.ndarray, refused: np.ndarray, wrong: float = 0.0) -> Iterator[dict[str, Any]]:
        """Make the answers the next readings, the first one too high by `wrong` where this is due; rows of `ROLL`."""
        self.step += 1
        added = np.zeros(len(said))
        if self.own.policy in WRONG and self.step == AT:
            added[0] = wrong
        self.before, self.now = self.now, said + added
        for i, asset in enumerate(self.rollout.assets):
            yield {
                "rollout": self.rollout.name, "time": self.rollout.start + pd.Timedelta(hours=self.step), "policy": self.own.policy,
                "model": self.model, "asset": asset, "seen": self.own.first, "step": self.step, "said": self.now[i],
                "refused": bool(refused[i]), "truth": self.rollout.truth[self.step, i], "injected": added[i],
            }  # fmt: skip


def _step(runs: Sequence[_Run], model: str, answer: Answer) -> Iterator[dict[str, Any]]:
    """One step of all runs of a model."""
    if model == PERSISTENCE:
        for run in runs:
            yield from run.take(run.now, np.zeros(len(run.now), bool))
        return
    states = {run.state: run for run in runs}
    parts = [pd.DataFrame(run.asked()) for run in states.values()]
    frame = pd.concat([part.assign(state=i) for i, part in enumerate(parts)], ignore_index=True)
    frame = frame.assign(id=[f"{row}" for row in range(len(frame))])
    if model == RULE:
        said, refused = frame[RULE].to_numpy(float), np.zeros(len(frame), bool)
    else:
        vectors = answer(model, frame)
        said = np.array([median(row, p) for (_, row), p in zip(frame.iterrows(), vectors, strict=True)])
        refused = np.array([p[-1] > 0.5 for p in vectors])
    values = space_of(frame.iloc[0]).values
    wrong = float(values[round(ADDED * len(values))] - values[0])
    place = {state: (frame["state"] == i).to_numpy() for i, state in enumerate(states)}
    for run in runs:
        own = place[run.state]
        yield from run.take(said[own], refused[own], wrong)


def median(question: pd.Series, p: np.ndarray) -> float:
    """The median of a number's answer vector, the refusal taken out."""
    mass = np.cumsum(p[:-1])
    return float(space_of(question).values[int(np.searchsorted(mass, mass[-1] / 2))])
