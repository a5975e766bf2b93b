from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests import toy
from twinforge.errors import UserError
from twinforge.lake import store
from twinforge.lake.store import Lake, read_lake, write_lake
from twinforge.sectors import Episode


def write(folder: Path, episodes: Any) -> dict[str, Any]:
    return write_lake(folder, episodes, toy.knowledge(None), toy.CLAUSES, {"compared": 3})


def test_a_lake_is_read_as_it_was_written(tmp_path: Path, episodes: list[Episode]) -> None:
    report = write(tmp_path / "lake", episodes)
    lake = read_lake(tmp_path / "lake")
    assert lake.episodes["episode"].tolist() == [e.row["episode"] for e in episodes]
    expected = pd.concat([e.observations for e in episodes], ignore_index=True)
    pd.testing.assert_frame_equal(lake.observations, expected, check_dtype=False)
    outcomes = pd.concat(list(lake.outcomes()), ignore_index=True)
    pd.testing.assert_frame_equal(
        outcomes, pd.concat([e.outcomes for e in episodes], ignore_index=True), check_dtype=False
    )
    assert lake.standards["clause"].tolist() == ["T-1", "T-2", "T-3"]
    assert report["episodes"] == {"calm": 20, "weak pumps": 3} and report["check"] == {"compared": 3}
    assert (report["states"], report["observations"]) == (23 * 3, len(expected))


def test_an_episode_lies_whole_in_one_shard(
    tmp_path: Path, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EPISODES_A_SHARD", 5)
    write(tmp_path / "lake", episodes)
    shards = [set(frame["episode"]) for frame in read_lake(tmp_path / "lake").outcomes()]
    assert [len(names) for names in shards] == [5, 5, 5, 5, 3]
    assert len(set.union(*shards)) == 23


def broken(change: Callable[[Episode], Episode]) -> Callable[[list[Episode]], list[Episode]]:
    return lambda episodes: [episodes[0], change(episodes[1])]


def observed(**columns: Any) -> Callable[[Episode], Episode]:
    return lambda e: replace(e, observations=e.observations.assign(**columns))


BROKEN = {
    "used twice": lambda episodes: [episodes[0], episodes[0]],
    "another episode": broken(observed(episode="elsewhere")),
    "outside its start": broken(observed(time=pd.Timestamp("1999-01-01"))),
    "a quality is not": broken(observed(quality="fine")),
    "beyond its end": broken(lambda e: replace(e, outcomes=e.outcomes.assign(kind="later", horizon_h=30.0))),
    "a status is not": broken(lambda e: replace(e, outcomes=e.outcomes.assign(status="maybe"))),
    "columns missing": broken(lambda e: replace(e, observations=e.observations.drop(columns="unit"))),
    "no episode": lambda episodes: [],
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_episode_is_refused_and_nothing_is_written(
    tmp_path: Path, episodes: list[Episode], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write(tmp_path / "lake", BROKEN[message](episodes[:2]))
    assert list(tmp_path.iterdir()) == []


def test_a_simulator_that_dies_leaves_the_old_lake(tmp_path: Path, episodes: list[Episode]) -> None:
    def dying() -> Iterator[Episode]:
        yield episodes[0]
        raise RuntimeError("no convergence")

    write(tmp_path / "lake", episodes[:2])
    with pytest.raises(RuntimeError, match="no convergence"):
        write(tmp_path / "lake", dying())
    assert len(read_lake(tmp_path / "lake").episodes) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_a_full_disk_is_one_error_and_nothing_half_written(
    tmp_path: Path, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pq.write_table
    written: list[Path] = []

    def full(table: Any, path: Path, **options: Any) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(table, path, **options)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match=r"lake: the disk is full"):
        write(tmp_path / "lake", episodes[:2])
    assert written and list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_one_error(tmp_path: Path, episodes: list[Episode]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="lake"):
        write(tmp_path / "file" / "lake", episodes[:2])
    assert (tmp_path / "file").read_text() == "in the way"


FILES = (
    "observations/000.parquet",
    "outcomes/000.parquet",
    "episodes.parquet",
    "knowledge.parquet",
    "standards.parquet",
)


@pytest.mark.parametrize("file", FILES)
def test_a_corrupt_or_missing_file_is_named(tmp_path: Path, episodes: list[Episode], file: str) -> None:
    def read() -> None:
        list(read_lake(tmp_path / "lake").outcomes())

    write(tmp_path / "lake", episodes[:2])
    read()
    path = tmp_path / "lake" / file
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=f"{file}: not a readable parquet"):
        read()
    path.unlink()
    with pytest.raises(UserError, match=str(Path(file).parent if "/" in file else file)):
        read()


def test_readings_of_an_unknown_episode_are_refused(lake: Lake, tmp_path: Path, episodes: list[Episode]) -> None:
    write(tmp_path / "lake", episodes[:2])
    write(tmp_path / "other", episodes[2:3])
    (tmp_path / "other" / "observations" / "000.parquet").replace(tmp_path / "lake" / "observations" / "001.parquet")
    with pytest.raises(UserError, match="toy-2024-01-03.*not in episodes.parquet"):
        read_lake(tmp_path / "lake")
