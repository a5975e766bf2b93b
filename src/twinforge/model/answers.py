"""Answers as whole distributions: every question of a state in one pass, choices by their letters, numbers by digits, sets
candidate by candidate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from twinforge.errors import UserError
from twinforge.files import kept
from twinforge.model.adapter import one_precision, whole
from twinforge.model.base import longest
from twinforge.model.digits import Trie, trie_of
from twinforge.model.lower import Lower, upper_only
from twinforge.model.prompt import VERDICTS, Prompt
from twinforge.model.tree import Branch, Tree, pack
from twinforge.records import ANSWER, AnswerSpace, space_of

Model: TypeAlias = PreTrainedModel | PeftModel  # with or without an adapter
MAX_BRANCH_TOKENS = 2048  # of one tree: a state with more questions is asked in several
MAX_CELLS = 4_000_000  # of a head's attention table in one pass: keeps memory in bounds whatever the lengths
KEPT_BATCHES = 8  # batches a kept part


@dataclass(frozen=True)
class Asked:
    """A tree and, for each of its branches, the row of the question table it asks and its answer space."""

    tree: Tree
    rows: tuple[int, ...]
    spaces: tuple[AnswerSpace, ...]


def plan(prompt: Prompt, frame: pd.DataFrame) -> list[Asked]:
    """Trees that ask every question of `frame` (records.QUESTION): one for each state, more where it has very many."""
    trees = []
    for context, questions in _by_context(frame):
        branches = [(row, *question_branch(prompt, question)) for row, question in questions]
        ids = np.array(prompt.context_ids(context))
        trees += [Asked(Tree(ids, b), rows, spaces) for rows, b, spaces in _portions(branches)]
    return trees


def sample_states(frame: pd.DataFrame, questions: int, seed: int) -> pd.DataFrame:
    """Whole states of `frame`, drawn at random, with `questions` questions or a few more."""
    states = frame["context"].drop_duplicates().sample(frac=1, random_state=seed)
    sizes = frame["context"].value_counts().loc[states].cumsum()
    chosen = states.iloc[: int((sizes < questions).sum()) + 1]
    return frame[frame["context"].isin(chosen)].reset_index(drop=True)


def _by_context(frame: pd.DataFrame) -> Iterator[tuple[str, list[tuple[int, pd.Series]]]]:
    rows = frame.reset_index(drop=True)
    for context, questions in rows.groupby("context", sort=False):
        yield str(context), [(int(row), question) for row, question in questions.iterrows()]  # type: ignore[call-overload]


def _portions(
    branches: Sequence[tuple[int, Branch, AnswerSpace]],
) -> Iterator[tuple[tuple[int, ...], tuple[Branch, ...], tuple[AnswerSpace, ...]]]:
    portion: list[tuple[int, Branch, AnswerSpace]] = []
    tokens = 0
    for entry in branches:
        tokens += len(entry[1].ids)
        if portion and tokens > MAX_BRANCH_TOKENS:
            yield tuple(zip(*portion, strict=True))  # type: ignore[misc]
            portion, tokens = [], len(entry[1].ids)
        portion.append(entry)
    yield tuple(zip(*portion, strict=True))  # type: ignore[misc]


def question_branch(prompt: Prompt, question: pd.Series, lead: Sequence[int] = ()) -> tuple[Branch, AnswerSpace]:
    """The branch that asks one question, behind the tokens `lead`; on its end hang a number's trie of digits, or a set's
    candidates, each read at its own end."""
    space = space_of(question)
    ids = [*lead, *prompt.question_ids(question)]
    if space.kind == "choice":
        return Branch.line(ids, [len(ids) - 1]), space
    if space.kind == "entities":
        return Branch.line(ids, []).fan(prompt.candidate_ids(question)), space
    trie, end = trie_of(space), len(ids) - 1
    digits = [prompt.character_ids[character] for character in trie.characters]
    return (
        Branch(
            ids=np.array([*ids, *digits]),
            parents=np.concatenate([np.arange(len(ids)) - 1, end + 1 + trie.parents]),
            reads=end + 1 + trie.reads,
        ),
        space,
    )


def answer(
    model: Model,
    prompt: Prompt,
    asked: Sequence[Asked],
    questions: Sequence[str],
    batch_trees: int,
    label: str = "",
    keep: Path | None = None,
    lower: Lower | None = None,
) -> pd.DataFrame:
    """Ask the trees and read the distributions.

    Parameters
    ----------
    model : a causal language model from `load_base`, with or without an adapter.
    asked : from `plan` or `few_shot.plan_few_shot`.
    questions : id of each row that `asked` speaks of.
    batch_trees : most trees a forward pass; trees of like size go together. It does not change the answers.
    label : name on the progress bar; "" shows none.
    keep : folder for finished parts; a call that was cut off goes on from there. One folder for exactly one call.
    lower : what the layers below the adapter make of the trees of `asked`, where two models share it.

    Returns
    -------
    records.ANSWER, in the order of `questions`. A tree's tokens are shared equally among its questions, a batch's
    seconds by tokens.

    Raises
    ------
    UserError
        A context is longer than the model can read.
    """
    _fits(model, asked)
    batches = _batches(asked, batch_trees)
    upper = upper_only(model, lower.at) if lower else nullcontext()
    bar = tqdm(total=len(questions), desc=label, unit="answer", disable=not label)
    parts = []
    with _reading(model, prompt) as columns, upper, bar:
        reader = _Reader(model, prompt, columns, asked, questions, lower)
        for number, start in enumerate(range(0, len(batches), KEPT_BATCHES)):
            path, chosen = keep / f"{number:05}.parquet" if keep else None, batches[start : start + KEPT_BATCHES]
            parts.append(kept(path, ANSWER, partial(reader.part, chosen, bar)))
            bar.update(sum(map(len, parts)) - bar.n)  # of a part that lay there
    place = {question: row for row, question in enumerate(questions)}
    return pd.concat(parts).sort_values("question", key=lambda ids: ids.map(place)).reset_index(drop=True)


@dataclass(frozen=True)
class _Reader:
    """A model at its reading. columns : column of each token id in its logits."""

    model: Model
    prompt: Prompt
    columns: dict[int, int]
    asked: Sequence[Asked]
    questions: Sequence[str]
    lower: Lower | None

    def part(self, batches: Sequence[Sequence[int]], bar: tqdm[Any]) -> pd.DataFrame:
        """Answers (records.ANSWER) of some batches of trees."""
        rows = []
        for batch in batches:
            answers = self.batch(batch)
            rows += [(self.questions[row], *answers[row]) for row in answers]
            bar.update(len(answers))
        return pd.DataFrame(rows, columns=ANSWER.names)

    def batch(self, chosen: Sequence[int]) -> dict[int, tuple[np.ndarray, int, float]]:
        """Distribution, tokens and seconds of each question that the chosen trees ask, by its row."""
        start = time.perf_counter()
        batch = [self.asked[tree] for tree in chosen]
        inputs = pack([a.tree for a in batch], device=self.model.device)
        if self.lower:
            inputs = self.lower.inputs(chosen, inputs)
        with (
            torch.no_grad(),
            one_precision(self.model),
        ):  # inference mode would spoil weights that are put together from pieces
            read = self.model(**inputs, use_cache=False).logits[0]
        logits = read.float().cpu().numpy().astype(float)
        seconds = (time.perf_counter() - start) / sum(a.tree.tokens for a in batch)
        answers, at = {}, 0
        for tree, one in zip(chosen, batch, strict=True):
            share = one.tree.tokens / len(one.rows)
            below = self.lower.seconds[tree] / len(one.rows) if self.lower else 0.0
            for row, branch, space in zip(one.rows, one.tree.branches, one.spaces, strict=True):
                p = _distribution(logits[at : at + len(branch.reads)], self.columns, self.prompt, space)
                answers[row] = (p, round(share), share * seconds + below)
                at += len(branch.reads)
        return answers


def _batches(asked: Sequence[Asked], batch_trees: int) -> list[list[int]]:
    """Trees of like size together, the largest first (what does not fit in memory shows at once)."""
    batches: list[list[int]] = []
    for one in sorted(range(len(asked)), key=lambda tree: asked[tree].tree.tokens, reverse=True):
        last = batches[-1] if batches else []
        if last and len(last) < batch_trees and _cells([asked[tree] for tree in (*last, one)]) <= MAX_CELLS:
            last.append(one)
        else:
            batches.append([one])
    return batches


def _cells(batch: Sequence[Asked]) -> int:
    """Cells of the attention table of one head."""
    width = max(len(a.tree.context) for a in batch)
    length = max(len(b.ids) for a in batch for b in a.tree.branches)
    return len(batch) * max(len(a.tree.branches) for a in batch) * length * (width + length)


def _fits(model: Model, asked: Sequence[Asked]) -> None:
    limit = longest(model)
    deepest = max((len(a.tree.context) + max(len(b.ids) for b in a.tree.branches) for a in asked), default=0)
    if deepest > limit:
        raise UserError(
            f"a context with its question has {deepest} tokens and the model reads {limit}; shorten the contexts"
        )


def _distribution(logits: np.ndarray, columns: dict[int, int], prompt: Prompt, space: AnswerSpace) -> np.ndarray:
    """Probabilities of a space's answers, the refusal last, from the logits (reads, columns) of one branch.

    Of a set: P(yes) against P(no) for each candidate, and the mean of P(unknown) over the candidates.
    """
    if space.kind == "entities":
        verdicts = logits[:, [columns[token] for token in prompt.label_ids(len(VERDICTS))]]
        no, yes, unknown = np.exp([_log_softmax(row) for row in verdicts]).T
        return np.append(yes / (no + yes), unknown.mean())
    if space.kind == "choice":
        logs = _log_softmax(logits[0, [columns[token] for token in prompt.label_ids(space.size)]])
    else:
        logs = number_mass(trie_of(space), logits, {c: columns[token] for c, token in prompt.character_ids.items()})
    p = np.exp(logs)
    return p / p.sum()


def number_mass(trie: Trie, logits: np.ndarray, column: dict[str, int]) -> np.ndarray:
    """Log-probability of every value and the refusal from logits (reads, columns) and each character's column."""
    return trie.mass(lambda row, characters: _log_softmax(logits[row, [column[c] for c in characters]]))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max()
    return shifted - np.log(np.exp(shifted).sum())


class _Head(nn.Module):
    """Some rows of a language-model head, in fp32 whatever the model's: bf16 has but three digits, and one answer in ten was a tie."""

    def __init__(self, head: Any, ids: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(head.weight[list(ids)].detach().float(), requires_grad=False)
        self.bias = (
            None if head.bias is None else nn.Parameter(head.bias[list(ids)].detach().float(), requires_grad=False)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return nn.functional.linear(states.float(), self.weight, self.bias)


@contextmanager
def _reading(model: Model, prompt: Prompt) -> Iterator[dict[int, int]]:
    """Cut the language-model head down to the tokens an answer may use; yields the column of each token id."""
    network = model.get_base_model() if isinstance(model, PeftModel) else model
    head, ids = network.get_output_embeddings(), prompt.reply_ids()
    with whole(head.parameters()):
        network.set_output_embeddings(_Head(head, ids))
    try:
        yield {token: column for column, token in enumerate(ids)}
    finally:
        network.set_output_embeddings(head)
