"""Numbers as digits: the trie of all the ways to write a value of a space, and exact mass over them.

Where values differ in length, what follows the digits may be the end of the turn: 1, 12 and 120 part after the 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from twinforge.errors import UserError
from twinforge.model.prompt import REFUSED, space_texts
from twinforge.records import AnswerSpace

MAX_NODES = 1200


@dataclass(frozen=True)
class Trie:
    """The prefixes after which more than one character may follow, with what they hang on.

    A model reads prefix after prefix in one pass; at each node that branches it is asked which character comes next.
    The empty prefix (where the answer starts) is node -1 in `parents` and row 0 of the probabilities.

    Attributes
    ----------
    characters : (nodes,) the character each node adds.
    parents : (nodes,) the node it follows, -1 for the start of the answer.
    reads : (rows,) the nodes where a distribution is read, -1 first.
    choices : for each row, the characters that may follow, ascending.
    paths : (values, depth, 2) row and position among its choices of each step of a value; (-1, -1) where no choice is.
    """

    characters: str
    parents: np.ndarray
    reads: np.ndarray
    choices: tuple[str, ...]
    paths: np.ndarray

    def mass(self, log_probability: Callable[[int, str], np.ndarray]) -> np.ndarray:
        """Log-probability of every value, and last of the refusal.

        Parameters
        ----------
        log_probability : (row, characters) -> log-probabilities of these, normalised among themselves.

        Returns
        -------
        (values + 1,) logs that sum to one when exponentiated.
        """
        tables = [log_probability(0, self.choices[0] + REFUSED)]
        tables += [log_probability(row, self.choices[row]) for row in range(1, len(self.reads))]
        # the last row and column stay 0: a step of a value where there was no choice
        padded = np.zeros((len(tables) + 1, max(map(len, tables)) + 1))
        for row, table in enumerate(tables):
            padded[row, : len(table)] = table
        return np.append(padded[self.paths[..., 0], self.paths[..., 1]].sum(axis=1), tables[0][-1])


@lru_cache(maxsize=256)
def trie_of(space: AnswerSpace) -> Trie:
    """The trie of a number space's written values.

    Raises
    ------
    UserError
        More than `MAX_NODES` prefixes: the grid is too fine to read exactly.
    """
    texts = space_texts(space)
    following: dict[str, set[str]] = {}
    for text in texts:
        for depth, character in enumerate(text):
            following.setdefault(text[:depth], set()).add(character)
    read = ["", *sorted((p for p, more in following.items() if p and len(more) > 1), key=lambda p: (len(p), p))]
    kept = sorted({p[:n] for p in read for n in range(1, len(p) + 1)}, key=lambda p: (len(p), p))
    if len(kept) > MAX_NODES:
        raise UserError(
            f"number space {space.low} to {space.high} by {space.step}: {len(kept)} prefixes to read, {MAX_NODES} at most; "
            "choose a larger step"
        )
    place = {prefix: node for node, prefix in enumerate(kept)} | {"": -1}
    row = {prefix: index for index, prefix in enumerate(read)}
    choices = tuple("".join(sorted(following[prefix])) for prefix in read)
    return Trie(
        characters="".join(prefix[-1] for prefix in kept),
        parents=np.array([place[prefix[:-1]] for prefix in kept], dtype=int),
        reads=np.array([place[prefix] for prefix in read], dtype=int),
        choices=choices,
        paths=np.array([[_step(text, depth, row, choices) for depth in range(max(map(len, texts)))] for text in texts]),
    )


def _step(text: str, depth: int, row: dict[str, int], choices: tuple[str, ...]) -> tuple[int, int]:
    at = row.get(text[:depth]) if depth < len(text) else None
    return (-1, -1) if at is None else (at, choices[at].index(text[depth]))
