"""Package a sector's twin: adapter, experts, calibration, knowledge, examples, model card and manifest in one folder.

Reads the outputs of all stages before; writes twins/SECTOR/. What is in it: `twinforge verify twins/SECTOR`.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from eval.gate import baseline
from eval.scores import SCORE
from pipelines import Paths, run
from twinforge.card import About, card
from twinforge.conformal.calibration import Calibration
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, replacing, write_json, write_table
from twinforge.lake.quality import check_readings
from twinforge.manifest import Manifest, seal
from twinforge.packaging import (
    adapter_config,
    at_states,
    base_of,
    choose_examples,
    code_revision,
    data_hashes,
    package_versions,
    refuse_paths,
    rows_of,
    skills_of,
)
from twinforge.recipe import Slice, read_slice
from twinforge.recipe.source import dump, read_source
from twinforge.records import OBSERVATION, OUTCOME, QUESTION, SPLITS
from twinforge.sectors import Sector, load_sector


def main(sector: str) -> None:
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("package"))
    plugin = load_sector(recipe.module)
    with replacing(paths.artifact) as part:
        part.mkdir()
        base = _model(part, paths, recipe)
        about = _about(paths, recipe, plugin, base)
        _copies(part, paths)
        write_table(baseline(read_table(paths.suites / "quality.parquet", SCORE)), part / "scores.parquet", SCORE)
        _examples(part, paths, recipe, plugin)
        _recipe(part, paths, base)
        manifest = _manifest(part, paths, base)
        text = card(about, manifest, read_json(paths.metrics))
        (part / "README.md").write_text(text, encoding="utf-8")
        refuse_paths(part, [Path.cwd(), Path.home()])
        seal(part, manifest)


def _model(part: Path, paths: Paths, recipe: Slice) -> dict[str, Any]:
    """Adapter, tokenizer with its chat template, decision files; returns what the manifest says of the base."""
    from transformers import AutoTokenizer

    from twinforge.model.base import base_folder, weights_hash
    from twinforge.model.prompt import Prompt

    source = base_folder(recipe.model)
    base = base_of(recipe.model, weights_hash(source))
    config = read_json(paths.adapter / "adapter_config.json")
    write_json(adapter_config(config, base), part / "adapter_config.json")
    _copy(paths.adapter / "adapter_model.safetensors", part)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(str(part))
    Prompt.of(tokenizer).save(part)
    return base


def _copies(part: Path, paths: Paths) -> None:
    models = (paths.integration, paths.calibration, paths.drift_reference, paths.experts)
    for path in (*models, paths.knowledge, paths.standards, paths.metrics):
        _copy(path, part)


def _copy(path: Path, folder: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file; run the stage that writes it (`dvc repro`)")
    if path.is_dir():
        shutil.copytree(path, folder / path.name)
    else:
        shutil.copyfile(path, folder / path.name)


def _examples(part: Path, paths: Paths, recipe: Slice, plugin: Sector) -> None:
    """Ten test questions with the readings of their states, what followed, and the templates that can be asked."""
    examples = choose_examples(read_table(paths.questions("test"), QUESTION), recipe.seed)
    sound = check_readings(rows_of(paths.observations, examples), plugin.SIGNALS, recipe.curate.jump).readings
    write_table(examples, part / "examples.parquet", QUESTION)
    write_table(at_states(sound, examples), part / "states.parquet", OBSERVATION)
    write_table(at_states(rows_of(paths.outcomes, examples), examples), part / "outcomes.parquet", OUTCOME)
    write_json(skills_of(plugin.TEMPLATES), part / "skills.json")


def _recipe(part: Path, paths: Paths, base: dict[str, Any]) -> None:
    """The resolved recipe, a base folder known by its name only."""
    values = read_source(paths.recipe("package")).data
    values["model"]["base"] = base["source"]
    dump(values, part / "recipe.yaml")


def _manifest(part: Path, paths: Paths, base: dict[str, Any]) -> Manifest:
    """All but the files, which are hashed last."""
    from transformers import AutoTokenizer

    template = AutoTokenizer.from_pretrained(str(part)).chat_template
    return Manifest(
        sector=paths.sector,
        base=base,
        chat_template=hashlib.sha256(str(template).encode()).hexdigest(),
        data=data_hashes(paths.root, [paths.lake, paths.curated]),
        code=code_revision(paths.root),
        packages=package_versions(),
        files={},
    )


def _about(paths: Paths, recipe: Slice, plugin: Sector, base: dict[str, Any]) -> About:
    counts = {split: len(read_table(paths.questions(split), QUESTION)) for split in SPLITS}
    lora, train, model = recipe.lora, recipe.train, recipe.model
    told = read_json(paths.training) if paths.training.is_file() else {}
    measured = {
        str(key): f"{value:g}" for key, value in told.items() if isinstance(value, int | float) and value == value
    }
    training = {
        "base model": f"{base['source']}, {'4-bit (nf4)' if model.quantization == 'nf4' else 'not quantised'}",
        "adapter": f"LoRA, r {lora.r}, alpha {lora.alpha:g}, {f'top {lora.layers} layers' if lora.layers else 'all layers'}",
        "learning rate": f"{train.lr:g}, {train.schedule}",
        "passes over the data": f"{recipe.budget.epochs:g}",
        "seed": str(recipe.seed),
        **measured,
    }
    doc = (plugin.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    return About(
        title=f"The digital twin of {plugin.NAME}",
        summary=f"{doc} A language model with an adapter and computational experts answers questions about a state of the "
        "system, each with a set or an interval that holds the truth as often as promised.",
        license=base["license"],
        counts=counts,
        training=training,
        alpha=recipe.calibrate.alpha,
        risk=recipe.calibrate.risk,
        delta=recipe.calibrate.delta,
        data=(
            "Questions about simulated states; every truth comes from the simulator. The model, the experts and the "
            "estimates see faulty sensor readings only (noise, gaps, biases, by the recipe). Splits are whole episodes.",
        ),
        limits=("Truths are a simulator's. Nothing here was held against a real plant.", *_out_of_reach(paths)),
    )


def _out_of_reach(paths: Paths) -> tuple[str, ...]:
    """The twin's promises that are kept by giving everything, each with its reason."""
    notes = Calibration.load(paths.calibration).out_of_reach()
    return tuple(
        f"The sets of `{group}` hold every candidate: the promised level can't be reached ({note})."
        for group, note in sorted(notes.items())
    )


if __name__ == "__main__":
    run(main)
