"""What lm-evaluation-harness calls for the tasks of `twinforge.tasks`: copied beside their YAML files, it needs nothing of twinforge."""

import re
from pathlib import Path
from typing import Any

import datasets

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+")


def documents(file: str, **_: Any) -> dict[str, datasets.Dataset]:
    """The questions that lie beside this file."""
    path = Path(__file__).parent / file
    return {"test": datasets.load_dataset("json", data_files=str(path), split="train")}


def within(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Accuracy of a written number: the first one, within the tolerance of the truth; "?" or "unknown" where it is to be refused."""
    text = results[0].strip().lower()
    refused, found = text.startswith(("?", "unknown")), _NUMBER.search(text)
    if doc["truth"] is None or refused or not found:
        return {"acc": float(doc["truth"] is None and refused)}
    value = min(max(float(found.group().replace(",", "")), doc["low"]), doc["high"])
    return {"acc": float(abs(value - doc["truth"]) <= doc["tolerance"] + 1e-9)}
