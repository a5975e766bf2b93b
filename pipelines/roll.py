"""Roll: the twin and its parts are fed their own answers, with feedback from the sensors now and then, and without.

Reads the adapter, the experts and the twin's weights; writes data/rolled/SECTOR/rolled.parquet, a row an answer, on
stretches that no episode of the lake touches. `budget.probe_states` says how many and how long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from transformers.utils import logging

from eval.rolling import ROLL, TWIN, policies, roll
from pipelines import Paths, run
from twinforge.agents.integration import Integration
from twinforge.errors import UserError
from twinforge.files import read_json, replacing, write_table
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import load_base
from twinforge.model.prompt import Prompt
from twinforge.recipe import read_slice
from twinforge.records import LLM, PARTS
from twinforge.sectors import load_sector
from twinforge.training.experts import Experts

STEPS, SHORT = 96, 12  # hours; the short ones where few states are probed
STATES = 7  # probed states for which one rollout is made


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("roll"))
    plugin, states = load_sector(recipe.module), recipe.budget.probe_states
    steps = STEPS if states >= STATES else SHORT
    rows = pd.DataFrame(columns=ROLL.names)
    if states and hasattr(plugin, "rollouts"):
        rollouts = plugin.rollouts(recipe, max(states // STATES, 1), steps)
        rows = roll(rollouts, policies(steps), Desk(recipe, paths).answer) if rollouts else rows
    with replacing(paths.rolled) as folder:
        folder.mkdir()
        write_table(rows, folder / paths.rolled_answers.name, ROLL)


class Desk:
    """The language model with its adapter, the experts, and the weights by which the twin pools them."""

    def __init__(self, recipe: Any, paths: Paths) -> None:
        self._experts, self._size = Experts.load(paths.experts), recipe.compute.answer_batch_trees
        self._integration = Integration.from_json(read_json(paths.integration))
        model, tokenizer = load_base(recipe.model, recipe.compute)
        self._model, self._prompt = load_adapter(model, paths.adapter), Prompt.of(tokenizer)

    def answer(self, model: str, frame: pd.DataFrame) -> Sequence[np.ndarray]:
        """One answer vector a question, in their order.

        Raises
        ------
        UserError
            An expert that was never trained on such questions.
        """
        if model == TWIN:
            parts = {part: self.answer(part, frame) for part in PARTS}
            groups = frame["asked"] + "/" + frame["kind"]
            return [self._integration.pool({m: p[i] for m, p in parts.items()}, g) for i, g in enumerate(groups)]
        ids = frame["id"].tolist()
        if model == LLM:
            told = answer(self._model, self._prompt, plan(self._prompt, frame), ids, self._size)
        else:
            told = self._experts.answer(model, frame)
        if told["question"].tolist() != ids:
            raise UserError(f"{model!r} can't answer all of {sorted(set(frame['template']))}; run `dvc repro` again")
        return [np.asarray(p) for p in told["p"]]


if __name__ == "__main__":
    run(main)
