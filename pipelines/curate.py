"""Turn a sector's lake into questions with checkable answers, split by whole episodes.

Reads data/recipe/SECTOR/curate.yaml and data/lake/SECTOR/; writes train, calibration, test and shift .parquet and report.json,
which says what was dropped and why, to data/curated/SECTOR/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import Paths, run
from twinforge.lake.curate import CountTokens, curate, write_curated
from twinforge.lake.store import read_lake
from twinforge.recipe import read_slice
from twinforge.sectors import load_sector


def main(sector: str) -> None:
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("curate"))
    lake, plugin = read_lake(paths.lake), load_sector(recipe.module)
    write_curated(curate(lake, plugin, recipe, token_counter(recipe.model)), paths.curated)


def token_counter(model: Any) -> CountTokens:
    """Count tokens as the base model of a recipe's `model` section does; it is loaded when first asked."""

    def count(texts: Sequence[str]) -> np.ndarray:
        from transformers import AutoTokenizer

        from twinforge.model.base import base_folder

        tokenizer = AutoTokenizer.from_pretrained(base_folder(model))
        return np.array([len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]])

    return count


if __name__ == "__main__":
    run(main)
