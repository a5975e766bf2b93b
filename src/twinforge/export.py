"""A twin's language model as a plain folder, adapter merged in, for tools that never heard of twinforge."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twinforge.artifact import Twin, answers_of
from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.recipe.schema import Compute, Model
from twinforge.records import asked_text, criteria_of

LEAST = 1e-12  # a probability below is as good as 0, and its logarithm all rounding
DECISION_FILES = ("decision.json", "decision_template.jinja")
_README = """---
base_model: {base}
library_name: transformers
license: {license}
tags: [digital-twin, twinforge, {sector}]
---

# The language model of the {sector} twin

`{base}` with the twin's adapter merged in (float32). It gives the language model's own probabilities: neither the
experts nor the guaranteed sets of the twin are in it.

```python
from transformers import pipeline

decide = pipeline("decision", model="DIR")
question = {{"type": "choice", "instructions": "...", "criteria": {{"yes": None, "no": None}}}}
decide({{"state": "...", "questions": {{"q": question}}}})
```

Give "unknown" as the last of the criteria: the model was trained to choose it where it must.
"""


@dataclass(frozen=True)
class Difference:
    """How far an exported model is from the adapter on its base, over the twin's stored questions of one kind.

    questions : how many. nats : the largest |difference| of a log-probability of an option, a number or a node, in nats.
    """

    questions: int
    nats: float


def export_merged(twin: Twin, out: Path) -> dict[str, Difference]:
    """Write the merged model with tokenizer, chat template and decision files to `out`.

    Returns by kind how far it is from the adapter, as read from the written folder: choices by
    `transformers.pipeline("decision")`, numbers and sets, which no other tool asks as we do, by twinforge itself.

    Raises
    ------
    UserError
        `out` holds something else already, or can't be written; the base model is not the twin's.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / DECISION_FILES[0]).is_file())):
        raise UserError(f"{out}: there is something else already; give a new folder")
    section = twin.base_section.model_copy(update={"quantization": "none"})
    compute = twin.recipe.compute.model_copy(update={"device": "cpu", "precision": "fp32"})
    model, tokenizer = twin.load_model(section, compute)
    before = answers_of(model, tokenizer, twin.examples)["p"]
    merged = model.merge_and_unload(safe_merge=True)
    merged.config.use_cache = True
    with replacing(out) as part:
        merged.save_pretrained(part)
        tokenizer.save_pretrained(part)
        for name in DECISION_FILES:
            shutil.copyfile(twin.folder / name, part / name)
        words = {"base": twin.manifest.base["id"], "license": twin.manifest.base.get("license", "other")}
        (part / "README.md").write_text(_README.format(sector=twin.manifest.sector, **words), encoding="utf-8")
        for path in part.iterdir():
            path.chmod(0o644)  # safetensors writes for its owner alone
        del model, merged
        after = _decided(part, twin.examples) | _answered(part, twin.examples, compute)
    return _differences(twin.examples, dict(zip(twin.examples["id"], before, strict=True)), after)


def _decided(folder: Path, examples: pd.DataFrame) -> dict[str, Sequence[float]]:
    """Choices by their id, answered through transformers."""
    from transformers import pipeline

    decide = pipeline("decision", model=str(folder), dtype="float32", device="cpu")
    choices = examples[examples["kind"] == "choice"]
    return {
        row["id"]: list(decide(decision_request(row))["q"]["probabilities"].values()) for _, row in choices.iterrows()
    }


def _answered(folder: Path, examples: pd.DataFrame, compute: Compute) -> dict[str, Sequence[float]]:
    """Numbers and sets by their id, answered as the twin does."""
    from twinforge.model.base import load_base

    rows = examples[examples["kind"] != "choice"]
    found = answers_of(*load_base(Model(base=str(folder)), compute), rows)
    return dict(zip(found["question"], found["p"], strict=True))


def decision_request(row: pd.Series) -> dict[str, Any]:
    """A choice question, a row of `records.QUESTION`, as transformers' decision pipeline takes it; it is named "q"."""
    question = {"type": "choice", "instructions": asked_text(row), "criteria": criteria_of(row)}
    return {"state": row["context"], "questions": {"q": question}}


def _differences(
    examples: pd.DataFrame, before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]
) -> dict[str, Difference]:
    apart = pd.Series({one: np.abs(_log(before[one]) - _log(after[one])).max() for one in examples["id"]})
    by_kind = apart.groupby(examples.set_index("id")["kind"])
    return {str(kind): Difference(len(each), float(each.max())) for kind, each in by_kind}


def _log(p: Sequence[float]) -> np.ndarray:
    logs: np.ndarray = np.log(np.maximum(np.asarray(p, dtype=float), LEAST))
    return logs
