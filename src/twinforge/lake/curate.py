"""From a lake to questions: sound readings, states, whole-episode splits, balanced skills, and a report of all that was left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from twinforge.backing import BACKING, tables_of
from twinforge.claims import REPORT
from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.lake.checks import check_questions
from twinforge.lake.narrow import of_skills, some_learnt, told_by
from twinforge.lake.quality import check_readings
from twinforge.lake.splits import Splits, split_episodes
from twinforge.lake.states import Key, Readings, drop_near, near_pairs, readings_of
from twinforge.lake.store import Lake, write_frame
from twinforge.lake.summary import describe
from twinforge.records import QUESTION, SKILLS, SPLITS, question_id
from twinforge.sectors import Sector, State

CountTokens = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Curated:
    """tables : split -> rows of `records.QUESTION`. reports : rows of `claims.REPORT`, one a state of the tables at most. backing : of
    those to be judged, which statements are backed by which questions (`backing.tables_of`).
    report : what was dropped and why, and what is left."""

    tables: dict[str, pd.DataFrame]
    reports: dict[str, pd.DataFrame]
    backing: tuple[pd.DataFrame, pd.DataFrame]
    report: dict[str, Any]


def curate(lake: Lake, sector: Sector, recipe: Any, count_tokens: CountTokens) -> Curated:
    """Make the questions of every split.

    recipe : the slice of the stage (`seed`, `curate`).
    count_tokens : texts -> number of tokens of each, by the base model's tokenizer.

    Raises
    ------
    UserError
        A split is left without questions, a context is too long, episodes of two splits overlap, or a question breaks
        the contract of `records.QUESTION`.
    """
    section = recipe.curate
    shares = {name: getattr(section, name) for name in ("validation", "calibration", "test")}
    splits = split_episodes(lake.episodes, **shares, seed=recipe.seed)
    checked = check_readings(lake.observations, sector.SIGNALS, section.jump)
    readings, kept, states = _choose_states(lake, checked.readings, splits)
    rows, requests = [], []
    for state in _states(lake, readings, kept):
        rows += _ask(sector, state, splits, recipe)
        requests += _request(sector, state, splits, recipe)
    part_of = Counter(splits.part(readings.keys[i][0]) for i in kept)
    frame, dropped = _sift(_framed(rows), section.questions_per_state, part_of, recipe.seed)
    frame = of_skills(frame, section.skills)
    _refuse_empty(frame, lake.folder, {"states": states, "questions dropped": dropped, "readings": checked.report()})
    check_questions(frame, sector.TEMPLATES)
    frame = told_by(some_learnt(frame, section.learnt, recipe.seed), section.dimensions, sector.keep)
    reports = _with_questions(pd.DataFrame(requests, columns=[*REPORT.names, "split"]), frame)
    kept_reports = {name for rows_of in reports.values() for name in rows_of["id"]}
    backing = tables_of([request for request in requests if request["id"] in kept_reports])
    report = {
        "readings": checked.report(),
        "states": states,
        "reports": {split: len(rows) for split, rows in reports.items()},
        "questions": {"dropped": dropped, **describe(frame)},
        "context_tokens": _tokens(frame, count_tokens, section.max_context_tokens),
    }
    tables = {split: frame.loc[frame["split"] == split, QUESTION.names].reset_index(drop=True) for split in SPLITS}
    return Curated(tables, reports, backing, report)


def write_curated(curated: Curated, folder: Path) -> None:
    """Write one parquet a split, one of its reports, what backs these, and report.json, in place of what stood at `folder`: all of it or nothing."""
    with replacing(folder) as part:
        part.mkdir(parents=True)
        for split, table in curated.tables.items():
            write_frame(table, part / f"{split}.parquet", QUESTION)
        (part / "reports").mkdir()
        for split, table in curated.reports.items():
            write_frame(table, part / "reports" / f"{split}.parquet", REPORT)
        (part / "backing").mkdir()
        for name, table, schema in zip(("links", "questions"), curated.backing, (BACKING, QUESTION), strict=True):
            write_frame(table, part / "backing" / f"{name}.parquet", schema)
        text = json.dumps(curated.report, indent=2, allow_nan=False)
        (part / "report.json").write_text(text + "\n", encoding="utf-8")


def seeded(seed: int, *names: Any) -> np.random.Generator:
    """A generator that depends on the seed and the names alone, not on what was drawn before."""
    digest = hashlib.sha256("|".join(map(str, names)).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _choose_states(lake: Lake, sound: pd.DataFrame, splits: Splits) -> tuple[Readings, np.ndarray, dict[str, Any]]:
    """All states with their readings, the indices of those that become questions, and how many were left out and why."""
    keys = [
        Key(*key)
        for outcomes in lake.outcomes()
        for key in outcomes[["episode", "time"]].drop_duplicates().itertuples(index=False, name=None)
    ]
    readings = readings_of(sound, keys)
    gone = drop_near(near_pairs(readings.physical), [splits.of[key.episode] for key in readings.keys])
    kept = np.setdiff1d(np.arange(len(readings.keys)), gone)
    near = Counter(splits.part(readings.keys[i].episode) for i in gone)
    states = {
        "in the lake": len(keys),
        "without a sound reading": len(keys) - len(readings.keys),
        "nearly the same as another": {part: near[part] for part in sorted(near)},
        "kept": len(kept),
    }
    return readings, kept, states


def _states(lake: Lake, readings: Readings, kept: np.ndarray) -> Iterator[State]:
    """The kept states with their outcomes, read shard by shard."""
    place = {readings.keys[i]: i for i in kept}
    with tqdm(total=len(kept), desc="questions", unit="state") as bar:
        for shard in lake.outcomes():
            for name, outcomes in shard.groupby(["episode", "time"], sort=False):
                key = Key(*cast(tuple[str, pd.Timestamp], name))
                if key in place:
                    yield State(key.episode, key.time, readings.values[place[key]], outcomes.reset_index(drop=True))
                    bar.update()


def _ask(sector: Sector, state: State, splits: Splits, recipe: Any) -> list[dict[str, Any]]:
    added = _place(state, splits)
    rng = seeded(recipe.seed, state.episode, state.time)
    rows = sector.questions(state, "train" if added["split"] == "train" else "any", rng, recipe)
    return [{**row, **added, "id": question_id(state.episode, state.time, row["asked"], row["text"])} for row in rows]


def _request(sector: Sector, state: State, splits: Splits, recipe: Any) -> list[dict[str, Any]]:
    """The request for a report about a state, where the sector writes reports and all of it is learnt; what is known goes with those
    to be judged."""
    if not hasattr(sector, "report") or "report" not in recipe.curate.skills or recipe.curate.dimensions != "PAC":
        return []
    added = _place(state, splits)
    train = added["split"] == "train"
    rng = seeded(recipe.seed, "report", state.episode, state.time)
    row = sector.report(state, "train" if train else "any", rng, recipe)
    if row is None:
        return []
    judged = added["validation"] or not train
    asked = {"known": row["known"] if judged else [], "backing": row.get("backing", []) if judged else []}
    return [{**row, **added, **asked, "id": question_id(state.episode, state.time, "report", row["text"])}]


def _place(state: State, splits: Splits) -> dict[str, Any]:
    return {
        "episode": state.episode,
        "time": state.time,
        "split": splits.of[state.episode],
        "validation": splits.part(state.episode) == "validation",
    }


def _with_questions(reports: pd.DataFrame, questions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The reports on states of which a question was kept, by split."""
    kept = pd.MultiIndex.from_frame(questions[["episode", "time"]])
    rows = reports[pd.MultiIndex.from_frame(reports[["episode", "time"]]).isin(kept)]
    return {split: rows.loc[rows["split"] == split, REPORT.names].reset_index(drop=True) for split in SPLITS}


def _framed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = [*QUESTION.names, "split"]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    if wrong := sorted(set(columns) ^ set(frame.columns)):
        raise UserError(
            f"the sector's questions lack or add the columns {', '.join(wrong)}; see twinforge.records.QUESTION"
        )
    return frame


def _sift(
    frame: pd.DataFrame, per_state: int, states: Mapping[str, int], seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Drop repeats and training contexts that another split has too, then balance the skills of each part."""
    again = frame["id"].duplicated()
    shared = frame.groupby("context")["split"].transform("nunique") > 1
    leak = ~again & shared & (frame["split"] == "train")
    left = frame[~again & ~leak]
    parts = left.groupby(left["split"].mask(left["validation"].astype(bool), "validation"))
    kept = [_balance(rows, per_state * states[str(part)], seeded(seed, part)) for part, rows in parts]
    balanced = left.loc[np.sort(np.concatenate(kept))] if kept else left
    surplus = left.loc[left.index.difference(balanced.index), "skill"].value_counts()
    dropped = {
        "asked twice": int(again.sum()),
        "context stands in another split too": int(leak.sum()),
        "surplus of a skill": {skill: int(surplus.get(skill, 0)) for skill in SKILLS},
    }
    return balanced.reset_index(drop=True), dropped


def _balance(rows: pd.DataFrame, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Index labels of the questions to keep: no skill gets more than the middle one has, nor more than its share of the budget."""
    most = min(-(-budget // len(SKILLS)), int(rows["skill"].value_counts().median()))
    groups = (
        rows.sort_values("id").groupby("skill", sort=True).groups
    )  # by id, so that the order of asking plays no part
    return np.concatenate([rng.permutation(labels.to_numpy())[:most] for labels in groups.values()])


def _refuse_empty(frame: pd.DataFrame, folder: Path, why: dict[str, Any]) -> None:
    parts = set(frame["split"].mask(frame["validation"].astype(bool), "validation"))
    if empty := [part for part in ("train", "validation", "calibration", "test") if part not in parts]:
        raise UserError(
            f"{folder}: no question is left for {', '.join(empty)}; raise `lake.days`, or see what was dropped: {json.dumps(why)}"
        )


def _tokens(frame: pd.DataFrame, count_tokens: CountTokens, most: int) -> dict[str, float]:
    """Mean and maximum over the states; raises `UserError` that names the longest when it is too long."""
    states = frame.drop_duplicates(["episode", "time"])
    counts = np.asarray(count_tokens(states["context"].tolist()))
    if counts.max() > most:
        worst = states.iloc[int(counts.argmax())]
        raise UserError(
            f"curate.max_context_tokens: {most}: the context of episode {worst['episode']!r} at {worst['time']} has {counts.max()} tokens, "
            f"and {int((counts > most).sum())} contexts in all are too long; shorten the sector's context or raise the limit"
        )
    return {"mean": round(float(counts.mean()), 1), "max": int(counts.max())}
