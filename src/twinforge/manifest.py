"""A twin's manifest: the hash of every file, and refusing a folder that differs from it.

`manifest.json` names every file with its sha256, the base model's weights, the data and the code. It is written in one
canonical form and carries its own digest, so a flipped byte in it is seen as well. It proves that a twin is whole, not
who made it: it is not a signature. Files of formats that can carry code are refused whatever the manifest says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from twinforge.errors import UserError
from twinforge.files import read_json, sha256

MANIFEST = "manifest.json"
FORMAT = 1
REQUIRED = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "decision.json",
    "decision_template.jinja",
    "README.md",
    "experts/experts.json",
    "integration.json",
    "calibration.json",
    "drift_reference.json",
    "knowledge.parquet",
    "standards.parquet",
    "examples.parquet",
    "states.parquet",
    "outcomes.parquet",
    "skills.json",
    "recipe.yaml",
    "metrics.json",
)
EXECUTABLE = frozenset(
    (".bin", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".py", ".pyc", ".so", ".sh")
)


@dataclass(frozen=True)
class Manifest:
    """What a twin is made of.

    base : `id` (as on the Hub), `source` (the recipe's `model.base`), `revision`, `sha256` of its weights.
    chat_template : sha256 of the tokenizer's chat template. data : part -> hash. files : path -> sha256.
    """

    sector: str
    base: Mapping[str, Any]
    chat_template: str
    data: Mapping[str, str]
    code: Mapping[str, Any]
    packages: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


def file_hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file below `folder` except the manifest, by its path there. Entries that start with a dot at the
    top (`.git`, `.cache`, `.gitattributes`) belong to the tools that carried the folder and are left out."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
    names = (path.relative_to(folder) for path in paths)
    return {
        name.as_posix(): _digest(folder / name)
        for name in names
        if not name.parts[0].startswith(".") and name.as_posix() != MANIFEST
    }


def _digest(path: Path) -> str:
    if not path.is_file():
        return "a link to nowhere"
    return sha256(path)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write `manifest.json` over the files now in `folder`; returns the manifest with their hashes.

    Raises
    ------
    UserError
        A file of the twin is not there, or one has a format that can carry code.
    """
    whole = replace(manifest, files=file_hashes(folder))
    if problems := _missing(whole.files) + _forbidden(whole.files):
        raise UserError(f"{folder}: {'; '.join(problems)}")
    (folder / MANIFEST).write_bytes(_canonical(asdict(whole)))
    return whole


def verify(folder: Path) -> Manifest:
    """Hold every file of a twin against its manifest.

    Raises
    ------
    UserError
        The folder is no twin, or a file is missing, changed, unknown or of a format that can carry code; each is named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a twin's folder, such as twins/energy (`dvc repro` makes it)")
    manifest = _read(folder / MANIFEST)
    found = file_hashes(folder)
    problems = _missing(manifest.files) + _forbidden(found)
    for name in sorted(manifest.files.keys() | found.keys()):
        if name not in found:
            problems.append(f"{name} is missing")
        elif name not in manifest.files:
            problems.append(f"{name} is not in {MANIFEST}")
        elif found[name] != manifest.files[name]:
            problems.append(f"{name} has changed")
    if problems:
        raise UserError(f"{folder}: not loaded: {'; '.join(dict.fromkeys(problems))}; fetch or package the twin again")
    return manifest


def check_base(manifest: Manifest, weights: str) -> None:
    """Refuse other base weights (their sha256) than those the twin was calibrated on, with a `UserError`."""
    if weights != (expected := manifest.base["sha256"]):
        raise UserError(
            f"base model {manifest.base['id']}: its weights have sha256 {weights[:12]}..., this twin was calibrated on "
            f"{expected[:12]}... and promises nothing on others: use the weights of {manifest.base['source']!r}, or "
            "train a twin on yours"
        )


def _missing(names: Mapping[str, str]) -> list[str]:
    return [f"{name} is missing" for name in REQUIRED if name not in names]


def _forbidden(names: Mapping[str, str]) -> list[str]:
    return [f"{name} is of a format that can carry code" for name in names if Path(name).suffix.lower() in EXECUTABLE]


def _canonical(content: dict[str, Any]) -> bytes:
    body = {**content, "digest": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}
    return (json.dumps(body, indent=2, sort_keys=True) + "\n").encode()


def _read(path: Path) -> Manifest:
    content = read_json(path)
    names = {each.name for each in fields(Manifest)}
    if not isinstance(content, dict) or content.pop("digest", None) is None or set(content) != names:
        raise UserError(f"{path}: not a twin's manifest; fetch or package the twin again")
    if _canonical(content) != path.read_bytes():
        raise UserError(f"{path}: {MANIFEST} has changed; fetch or package the twin again")
    if content["format"] != FORMAT:
        raise UserError(f"{path}: format {content['format']}, not {FORMAT}; install the twinforge that made this twin")
    return Manifest(**content)
