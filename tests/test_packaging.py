"""What goes into a twin: examples by chance over all skills, hashes of the data, no path of the machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.synthetic import classes, numbers, table
from twinforge.errors import UserError
from twinforge.packaging import adapter_config, base_of, choose_examples, code_revision, data_hashes, refuse_paths


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = classes(60, rng), classes(60, rng, "standard"), numbers(60, rng), numbers(60, rng, "what-if")
    return table([row for part in parts for row in part])


def test_examples_are_drawn_by_chance_over_all_skills_and_kinds(rows: pd.DataFrame) -> None:
    chosen = choose_examples(rows, seed=3)
    assert len(chosen) == 10
    assert chosen["id"].is_unique
    counts = chosen.groupby(["skill", "kind"]).size()
    assert len(counts) == 6 and counts.max() - counts.min() <= 1
    assert chosen.equals(choose_examples(rows, seed=3))
    few = choose_examples(rows, seed=3, count=rows["skill"].nunique())
    assert set(few["skill"]) == set(rows["skill"])  # no skill twice before each had its turn
    assert set(chosen["id"]) != set(choose_examples(rows, seed=4)["id"])


def test_the_draw_does_not_look_at_truths(rows: pd.DataFrame) -> None:
    known = rows[rows["truth"].notna()]
    other = known.assign(truth=0.0)
    assert choose_examples(known, 1)["id"].tolist() == choose_examples(other, 1)["id"].tolist()


def test_data_is_known_by_dvcs_hash_or_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / "data" / part / "toy" for part in ("lake", "curated")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "a.parquet").write_text("a", encoding="utf-8")
    own = data_hashes(tmp_path, folders)
    assert set(own) == {"data/lake/toy", "data/curated/toy"}
    assert all(value.startswith("sha256:") for value in own.values())
    lock = "stages:\n  lake@toy:\n    outs:\n    - {path: data/lake/toy, hash: md5, md5: 11.dir}\n"
    lock += "  lake@toys:\n    outs:\n    - {path: data/lake/toys, hash: md5, md5: 22.dir}\n"
    (tmp_path / "dvc.lock").write_text(lock, encoding="utf-8")
    assert data_hashes(tmp_path, folders) == {**own, "data/lake/toy": "md5:11.dir"}
    (folders[1] / "a.parquet").write_text("b", encoding="utf-8")
    assert data_hashes(tmp_path, folders)["data/curated/toy"] != own["data/curated/toy"]


def test_a_base_is_known_by_hub_id_or_name_never_by_path(tmp_path: Path) -> None:
    packaged = base_of(SimpleNamespace(base="smollm2-135m-instruct", revision=None), "0")
    assert packaged["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and not packaged["local"]
    hub = base_of(SimpleNamespace(base="some/model", revision="abc"), "0")
    assert (hub["id"], hub["revision"], hub["local"]) == ("some/model", "abc", False)
    (tmp_path / "mine").mkdir()
    local = base_of(SimpleNamespace(base=str(tmp_path / "mine"), revision=None), "0")
    assert (local["id"], local["source"], local["local"]) == ("mine", "mine", True)
    config = adapter_config({"base_model_name_or_path": "/x", "target_modules": ["v", "q"], "r": 4}, local)
    assert config == {"base_model_name_or_path": "mine", "target_modules": ["q", "v"], "r": 4, "revision": None}


def test_a_path_of_the_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": "/home/somebody/cache"}', encoding="utf-8")
    refuse_paths(tmp_path, [Path("/home/other"), Path("/")])
    with pytest.raises(UserError, match="config.json: holds a path of this machine, /home/somebody"):
        refuse_paths(tmp_path, [Path("/home/somebody")])


def test_code_outside_a_repository_is_unknown(tmp_path: Path) -> None:
    assert code_revision(tmp_path) == {"revision": "unknown", "changed": False}
