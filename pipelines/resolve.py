"""Compose and check a sector's recipe, and write the slice that each later stage reads.

Reads recipes/base.yaml, recipes/SECTOR.yaml and the profile named in params.yaml; writes
data/recipe/SECTOR/<stage>.yaml. Later stages depend on their slice alone, so a comment or another stage's value reruns
nothing.
"""

from __future__ import annotations

from pipelines import Paths, run
from twinforge.recipe import STAGES, load_recipe, write_slice


def main(sector: str) -> None:
    paths = Paths(sector)
    recipe = load_recipe(sector, root=paths.root)
    for stage in STAGES:
        write_slice(recipe, stage, paths.recipe(stage))


if __name__ == "__main__":
    run(main)
