"""Write: reports in free text, and what is in them, claim by claim.

Reads the requests for reports, the knowledge graph and the adapter; writes data/texts/SECTOR/: texts.parquet (what tuned model,
base, the truth and the operator's rule wrote) and claims.parquet (each statement with its status). No rows where the sector writes no
reports. The tuned model writes one report an episode of the validation share and of the calibration split, and on twice `budget.probe_states` states of test
and shift, and on some of test further samples; the base writes on some of test. A run that was cut off goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.claims import CLAIM, REPORT, TEXT
from twinforge.files import read_table, replacing, sha256, write_table
from twinforge.model.adapter import load_adapter
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style, write
from twinforge.reasoning.reporting import MOST, claims_of, request_ids
from twinforge.recipe import read_slice
from twinforge.records import KNOWLEDGE
from twinforge.sectors import load_sector
from twinforge.training.checkpoints import forget_others, run_key

SAMPLES = 3  # further ones of a report
BATCH = 32  # texts a pass


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("write"))
    splits = {split: read_table(paths.reports_of(split), REPORT) for split in ("train", "calibration", "test", "shift")}
    chosen = {
        "validation": one_an_episode(splits["train"][splits["train"]["validation"]], recipe.seed),
        "calibration": one_an_episode(splits["calibration"], recipe.seed),
        **{split: spread(splits[split], 2 * recipe.budget.probe_states, recipe.seed) for split in ("test", "shift")},
    }
    asked = pd.concat(list(chosen.values()), ignore_index=True)
    texts = pd.DataFrame(columns=TEXT.names)
    if len(asked):
        few = chosen["test"].iloc[: recipe.budget.probe_states]
        given = [_given(asked, "reference"), _given(asked, "rule")]
        texts = pd.concat([*given, _written(recipe, paths, asked, few, splits["train"])], ignore_index=True)
    plugin, assets = load_sector(recipe.module), set(read_table(paths.knowledge, KNOWLEDGE)["subject"])
    claims = claims_of(texts, asked, plugin.claims, assets) if len(texts) else pd.DataFrame(columns=CLAIM.names)
    with replacing(paths.texts) as folder:
        folder.mkdir()
        write_table(texts, folder / paths.written.name, TEXT)
        write_table(claims, folder / paths.claims.name, CLAIM)


def spread(reports: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """`count` reports by chance, a second one of an episode only when each has one; more hold the fewer ones."""
    shuffled = reports.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("episode").cumcount().sort_values(kind="stable")
    return reports.loc[turn.index[:count]].reset_index(drop=True)


def one_an_episode(reports: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One report of each episode by chance: what is calibrated on them rests on independent draws."""
    return spread(reports, reports["episode"].nunique(), seed)


def _given(asked: pd.DataFrame, name: str) -> pd.DataFrame:
    """The reports that the truth ("reference") or the operator's rule wrote, in the form of `TEXT`."""
    return pd.DataFrame(
        {"report": asked["id"], "model": name, "sample": 0, "text": asked[name],
         "starts": [[]] * len(asked), "logs": [[]] * len(asked), "entropies": [[]] * len(asked), "tokens": 0}
    )  # fmt: skip


def _written(recipe: Any, paths: Paths, asked: pd.DataFrame, few: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    hashes = [sha256(file) for file in sorted(paths.adapter.glob("adapter_*"))]
    values = {name: str(value) for name, value in vars(recipe).items()}
    said = pd.concat([asked, few, train])[["id", "context", "facts", "text", "reference"]].to_json(orient="records")
    scratch = paths.scratch / "write" / run_key(values, weights_hash(base_folder(recipe.model)), said, *hashes)
    forget_others(scratch)
    model, tokenizer = load_base(recipe.model, recipe.compute)
    model, prompt = load_adapter(model, paths.adapter), Prompt.of(tokenizer)
    greedy, drawn = Style(MOST), Style(MOST, SAMPLES, 1.0, recipe.seed)
    learnt = train[~train["validation"] & (train["premise"] == "none")]
    example = [learnt.iloc[0]] if len(learnt) else []

    def told(name: str, rows: pd.DataFrame, style: Style, label: str, shots: Any = ()) -> pd.DataFrame:
        ids = [request_ids(prompt, row, shots) for _, row in rows.iterrows()]
        made = write(model, prompt, ids, style, BATCH, label, scratch / label.replace(" ", "-"))
        reports = rows["id"].to_numpy()[made["prompt"].to_numpy(int)]
        return made.assign(report=reports, model=name, sample=made["sample"] + (style.samples > 1))

    tables = [told("llm", asked, greedy, "reports"), told("llm", few, drawn, "samples")]
    with model.disable_adapter():
        tables += [
            told("base", few, greedy, "reports base"),
            told("base-few", few, greedy, "reports base-few", example),
        ]
    return pd.concat(tables, ignore_index=True)[TEXT.names]


if __name__ == "__main__":
    run(main)
