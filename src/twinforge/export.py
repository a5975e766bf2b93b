"""A twin's language model as a plain folder, adapter merged in, for tools that never heard of twinforge."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from twinforge.artifact import Twin, answers_of
from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.records import asked_text, criteria_of

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


def export_merged(twin: Twin, out: Path) -> float:
    """Write the merged model with tokenizer, chat template and decision files to `out`.

    Returns the largest difference of an option's probability between `transformers.pipeline("decision")` on the
    exported folder and the adapter on the base, over the twin's stored choice questions (NaN when it has none).

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
    choices = twin.examples[twin.examples["kind"] == "choice"]
    before = [list(p) for p in answers_of(model, tokenizer, choices)["p"]]
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
        return _difference(before, _exported_answers(part, choices))


def _exported_answers(folder: Path, choices: pd.DataFrame) -> list[list[float]]:
    from transformers import pipeline

    decide = pipeline("decision", model=str(folder), dtype="float32", device="cpu")
    found = []
    for _, row in choices.iterrows():
        found.append(list(decide(decision_request(row))["q"]["probabilities"].values()))
    return found


def decision_request(row: pd.Series) -> dict[str, Any]:
    """A choice question, a row of `records.QUESTION`, as transformers' decision pipeline takes it; it is named "q"."""
    question = {"type": "choice", "instructions": asked_text(row), "criteria": criteria_of(row)}
    return {"state": row["context"], "questions": {"q": question}}


def _difference(left: list[list[float]], right: list[list[float]]) -> float:
    pairs = ((a, b) for p, q in zip(left, right, strict=True) for a, b in zip(p, q, strict=True))
    return max((abs(a - b) for a, b in pairs), default=float("nan"))
