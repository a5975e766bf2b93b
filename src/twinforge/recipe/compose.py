"""Base, sector file and profile become one recipe, or the list of everything that is wrong with them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from twinforge.errors import UserError
from twinforge.recipe.checks import conflicts
from twinforge.recipe.fields import Section
from twinforge.recipe.mend import mends_of
from twinforge.recipe.schema import PROFILE_OWNED, SECTIONS, SECTOR_OWNED, Recipe, plain
from twinforge.recipe.source import Key, Mistake, Source, dotted, read_source, said
from twinforge.sectors import load_sector


@dataclass(frozen=True)
class Composed:
    """The data of all sources, later ones over earlier ones, and which source said each key."""

    sources: tuple[Source, ...]
    data: dict[str, Any] = field(default_factory=dict)
    said_by: dict[Key, Source] = field(default_factory=dict)

    def mistake(self, key: Key, mend: str) -> Mistake:
        """A mistake at `key`, found where it (or the nearest key above it) was last written."""
        written = key
        while written and written not in self.said_by:
            written = written[:-1]
        source = self.said_by.get(written, self.sources[1])
        value: Any = self.data
        for part in written:
            value = value[part]
        shown = said(value) if written == key else ""
        return Mistake(source.file, source.lines.get(written, 1), dotted(key), shown, mend)


def load_recipe(recipe: str | Path, profile: str | None = None, root: Path = Path()) -> Recipe:
    """Compose and check a recipe.

    Parameters
    ----------
    recipe : a sector's name (its file is `recipes/<sector>.yaml` under `root`) or the path of a recipe anywhere.
    profile : name of a file in `recipes/profiles`; None takes `profile` from `params.yaml`, or "cpu".
    root : the project's folder. Without `recipes/base.yaml` there, the schema's own defaults are the base.

    Raises
    ------
    UserError
        With every mistake, one a line.
    """
    sources = _sources(recipe, profile, root)
    composed, mistakes = _build(sources, recipe)
    if composed is None or mistakes:
        lines = "\n  ".join(str(mistake) for mistake in mistakes)
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise UserError(f"{len(mistakes)} {noun} in the recipe; nothing was started:\n  {lines}")
    return composed


def check(path: str | Path, profile: str | None = None, root: Path = Path()) -> list[Mistake]:
    """Every mistake in a recipe, in order of file and line; empty when it is sound. Arguments as for `load_recipe`.

    Raises
    ------
    UserError
        The recipe, or the profile, is not there at all.
    """
    return _build(_sources(path, profile, root), path)[1]


def _sources(recipe: str | Path, profile: str | None, root: Path) -> tuple[Source, Source, Source]:
    recipes = root / "recipes"
    base, file = recipes / "base.yaml", _recipe_file(recipe, recipes)
    label = str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
    return (
        read_source(base, "recipes/base.yaml") if base.is_file() else Source("recipes/base.yaml"),
        read_source(file, label),
        _profile(profile or _default_profile(root), recipes),
    )


def _recipe_file(recipe: str | Path, recipes: Path) -> Path:
    if isinstance(recipe, Path) or "/" in recipe or recipe.endswith((".yaml", ".yml")):
        return Path(recipe)
    file = recipes / f"{recipe}.yaml"
    if recipe == "base" or not file.is_file():
        known = sorted(path.stem for path in recipes.glob("*.yaml") if path.stem != "base")
        raise UserError(
            f"unknown sector {recipe!r}: no recipes/{recipe}.yaml; sectors with a recipe: {', '.join(known) or 'none'}"
        )
    return file


def _default_profile(root: Path) -> str:
    params = root / "params.yaml"
    return str(read_source(params, "params.yaml").data.get("profile", "cpu")) if params.is_file() else "cpu"


def _profile(name: str, recipes: Path) -> Source:
    file = recipes / "profiles" / f"{name}.yaml"
    if file.is_file():
        return read_source(file, f"recipes/profiles/{name}.yaml")
    known = sorted(path.stem for path in file.parent.glob("*.yaml")) or ["cpu"]
    if name not in known:
        raise UserError(f"unknown profile {name!r}; profiles in recipes/profiles: {', '.join(known)}")
    return Source(f"recipes/profiles/{name}.yaml")


def _build(sources: tuple[Source, Source, Source], asked: str | Path) -> tuple[Recipe | None, list[Mistake]]:
    _, sector_file, profile = sources
    mistakes = [mistake for source in sources for mistake in source.mistakes]
    if any(source.mistakes and not source.data for source in sources):
        return None, mistakes  # unreadable as YAML: what else it says is not known
    mistakes += _ownership(sector_file, PROFILE_OWNED, f"belongs to the profile; move it to {profile.file}")
    mistakes += _ownership(profile, SECTOR_OWNED, f"belongs to the sector; move it to {sector_file.file}")
    composed = Composed(sources)
    for source in sources:
        _overlay(composed, composed.data, source, source.data, ())
    sector = composed.data.get("sector")
    if isinstance(asked, str) and sector_file.file == f"recipes/{asked}.yaml" and sector not in (None, asked):
        mistakes.append(composed.mistake(("sector",), f"the file is {sector_file.file}; write {asked}"))
    plugin_key = "module" if "module" in composed.data else "sector"
    composed.data.setdefault("module", f"twinforge.sectors.{sector}")
    wrong = [*_fill_system(composed.data, plugin_key), *_conflicts(composed.data)]
    recipe = None
    try:
        recipe = Recipe.model_validate(composed.data)
    except ValidationError as error:
        wrong += mends_of(Recipe, error)
    mistakes += [composed.mistake(key, mend) for key, mend in wrong]
    order = {source.file: place for place, source in enumerate(sources)}
    return recipe, sorted(mistakes, key=lambda mistake: (order[mistake.file], mistake.line))


def _ownership(source: Source, foreign: tuple[str, ...], mend: str) -> Iterator[Mistake]:
    for name in foreign:
        if name in source.data:
            yield Mistake(source.file, source.lines[(name,)], name, said(source.data[name]), mend)


def _overlay(composed: Composed, onto: dict[str, Any], source: Source, data: Mapping[str, Any], above: Key) -> None:
    """Write `data` over `onto`, mapping into mapping; lists and values replace what was there."""
    for name, value in data.items():
        key = (*above, name)
        if isinstance(value, dict) and isinstance(onto.get(name), dict):
            composed.said_by[key] = source
            _overlay(composed, onto[name], source, value, key)
        else:
            onto[name] = copy.deepcopy(value)
            for replaced in _below(key, composed.said_by):
                del composed.said_by[replaced]
            composed.said_by.update(dict.fromkeys(_below(key, source.lines), source))


def _below(key: Key, keys: Iterable[Key]) -> list[Key]:
    return [each for each in keys if each[: len(key)] == key]


def _fill_system(data: dict[str, Any], plugin_key: str) -> list[tuple[Key, str]]:
    """Check `lake.system` by the sector's own Settings and write their defaults into it."""
    if not (isinstance(data.get("sector"), str) and isinstance(data["module"], str)):
        return []
    try:
        settings = load_sector(data["module"]).Settings
    except UserError as error:
        return [((plugin_key,), str(error))]
    lake = data.setdefault("lake", {})
    if not isinstance(lake, dict):
        return []
    try:
        lake["system"] = plain(settings.model_validate(lake.get("system", {})).model_dump())
    except ValidationError as error:
        return mends_of(settings, error, ("lake", "system"))
    return []


def _conflicts(data: dict[str, Any]) -> list[tuple[Key, str]]:
    sound: dict[str, Section] = {}
    for name, section in SECTIONS.items():
        with contextlib.suppress(ValidationError):
            sound[name] = section.model_validate(data.get(name, {}))
    return [(tuple(key.split(".")), mend) for key, mend in conflicts(sound)]
