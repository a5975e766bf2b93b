"""A variant of a recipe: a small project of its own, in which DVC runs the same pipeline.

It lies in the scratch folder, holds the code, the recipe with some values changed and no git, and shares DVC's cache: what two variants
(or the project itself) have in common is made once, and a run that was cut off goes on at the stage that it had come to. The user's
own working tree is never touched (`dvc exp run --temp` would stash it and put it back, a variant after the other).
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import Paths, tidy
from twinforge.errors import UserError
from twinforge.recipe import Recipe, load_recipe
from twinforge.recipe.source import dump, read_source

PROFILE = "study"
CODE = ("src", "eval", "pipelines")  # what dvc.yaml's stages run and depend on
FILES = ("dvc.yaml", ".dvcignore", "recipes/base.yaml", f"recipes/profiles/{PROFILE}.yaml")
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n[cache]\n    dir = {cache}\n"


@dataclass(frozen=True)
class Variant:
    """name : unique in its study. changes : dotted keys of the sector's recipe -> values. rolled : whether it is fed its own answers."""

    name: str
    changes: Mapping[str, Any]
    rolled: bool = False


@dataclass(frozen=True)
class Workspace:
    """The project of one variant, at `root`."""

    sector: str
    variant: Variant
    root: Path

    @property
    def paths(self) -> Paths:
        return Paths(self.sector, self.root)

    def write(self, project: Path) -> Recipe:
        """Lay out code and recipe anew; what was made before stays. Returns the recipe.

        Raises
        ------
        UserError
            The changed recipe has mistakes, or the project lacks a file.
        """
        tidy.tidy(self.root / tidy.LOCK)
        for name in CODE:
            shutil.rmtree(self.root / name, ignore_errors=True)
            shutil.copytree(
                project / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        for name in FILES:
            if not (project / name).is_file():
                raise UserError(f"{project / name}: no such file, and a study needs it; run it in the project's folder")
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, self.root / name)
        (self.root / ".dvc").mkdir(exist_ok=True)
        cache = (project / ".dvc/cache").resolve()
        (self.root / ".dvc/config").write_text(CONFIG.format(cache=cache), encoding="utf-8")
        dump({"sectors": [self.sector], "profile": PROFILE}, self.root / "params.yaml")
        file = f"recipes/{self.sector}.yaml"
        recipe = read_source(project / file, file).data
        dump(changed(recipe, self.variant.changes), self.root / file)
        try:
            return load_recipe(self.sector, PROFILE, self.root)
        except UserError as error:
            raise UserError(f"variant {self.variant.name!r} of {file} ({self.variant.changes}): {error}") from error

    def run(self) -> None:
        """Run the pipeline up to the twin's answers, only where something changed.

        Raises
        ------
        UserError
            A stage failed: it said why.
        """
        stage = "roll" if self.variant.rolled else "integrate"
        command = [sys.executable, "-m", "dvc", "repro", f"{stage}@{self.sector}"]
        path, code = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            str((self.root / "src").resolve()),
        )
        known = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join([code, known] if known else [code])}
        if subprocess.run(command, cwd=self.root, env=environment).returncode:
            raise UserError(
                f"variant {self.variant.name!r}: stopped, see above; what was made before it stays, run again to go on"
            )


def changed(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A sector's recipe with other values at some dotted keys, and no studies of its own.

    Raises
    ------
    UserError
        A key leads through something that is no mapping.
    """
    found = copy.deepcopy({name: value for name, value in recipe.items() if name != "study"})
    for key, value in changes.items():
        *above, name = key.split(".")
        at = found
        for part in above:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise UserError(
                    f"study: the key {key!r} leads through {part!r}, which is no mapping; write it as in the recipe"
                )
        at[name] = copy.deepcopy(value)
    return found
