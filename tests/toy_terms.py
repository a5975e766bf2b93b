"""The toy sector's words: assets, signals, settings, clauses, answer spaces, templates."""

from __future__ import annotations

import pandas as pd
from pydantic import BaseModel, ConfigDict

from twinforge.records import AnswerSpace, Signal
from twinforge.sectors import Clause, Template

NAME = "toy"
TANKS, PUMPS, CAUSES = ("tank A", "tank B"), ("pump P1", "pump P2"), ("pump P1", "pump P2", "valve V1")
ACTIONS = ("do nothing", "start pump P1", "stop pump P1", "start pump P2", "stop pump P2", "close valve V1")
USERS = ("farm", "town")
FAULTS = ("nothing", "level sensor of tank A is biased", "level sensor of tank B is stuck", "status of pump P2 is false",
          "valve V1 is clogged")  # fmt: skip
HOURS = tuple(range(4, 24))  # of the day, when readings are taken
START = pd.Timestamp("2024-01-01")

SIGNALS = (
    Signal("level", "m", 0, 6, "physical", "water level"),
    Signal("change", "m/h", -6, 6, "physical", "rise of the level over the last hour"),
    Signal("flow", "m3/h", -20, 250, "physical"),
    Signal("status", "1", 0, 1, "physical", "1: running or open"),
    Signal("hour", "h", 0, 24, "abstract", "hour of the day"),
    Signal("limit", "m", 2, 5, "abstract", "highest level allowed this season"),
    Signal("age", "a", 0, 10, "abstract", "years since the overhaul"),
    Signal("1 h forecast", "m", -10, 15, "computational", "level if the flows stay as they are"),
    Signal("3 h forecast", "m", -10, 15, "computational", "level if the flows stay as they are"),
    Signal("loss estimate", "m", -10, 15, "computational", "level of tank B 2 h after this asset is lost, linear"),
)
UNITS = {signal.name: signal for signal in SIGNALS}


class Settings(BaseModel):
    """`lake.system` of the recipe: share of episodes in which the valve clogs, and the pumps' capacity after the change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    clog_rate: float = 0.1
    shift_capacity: float = 0.7


CLAUSES = (
    Clause("T-1", "Highest level", "Tank B stays at or below its limit of the season.", "toy rule book, 1",
           lambda s: s.get("tank B", "level") > s.get("tank B", "limit")),
    Clause("T-2", "Reserve", "Tank A holds at least 0.5 m.", "toy rule book, 2",
           lambda s: s.get("tank A", "level") < 0.5),
    Clause("T-3", "Peak hours", "From 7 to 9 h at least one pump runs.", "toy rule book, 3",
           lambda s: 7 <= s.get("clock", "hour") <= 9 and s.get("pump P1", "status") + s.get("pump P2", "status") == 0),
)  # fmt: skip

LEVEL = AnswerSpace("number", (), "m", 0, 5, 0.1, 0.2)
CLASSES = AnswerSpace("choice", ("below 1 m", "1 to 2 m", "2 m to its limit", "above its limit"))
TEMPLATES = (
    Template("loss-level", "what-if", "number", ("How high will tank B stand 2 h after {cause} is lost?",),
             ("{cause} fails: level of tank B two hours on?",), {"cause": "cause"}, LEVEL),
    Template("loss-class", "what-if", "choice", ("In which range is tank B 2 h after {cause} is lost?",),
             ("Suppose {cause} drops out. Where does tank B stand after two hours?",), {"cause": "cause"}, CLASSES),
    Template("later-level", "forecast", "number", ("What is the level of {tank} in {hours} h?",),
             ("Level of {tank}, {hours} hours from now?",), {"tank": "tank", "hours": "hours"}, LEVEL),
    Template("failure", "forecast", "choice", ("Will {pump} fail within a year?",),
             ("Does {pump} break down in the next twelve months?",), {"pump": "pump"}, AnswerSpace("choice", ("no", "yes"))),
    Template("fault", "diagnosis", "choice", ("What is wrong here?",), ("Which fault do the readings show?",), {},
             AnswerSpace("choice", FAULTS)),
    Template("clause", "standard", "choice", ("Which is the first clause that is broken?",),
             ("Name the first rule breached.",), {}, AnswerSpace("choice", ("none", *(c.clause for c in CLAUSES)))),
    Template("dry", "dependency", "entities", ("Who has no running source left when {cause} is lost?",),
             ("{cause} fails: who is cut off from every running source?",), {"cause": "cause"},
             AnswerSpace("entities", USERS)),
    Template("act", "recommend", "choice", ("Which action brings tank B closest to {target} m in 2 h?",),
             ("Tank B should stand at {target} m in two hours: do what?",), {"target": "level"}),
)  # fmt: skip
BY_NAME = {template.name: template for template in TEMPLATES}
