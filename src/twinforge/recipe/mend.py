"""What to write instead: the nearest right key, and the legal values in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from twinforge.recipe.source import Key

_TYPES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def mends_of(model: type[BaseModel], error: ValidationError, above: Key = ()) -> list[tuple[Key, str]]:
    """Key and mend of every mistake that pydantic found in a `model` which stands at the key `above`."""
    schema = model.model_json_schema()
    prefix = "".join(f"{part}." for part in above)
    errors = error.errors()
    keys = [item["loc"] for item in errors]
    # A list with a wrong item is reported once more as too short: only the item is the mistake.
    has_inner = [any(key != other and other[: len(key)] == key for other in keys) for key in keys]
    return [
        ((*above, *item["loc"]), _mend(schema, item, prefix))
        for item, inner in zip(errors, has_inner, strict=True)
        if not inner
    ]


def _mend(schema: dict[str, Any], error: ErrorDetails, above: str) -> str:
    key = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"no such key; {_nearest(schema, key, above)}"
    legal = legal_values(schema, key)
    if error["type"] == "missing":
        return f"missing; write {legal}" if legal else "missing"
    near = _nearest_option(_at(schema, key), error["input"])
    return f"write {legal}{near}" if legal else error["msg"]


def legal_values(schema: dict[str, Any], key: Key) -> str:
    """What may stand at `key`, e.g. "a number above 0 and at most 1"; empty when the schema doesn't say."""
    return _describe(_at(schema, key), schema)


def _describe(node: dict[str, Any], schema: dict[str, Any]) -> str:
    node = _resolve(node, schema)
    if "anyOf" in node:
        return " or ".join(_describe(option, schema) for option in node["anyOf"])
    if "enum" in node:
        return "one of " + ", ".join(str(option) for option in node["enum"])
    if "const" in node:
        return str(node["const"])
    if node.get("type") == "string":
        return _describe_text(node)
    if node.get("type") == "array":
        return _describe_list(node, schema)
    if node.get("type") == "object":
        return f"a mapping with the keys {', '.join(node['properties'])}" if node.get("properties") else "a mapping"
    bounds = " and ".join(f"{word} {node[bound]:g}" for bound, word in _BOUNDS.items() if bound in node)
    return " ".join(part for part in (_TYPES.get(node.get("type", ""), ""), bounds) if part)


def _describe_text(node: dict[str, Any]) -> str:
    if node.get("format") == "date":
        return "a date like 2026-01-31"
    return f"a word matching {node['pattern']}" if "pattern" in node else "a text"


def _describe_list(node: dict[str, Any], schema: dict[str, Any]) -> str:
    low, high = node.get("minItems", 0), node.get("maxItems")
    size = f" of {low} to {high}" if high else f" of at least {low}" if low else ""
    return f"a list{size}, each {_describe(node.get('items', {}), schema) or 'a value'}"


def _nearest(schema: dict[str, Any], key: Key, above: str) -> str:
    *parents, name = (str(part) for part in key)
    siblings = list(_at(schema, key[:-1]).get("properties", {}))
    elsewhere = {known.rpartition(".")[2]: known for known in _keys(schema, schema)}
    if name in elsewhere:
        return f"did you mean {above}{elsewhere[name]}?"
    if near := difflib.get_close_matches(name, siblings, 1):
        return f"did you mean {above}{'.'.join([*parents, near[0]])}?"
    if near := difflib.get_close_matches(name, elsewhere, 1, cutoff=0.8):
        return f"did you mean {above}{elsewhere[near[0]]}?"
    return f"keys here: {', '.join(siblings)}" if siblings else "no keys are known here"


def _nearest_option(node: dict[str, Any], value: Any) -> str:
    near = difflib.get_close_matches(str(value), [str(option) for option in node.get("enum", ())], 1)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(node: dict[str, Any], schema: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, below in _resolve(node, schema).get("properties", {}).items():
        yield above + name
        yield from _keys(below, schema, f"{above}{name}.")


def _at(schema: dict[str, Any], key: Key) -> dict[str, Any]:
    node = schema
    for part in key:
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        node = _resolve(node, schema)
    return node


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
