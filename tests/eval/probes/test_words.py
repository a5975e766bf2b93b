"""Names, units and typos: whole words only, one to one, and no number changes its meaning."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.probes.words import EQUAL, Words, in_other_units, misspelt, renamed, unit_words
from tests.eval.states import WORDS, knowledge


def test_names_come_from_the_graph_but_rules_and_long_names_keep_theirs() -> None:
    found = Words.of("plant", knowledge())
    assert {kind: set(names) for kind, names in found.assets.items()} == {k: set(v) for k, v in WORDS.assets.items()}


@given(st.integers(0, 10**6))
def test_an_exchange_is_one_to_one_within_a_kind(seed: int) -> None:
    names = WORDS.exchanged(np.random.default_rng(seed))
    assert set(names) == set(names.values()) == WORDS.names
    assert all(old[0] == new[0] for old, new in names.items())


@given(st.integers(0, 10**6))
def test_unseen_names_stand_nowhere(seed: int) -> None:
    text = "L999=5, L1000 and D77 are named; L1 is not the last."
    names = WORDS.unseen(text, np.random.default_rng(seed))
    assert set(names) == WORDS.names and len(set(names.values())) == len(names)
    assert not set(names.values()) & (WORDS.names | set(re.findall(r"\w+", text)))
    assert all(old[0] == new[0] for old, new in names.items())


def test_whole_words_change_all_at_once() -> None:
    names = {"L1": "L11", "L11": "L1", "D2": "D5"}
    assert renamed("L1=65 L11-3 XL1 L111, D2. was L1", names) == "L11=65 L1-3 XL1 L111, D5. was L11"


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("26 km", "26000 m"),
        ("rating 121 %, then", "rating 1210 per mille, then"),
        ("80-100 %", "800-1000 per mille"),
        ("0.5 km of 37 years", "500 m of 444 months"),
        ("P: MW demand 223 wind ? solar 2.5. U 1.041", "P: kW demand 223000 wind ? solar 2500. U 1.041"),
        ("L3=65 was 60, 17 h, worst 127", "L3=65 was 60, 17 h, worst 127"),
        ("5 m3/h, 4 mm, A7 km", "5 m3/h, 4 mm, A7 km"),
    ],
)
def test_numbers_with_a_unit_stand_in_the_other_one(text: str, other: str) -> None:
    assert in_other_units(text) == other


@given(st.integers(1, 10**5), st.sampled_from(sorted(EQUAL)))
def test_no_quantity_changes(value: int, unit: str) -> None:
    other, factor = EQUAL[unit][:2]
    number, said = in_other_units(f"{value / 10:g} {unit}").split(" ", 1)
    assert said == other and float(number) == pytest.approx(value / 10 * factor)


def test_words_for_units() -> None:
    assert unit_words("how many percent, in percent?", "%") == "how many per mille, in per mille?"
    assert unit_words("the highest percentage", "%") == "the highest value in per mille"


@given(st.integers(0, 10**6))
def test_typos_keep_names_numbers_and_letters(seed: int) -> None:
    text = "Which demands go dark if line L56 is lost for 12345 h?"
    wrong = misspelt(text, np.random.default_rng(seed))
    assert wrong != text and sorted(wrong) == sorted(text)
    assert re.findall(r"\S*\d\S*", wrong) == re.findall(r"\S*\d\S*", text)
    assert 1 <= sum(a != b for a, b in zip(wrong.split(), text.split(), strict=True)) <= 2
    assert misspelt("Is it so?", np.random.default_rng(seed)) == "Is it so?"
