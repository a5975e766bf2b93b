"""Answer: every model answers the questions it is judged by, once; all later stages read these answers.

Writes data/answers/SECTOR/MODEL.parquet: the tuned model (llm), the experts and simple baselines on the validation share
of train and on calibration, test and shift; the untuned base on test, zero-shot (base), with its prior divided out
(base-prior), and, on a sample of whole test states, after worked examples (base-few); nothing of the base where that sample is
empty. A run that was cut off goes
on where it stopped.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.files import read_table, sha256, write_table
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import answer, plan, sample_states
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.few_shot import pick_shots, plan_few_shot, prior_corrected
from twinforge.model.lower import Lower, lower_states
from twinforge.model.prompt import Prompt
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, QUESTION, SPLITS
from twinforge.training.checkpoints import forget_others, run_key
from twinforge.training.experts import NAMES, Experts, group_of


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("answer"))
    splits = {split: read_table(paths.questions(split), QUESTION) for split in SPLITS}
    validation = splits["train"][splits["train"]["validation"]]
    everything = _joined(validation, splits["calibration"], splits["test"], splits["shift"])
    experts = Experts.load(paths.experts)
    for name in NAMES:
        write_table(experts.answer(name, everything), paths.answers_of(name), ANSWER)
    desk = Desk(recipe, paths)
    learnt = splits["train"][~splits["train"]["validation"]]
    for name, answers in desk.answers(learnt, splits["test"], everything).items():
        write_table(answers, paths.answers_of(name), ANSWER)


class Desk:
    """The model with its adapter, loaded once, and the scratch folder of exactly this run."""

    def __init__(self, recipe: Any, paths: Paths) -> None:
        self._recipe = recipe
        read = [paths.questions(split) for split in SPLITS] + sorted(paths.adapter.glob("adapter_*"))
        values = {name: str(value) for name, value in vars(recipe).items()}
        key = run_key(values, weights_hash(base_folder(recipe.model)), *map(sha256, read))
        self._scratch = paths.scratch / "answer" / key
        forget_others(self._scratch)
        model, tokenizer = load_base(recipe.model, recipe.compute)
        self._model = load_adapter(model, paths.adapter)
        self._prompt = Prompt.of(tokenizer)

    def answers(self, train: pd.DataFrame, test: pd.DataFrame, everything: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Answers of `llm` to everything, of `base` and `base-prior` to `test`, of `base-few` to a sample of it.

        On the test questions base and tuned model share what the layers below the adapter make of them. Where
        `budget.few_shot_sample` is 0 the base is not asked.
        """
        if not self._recipe.budget.few_shot_sample:
            return {"llm": self._answer("llm", plan(self._prompt, everything), everything)}
        trees, size = plan(self._prompt, test), self._recipe.compute.answer_batch_trees
        shared = lower_states(self._model, [a.tree for a in trees], size, "lower layers", self._scratch / "lower")
        with self._model.disable_adapter():
            plain = self._answer("base", trees, test, shared)
            known = sample_states(train, self._recipe.budget.few_shot_sample, self._recipe.seed)
            prior = self._answer("base on train", plan(self._prompt, known), known)
            few = self._few(train, test)
        rest = everything[~everything["id"].isin(test["id"])]
        tuned = [self._answer("llm test", trees, test, shared), self._answer("llm", plan(self._prompt, rest), rest)]
        return {
            "base": plain,
            "base-prior": prior_corrected(plain, group_of(test), test["kind"], prior, group_of(known)),
            "base-few": few,
            "llm": pd.concat(tuned).set_index("question").loc[everything["id"]].reset_index(),
        }

    def _few(self, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
        """The base's answers to a sample of `test`, after worked examples from `train`."""
        budget, seed = self._recipe.budget, self._recipe.seed
        few = sample_states(test, budget.few_shot_sample, seed)
        shots = pick_shots(train, group_of(train), budget.shots, seed)
        return self._answer("base-few", plan_few_shot(self._prompt, few, group_of(few), shots), few)

    def _answer(self, name: str, trees: Any, frame: pd.DataFrame, lower: Lower | None = None) -> pd.DataFrame:
        size, keep = self._recipe.compute.answer_batch_trees, self._scratch / name.replace(" ", "-")
        return answer(self._model, self._prompt, trees, frame["id"].tolist(), size, name, keep, lower)


def _joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


if __name__ == "__main__":
    run(main)
