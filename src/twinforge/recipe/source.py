"""YAML with the line of every key: what a mistake needs to be found again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from twinforge.errors import UserError
from twinforge.files import replacing

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in a recipe. `key` is dotted; `value` is as written; `mend` says what to write instead."""

    file: str
    line: int
    key: str
    value: str
    mend: str

    def __str__(self) -> str:
        said = f"{self.key} = {self.value}" if self.key and self.value else self.key or self.value
        return ": ".join(part for part in (f"{self.file}:{self.line}", said, self.mend) if part)


@dataclass(frozen=True)
class Source:
    """One YAML file: its data, the line of each key, and what was wrong with it as YAML."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[Key, int] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()


def read_source(path: Path, label: str | None = None) -> Source:
    """Read a YAML 1.2 mapping (`2e-4` is a number, `no` is a word); `label` is how mistakes name the file.

    Raises
    ------
    UserError
        The file is missing or can't be read.
    """
    label = label or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{label}: can't be read ({reason}); give the path of a recipe") from error
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except YAMLError as error:
        return Source(label, mistakes=(_syntax(label, error),))
    if root is None:
        return Source(label)
    if not isinstance(root, MappingNode):
        return Source(label, mistakes=(Mistake(label, 1, "", "", "not a mapping; write `key: value` lines"),))
    lines: dict[Key, int] = {}
    mistakes: list[Mistake] = []
    data = _Reader(label, YAML(typ="safe", pure=True), lines, mistakes).value(root, ())
    return Source(label, data, lines, tuple(mistakes))


def dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def dump(data: Mapping[str, Any], path: Path) -> None:
    """Write plain data as YAML, in place of what stood at `path`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        yaml.dump(dict(data), file)


@dataclass(frozen=True)
class _Reader:
    label: str
    yaml: YAML
    lines: dict[Key, int]
    mistakes: list[Mistake]

    def value(self, node: Node, key: Key) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return self._mapping(node, key)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            if name in values:
                self._mistake(name_node, (*key, name), f"said twice (first on line {self.lines[*key, name]}); keep one")
                continue
            self.lines[*key, name] = name_node.start_mark.line + 1
            values[name] = self.value(value_node, (*key, name))
        return values

    def _scalar(self, node: Node, key: Key) -> Any:
        try:
            return self.yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self._mistake(node, key, f"{node.value!r} is not a plain YAML value; write a number, a date or a word")
            return None

    def _mistake(self, node: Node, key: Key, mend: str) -> None:
        self.mistakes.append(Mistake(self.label, node.start_mark.line + 1, dotted(key), "", mend))


def said(value: Any) -> str:
    """A value as a mistake shows it: as YAML writes it, cut when long; a list or mapping isn't shown."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = "" if isinstance(value, list | dict) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _syntax(label: str, error: YAMLError) -> Mistake:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error).splitlines()[0]
    return Mistake(label, mark.line + 1 if mark else 1, "", "", f"not YAML: {problem}")
