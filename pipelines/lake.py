"""Fill a sector's data lake: simulate its episodes, with faulty sensors, and what really happened after every state.

Reads data/recipe/SECTOR/lake.yaml; writes data/lake/SECTOR/. A sector that has a trusted simulator is held against it first.
"""

from __future__ import annotations

from tqdm import tqdm

from pipelines import Paths, run
from twinforge.lake.store import write_lake
from twinforge.recipe import read_slice
from twinforge.sectors import load_sector


def main(sector: str) -> None:
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("lake"))
    plugin = load_sector(recipe.module)
    checked = plugin.check(recipe) if hasattr(plugin, "check") else {}
    episodes = tqdm(plugin.episodes(recipe), total=plugin.episode_count(recipe), desc="lake", unit="episode")
    write_lake(paths.lake, episodes, plugin.knowledge(recipe), plugin.CLAUSES, checked)


if __name__ == "__main__":
    run(main)
