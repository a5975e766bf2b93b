"""A toy lake, simulated once for all tests of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import toy
from tests.toy_recipe import toy_slice
from twinforge.lake.store import Lake, read_lake, write_lake
from twinforge.recipe import Slice
from twinforge.sectors import Episode

SMALL = {"lake": {"days": 20, "shift_days": 3}, "budget": {"states_per_day": 3}}


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Slice:
    return toy_slice(tmp_path_factory.mktemp("recipe"), "curate", **SMALL)


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    return list(toy.episodes(toy_slice(tmp_path_factory.mktemp("recipe"), "lake", **SMALL)))


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode]) -> Lake:
    folder = tmp_path_factory.mktemp("data") / "lake"
    write_lake(folder, episodes, toy.knowledge(None), toy.CLAUSES, {})
    return read_lake(Path(folder))
