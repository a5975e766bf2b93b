"""The names that may be exchanged in a sector's texts, and its units in other words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

CLAUSE = "clause"  # what a rule says is known by its name only: it keeps it
EQUAL = {  # unit -> another one, how many of these it is, and both as words
    "%": ("per mille", 10.0, "percent", "per mille"),
    "MW": ("kW", 1000.0, "megawatts", "kilowatts"),
    "kV": ("V", 1000.0, "kilovolts", "volts"),
    "km": ("m", 1000.0, "kilometres", "metres"),
    "m": ("cm", 100.0, "metres", "centimetres"),
    "bar": ("kPa", 100.0, "bar", "kilopascals"),
    "l/s": ("m3/h", 3.6, "litres a second", "cubic metres an hour"),
    "years": ("months", 12.0, "years", "months"),
}
_UNIT = "|".join(map(re.escape, sorted(EQUAL, key=len, reverse=True)))
_NUMBER = r"\d+(?:\.\d+)?"
_WITH_UNIT = re.compile(
    rf"(?<![\w.])(?P<number>{_NUMBER}(?:-{_NUMBER})?) (?P<of>{_UNIT})(?![\w/])"  # 26 km, 80-100 %
    rf"|\b(?P<unit>{_UNIT})(?P<list>(?: [a-z]+ (?:{_NUMBER}|\?))+)"  # MW demand 223 wind 50
)
_STYLE = re.compile(r"([A-Za-z_]+)(\d+)")


@dataclass(frozen=True)
class Words:
    """sector : its name; assets : kind -> names of one word, those that a text can't abbreviate."""

    sector: str
    assets: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, sector: str, knowledge: pd.DataFrame) -> Words:
        """From `records.KNOWLEDGE`, whose relation "is" gives each asset's kind."""
        rows = knowledge[(knowledge["relation"] == "is") & (knowledge["object"] != CLAUSE)].drop_duplicates("subject")
        rows = rows[rows["subject"].str.fullmatch(r"\w+")]
        return cls(sector, {str(kind): tuple(names) for kind, names in rows.groupby("object")["subject"]})

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return frozenset(name for names in self.assets.values() for name in names)

    def exchanged(self, rng: np.random.Generator) -> dict[str, str]:
        """Each name and another one of its kind, one to one."""
        return {
            old: str(new)
            for names in self.assets.values()
            for old, new in zip(names, rng.permutation(names), strict=True)
        }

    def unseen(self, texts: str, rng: np.random.Generator) -> dict[str, str]:
        """Each name that ends in a number with a number that stands neither in `texts` nor among the names."""
        used = [hit.groups() for hit in _STYLE.finditer(" ".join([texts, *self.names]))]
        highest: dict[str, int] = {}
        for style, number in used:
            highest[style] = max(highest.get(style, 0), int(number))
        named = {name: hit[1] for name in sorted(self.names) if (hit := _STYLE.fullmatch(name))}
        free = {
            style: iter((rng.permutation(len(named)) + highest[style] + 1).tolist())
            for style in sorted(set(named.values()))
        }
        return {name: f"{style}{next(free[style])}" for name, style in named.items()}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with every whole word that is a name replaced, all at once."""
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)


def in_other_units(text: str) -> str:
    """The text with every number that carries a unit of `EQUAL` in the other one."""

    def other(hit: re.Match[str]) -> str:
        unit, factor = EQUAL[hit["of"] or hit["unit"]][:2]
        return f"{_scaled(hit['number'], factor)} {unit}" if hit["of"] else unit + _scaled(hit["list"], factor)

    return _WITH_UNIT.sub(other, text)


def unit_words(text: str, unit: str) -> str:
    """The text with the words for a unit replaced by those for the other one."""
    _, _, old, new = EQUAL[unit]
    text = text.replace(f"{old}age", f"value in {new}") if unit == "%" else text
    return re.sub(rf"\b{old}\b", new, text)


def misspelt(text: str, rng: np.random.Generator) -> str:
    """Two neighbouring letters swapped in about half of the words of five letters or more, in one at least; else as it is."""
    return _some_words(text, rng, lambda word: _swapped(word, rng))


def _some_words(text: str, rng: np.random.Generator, change: Callable[[str], str]) -> str:
    found = [hit for hit in re.finditer(r"[A-Za-z]{5,}(?!\w)", text) if len(set(hit[0][1:-1])) > 1]
    chosen = [hit for hit in found if rng.random() < 0.5] or found[:1]
    for hit in reversed(chosen):
        text = text[: hit.start()] + change(hit[0]) + text[hit.end() :]
    return text


def _swapped(word: str, rng: np.random.Generator) -> str:
    unlike = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
    at = int(rng.choice(unlike))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _scaled(numbers: str, factor: float) -> str:
    return re.sub(_NUMBER, lambda hit: f"{float(hit[0]) * factor:.6f}".rstrip("0").rstrip("."), numbers)
