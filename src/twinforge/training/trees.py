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
from twinforge.records import asked_text

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


def lessons(
    prompt: Prompt,
    frame: pd.DataFrame,
    number_weight: float = 1.0,
    reports: pd.DataFrame | None = None,
    report_weight: float = 1.0,
) -> list[Lesson]:
    """Training trees of the questions of `frame` (records.QUESTION), one or more a state, and of the reports on these states.

    Only the answer's tokens are supervised: the letter of a choice, each character of a number, or the refusal; of a set
    each candidate's letter; of a report (claims.REPORT) its reference and the end of the turn. A question weighs 1 (a number
    `number_weight`, a report `report_weight`), shared equally by its answer's tokens.

    Raises
    ------
    UserError
        There is no question.
    """
    if frame.empty:
        raise UserError("train: no question to learn from; curate more days (`budget.states_per_day`, `lake.days`)")
    by_state = dict(iter(reports.groupby("context", sort=False))) if reports is not None else {}
    made = []
    for context, questions in frame.groupby("context", sort=False):
        parts = [_part(prompt, question, number_weight) for _, question in questions.iterrows()]
        if context in by_state:
            parts += [_report(prompt, report, report_weight) for _, report in by_state[context].iterrows()]
        ids = np.array(prompt.context_ids(str(context)))
        made += [_lesson(ids, parts[start : start + MAX_BRANCHES]) for start in range(0, len(parts), MAX_BRANCHES)]
    return made


_Part = tuple[str, Branch, list[int], float]
"""A question's id, its branch, the tokens to be learnt, and what it weighs."""


def _lesson(context: np.ndarray, parts: Sequence[_Part]) -> Lesson:
    names, branches, answers, weights = zip(*parts, strict=True)
    each = [np.full(len(answer), weight / len(answer)) for answer, weight in zip(answers, weights, strict=True)]
    return Lesson(Tree(context, branches), np.concatenate(answers), np.concatenate(each), names)


def _part(prompt: Prompt, question: pd.Series, number_weight: float) -> _Part:
    answer = answer_ids(prompt, question)
    if question["kind"] == "number":
        return str(question["id"]), _line(prompt.question_ids(question), answer), answer, number_weight
    return str(question["id"]), question_branch(prompt, question)[0], answer, 1.0


def _report(prompt: Prompt, report: pd.Series, weight: float) -> _Part:
    answer = prompt.reference_ids(str(report["reference"]))
    return str(report["id"]), _line(prompt.text_ids(asked_text(report)), answer), answer, weight


def _line(asked: list[int], answer: list[int]) -> Branch:
    """A question with the true tokens but for the last, read where each is due."""
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
