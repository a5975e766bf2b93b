"""A claim's status: one fact at a time."""

import math

import pytest

from twinforge.claims import STATUSES, Claim, Fact, check, withstands

FACTS = [
    Fact("L7", "loading", 85.0, "%", tolerance=1.0),
    Fact("L7", "loading", 80.0, "%", -1.0, tolerance=1.0),
    Fact("L7", "loading", 95.0, "%", 1.0, tolerance=5.0),
    Fact("L7", "overloaded", 0.0),
]
ASSETS = {"L7", "L8"}


def claim(asset: str = "L7", quantity: str = "loading", value: float = 85.0, **more: object) -> Claim:
    return Claim(**{"asset": asset, "quantity": quantity, "value": value, "unit": "%", "hours": 0.0, "given": "", "start": 0, "end": 1, **more})  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    "said, status",
    [
        (claim(), "supported"),
        (claim(value=86.0), "supported"),
        (claim(value=87.0), "contradicted"),
        (claim(value=80.0), "stale"),
        (claim(value=80.0, hours=-1.0), "supported"),
        (claim(value=85.0, hours=-1.0), "contradicted"),  # what comes later was not so before
        (claim(value=99.0, hours=1.0), "supported"),
        (claim(value=85.0, hours=1.0), "stale"),
        (claim(unit="MW"), "wrong unit"),
        (claim(value=math.nan), "abstained"),
        (claim("L9"), "unsupported"),
        (claim(given="L8"), "unsupported"),
        (claim(hours=2.0), "unsupported"),
        (claim(quantity="overloaded", value=1.0, unit=""), "contradicted"),
        (claim("L9", "exists", 0.0, unit=""), "supported"),
        (claim("L9", "exists", 1.0, unit=""), "unsupported"),
        (claim("L8", "exists", 1.0, unit=""), "supported"),
    ],
)
def test_status(said: Claim, status: str) -> None:
    assert status in STATUSES and check(said, FACTS, ASSETS) == status


def test_a_wrong_premise_is_set_right_or_not() -> None:
    trap = ("L7", "overloaded")
    assert withstands(trap, [("L7", "overloaded", "supported"), ("L8", "loading", "contradicted")])
    assert not withstands(trap, [("L7", "overloaded", "contradicted")])
    assert not withstands(trap, [("L7", "loading", "supported")])
    assert not withstands(trap, [])
    assert withstands(trap, [("L7", "overloaded", "supported"), ("L7", "loading", "contradicted")])  # another matter
    assert withstands(("L7", "loading"), [("L7", "loading", "abstained")])
    assert not withstands(("L9", "exists"), [("L9", "exists", "supported"), ("L9", "loading", "unsupported")])
