"""The base model at its best: worked examples before the question, and its prior divided out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from twinforge.model.answers import Asked, question_branch
from twinforge.model.prompt import REFUSED, VERDICTS, Prompt, space_texts
from twinforge.model.tree import Tree
from twinforge.records import membership, space_of


def answer_ids(prompt: Prompt, question: pd.Series) -> list[int]:
    """Tokens of the true answer: a letter, a number's characters, or the refusal; of a set one letter a candidate."""
    space, truth = space_of(question), question["truth"]
    if space.kind == "entities":
        letters = prompt.label_ids(len(VERDICTS))
        return [letters[-1] if np.isnan(value) else letters[int(value)] for value in membership(question)[:-1]]
    index = space.index(truth)
    if space.kind == "choice":
        return [prompt.label_ids(space.size)[index]]
    text = REFUSED if index == space.size - 1 else space_texts(space)[index]
    return [prompt.character_ids[character] for character in text]


def pick_shots(train: pd.DataFrame, groups: pd.Series, shots: int, seed: int) -> dict[str, pd.DataFrame]:
    """For each group, `shots` questions of `train`, of as many different answers and states as there are."""
    shuffled = train.sample(frac=1, random_state=seed)
    picked = {}
    for group, rows in shuffled.groupby(groups.loc[shuffled.index], sort=True):
        repeats = rows.groupby(rows["truth"].fillna(-1)).cumcount() + rows.groupby("context").cumcount()
        picked[str(group)] = rows.loc[repeats.sort_values(kind="stable").index[:shots]]
    return picked


def plan_few_shot(
    prompt: Prompt, frame: pd.DataFrame, groups: pd.Series, shots: Mapping[str, pd.DataFrame]
) -> list[Asked]:
    """Trees that ask the questions of `frame` after the worked examples of their group.

    The examples are turns of a chat, shared by all questions of a group: they are the tree's context, and each
    question's state and text its branch. Questions whose group has no examples are left out. Of a set one candidate is
    shown: a member in every other example, where it has any.
    """
    frame, groups = frame.reset_index(drop=True), groups.reset_index(drop=True)
    trees = []
    for group, examples in shots.items():
        shown = [_shown(prompt, row, place % 2 == 0) for place, (_, row) in enumerate(examples.iterrows())]
        context = np.array([token for tokens in shown for token in tokens])
        for start in range(0, len(rows := frame.index[groups == group]), 8):
            part = rows[start : start + 8]
            asked = [
                question_branch(prompt, frame.loc[row], prompt.context_ids(frame.loc[row, "context"])) for row in part
            ]
            branches, spaces = zip(*asked, strict=True)
            trees.append(Asked(Tree(context, branches), tuple(map(int, part)), spaces))
    return trees


def _shown(prompt: Prompt, example: pd.Series, member: bool) -> list[int]:
    asked, answer = prompt.question_ids(example), answer_ids(prompt, example)
    if example["kind"] == "entities":
        gold = membership(example)[:-1]
        one = int(np.argmax(gold == float(member)))  # the first candidate where no such one is
        asked, answer = asked + prompt.candidate_ids(example)[one], [answer[one]]
    return [*prompt.context_ids(example["context"]), *asked, *answer, *prompt.end_ids()]


def prior_corrected(
    answers: pd.DataFrame,
    groups: pd.Series,
    kinds: pd.Series,
    reference: pd.DataFrame,
    reference_groups: pd.Series,
) -> pd.DataFrame:
    """Divide each answer by the model's mean answer to other questions of its group and size, and renormalise.

    Batch calibration (Zhou et al. 2024, "Batch Calibration", eq. 3) with the prior from `reference`, answers to
    training questions; a group and size that `reference` lacks is left as it is. What it corrects is a liking for a
    letter or a number, whatever is asked. Of a set each entry is divided as the pair it stands for, [1 - p, p].
    """
    priors: dict[tuple[str, int], np.ndarray] = {}
    sizes = reference["p"].map(len).to_numpy()
    for key in set(zip(reference_groups, sizes, strict=True)):
        like = (reference_groups.to_numpy() == key[0]) & (sizes == key[1])
        priors[key] = np.mean(np.stack(reference.loc[like, "p"].to_list()), axis=0)
    corrected = [
        _divided(np.asarray(p), priors.get((group, len(p))), kind == "entities")
        for p, group, kind in zip(answers["p"], groups, kinds, strict=True)
    ]
    return answers.assign(p=pd.Series(corrected, index=answers.index, dtype=object))


def _divided(p: np.ndarray, prior: np.ndarray | None, paired: bool) -> np.ndarray:
    if prior is None:
        return p
    mass = p / np.maximum(prior, 1e-9)
    return mass / (mass + (1 - p) / np.maximum(1 - prior, 1e-9)) if paired else mass / mass.sum()
