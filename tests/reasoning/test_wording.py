"""An operator's wording finds its question with the right slots, or is refused with what can be asked."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinforge.errors import UserError
from twinforge.reasoning.wording import Phrasebook, find_mentions
from twinforge.records import KNOWLEDGE

SKILLS = [
    {
        "name": "loading",
        "skill": "what-if",
        "kind": "number",
        "phrasings": [
            "If line {outage} trips, what is the loading of line {line} in percent?",
            "Line {outage} is lost. What percent does line {line} carry?",
            "Give the loading of line {line} after the outage of line {outage}, in percent.",
        ],
        "slots": {"outage": "line", "line": "line"},
    },
    {
        "name": "ahead",
        "skill": "forecast",
        "kind": "number",
        "phrasings": [
            "What will the loading of line {line} be in {hours} h?",
            "Forecast line {line} for {hours} h ahead.",
        ],
        "slots": {"line": "line", "hours": "hours"},
    },
    {
        "name": "failure",
        "skill": "forecast",
        "kind": "choice",
        "phrasings": ["Will {asset} fail within a year?", "Does {asset} break down within one year?"],
        "slots": {"asset": "asset"},
    },
    {
        "name": "clause",
        "skill": "standard",
        "kind": "choice",
        "phrasings": ["Which clause is broken? If several are, the first."],
        "slots": {},
    },
    {
        "name": "supply",
        "skill": "dependency",
        "kind": "choice",
        "phrasings": [
            "Which demand goes dark if line {outage} is lost?",
            "Who is cut off by an outage of line {outage}?",
        ],
        "slots": {"outage": "line"},
    },
    {
        "name": "level",
        "skill": "what-if",
        "kind": "number",
        "phrasings": ["How high will tank B stand 2 h after {pump} is lost?"],
        "slots": {"pump": "pump"},
    },
]
NAMES = [(f"L{i}", "line") for i in range(1, 60)] + [("T1", "transformer"), ("pump P1", "pump"), ("tank B", "tank")]
KNOWN = pd.DataFrame([(name, "is", kind) for name, kind in NAMES], columns=KNOWLEDGE.names)
BOOK = Phrasebook.of(SKILLS, KNOWN)

FOUND = [
    ("What is the loading of L7 after the outage of L41?", "loading", {"line": "L7", "outage": "L41"}),
    ("what does L7 carry if L41 trips", "loading", {"line": "L7", "outage": "L41"}),
    ("L41 is lost. Loading on line 7?", "loading", {"line": "L7", "outage": "L41"}),
    ("LOADNG of l7 after the outge of l41, please", "loading", {"line": "L7", "outage": "L41"}),
    ("Loading of L999 after the outage of L41?", "loading", {"line": "L999", "outage": "L41"}),
    ("load on L7 in 4h", "ahead", {"line": "L7", "hours": "4"}),
    ("is T1 going to fail this year", "failure", {"asset": "T1"}),
    ("which clause is broken right now", "clause", {}),
    ("who is cut off when L41 is out", "supply", {"outage": "L41"}),
    ("How high will tank B stand 2 h after pump P9 is lost?", "level", {"pump": "pump P9"}),
    ("pump P1 is lost: how high does tank B stand 2 h later?", "level", {"pump": "pump P1"}),
]


@pytest.mark.parametrize(("wording", "name", "slots"), FOUND)
def test_own_wording_finds_question_and_slots(wording: str, name: str, slots: dict[str, str]) -> None:
    match = BOOK.match(wording)
    assert (match.skill.name, dict(match.slots)) == (name, slots)


REFUSED = [
    "What is the weather in Paris?",
    "Who won the cup?",
    "L7",
    "",
    "tell me a joke about L7",
    "what is the voltage at L7",
]


@pytest.mark.parametrize("wording", REFUSED)
def test_what_it_was_not_calibrated_on_is_refused(wording: str) -> None:
    with pytest.raises(UserError, match="the nearest it answers") as error:
        BOOK.match(wording)
    assert str(error.value).count('"') == 8, "the wording and three questions"


def test_the_nearest_questions_use_the_names_that_were_said() -> None:
    with pytest.raises(UserError, match="L7"):
        BOOK.match("the voltage at L7 ahead")


@pytest.mark.parametrize("phrasing", [(skill["name"], text) for skill in SKILLS for text in skill["phrasings"]])
def test_every_phrasing_finds_its_own_template(phrasing: tuple[str, str]) -> None:
    name, text = phrasing
    slots = {"outage": "L3", "line": "L44", "hours": "1", "asset": "T1", "pump": "pump P1"}
    match = BOOK.match(text.format(**slots))
    assert match.skill.name == name
    assert match.score == pytest.approx(1)
    assert all(slots[slot] == value for slot, value in match.slots.items())
    assert match.text == text.format(**slots)


@given(
    st.permutations(["L5", "L6"]), st.sampled_from(SKILLS[0]["phrasings"]), st.sampled_from(["", "please ", "tell me "])
)
def test_the_two_lines_are_never_swapped(names: list[str], phrasing: str, prefix: str) -> None:
    outage, line = names
    match = BOOK.match(prefix + phrasing.format(outage=outage, line=line).lower())
    assert dict(match.slots) == {"outage": outage, "line": line}


def test_which_line_is_out_is_never_guessed() -> None:
    with pytest.raises(UserError, match="two ways"):
        BOOK.match("L7 L41 loading lost percent trips")


def test_mentions_know_assets_styles_and_numbers() -> None:
    found = list(find_mentions("L7, line 8, l999 and pump P1 in 4 h", BOOK.assets))
    assert [mention.name for mention in found] == ["L7", "L8", "L999", "pump P1", "4"]
    assert [sorted(mention.kinds) for mention in found] == [["line"], ["line"], ["line"], ["pump"], ["number"]]


@given(st.text(max_size=80))
def test_any_text_is_matched_or_refused(text: str) -> None:
    try:
        assert BOOK.match(text).score >= 0.35
    except UserError as error:
        assert "the nearest it answers" in str(error) or "two ways" in str(error)
