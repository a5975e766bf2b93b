"""Questions as they stand when some dimensions tell nothing: a dead weather feed, no sensors, no model.

For sectors that mark their texts by letters: P physical, A abstract, C computational. Each line of a state begins with its
letter ("P: ...", "P ..."), the parts of a question's facts too ("P now 77, C after 174"); a note of an option that has no
letter of its own goes on with the last part of the facts ("C residual" before the notes "+2", "-5"). Text without a letter
belongs to no dimension and stays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from twinforge.errors import UserError
from twinforge.records import Dimension

Keep = Callable[[pd.DataFrame, Set[Dimension]], pd.DataFrame]
LETTERS: Mapping[Dimension, str] = {"physical": "P", "abstract": "A", "computational": "C"}
DIMENSIONS = frozenset(LETTERS)
SUBSETS = tuple(frozenset(some) for count in range(len(LETTERS) + 1) for some in combinations(LETTERS, count))
"""All subsets of the dimensions, the empty one first, the whole last."""
BLIND = tuple(kept for kept in SUBSETS[:-1] if "computational" in kept)
"""The proper ones under which there are experts: these are the computational side themselves."""
_PART = re.compile(r", (?=[PAC] )")
_LETTER = re.compile(r"([PAC])(?=:? )")


@dataclass(frozen=True)
class Source:
    """Where what experts see of a template's questions comes from.

    features : of each column the letters of all dimensions it is made of, "CP" for both, "" for none (what the question
        itself or the graph tells). rule : those of which the operator's rule takes its answer.
    """

    features: tuple[str, ...]
    rule: str


def letters(dimensions: Set[Dimension]) -> str:
    """The dimensions' letters in the order P, A, C; "none" for none: a short name of the set."""
    return "".join(letter for name, letter in LETTERS.items() if name in dimensions) or "none"


def keep_marked(questions: pd.DataFrame, dimensions: Set[Dimension], sources: Mapping[str, Source]) -> pd.DataFrame:
    """The questions (`records.QUESTION`) with what `dimensions` tell; as they are where that is all of them.

    Context, facts and notes lose the parts of the others, features are NaN in columns made of them, the rule is defined only
    where it reads none of them, and persistence and copy, which repeat a reading, are not defined. Truths stay, also
    those that can't be known any more. Ids get the letters kept: "3f2a-PA".

    Raises
    ------
    UserError
        A template without a source, or one with another number of columns than the features have.
    """
    if dimensions >= DIMENSIONS:
        return questions
    kept = "".join(LETTERS[name] for name in dimensions)
    rows = []
    for row in questions.to_dict("records"):
        source = _source(str(row["template"]), sources)
        unread = not set(source.rule) <= set(kept)
        rows.append(
            {
                **row,
                "id": f"{row['id']}-{letters(dimensions)}",
                "context": "\n".join(line for line in row["context"].split("\n") if _told(line, kept)),
                "facts": _parts(row["facts"], kept),
                "notes": _notes(list(row["notes"]), row["facts"], kept),
                "features": [_columns(values, source.features, kept) for values in row["features"]],
                "rule": math.nan if unread else row["rule"],
                "rule_gold": [] if unread else row["rule_gold"],
                "rule_defined": bool(row["rule_defined"]) and not unread,
                "persistence": math.nan,
                "copy": math.nan,
            }
        )
    return pd.DataFrame(rows, columns=questions.columns, index=questions.index)


def _source(template: str, sources: Mapping[str, Source]) -> Source:
    if template not in sources:
        raise UserError(
            f"template {template!r}: the sector doesn't say which dimensions its features come from; add it to "
            f"those of {', '.join(sources)}"
        )
    return sources[template]


def _told(text: str, kept: str) -> bool:
    mark = _LETTER.match(text)
    return mark is None or mark[1] in kept


def _parts(text: str, kept: str) -> str:
    return ", ".join(part for part in _PART.split(text) if _told(part, kept))


def _notes(notes: list[str], facts: str, kept: str) -> list[str]:
    """The notes with what is kept of each; none where that is nothing at all."""
    going_on = _told(_PART.split(facts)[-1], kept)
    told = [_parts(note, kept) if _LETTER.match(note) else note if going_on else "" for note in notes]
    return told if any(told) else []


def _columns(values: Sequence[float], columns: Sequence[str], kept: str) -> list[float]:
    if len(values) != len(columns):
        raise UserError(
            f"features of {len(values)} columns, the sector's sources have {len(columns)}; mend the sources"
        )
    return [value if set(of) <= set(kept) else math.nan for value, of in zip(values, columns, strict=True)]
