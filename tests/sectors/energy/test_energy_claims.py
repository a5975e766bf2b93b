"""Claims are read as a reader would: who, what, how much, when, and what is supposed."""

import math

import pytest

from twinforge.sectors.energy.claims import claims

REPORT = (
    "L7 is within its rating: it carries 85 %, 80 % an hour ago. In 4 h it will carry 88 %. "
    "The outage of L3 would bring it to 112 %: overloaded. C2 is met, C3 is broken."
)


def said(text: str) -> list[tuple[object, ...]]:
    return [(c.asset, c.quantity, c.value, c.unit, c.hours, c.given) for c in claims(text)]


def test_reads_a_whole_report() -> None:
    assert said(REPORT) == [
        ("L7", "overloaded", 0.0, "", 0.0, ""),
        ("L7", "loading", 85.0, "%", 0.0, ""),
        ("L7", "loading", 80.0, "%", -1.0, ""),
        ("L7", "loading", 88.0, "%", 4.0, ""),
        ("L7", "loading", 112.0, "%", 0.0, "L3"),
        ("L7", "overloaded", 1.0, "", 0.0, "L3"),
        ("C2", "broken", 0.0, "", 0.0, ""),
        ("C3", "broken", 1.0, "", 0.0, ""),
    ]
    for claim in claims(REPORT):
        words = REPORT[claim.start : claim.end]
        assert (
            (f"{claim.value:.0f}" in words)
            if claim.unit
            else claim.quantity == "broken" or "rating" in words or "over" in words
        )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("L12 carries 85 MW.", [("L12", "loading", 85.0, "MW", 0.0, "")]),
        ("Demand is 312.5 MW and wind 45 MW.", [("grid", "demand", 312.5, "MW", 0.0, ""), ("grid", "wind", 45.0, "MW", 0.0, "")]),
        ("L5 is not overloaded.", [("L5", "overloaded", 0.0, "", 0.0, "")]),
        ("If L3 fails, L5 is overloaded.", [("L5", "overloaded", 1.0, "", 0.0, "L3")]),
        ("At 112 % L5 is within the limit.", [("L5", "overloaded", 0.0, "", 0.0, ""), ("L5", "loading", 112.0, "%", 0.0, "")]),
        ("There is no line L312 in this grid.", [("L312", "exists", 0.0, "", 0.0, "")]),
        ("L312 is near the river.", [("L312", "exists", 1.0, "", 0.0, "")]),
        ("C3 is not met.", [("C3", "broken", 1.0, "", 0.0, "")]),
        ("Voltages of 0.98 look fine, 3 lines are open.", []),
        ("In 1 h L9 will carry 70 percent.", [("L9", "loading", 70.0, "%", 1.0, "")]),
        ("", []),
    ],
)  # fmt: skip
def test_reads_other_words(text: str, expected: list[tuple[object, ...]]) -> None:
    assert said(text) == expected


def test_a_missing_reading_is_no_value() -> None:
    (claim,) = claims("The loading of L7 is missing.")
    assert (claim.asset, claim.quantity) == ("L7", "loading") and math.isnan(claim.value)


def test_a_subject_goes_on_and_a_supposed_outage_does_not() -> None:
    text = "The outage of L3 would bring L7 to 95 %. It carries 60 %."
    assert [(c.value, c.given) for c in claims(text)] == [(95.0, "L3"), (60.0, "")]
