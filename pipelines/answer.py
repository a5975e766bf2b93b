"""Answer: every model answers the questions it is judged by, once; all later stages read these answers.

Writes data/answers/SECTOR/MODEL.parquet: the tuned model (llm), the experts and simple baselines on the validation share
of train and on calibration, test and shift; the untuned base on test, zero-shot (base), with its prior divided out
(base-prior), and, on a sample of whole test states, after worked examples (base-few). A run that was cut off goes
on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.files import read_table, sha256, write_table
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.few_shot import pick_shots, plan_few_shot, prior_corrected
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
    for name, answers in desk.base(learnt, splits["test"]).items():
        write_table(answers, paths.answers_of(name), ANSWER)
    write_table(desk.tuned(everything, paths.adapter), paths.answers_of("llm"), ANSWER)


class Desk:
    """The base model, loaded once, and the scratch folder of exactly this run."""

    def __init__(self, recipe: Any, paths: Paths) -> None:
        self._recipe = recipe
        read = [paths.questions(split) for split in SPLITS] + sorted(paths.adapter.glob("adapter_*"))
        values = {name: str(value) for name, value in vars(recipe).items()}
        key = run_key(values, weights_hash(base_folder(recipe.model)), *map(sha256, read))
        self._scratch = paths.scratch / "answer" / key
        forget_others(self._scratch)
        self._model, tokenizer = load_base(recipe.model, recipe.compute)
        self._prompt = Prompt.of(tokenizer)

    def base(self, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Answers of `base` and `base-prior` to the test questions, and of `base-few` to a sample of them."""
        budget, seed = self._recipe.budget, self._recipe.seed
        plain = self._ask("base", self._model, test)
        known = sample_states(train, budget.few_shot_sample, seed)
        prior = self._ask("base on train", self._model, known)
        few = sample_states(test, budget.few_shot_sample, seed)
        shots = pick_shots(train, group_of(train), budget.shots, seed)
        trees = plan_few_shot(self._prompt, few, group_of(few), shots)
        return {
            "base": plain,
            "base-prior": prior_corrected(plain, group_of(test), prior, group_of(known)),
            "base-few": self._answer("base-few", self._model, trees, few),
        }

    def tuned(self, frame: pd.DataFrame, adapter: Path) -> pd.DataFrame:
        """Answers of `llm`, the base with the adapter on it."""
        return self._ask("llm", load_adapter(self._model, adapter), frame)

    def _ask(self, name: str, model: Any, frame: pd.DataFrame) -> pd.DataFrame:
        return self._answer(name, model, plan(self._prompt, frame), frame)

    def _answer(self, name: str, model: Any, trees: Any, frame: pd.DataFrame) -> pd.DataFrame:
        size, keep = self._recipe.compute.answer_batch_trees, self._scratch / name.replace(" ", "-")
        return answer(model, self._prompt, trees, frame["id"].tolist(), size, name, keep)


def sample_states(frame: pd.DataFrame, questions: int, seed: int) -> pd.DataFrame:
    """Whole states of `frame`, drawn at random, with `questions` questions or a few more."""
    states = frame["context"].drop_duplicates().sample(frac=1, random_state=seed)
    sizes = frame["context"].value_counts().loc[states].cumsum()
    chosen = states.iloc[: int((sizes < questions).sum()) + 1]
    return frame[frame["context"].isin(chosen)].reset_index(drop=True)


def _joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


if __name__ == "__main__":
    run(main)
