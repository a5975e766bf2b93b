"""A packaged twin loads only whole and over its own base weights, and answers as the pipeline did."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from tests.tiny_twin import save_base, shared
from twinforge.artifact import Twin, answers_of
from twinforge.errors import UserError
from twinforge.files import read_json, read_table
from twinforge.manifest import REQUIRED, verify
from twinforge.records import ANSWER, SKILLS


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared()


@pytest.fixture(scope="module")
def base() -> str:
    return str(shared().parents[1] / "base")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "twin"))


def test_it_is_laid_out_as_designed(folder: Path) -> None:
    manifest = verify(folder)
    assert set(REQUIRED) <= set(manifest.files)
    assert {"chat_template.jinja", "experts/experts.json"} <= set(manifest.files)
    assert not {Path(name).suffix for name in manifest.files} & {".bin", ".pkl", ".pt", ".npz"}
    assert set(manifest.packages) >= {"torch", "transformers", "peft", "lightgbm"}
    assert {name.split("/")[1] for name in manifest.data} == {"lake", "curated"}


def test_no_path_of_this_machine_is_in_it(folder: Path) -> None:
    names = [str(folder.parents[1]), str(Path.home()), str(Path.cwd())]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name in names if name.encode() in content], path
    assert read_json(folder / "adapter_config.json")["base_model_name_or_path"] == "base"


def test_packaging_again_gives_the_same_bytes(folder: Path) -> None:
    from pipelines import package

    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with contextlib.chdir(folder.parents[1]):
        package.main("toy")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_the_examples_are_ten_over_all_skills(folder: Path) -> None:
    twin = Twin.open(folder)
    assert len(twin.examples) == 10
    assert set(twin.examples["skill"]) == set(SKILLS)
    keys = set(zip(twin.examples["episode"], twin.examples["time"], strict=True))
    for table in (twin.states, twin.outcomes):
        assert set(zip(table["episode"], table["time"], strict=True)) == keys


def test_the_hub_accepts_its_card(folder: Path) -> None:
    loaded = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert loaded.data.library_name == "peft"
    assert loaded.data.eval_results


def test_a_loaded_twin_answers_as_the_pipeline_did(folder: Path, base: str) -> None:
    """The experts' and the pooled answers on stored questions equal those that were calibrated."""
    twin = Twin.load(folder, base)
    root = folder.parents[1]
    from twinforge.reasoning.ask import demo

    stored = {
        model: read_table(root / "data" / "answers" / "toy" / f"{model}.parquet", ANSWER).set_index("question")["p"]
        for model in ("boost", "rule")
    }
    for reply in demo(twin):
        for model, answers in stored.items():
            if reply.question["id"] in answers.index and model in reply.parts:
                np.testing.assert_allclose(reply.parts[model], answers[reply.question["id"]], atol=1e-9)


def test_the_adapter_is_really_on_it(folder: Path, base: str) -> None:
    from twinforge.model.base import load_base

    twin = Twin.open(folder, base)
    tuned = twin.ask_model(twin.examples)
    bare = answers_of(*load_base(twin.base_section, twin.recipe.compute), twin.examples)
    assert max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(tuned["p"], bare["p"], strict=True)) > 1e-3


def test_other_base_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = save_base(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="base model base: its weights have sha256"):
        Twin.load(folder, str(other))


def test_a_base_that_was_a_folder_has_to_be_pointed_out(folder: Path) -> None:
    with pytest.raises(UserError, match="say where with --base"):
        Twin.load(folder)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "experts/experts.json", "calibration.json", "README.md"])
def test_a_changed_twin_is_not_loaded(copy: Path, base: str, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(bytes(content))
    with pytest.raises(UserError, match=f"{name} has changed"):
        Twin.load(copy, base)


def test_a_pickled_adapter_beside_the_safe_one_is_refused(copy: Path, base: str) -> None:
    (copy / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"adapter_model\.bin is of a format that can carry code"):
        Twin.load(copy, base)


def test_export_gives_the_decision_pipeline_the_same_probabilities(folder: Path, base: str, tmp_path: Path) -> None:
    from transformers import pipeline

    from twinforge.export import decision_request, export_merged
    from twinforge.model.base import load_base

    twin, out = Twin.open(folder, base), tmp_path / "merged"
    told = export_merged(twin, out)
    assert {kind: each.questions for kind, each in told.items()} == twin.examples["kind"].value_counts().to_dict()
    assert all(0 < each.nats < 1e-3 for each in told.values())
    decide = pipeline("decision", model=str(out), dtype="float32", device="cpu")
    choices = twin.examples[twin.examples["kind"] == "choice"]
    expected = twin.ask_model(choices)
    for (_, row), p in zip(choices.iterrows(), expected["p"], strict=True):
        found = decide(decision_request(row))["q"]["probabilities"]
        np.testing.assert_allclose(list(found.values()), p, atol=1e-4)
    rest = twin.examples[twin.examples["kind"] != "choice"]
    again = answers_of(*load_base(twin.recipe.model.model_copy(update={"base": str(out)}), twin.recipe.compute), rest)
    for kind in ("number", "entities"):
        apart = [np.abs(np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12))).max()
                 for p, q, same in zip(twin.ask_model(rest)["p"], again["p"], rest["kind"] == kind, strict=True) if same]  # fmt: skip
        assert max(apart) == pytest.approx(told[kind].nats, abs=1e-4)
    config = read_json(out / "config.json")
    assert "context_tree" not in str(config) and config["use_cache"] is True
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".py")]


def test_export_never_overwrites_something_else(folder: Path, base: str, tmp_path: Path) -> None:
    from twinforge.export import export_merged

    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="something else already"):
        export_merged(Twin.open(folder, base), tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_missing_input_is_named_and_nothing_is_half_packaged(folder: Path, tmp_path: Path) -> None:
    from pipelines import package

    root = Path(shutil.copytree(folder.parents[1], tmp_path / "root"))
    before = verify(root / "twins" / "toy")
    (root / "models" / "toy" / "calibration.json").unlink()
    with contextlib.chdir(root), pytest.raises(UserError, match=r"calibration\.json: no such file; run the stage"):
        package.main("toy")
    assert verify(root / "twins" / "toy") == before
    assert [path.name for path in (root / "twins").iterdir()] == ["toy"]


def test_knowledge_and_standards_come_along(folder: Path) -> None:
    twin = Twin.open(folder)
    assert isinstance(twin.knowledge, pd.DataFrame) and len(twin.knowledge)
    assert len(twin.standards)
