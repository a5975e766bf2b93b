"""From question tables to training trees: which tokens are read, which are the right ones, and what each weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from twinforge.errors import UserError
from twinforge.model.answers import question_branch
from twinforge.model.few_shot import answer_ids
from twinforge.model.prompt import Prompt
from twinforge.model.tree import Branch, Tree, pack

MAX_BRANCHES = 16  # of one tree: a state with more questions gives several


@dataclass(frozen=True)
class Lesson:
    """A tree to learn from.

    Attributes
    ----------
    tree : context and questions, each with its answer but for the last token.
    targets : (reads,) the token that should follow each read, branch by branch.
    weights : (reads,) share of each read in its question's loss: they sum to the question's weight.
    questions : ids of the questions, to name a bad batch by.
    """

    tree: Tree
    targets: np.ndarray
    weights: np.ndarray
    questions: tuple[str, ...]


def lessons(prompt: Prompt, frame: pd.DataFrame, number_weight: float = 1.0) -> list[Lesson]:
    """Training trees of the questions of `frame` (records.QUESTION), one or more a state.

    Only the answer's tokens are supervised: the letter of a choice, each character of a number, or the refusal; of a set
    each candidate's letter. A question weighs 1 (a number `number_weight`), shared equally by its answer's tokens.

    Raises
    ------
    UserError
        There is no question.
    """
    if frame.empty:
        raise UserError("train: no question to learn from; curate more days (`budget.states_per_day`, `lake.days`)")
    made = []
    for context, questions in frame.groupby("context", sort=False):
        ids = np.array(prompt.context_ids(str(context)))
        for start in range(0, len(questions), MAX_BRANCHES):
            made.append(_lesson(prompt, ids, questions.iloc[start : start + MAX_BRANCHES], number_weight))
    return made


def _lesson(prompt: Prompt, context: np.ndarray, questions: pd.DataFrame, number_weight: float) -> Lesson:
    branches, targets, weights = [], [], []
    for _, question in questions.iterrows():
        number, answer = question["kind"] == "number", answer_ids(prompt, question)
        branches.append(_number(prompt, question, answer) if number else question_branch(prompt, question)[0])
        targets += answer
        weights += [(number_weight if number else 1.0) / len(answer)] * len(answer)
    return Lesson(Tree(context, tuple(branches)), np.array(targets), np.array(weights), tuple(questions["id"]))


def _number(prompt: Prompt, question: pd.Series, answer: list[int]) -> Branch:
    """A number's question with the true characters but for the last, read where each is due."""
    asked = prompt.question_ids(question)
    return Branch.line(asked + answer[:-1], range(len(asked) - 1, len(asked) + len(answer) - 1))


def collate(batch: Sequence[Lesson]) -> dict[str, Any]:
    """One packed batch: the forward pass's arguments, and `targets`, `weights` of its reads, `answers` and `tokens`."""
    return {
        **pack([lesson.tree for lesson in batch]),
        "targets": torch.from_numpy(np.concatenate([lesson.targets for lesson in batch])).long(),
        "weights": torch.from_numpy(np.concatenate([lesson.weights for lesson in batch])).float(),
        "answers": torch.tensor(sum(len(lesson.questions) for lesson in batch)),
        "tokens": torch.tensor(sum(lesson.tree.tokens for lesson in batch)),
    }
