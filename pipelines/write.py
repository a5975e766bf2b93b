"""Write: reports in free text, and what is in them, claim by claim.

Reads the requests for reports, the knowledge graph, the adapter and the experts; writes data/texts/SECTOR/: texts.parquet (what tuned
model, base, the truth and the operator's rule wrote), claims.parquet (each statement with its status) and backing/ (what the twin's
parts answer when asked themselves what the reports state). No rows where the sector writes no
reports. The tuned model writes one report an episode of the validation share and of the calibration split, and on twice `budget.probe_states` states of test
and shift, and on some of test further samples; the base writes on some of test. A run that was cut off goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.backing import BACKING
from twinforge.claims import CLAIM, REPORT, TEXT
from twinforge.files import read_table, replacing, sha256, write_table
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style, write
from twinforge.reasoning.reporting import MOST, claims_of, request_ids
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, EXPERTS, KNOWLEDGE, LLM, PARTS, QUESTION
from twinforge.sectors import load_sector
from twinforge.training.checkpoints import forget_others, run_key
from twinforge.training.experts import Experts

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
    backing = backing_questions(paths, asked)
    texts, answers = (
        pd.DataFrame(columns=TEXT.names),
        dict.fromkeys(PARTS, pd.DataFrame(columns=ANSWER.names)),
    )
    if len(asked):
        few = chosen["test"].iloc[: recipe.budget.probe_states]
        desk = Desk(recipe, paths, asked, backing, splits["train"])
        given = [_given(asked, "reference"), _given(asked, "rule")]
        texts, answers = pd.concat([*given, desk.written(asked, few)], ignore_index=True), desk.answers(backing)
    plugin, assets = load_sector(recipe.module), set(read_table(paths.knowledge, KNOWLEDGE)["subject"])
    claims = claims_of(texts, asked, plugin.claims, assets) if len(texts) else pd.DataFrame(columns=CLAIM.names)
    with replacing(paths.texts) as folder:
        (folder / paths.backing_answers(LLM).parent.name).mkdir(parents=True)
        write_table(texts, folder / paths.written.name, TEXT)
        write_table(claims, folder / paths.claims.name, CLAIM)
        for model, rows in answers.items():
            write_table(rows, folder / paths.backing_answers(model).relative_to(paths.texts), ANSWER)


def backing_questions(paths: Paths, reports: pd.DataFrame) -> pd.DataFrame:
    """The questions (`records.QUESTION`) that back these reports."""
    links, questions = read_table(paths.backing, BACKING), read_table(paths.backing_questions, QUESTION)
    due = links.loc[links["report"].isin(reports["id"]), "question"]
    return questions[questions["id"].isin(due)].reset_index(drop=True)


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


class Desk:
    """The model with its adapter and the experts, loaded once, and the scratch folder of exactly this run."""

    def __init__(
        self, recipe: Any, paths: Paths, asked: pd.DataFrame, backing: pd.DataFrame, train: pd.DataFrame
    ) -> None:
        hashes = [sha256(file) for file in sorted(paths.adapter.glob("adapter_*"))]
        values = {name: str(value) for name, value in vars(recipe).items()}
        rows = pd.concat([asked, train])[["id", "context", "facts", "text", "reference"]].to_json(orient="records")
        said = backing.drop(columns="features").to_json(orient="records")
        weights = weights_hash(base_folder(recipe.model))
        self._scratch = paths.scratch / "write" / run_key(values, weights, rows, said, *hashes)
        forget_others(self._scratch)
        self._recipe, self._experts = recipe, Experts.load(paths.experts)
        model, tokenizer = load_base(recipe.model, recipe.compute)
        self._model, self._prompt = load_adapter(model, paths.adapter), Prompt.of(tokenizer)
        learnt = train[~train["validation"] & (train["premise"] == "none")]
        self._example = [learnt.iloc[0]] if len(learnt) else []

    def written(self, asked: pd.DataFrame, few: pd.DataFrame) -> pd.DataFrame:
        """What tuned model and base write, rows of `TEXT`."""
        greedy, drawn = Style(MOST), Style(MOST, SAMPLES, 1.0, self._recipe.seed)
        tables = [self._told(LLM, asked, greedy, "reports"), self._told(LLM, few, drawn, "samples")]
        with self._model.disable_adapter():
            tables += [
                self._told("base", few, greedy, "reports base"),
                self._told("base-few", few, greedy, "reports base-few", self._example),
            ]
        return pd.concat(tables, ignore_index=True)[TEXT.names]

    def answers(self, questions: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """What each part of the twin answers, rows of `records.ANSWER`."""
        if questions.empty:
            return dict.fromkeys(PARTS, pd.DataFrame(columns=ANSWER.names))
        size, keep = self._recipe.compute.answer_batch_trees, self._scratch / "backing"
        trees, ids = plan(self._prompt, questions), questions["id"].tolist()
        own = answer(self._model, self._prompt, trees, ids, size, "what backs them", keep)
        return {LLM: own, **{name: self._experts.answer(name, questions) for name in EXPERTS}}

    def _told(self, name: str, rows: pd.DataFrame, style: Style, label: str, shots: Any = ()) -> pd.DataFrame:
        ids = [request_ids(self._prompt, row, shots) for _, row in rows.iterrows()]
        made = write(self._model, self._prompt, ids, style, BATCH, label, self._scratch / label.replace(" ", "-"))
        reports = rows["id"].to_numpy()[made["prompt"].to_numpy(int)]
        return made.assign(report=reports, model=name, sample=made["sample"] + (style.samples > 1))


if __name__ == "__main__":
    run(main)
