"""A folder that differs from its manifest in anything is refused, and the message says in what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from twinforge.errors import UserError
from twinforge.manifest import MANIFEST, REQUIRED, Manifest, check_base, seal, verify

ABOUT = Manifest(
    sector="toy",
    base={
        "id": "some/base",
        "source": "some/base",
        "revision": None,
        "license": "other",
        "local": False,
        "sha256": "a" * 64,
    },
    chat_template="c" * 64,
    data={"data/lake/toy": "md5:1"},
    code={"revision": "unknown", "changed": False},
    packages={"numpy": "2"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with every required file."""
    made = tmp_path / "twin"
    for name in REQUIRED:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"content of {name}", encoding="utf-8")
    seal(made, ABOUT)
    return made


def test_a_whole_folder_is_accepted(folder: Path) -> None:
    manifest = verify(folder)
    assert manifest.sector == "toy"
    assert set(manifest.files) == set(REQUIRED)


@pytest.mark.parametrize("name", [*REQUIRED, MANIFEST])
def test_one_flipped_byte_is_named(folder: Path, name: str) -> None:
    """In every file, at its start, its middle and its end: the manifest itself too."""
    sound = (folder / name).read_bytes()
    for place in (0, len(sound) // 2, len(sound) - 1):
        broken = bytearray(sound)
        broken[place] ^= 1
        (folder / name).write_bytes(bytes(broken))
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            verify(folder)
    (folder / name).write_bytes(sound)
    verify(folder)


@pytest.mark.parametrize("name", [*REQUIRED, MANIFEST])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        verify(folder)


def test_an_extra_file_is_named(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match="notes.txt is not in manifest.json"):
        verify(folder)


def test_what_a_hub_client_leaves_behind_is_no_part_of_the_twin(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "etag").write_text("x", encoding="utf-8")
    (folder / ".gitattributes").write_text("x", encoding="utf-8")
    verify(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "experts/boost.pkl", "tokenizer.PKL", "modeling.py"])
def test_formats_that_carry_code_are_refused_even_when_sealed(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(UserError, match="carry code"):
        seal(folder, ABOUT)
    with pytest.raises(UserError, match="carry code"):
        verify(folder)


def test_a_forged_manifest_does_not_hide_a_changed_file(folder: Path) -> None:
    """A hash edited in place is seen by the manifest's own digest."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    content["base"]["sha256"] = "b" * 64
    (folder / MANIFEST).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.json has changed"):
        verify(folder)


def test_a_link_out_of_the_folder_is_read_as_its_content(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other", encoding="utf-8")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="README.md has changed"):
        verify(folder)


def test_no_twin_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        verify(tmp_path / "nothing")
    (tmp_path / MANIFEST).write_text('{"files": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="not a twin's manifest"):
        verify(tmp_path)


def test_other_base_weights_are_refused(folder: Path) -> None:
    manifest = verify(folder)
    check_base(manifest, "a" * 64)
    with pytest.raises(UserError, match="some/base.*calibrated on aaaaaaaaaaaa"):
        check_base(manifest, "b" * 64)


def test_sealing_twice_gives_the_same_bytes(folder: Path) -> None:
    first = (folder / MANIFEST).read_bytes()
    seal(folder, ABOUT)
    assert (folder / MANIFEST).read_bytes() == first
