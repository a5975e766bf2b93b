"""The part of a composed recipe that one stage reads, as a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model

from twinforge.errors import UserError
from twinforge.recipe import schema
from twinforge.recipe.mend import mends_of
from twinforge.recipe.source import Mistake, dotted, dump, read_source


class Slice:
    """Attribute access to a slice, by the recipe's own section classes: `slice.lake.days`, `slice.seed`.

    A key that the stage doesn't declare in `STAGES` is an `AttributeError`: to read it, declare it.
    """

    sector: str
    module: str
    seed: int
    lake: schema.Lake
    curate: schema.Curate
    lora: schema.Lora
    train: schema.Train
    experts: schema.Experts
    integrate: schema.Integrate
    calibrate: schema.Calibrate
    drift: schema.Drift
    evaluate: schema.Evaluate
    gate: schema.Gate
    model: schema.Model
    compute: schema.Compute
    budget: schema.Budget

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a recipe slice is frozen: {name}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this stage's recipe slice holds no {name!r}: name it in twinforge.recipe.STAGES")

    def __repr__(self) -> str:
        return f"Slice({self.__dict__!r})"


def write_slice(recipe: schema.Recipe, stage: str, path: Path) -> None:
    """Write the slice of `stage` to `path`, whole or not at all."""
    dump(recipe.slice(stage), path)


def read_slice(path: Path) -> Slice:
    """Read a slice (or a whole resolved recipe) and hold it against the schema; nothing is filled in.

    Raises
    ------
    UserError
        The file is missing, was edited by hand to something illegal, or is from another version.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; run the stage that writes it (`dvc repro`)")
    source = read_source(Path(path))
    mistakes = list(source.mistakes)
    model = create_model("Slice", __base__=schema.Section, **_fields(source.data))
    try:
        values = model.model_validate(source.data)
        if not mistakes:
            return Slice({name: getattr(values, name) for name in source.data})
    except ValidationError as error:
        for key, mend in mends_of(model, error):
            mistakes.append(Mistake(source.file, source.lines.get(key, 1), dotted(key), "", mend))
    raise UserError("; ".join(str(mistake) for mistake in mistakes))


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Field definitions of the keys that stand in `data`: whole sections as they are, parts of a section as such."""
    fields: dict[str, Any] = {}
    for name, info in schema.Recipe.model_fields.items():
        section = schema.SECTIONS.get(name)
        if name not in data:
            continue
        if section and isinstance(data[name], dict) and set(data[name]) < set(section.model_fields):
            part = {key: (each.annotation, each) for key, each in section.model_fields.items() if key in data[name]}
            fields[name] = (create_model(section.__name__, __base__=schema.Section, **part), ...)  # type: ignore[call-overload]
        else:
            fields[name] = (info.annotation, info)
    return fields
