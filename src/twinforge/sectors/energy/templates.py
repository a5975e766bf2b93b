"""The ways an operator asks about the grid."""

from __future__ import annotations

from twinforge.records import AnswerSpace
from twinforge.sectors import Template
from twinforge.sectors.energy.standards import CLAUSES

LOADING = AnswerSpace("number", unit="%", low=0, high=299, step=1, tolerance=5)
RISK = AnswerSpace("choice", ("<80 %", "80-100 %", "100-120 %", ">120 %"))
RISK_EDGES = (80.0, 100.0, 120.0)
YES_NO = AnswerSpace("choice", ("no", "yes"))
FAULTS = AnswerSpace(
    "choice",
    ("nothing", "biased sensor", "stuck sensor", "misreported switch"),
)
BROKEN = AnswerSpace("choice", (*(f"{c.clause} {c.title}" for c in CLAUSES), "none"))

TEMPLATES = (
    Template(
        "risk",
        "what-if",
        "choice",
        (
            "If line {outage} trips, how loaded is line {line}?",
            "Line {outage} is lost. Which band does the loading of line {line} fall in?",
            "How full does line {line} get when line {outage} goes out?",
        ),
        ("Suppose {outage} drops out: where does that leave {line}?",),
        {"outage": "line", "line": "line"},
        RISK,
    ),
    Template(
        "loading",
        "what-if",
        "number",
        (
            "If line {outage} trips, what is the loading of line {line} in percent?",
            "Line {outage} is lost. What percent does line {line} carry?",
            "Give the loading of line {line} after the outage of line {outage}, in percent.",
        ),
        ("Suppose {outage} drops out: how many percent are on {line}?",),
        {"outage": "line", "line": "line"},
        LOADING,
    ),
    Template(
        "ahead",
        "forecast",
        "number",
        (
            "What will the loading of line {line} be in {hours} h, in percent?",
            "Forecast the loading of line {line} for {hours} h from now, in percent.",
            "In {hours} h, how many percent does line {line} carry?",
        ),
        ("Looking {hours} h ahead, what percent is line {line} at?",),
        {"line": "line", "hours": "hours"},
        LOADING,
    ),
    Template(
        "failure",
        "forecast",
        "choice",
        (
            "Will {asset} fail within a year?",
            "Is a failure of {asset} to be expected in the next twelve months?",
            "Does {asset} break down within one year?",
        ),
        ("Over the coming year, do we lose {asset} to a fault of its own?",),
        {"asset": "asset"},
        YES_NO,
    ),
    Template(
        "fault",
        "diagnosis",
        "choice",
        (
            "What is wrong with the readings?",
            "Which kind of fault do the readings show?",
            "Diagnose the sensors and switch positions.",
        ),
        ("Are the measurements sound, and if not, what is the matter?",),
        {},
        FAULTS,
    ),
    Template(
        "suspect",
        "diagnosis",
        "choice",
        (
            "Which line's readings are wrong?",
            "Whose readings should not be trusted?",
            "Which line has the faulty sensor or switch?",
        ),
        ("Name the line whose data are off.",),
        {},
    ),
    Template(
        "clause",
        "standard",
        "choice",
        (
            "Which clause is broken? If several are, the first.",
            "Name the first clause that this state breaks.",
            "Does the grid break a clause now, and which comes first?",
        ),
        ("Going through C1 to C4, which is the first not met?",),
        {},
        BROKEN,
    ),
    Template(
        "met",
        "standard",
        "choice",
        (
            "Is clause {clause} met?",
            "Does the grid keep to clause {clause} now?",
            "Is the requirement of {clause} fulfilled?",
        ),
        ("Checking {clause} alone: does this state comply?",),
        {"clause": "clause"},
        YES_NO,
    ),
    Template(
        "supply",
        "dependency",
        "entities",
        (
            "Line {outage} trips. Who loses supply?",
            "Which demands go dark if line {outage} is lost?",
            "Who is cut off by an outage of line {outage}?",
        ),
        ("With {outage} gone, who can't be fed any more?",),
        {"outage": "line"},
    ),
    Template(
        "action",
        "recommend",
        "choice",
        (
            "Line {outage} trips. Which action helps most?",
            "What should be done to relieve the grid after the outage of line {outage}?",
            "Line {outage} is lost: choose the best remedy.",
        ),
        ("After losing {outage}, which step serves the grid best?",),
        {"outage": "line"},
    ),
    Template(
        "remedy",
        "recommend",
        "number",
        (
            "Line {outage} trips and {asset} serves as the remedy: what percent is the highest loading left?",
            "With line {outage} lost and the remedy {asset} taken, how many percent are left on the fullest line?",
            "To what percent does the remedy {asset} bring the highest loading after the outage of line {outage}?",
        ),
        ("Say {outage} is gone and we act on {asset}: what is the highest percentage left?",),
        {"outage": "line", "asset": "asset"},
        LOADING,
    ),
)
BY_NAME = {template.name: template for template in TEMPLATES}
