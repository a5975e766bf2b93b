from __future__ import annotations

import errno
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from twinforge.errors import UserError
from twinforge.files import read_json, read_table, replacing, sha256, write_json, write_table

SCHEMA = pa.schema([("name", pa.string()), ("size", pa.int64())])
FRAME = pd.DataFrame({"name": ["a", "b"], "size": [1, 2]})


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_replaces_a_file_and_a_folder(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing(tmp_path / "deep" / "file.txt") as part:
            part.write_text(text)
        with replacing(tmp_path / "folder") as part:
            part.mkdir()
            (part / text).touch()
    assert (tmp_path / "deep" / "file.txt").read_text() == "two"
    assert left_in(tmp_path / "folder") == ["two"]
    assert left_in(tmp_path) == ["deep", "folder"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_stood_there(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / "target"
    if folder:
        target.mkdir()
        (target / "old").touch()
    else:
        target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as part:
        part.mkdir() if folder else part.write_text("half")
        raise RuntimeError
    assert left_in(tmp_path) == ["target"]
    assert left_in(target) == ["old"] if folder else target.read_text() == "old"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pa.parquet, "write_table", full)
    with pytest.raises(UserError, match=r"table.parquet: the disk is full"):
        write_table(FRAME, tmp_path / "table.parquet", SCHEMA)
    assert left_in(tmp_path) == []


def test_a_really_full_device_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(UserError, match="the disk is full"), replacing(tmp_path / "out") as part:
        part.symlink_to("/dev/full")
        part.write_text("x")
    assert left_in(tmp_path) == []


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        write_json({}, tmp_path / "file" / "deep" / "x.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="can't be written"):
        write_json({}, tmp_path / "x.json")


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    write_table(FRAME[["size", "name"]], tmp_path / "t.parquet", SCHEMA)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", SCHEMA), FRAME)


def test_tables_that_differ_from_their_schema_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing \['size'\], unknown \['weight'\]"):
        write_table(FRAME.rename(columns={"size": "weight"}), tmp_path / "t.parquet", SCHEMA)
    write_table(FRAME, tmp_path / "t.parquet", SCHEMA)
    with pytest.raises(UserError, match=r"t.parquet: columns missing: age"):
        read_table(tmp_path / "t.parquet", SCHEMA.append(pa.field("age", pa.int64())))
    with pytest.raises(UserError, match=r"t.parquet: a column has the wrong type"):
        read_table(tmp_path / "t.parquet", pa.schema([("name", pa.int64())]))


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"not parquet"])
def test_a_corrupt_parquet_is_named(tmp_path: Path, damage: object) -> None:
    file = tmp_path / "t.parquet"
    write_table(FRAME, file, SCHEMA)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"t.parquet: not a readable parquet file"):
        read_table(file, SCHEMA)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "t.parquet", SCHEMA)
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"x.json: not JSON"):
        read_json(tmp_path / "x.json")


def test_json_comes_back_and_has_no_nan(tmp_path: Path) -> None:
    write_json({"a": [1, 2.5, None]}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": float("nan")}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None]}


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
