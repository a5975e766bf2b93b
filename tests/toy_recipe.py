"""The toy sector's recipe as YAML, and the slices of it that stages read, composed by `twinforge.recipe` itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from twinforge.recipe import STAGES, Recipe, Slice, load_recipe, read_slice, write_slice

RECIPE = """\
sector: toy
module: tests.toy
seed: 17
lake:
  days: 40
  shift_days: 8
  noise: 0.01
  gap_rate: 0.03
  bias_rate: 0.15
  stuck_rate: 0.1
  misreport_rate: 0.15
  system:
    clog_rate: 0.15
curate:
  validation: 0.2
  calibration: 0.25
  test: 0.25
  max_context_tokens: 400
  questions_per_state: 10
  held_out_phrasings: 0.5
  jump: 0.5
"""
PROFILE = """\
budget:
  states_per_day: 4
"""


def write_toy(root: Path, **changes: dict[str, Any]) -> Recipe:
    """Write recipes/toy.yaml, its profile and all slices under `root`, as `resolve` would; `lake={"days": 9}` changes some keys."""
    recipes = Path(root) / "recipes"
    (recipes / "profiles").mkdir(parents=True, exist_ok=True)
    sector, profile = yaml.safe_load(RECIPE), yaml.safe_load(PROFILE)
    for section, values in changes.items():
        mapping = profile if section in ("model", "compute", "budget") else sector
        mapping[section] = {**mapping.get(section, {}), **values} if isinstance(values, dict) else values
    (recipes / "toy.yaml").write_text(yaml.safe_dump(sector), encoding="utf-8")
    (recipes / "profiles" / "cpu.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    recipe = load_recipe("toy", "cpu", Path(root))
    for stage in STAGES:
        write_slice(recipe, stage, Path(root) / "data" / "recipe" / "toy" / f"{stage}.yaml")
    return recipe


def toy_slice(root: Path, stage: str, **changes: dict[str, Any]) -> Slice:
    """One stage's slice of the toy recipe, written under `root` and read back."""
    write_toy(root, **changes)
    return read_slice(Path(root) / "data" / "recipe" / "toy" / f"{stage}.yaml")
