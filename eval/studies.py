"""Studies: what several variants of a recipe make of their test questions, side by side (`pipelines.study`).

Pure functions from stored answers to measures: variant -> skill -> measure -> model -> entry, as in metrics.json, all intervals by
resampling whole episodes. "ablate" has the form of the suite "dimensions", so that the same tables and plots show both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from eval.bootstrap import interval
from eval.evidence import Measures
from eval.meanings import COSTS
from eval.measures import Cell, Entry, Sample, difference_entry, entry, mean_of, share_entry
from eval.rolling import NEVER
from eval.suites.dimensions import ALL, TEAMS, measured
from twinforge.errors import UserError

ROW = pa.schema(
    [
        *[(name, pa.string()) for name in ("variant", "question", "episode", "split", "skill", "model")],
        *[(name, pa.float64()) for name in ("right", "log_score", "tokens", "seconds")],
    ]
)
WHOLE = "as it is"
SPLIT, NOTHING = "test", "majority"
TUNED = ("twin", "llm")
SHOWN = ("twin", "llm", "boost", "rule")
NEAR = 4  # steps: the first and the last so many of a rollout show how its errors grow


@dataclass(frozen=True)
class Answers:
    """rows : `ROW`. rolled : `eval.rolling.ROLL` and `variant`. facts : variant -> what it was made of, in the study's order."""

    rows: pd.DataFrame
    rolled: pd.DataFrame
    facts: Mapping[str, Mapping[str, Any]]
    resamples: int
    seed: int

    @property
    def test(self) -> pd.DataFrame:
        return self.rows[self.rows["split"] == SPLIT]


@dataclass(frozen=True)
class Measured:
    """What a study found, as its file holds it."""

    study: str
    facts: Mapping[str, Mapping[str, Any]]
    measures: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"study": self.study, "variants": dict(self.facts), "measures": dict(self.measures)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Measured:
        return cls(told["study"], told["variants"], told["measures"])


def ablated(answers: Answers) -> Measures:
    """What each dimension is worth by twins tuned for each subset; the form is that of the suite "dimensions".

    A twin without the computational dimension is its language model: experts are that dimension themselves. Who is told nothing
    says what is most often right in training. Only questions count that a model answered under every subset.

    Raises
    ------
    UserError
        A subset is missing, or a model answered no question under all of them.
    """
    rows = answers.test
    if missing := sorted(set(TEAMS) - {"none"} - set(rows["variant"])):
        raise UserError(f"ablate: no answers of the variant(s) {', '.join(missing)}; run the study again")
    return measured(
        pd.concat([_team(rows, model) for model in TUNED], ignore_index=True), answers.resamples, answers.seed
    )


def _team(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of one model, under every subset (`kept`), of the questions (`original`) that it answered under all."""
    parts = []
    for kept in TEAMS:
        variant = ALL if kept == "none" else kept
        player = NOTHING if kept == "none" else model if "C" in kept else "llm"
        own = rows[(rows["variant"] == variant) & (rows["model"] == player)]
        parts.append(own.assign(model=model, kept=kept, original=own["question"].str.removesuffix(f"-{variant}")))
    table = pd.concat(parts, ignore_index=True)
    whole = table.groupby("original")["kept"].transform("nunique") == len(TEAMS)
    if not whole.any():
        raise UserError(
            f"ablate: {model!r} answered no test question under every subset of the dimensions; run the study again"
        )
    return table[whole]


def scaled(answers: Answers) -> Measures:
    """Accuracy, log score, tokens and seconds of each variant; of those fed their own answers also how their errors grow."""
    measures = {name: _cells(answers, name) for name in answers.facts}
    for name, rolled in answers.rolled.groupby("variant", sort=False):
        measures[str(name)]["all"] |= _errors(rolled, answers)
    return measures


def learned(answers: Answers) -> Measures:
    """Accuracy and log score of each share of the training states, and the accuracy gained on the share before, paired."""
    measures = {name: _cells(answers, name) for name in answers.facts}
    names = list(answers.facts)
    for before, name in zip(names, names[1:], strict=False):
        for skill, cell in measures[name].items():
            cell["accuracy_gained"] = _gains(answers, before, name, skill)
    return measures


def _cells(answers: Answers, variant: str) -> dict[str, Cell]:
    """All measures of one variant, over all skills and skill by skill."""
    rows = answers.test
    rows = rows[(rows["variant"] == variant) & rows["model"].isin(SHOWN)]
    sample = Sample.of(rows["episode"], answers.resamples, answers.seed)
    return {
        str(skill): _cell(part, sample)
        for skill, part in (("all", rows), *sorted(rows.groupby("skill"), key=lambda found: str(found[0])))
    }


def _cell(rows: pd.DataFrame, sample: Sample) -> Cell:
    result: Cell = {}
    for model, own in sorted(rows.groupby("model"), key=lambda found: SHOWN.index(str(found[0]))):
        result.setdefault("accuracy", {})[str(model)] = share_entry("accuracy", own, own["right"], sample)
        for name in ("log_score", *COSTS):
            better = "higher" if name == "log_score" else "lower"
            result.setdefault(name, {})[str(model)] = _mean(own, own[name], sample, better)
    return result


def _gains(answers: Answers, before: str, name: str, skill: str) -> dict[str, Entry]:
    """Accuracy of a variant less that of another on the questions that both answered."""
    rows = answers.test
    rows = rows if skill == "all" else rows[rows["skill"] == skill]
    found = {}
    for model in SHOWN:
        old, new = (
            rows[(rows["variant"] == one) & (rows["model"] == model)].set_index("question") for one in (before, name)
        )
        both = new[new.index.isin(old.index)]
        if len(both):
            sample = Sample.of(both["episode"], answers.resamples, answers.seed)
            gained = both["right"] - old["right"].loc[both.index]
            found[model] = difference_entry("accuracy_gained", both, gained, sample)
    return found


def _errors(rolled: pd.DataFrame, answers: Answers) -> Cell:
    """Mean error in the first and in the last few steps of stretches without any feedback, in the answers' unit."""
    rows = rolled[rolled["policy"] == NEVER].assign(
        episode=rolled["rollout"], error=(rolled["said"] - rolled["truth"]).abs()
    )
    result: Cell = {}
    for model, own in rows.groupby("model", sort=False):
        sample = Sample.of(own["episode"], answers.resamples, answers.seed)
        ends = {"error_first": own["step"] <= NEAR, "error_end": own["step"] > own["step"].max() - NEAR}
        for name, at in ends.items():
            result.setdefault(name, {})[str(model)] = _mean(own[at], own["error"][at], sample, "lower")
    return result


def _mean(rows: pd.DataFrame, values: pd.Series, sample: Sample, better: Any) -> Entry:
    found = mean_of(rows, values, sample)
    return entry(found, interval(found.draws, found.episodes), better)
