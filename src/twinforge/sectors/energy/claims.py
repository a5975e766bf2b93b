"""What a text about the grid claims: lines, clauses and totals with value, unit, time, and the outage that is supposed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from twinforge.claims import EXISTS, Claim

_SENTENCE = re.compile(r"[^\n.!?]*(?:[.](?=\d)[^\n.!?]*)*[\n.!?]?")
_SEGMENT = re.compile(r"[^,;:]+(?:[,;:]|$)")
_LINE = r"\b([LTD]\d+)\b"
_NUMBER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)\s*(%|percent\b|MW\b|MVAr\b|kV\b|kA\b|A\b|pu\b|p\.u\.|km\b|years?\b)")
_UNITS = {"percent": "%", "p.u.": "pu", "year": "years"}
_BY_UNIT = {"%": "loading", "pu": "voltage", "kV": "voltage", "km": "length", "years": "age", "MW": "flow"}
_TOTAL = re.compile(r"\b(demand|wind|solar|rating)\b[^\d]{0,14}$", re.I)
_CARRIES = re.compile(r"\b(?:carr(?:y|ies|ied)|load(?:ed|ing)?|at|to)\b[^\d]{0,14}$", re.I)
_AGO = re.compile(r"\b(?:an|one|(\d+)) h(?:ours?)? (?:ago|before|earlier)\b", re.I)
_AHEAD = re.compile(
    r"\bin (?:an|one|(\d+)) h(?:ours?)?\b|\b(\d+) h(?:ours?)? (?:ahead|from now|later)\b|\bin the next (\d+) h", re.I
)
_PRESENT = re.compile(r"\b(?:now|currently|at present|carries)\b", re.I)
_SUPPOSED = re.compile(
    rf"\b(?:outage|loss|failure|trip(?:ping)?) of (?:line )?{_LINE}"
    rf"|\b(?:without|after|if|should) (?:line )?{_LINE}|{_LINE} (?:fails|trips|is out)\b",
    re.I,
)
_OVER = re.compile(
    r"\b(not |n't )?(?:be |is )?(?:overloaded|overloads?|(?:exceed(?:s|ing)?|above|over) (?:its|the|100 %) ?(?:rating|limit)?)"
    r"|\b(not )?within (?:its|the) (?:rating|limit)s?\b",
    re.I,
)
_CLAUSE = re.compile(
    r"\b(C\d+)(?: \w+)? (?:is|was|remains) (not )?(met|kept|satisfied|broken|violated|breached)\b", re.I
)
_ABSENT = re.compile(
    rf"\bno (?:such )?(?:line |asset )?{_LINE}|{_LINE} (?:is not in|does not exist|is not a|is unknown)", re.I
)
_UNTOLD = re.compile(
    rf"\b(?:loading|reading|value)s?(?: of (?:line )?{_LINE})? (?:is|are) (?:missing|not known|unknown|not available)",
    re.I,
)


@dataclass(frozen=True)
class _Scene:
    """What a phrase is about, as far as the text has said: it goes on until something else is named."""

    asset: str = ""
    hours: float = 0.0
    given: str = ""


def claims(text: str) -> list[Claim]:
    """Every claim of a text, in order.

    Read are numbers with a unit, whether something is overloaded or within its rating, whether a clause is met, that a reading is
    missing, and that something is not there. Naming an asset and saying nothing of it that can be read claims that it exists.
    Time and outage hold to the end of a sentence, its subject until the next is named.
    """
    found: list[Claim] = []
    scene = _Scene()
    for sentence in _SENTENCE.finditer(text):
        scene, before = replace(scene, hours=0.0, given=""), len(found)
        for segment in _SEGMENT.finditer(sentence.group()):
            start, words = sentence.start() + segment.start(), segment.group()
            scene = _scene(words, scene)
            found += _claims(words, start, scene)
        said = {c.asset for c in found[before:]} | {c.given for c in found[before:]}
        for name in re.finditer(_LINE, sentence.group()):
            if name.group(1) not in said:
                found.append(_claim(name.group(1), EXISTS, 1.0, "", _Scene(), sentence.start(), name))
    return found


def _scene(words: str, scene: _Scene) -> _Scene:
    if supposed := _SUPPOSED.search(words):
        scene = replace(scene, given=next(name for name in supposed.groups() if name))
    if ago := _AGO.search(words):
        scene = replace(scene, hours=-float(ago.group(1) or 1))
    elif ahead := _AHEAD.search(words):
        scene = replace(scene, hours=float(next((n for n in ahead.groups() if n), 1)))
    elif _PRESENT.search(words):
        scene = replace(scene, hours=0.0)
    named = [name for name in re.findall(_LINE, words) if name != scene.given]
    return replace(scene, asset=named[-1]) if named else scene


def _claims(words: str, start: int, scene: _Scene) -> Iterator[Claim]:
    """The claims of one phrase."""
    for absent in _ABSENT.finditer(words):
        name = next(name for name in absent.groups() if name)
        yield _claim(name, EXISTS, 0.0, "", _Scene(), start, absent)
    for clause in _CLAUSE.finditer(words):
        broken = (clause.group(3).lower() in ("broken", "violated", "breached")) != bool(clause.group(2))
        yield _claim(clause.group(1), "broken", float(broken), "", _Scene(), start, clause)
    for untold in _UNTOLD.finditer(words):
        yield _claim(untold.group(1) or scene.asset, "loading", math.nan, "", replace(scene, given=""), start, untold)
    for standing in _OVER.finditer(words):
        within = "within" in standing.group().lower()
        if scene.asset:
            negated = bool(standing.group(1) or standing.group(2))
            yield _claim(scene.asset, "overloaded", float(within == negated), "", scene, start, standing)
    for number in _NUMBER.finditer(words):
        yield from _number(words, number, start, scene)


def _number(words: str, number: re.Match[str], start: int, scene: _Scene) -> Iterator[Claim]:
    unit = _UNITS.get(number.group(2), number.group(2))
    before = words[: number.start()]
    if total := _TOTAL.search(before):
        yield _claim("grid", total.group(1).lower(), float(number.group(1)), unit, scene, start, number)
    elif scene.asset:
        quantity = "loading" if _CARRIES.search(before) else _BY_UNIT.get(unit, "loading")
        yield _claim(scene.asset, quantity, float(number.group(1)), unit, scene, start, number)


def _claim(
    asset: str, quantity: str, value: float, unit: str, scene: _Scene, start: int, where: re.Match[str]
) -> Claim:
    return Claim(asset, quantity, value, unit, scene.hours, scene.given, start + where.start(), start + where.end())
