"""Publishing obeys the gate and uploads exactly the verified files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.test_manifest import ABOUT
from twinforge.errors import UserError
from twinforge.files import write_json
from twinforge.manifest import MANIFEST, REQUIRED, seal
from twinforge.registry import publish, register


class Hub:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def create_repo(self, repo: str, **options: Any) -> None:
        self.calls.append({"repo": repo, **options})

    def upload_folder(self, **options: Any) -> str:
        self.calls.append(options)
        return "https://hub/commit/1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "twin"
    for name in REQUIRED:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name, encoding="utf-8")
    seal(made, ABOUT)
    return made


def gate(tmp_path: Path, passed: bool) -> Path:
    write_json({"passed": passed}, tmp_path / "gate.json")
    return tmp_path / "gate.json"


def test_a_passed_twin_is_uploaded_whole(folder: Path, tmp_path: Path) -> None:
    hub: Any = Hub()
    (folder / ".cache").mkdir()
    assert publish(folder, "me/toy", gate(tmp_path, True), api=hub) == "https://hub/commit/1"
    assert hub.calls[0] == {"repo": "me/toy", "private": True, "exist_ok": True}
    assert set(hub.calls[1]["allow_patterns"]) == {*REQUIRED, MANIFEST}


def test_a_failed_gate_publishes_nothing(folder: Path, tmp_path: Path) -> None:
    hub: Any = Hub()
    with pytest.raises(UserError, match="the gate was not passed"):
        publish(folder, "me/toy", gate(tmp_path, False), api=hub)
    assert not hub.calls


def test_a_changed_twin_is_not_published(folder: Path, tmp_path: Path) -> None:
    hub: Any = Hub()
    (folder / "README.md").write_text("changed", encoding="utf-8")
    with pytest.raises(UserError, match=r"README\.md has changed"):
        publish(folder, "me/toy", gate(tmp_path, True), api=hub)
    assert not hub.calls


def test_a_version_is_a_tag_once(tmp_path: Path) -> None:
    root, report = tmp_path / "repo", gate(tmp_path, True)
    root.mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True)
    for name, value in (("user.name", "a"), ("user.email", "a@b")):
        subprocess.run(["git", "config", name, value], cwd=root, check=True)
    assert register("toy", "v1.0.0", report, root) == "toy@v1.0.0"
    tags = subprocess.run(["git", "tag"], cwd=root, check=True, capture_output=True, text=True).stdout.split()
    assert tags == ["toy@v1.0.0"]
    with pytest.raises(UserError, match=r"toy@v1\.0\.0"):
        register("toy", "v1.0.0", report, root)
    with pytest.raises(UserError, match="the gate was not passed"):
        register("toy", "v2.0.0", gate(tmp_path, False), root)
