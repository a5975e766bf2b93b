"""Curated questions as tasks of lm-evaluation-harness: `lm_eval --include_path DIR --tasks twinforge_energy --apply_chat_template ...`.

With the chat template put on, a model sees the very tokens that it sees here: the state in the system's turn (the task's
`description`), the question in the user's. Choices are scored by their letters' log-likelihood, numbers are written out. Sets are left
out: the harness has no form for one answer put together from several.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twinforge import harness
from twinforge.errors import UserError
from twinforge.files import replacing
from twinforge.model.prompt import INSTRUCTION, LABELS, REFUSED, spoken
from twinforge.records import space_of

KINDS = ("choice", "number")
_SHARED = """task: {group}_{kind}
custom_dataset: !function harness.documents
dataset_kwargs: {{file: {kind}.jsonl}}
test_split: test
description: "{{{{system}}}}"
doc_to_text: question
doc_to_target: target
target_delimiter: ""
num_fewshot: 0
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
_OWN = {
    "choice": "output_type: multiple_choice\ndoc_to_choice: labels\n",
    "number": """output_type: generate_until
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: false}
process_results: !function harness.within
""",
}
_GROUP = """group: {group}
task: [{tasks}]
aggregate_metric_list: [{{metric: acc, weight_by_size: true}}]
"""


def export_tasks(questions: pd.DataFrame, sector: str, out: Path) -> dict[str, int]:
    """Write the group `twinforge_SECTOR` with a task a kind, and the questions as JSON lines, into the folder `out`, which may be
    moved.

    Parameters
    ----------
    questions : columns of `records.QUESTION`.

    Returns
    -------
    How many questions of each kind were written; of "entities": left out.

    Raises
    ------
    UserError
        `out` holds something else already; there is no choice and no number.
    """
    group = f"twinforge_{sector}"
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / f"{group}.yaml").is_file())):
        raise UserError(f"{out}: there is something else already; give a new folder")
    parts = {kind: rows for kind in KINDS if len(rows := questions[questions["kind"] == kind])}
    if not parts:
        raise UserError(f"{sector}: no choice or number among {len(questions)} questions; a task needs one")
    with replacing(out) as part:
        part.mkdir(parents=True)
        shutil.copyfile(harness.__file__, part / "harness.py")
        for kind, rows in parts.items():
            lines = [json.dumps(document(row)) for _, row in rows.iterrows()]
            (part / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            task = _SHARED.format(group=group, kind=kind) + _OWN[kind]
            (part / f"{group}_{kind}.yaml").write_text(task, encoding="utf-8")
        tasks = ", ".join(f"{group}_{kind}" for kind in parts)
        (part / f"{group}.yaml").write_text(_GROUP.format(group=group, tasks=tasks), encoding="utf-8")
    return {kind: int((questions["kind"] == kind).sum()) for kind in (*KINDS, "entities")}


def document(question: pd.Series) -> dict[str, Any]:
    """One question as the harness reads it; `truth` is null where the number is to be refused."""
    space, truth = space_of(question), float(question["truth"])
    told = {name: question[name] for name in ("id", "episode", "skill")}
    told |= {"system": f"{INSTRUCTION}\n{question['context']}", "question": spoken(question)[0]}
    if space.kind == "choice":
        return {**told, "labels": list(LABELS[: space.size]), "target": space.index(truth)}
    known = not np.isnan(truth)
    number = {"truth": truth if known else None, "low": space.low, "high": space.high, "tolerance": space.tolerance}
    return {**told, **number, "target": f"{truth:g}" if known else REFUSED}
