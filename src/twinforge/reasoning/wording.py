"""Matching an operator's own wording to a question that a twin can be held to: a template, and what fills its slots.

Wording is compared by its words, weighted by how much each tells templates apart, and by the words around each slot
("outage of {outage}"), so that "what does L7 carry if L41 is out" doesn't swap the two lines. The question is then put
in one of the template's own phrasings, because the guarantee was calibrated on those.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from twinforge.errors import UserError

_STOP = """
a an the is are was be been do does did will would of in on at to for by with from and or it its this that there
what which how much many please tell me us can could you i we if so then now right when
"""
STOP = frozenset(_STOP.split())
Assets = Mapping[str, frozenset[str]]
NUMBER = frozenset(["number"])
ANY_ASSET = "asset"  # a slot of this kind takes an asset of whatever kind
MIN_SCORE = 0.35
UNUSED = 0.6  # factor for each thing a wording names and a template has no place for
SLOT_BONUS = 0.15  # that a wording names just the things a template needs speaks for it
_TOKEN = re.compile(r"\{\w*\}|\d+(?:\.\d+)?|[a-z][\w-]*|[.,:;?]")
_BREAKS = frozenset((*".,:;?", "if", "when", "after", "once", "with"))  # words on either side say nothing of each other
_NAME = re.compile(r"(\D*[A-Za-z])[ _-]?(\d+)")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?=h\b|\b)")


@dataclass(frozen=True)
class Skill:
    """One template as the twin's `skills.json` keeps it. slots : name -> kind of asset; any other word is a number."""

    name: str
    skill: str
    kind: str
    phrasings: tuple[str, ...]
    slots: Mapping[str, str]
    space: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Match:
    """The template a wording was matched to, what fills its slots, its nearest phrasing, and 0 to 1 how near."""

    skill: Skill
    slots: Mapping[str, str]
    phrasing: str
    score: float

    @property
    def text(self) -> str:
        """The question in the template's own words."""
        return self.phrasing.format(**self.slots)


@dataclass(frozen=True)
class Mention:
    """Something named in a wording: an asset (known or not) of these kinds, or a number."""

    kinds: frozenset[str]
    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Phrasebook:
    """Skills and the assets they can be asked about (name -> kinds, such as "line")."""

    skills: tuple[Skill, ...]
    assets: Assets

    @classmethod
    def of(cls, skills: Sequence[Mapping[str, Any]], knowledge: pd.DataFrame) -> Phrasebook:
        """From a twin's `skills.json` and `knowledge.parquet`, whose relation "is" gives each asset's kinds."""
        kinds = knowledge[knowledge["relation"] == "is"].groupby("subject", sort=False)["object"]
        return cls(
            tuple(Skill(**{**skill, "phrasings": tuple(skill["phrasings"])}) for skill in skills),
            {str(name): frozenset(found) for name, found in kinds},
        )

    def match(self, wording: str) -> Match:
        """The best match of a wording.

        Raises
        ------
        UserError
            Nothing fits well enough, with the nearest questions that can be asked; or two fillings fit as well.
        """
        ranked = self.ranked(wording)
        if not ranked or ranked[0].score < MIN_SCORE:
            near = "; ".join(f'"{text}"' for text in self.nearest(wording))
            raise UserError(
                f'"{wording}": not among the questions this twin was calibrated on; the nearest it answers: {near}'
            )
        if rivals := self._rivals(ranked[0], wording):
            either = " or ".join(f'"{match.text}"' for match in (ranked[0], *rivals))
            raise UserError(f'"{wording}" can be read two ways; ask {either}')
        return ranked[0]

    def ranked(self, wording: str) -> list[Match]:
        """Every template whose slots the wording can fill, the best filling and phrasing of each, best first."""
        mentions = list(find_mentions(wording, self.assets))
        fillings = (list(self._fillings(skill, wording, mentions)) for skill in self.skills)
        best = (max(matches, key=lambda match: match.score) for matches in fillings if matches)
        return sorted(best, key=lambda match: -match.score)

    def nearest(self, wording: str, count: int = 3) -> list[str]:
        """The nearest questions, with the wording's own names where they fit and example names elsewhere."""
        mentions = list(find_mentions(wording, self.assets))
        asked = self._features(_tokens(_masked(wording, mentions, {})))

        def overlap(skill: Skill) -> float:
            return max(self._overlap(asked, self._features(_tokens(phrasing))) for phrasing in skill.phrasings)

        return [self.example(skill, mentions) for skill in sorted(self.skills, key=overlap, reverse=True)[:count]]

    def example(self, skill: Skill, mentions: Sequence[Mention] = ()) -> str:
        """A template's first phrasing with names in its slots: those mentioned first, then any of the right kind."""
        slots: dict[str, str] = {}
        for slot, kind in skill.slots.items():
            named = [mention.name for mention in mentions if self._fits(mention, kind)]
            known = (name for name, kinds in self.assets.items() if self._fits(Mention(kinds, name, 0, 0), kind))
            slots[slot] = next((name for name in (*named, *known) if name not in slots.values()), "1")
        return skill.phrasings[0].format(**slots)

    def _rivals(self, best: Match, wording: str) -> list[Match]:
        """Other fillings of the same template that fit as well: which line is out must never be a guess."""
        mentions = list(find_mentions(wording, self.assets))
        others = [match for match in self._fillings(best.skill, wording, mentions) if match.slots != best.slots]
        return [match for match in others if match.score > 0.95 * best.score][:1]

    def _fillings(self, skill: Skill, wording: str, mentions: list[Mention]) -> Iterator[Match]:
        fixed = " ".join(skill.phrasings).lower()
        for chosen in itertools.permutations(mentions, len(skill.slots)):
            if all(self._fits(mention, kind) for mention, kind in zip(chosen, skill.slots.values(), strict=True)):
                filled = dict(zip(skill.slots, chosen, strict=True))
                rest = [m for m in mentions if m not in chosen and m.name.lower() not in fixed]
                score, phrasing = self._score(skill, _masked(wording, rest, filled))
                score *= UNUSED ** len(rest)
                yield Match(skill, {slot: mention.name for slot, mention in filled.items()}, phrasing, score)

    def _fits(self, mention: Mention, kind: str) -> bool:
        if kind in self._kinds:
            return kind in mention.kinds
        return (mention.kinds != NUMBER) == (kind == ANY_ASSET)

    def _score(self, skill: Skill, masked: str) -> tuple[float, str]:
        asked = self._features([_stem(self._spelled(token)) for token in _TOKEN.findall(masked.lower())])
        near = [(self._overlap(asked, self._features(_tokens(phrasing))), phrasing) for phrasing in skill.phrasings]
        score, phrasing = max(near, key=lambda pair: pair[0])
        pool = {feature for other in skill.phrasings for feature in self._features(_tokens(other))}
        known = sum(value for feature, value in asked.items() if feature in pool) / max(sum(asked.values()), 1e-9)
        filled = SLOT_BONUS if skill.slots and known else 0.0
        return (1 - filled) * (score + known) / 2 + filled, phrasing

    def _features(self, tokens: Sequence[str]) -> dict[str, float]:
        words = [token for token in tokens if token in _BREAKS or token not in STOP]
        plain = (word for word in words if word not in _BREAKS and not word.startswith("{"))
        found = {word: self._weights.get(word, self._rare) for word in plain}
        for place, slot in enumerate(words):
            if slot.startswith("{") and slot != "{}":
                for word in (*_until_break(words[:place][::-1]), *_until_break(words[place + 1 :])):
                    found[f"{word} {slot}"] = 0.5 * self._weights.get(word, self._rare)
        return found

    @staticmethod
    def _overlap(a: Mapping[str, float], b: Mapping[str, float]) -> float:
        return 2 * sum(a[feature] for feature in a.keys() & b.keys()) / max(sum(a.values()) + sum(b.values()), 1e-9)

    def _spelled(self, token: str) -> str:
        if token in self._vocabulary or token in STOP or len(token) < 5 or token.startswith("{"):
            return token
        return next(iter(difflib.get_close_matches(token, self._vocabulary, n=1, cutoff=0.8)), token)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(kind for kinds in self.assets.values() for kind in kinds)

    @cached_property
    def _rare(self) -> float:
        return math.log(2 * len(self.skills) + 1)

    @cached_property
    def _vocabulary(self) -> list[str]:
        words = (_TOKEN.findall(text.lower()) for skill in self.skills for text in skill.phrasings)
        return sorted({word for found in words for word in found if word[0].isalnum()})

    @cached_property
    def _weights(self) -> dict[str, float]:
        told = ({token for text in skill.phrasings for token in _tokens(text)} for skill in self.skills)
        seen = Counter(word for words in told for word in words - STOP - _BREAKS)
        return {word: math.log(1 + len(self.skills) / count) for word, count in seen.items()}


def find_mentions(wording: str, assets: Assets) -> Iterator[Mention]:
    """Assets and numbers named in a wording, in order: "L7", "l7", "line 7"; also a name in an asset's style that the
    sector doesn't have ("L999"), which takes the kind of its sisters: asking about it is a fair question to refuse."""
    taken = [False] * len(wording)
    found = [*_known(wording, assets, taken), *_styled(wording, assets, taken)]
    for number in _NUMBER.finditer(wording):
        if not any(taken[number.start() : number.end()]):
            found.append(Mention(NUMBER, number[0], number.start(), number.end()))
    yield from sorted(found, key=lambda mention: mention.start)


def _known(wording: str, assets: Assets, taken: list[bool]) -> list[Mention]:
    lower = wording.lower()
    found: list[Mention] = []
    for name in sorted(assets, key=len, reverse=True):
        for hit in re.finditer(rf"(?<![\w.-]){re.escape(name.lower())}(?![\w])", lower):
            if not any(taken[hit.start() : hit.end()]):
                found.append(_take(Mention(assets[name], name, hit.start(), hit.end()), taken))
    return found


def _styled(wording: str, assets: Assets, taken: list[bool]) -> list[Mention]:
    styles: dict[str, tuple[frozenset[str], str]] = {}
    for name, kinds in assets.items():
        if hit := _NAME.fullmatch(name):
            for word in (hit[1], *sorted(kinds)):
                styles.setdefault(word.lower(), (kinds, name[: hit.start(2)]))
    either = "|".join(map(re.escape, sorted(styles, key=len, reverse=True)))
    found: list[Mention] = []
    for hit in re.finditer(rf"\b({either})[ _-]?(\d+)\b", wording, re.I) if styles else ():
        if not any(taken[hit.start() : hit.end()]):
            kinds, prefix = styles[hit[1].lower()]
            found.append(_take(Mention(kinds, prefix + hit[2], hit.start(), hit.end()), taken))
    return found


def _take(mention: Mention, taken: list[bool]) -> Mention:
    taken[mention.start : mention.end] = [True] * (mention.end - mention.start)
    return mention


def _masked(wording: str, unused: Sequence[Mention], chosen: Mapping[str, Mention]) -> str:
    names = {
        **{mention: " {} " for mention in unused},
        **{mention: f" {{{slot}}} " for slot, mention in chosen.items()},
    }
    for mention in sorted(names, key=lambda mention: -mention.start):
        wording = wording[: mention.start] + names[mention] + wording[mention.end :]
    return wording


def _until_break(words: Sequence[str], most: int = 2) -> Iterator[str]:
    near = itertools.takewhile(lambda word: word not in _BREAKS and not word.startswith("{"), words)
    return itertools.islice(near, most)


def _tokens(text: str) -> list[str]:
    return [_stem(token) for token in _TOKEN.findall(text.lower())]


def _stem(token: str) -> str:
    for ending in ("ings", "ing", "ed", "es", "s", "e"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
