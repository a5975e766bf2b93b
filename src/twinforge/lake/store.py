"""The lake as a folder of parquet files: written whole or not at all, read with every file checked.

observations/000.parquet ...   `records.OBSERVATION`, some fifty episodes a shard
outcomes/000.parquet ...       `records.OUTCOME`, the same episodes in the shard of the same number
episodes.parquet  knowledge.parquet  standards.parquet  report.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinforge.errors import UserError
from twinforge.files import read_table, replacing
from twinforge.records import EPISODE, KNOWLEDGE, OBSERVATION, OUTCOME, STANDARD
from twinforge.sectors import Clause, Episode

EPISODES_A_SHARD = 50
QUALITIES = ("good", "missing", "suspect")
STATUSES = ("solved", "islanded", "unsolved")


@dataclass(frozen=True)
class Lake:
    """A lake folder, read and checked; outcomes, the largest part, are read shard by shard."""

    folder: Path
    episodes: pd.DataFrame
    observations: pd.DataFrame
    knowledge: pd.DataFrame
    standards: pd.DataFrame

    def outcomes(self) -> Iterator[pd.DataFrame]:
        """Yield the outcomes of some fifty episodes at a time; no episode is in two of them."""
        for path in _shards(self.folder / "outcomes"):
            yield read_table(path, OUTCOME)


def write_lake(
    folder: Path,
    episodes: Iterable[Episode],
    knowledge: pd.DataFrame,
    clauses: Sequence[Clause],
    checked: dict[str, Any],
) -> dict[str, Any]:
    """Write a lake in place of what stood at `folder`; on any error the old one stays as it was.

    checked : what the sector compared with its trusted simulator, for the lake's report.
    Returns the report: counts of episodes a regime, of states, observations and outcomes, and `checked`.

    Raises
    ------
    UserError
        An episode breaks the contract (which one, and how), there is none, the disk is full or can't be written.
    """
    rows: list[dict[str, Any]] = []
    counts = {"states": 0, "observations": 0, "outcomes": 0}
    with replacing(folder) as part:
        (part / "observations").mkdir(parents=True)
        (part / "outcomes").mkdir()
        stream = iter(episodes)
        for number in range(10**6):
            if not (batch := list(islice(stream, EPISODES_A_SHARD))):
                break
            for episode in batch:
                _check(episode, {str(row["episode"]) for row in rows})
                rows.append(dict(episode.row))
                counts["states"] += episode.outcomes["time"].nunique()
                counts["observations"] += len(episode.observations)
                counts["outcomes"] += len(episode.outcomes)
            write_frame(
                _join([e.observations for e in batch]), part / "observations" / f"{number:03}.parquet", OBSERVATION
            )
            write_frame(_join([e.outcomes for e in batch]), part / "outcomes" / f"{number:03}.parquet", OUTCOME)
        if not rows:
            raise UserError(f"{folder}: the sector yielded no episode; raise `lake.days` in its recipe")
        table = pd.DataFrame(rows)
        report = {"episodes": table["regime"].value_counts().sort_index().to_dict(), **counts, "check": checked}
        write_frame(table, part / "episodes.parquet", EPISODE)
        write_frame(knowledge, part / "knowledge.parquet", KNOWLEDGE)
        write_frame(standards(clauses), part / "standards.parquet", STANDARD)
        (part / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return report


def read_lake(folder: Path) -> Lake:
    """Read a lake that `write_lake` wrote.

    Raises
    ------
    UserError
        A file is missing, is no parquet or lacks a column; the file is named.
    """
    folder = Path(folder)
    episodes = read_table(folder / "episodes.parquet", EPISODE)
    observations = _join([read_table(path, OBSERVATION) for path in _shards(folder / "observations")])
    if broken := sorted(set(observations["episode"].unique()) - set(episodes["episode"])):
        raise UserError(
            f"{folder / 'observations'}: episode {broken[0]!r} is not in episodes.parquet; run the lake stage again"
        )
    return Lake(
        folder,
        episodes,
        observations,
        read_table(folder / "knowledge.parquet", KNOWLEDGE),
        read_table(folder / "standards.parquet", STANDARD),
    )


def standards(clauses: Sequence[Clause]) -> pd.DataFrame:
    """The clauses as rows of `records.STANDARD`; a predicate is known by its clause's number in the sector module."""
    rows = [(c.clause, c.title, c.text, c.source, getattr(c.predicate, "__qualname__", "")) for c in clauses]
    return pd.DataFrame(rows, columns=STANDARD.names)


def write_frame(frame: pd.DataFrame, path: Path, schema: pa.Schema) -> None:
    """Write parquet inside a folder that `files.replacing` guards.

    Unlike `files.write_table` it lets an `OSError` through, so that the guard names the folder, not its temporary twin.
    """
    if (names := set(frame.columns)) != set(schema.names):
        missing, unknown = sorted(set(schema.names) - names), sorted(names - set(schema.names))
        raise UserError(f"{path.name}: columns missing {missing}, unknown {unknown}; mend the sector module")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"{path.name}: {error}; mend the sector module") from error
    pq.write_table(table, path, compression="zstd")


def _shards(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise UserError(f"{folder}: holds no parquet file; run the lake stage (`dvc repro`)")
    return found


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _check(episode: Episode, seen: set[str]) -> None:
    """Refuse an episode whose rows lie outside it or use words that the schemas don't know."""
    row, observed, outcomes = episode.row, episode.observations, episode.outcomes
    name = str(row["episode"])
    for frame, schema in ((observed, OBSERVATION), (outcomes, OUTCOME)):
        if odd := sorted(set(frame.columns) ^ set(schema.names)):
            raise UserError(f"episode {name!r}: columns missing or unknown: {', '.join(odd)}; mend the sector module")
    # A failure is a fate drawn from a hazard model, not a part of the episode's life.
    reach = outcomes[outcomes["kind"] != "failure"]
    ends = reach["time"] + pd.to_timedelta(reach["horizon_h"], unit="h")
    problems = {
        "the name is used twice": name in seen,
        "rows name another episode": bool((observed["episode"] != name).any() or (outcomes["episode"] != name).any()),
        "observations lie outside its start and end": not observed["time"].between(row["start"], row["end"]).all(),
        "an outcome reaches beyond its end": bool((ends > row["end"]).any()),
        f"a quality is not one of {', '.join(QUALITIES)}": not observed["quality"].isin(QUALITIES).all(),
        f"a status is not one of {', '.join(STATUSES)}": not outcomes["status"].isin(STATUSES).all(),
    }
    if found := [text for text, wrong in problems.items() if wrong]:
        raise UserError(f"episode {name!r}: {'; '.join(found)}; mend the sector module")
