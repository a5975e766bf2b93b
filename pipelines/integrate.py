"""Integrate: pool the language model with the experts into the twin's answers, O = f(P, A, C).

Weights are fitted on the validation share of train. Reads the curated questions and data/answers/SECTOR/; writes
models/SECTOR/integration.json and data/integrated/SECTOR/twin.parquet (all that the language model answered).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipelines import Paths, run
from twinforge.agents.integration import Integration, fit, pairs
from twinforge.errors import UserError
from twinforge.files import read_table, write_json, write_table
from twinforge.records import ANSWER, PARTS, QUESTION, SPLITS, membership, space_of


def main(sector: str) -> None:
    paths = Paths(sector)
    questions = pd.concat([read_table(paths.questions(split), QUESTION) for split in SPLITS], ignore_index=True)
    answers = {model: read_table(paths.answers_of(model), ANSWER).set_index("question") for model in PARTS}
    for model, table in answers.items():
        if not table.index.is_unique:
            raise UserError(f"{paths.answers_of(model)}: answers a question twice; delete it and run `dvc repro` again")
    asked = questions[questions["id"].isin(answers["llm"].index)].reset_index(drop=True)
    parts = {model: _vectors(table, asked, str(paths.answers_of(model))) for model, table in answers.items()}
    integration = fit_on(asked, parts)
    write_json(integration.to_json(), paths.integration)
    write_table(twin_answers(integration, asked, parts, answers), paths.twin_answers, ANSWER)


def fit_on(asked: pd.DataFrame, parts: dict[str, list[np.ndarray | None]]) -> Integration:
    """Fit on the validation rows among the questions (only train has any)."""
    rows = np.flatnonzero(asked["validation"].to_numpy(dtype=bool))
    told = [fact for row in rows for fact in facts(asked.iloc[row], {m: p[row] for m, p in parts.items()})]
    vectors = {model: [fact.parts[model] for fact in told] for model in parts}
    return fit(vectors, [f.truth for f in told], [f.group for f in told], [f.episode for f in told])


@dataclass(frozen=True)
class Fact:
    """What happened, as the index of the truth in the vectors that the models gave for it (None: no answer)."""

    parts: Mapping[str, np.ndarray | None]
    truth: int
    group: str
    episode: str


def facts(question: pd.Series, parts: Mapping[str, np.ndarray | None]) -> list[Fact]:
    """One a question; of a set one a candidate and one for the refusal, each a yes or no."""
    group, episode = f"{question['asked']}/{question['kind']}", str(question["episode"])
    if question["kind"] != "entities":
        return [Fact(parts, space_of(question).index(question["truth"]), group, episode)]
    happened = membership(question)
    return [
        Fact({m: None if p is None else pairs(p[i]) for m, p in parts.items()}, int(happened[i]), group, episode)
        for i in np.flatnonzero(~np.isnan(happened))
    ]


def twin_answers(
    integration: Integration,
    asked: pd.DataFrame,
    parts: dict[str, list[np.ndarray | None]],
    answers: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """The pooled answers; tokens and seconds are the sum over the models that answered."""
    groups = (asked["asked"] + "/" + asked["kind"]).tolist()
    pooled = []
    for row, group in enumerate(groups):
        present = {model: vector for model, vectors in parts.items() if (vector := vectors[row]) is not None}
        pooled.append(integration.pool(present, group))
    spent = (
        pd.concat([table[["tokens", "seconds"]] for table in answers.values()]).groupby(level=0).sum().loc[asked["id"]]
    )
    return pd.DataFrame(
        {
            "question": asked["id"].to_numpy(),
            "p": pooled,
            "tokens": spent["tokens"].to_numpy().astype(np.int64),
            "seconds": spent["seconds"].to_numpy(),
        }
    )


def _vectors(table: pd.DataFrame, asked: pd.DataFrame, file: str) -> list[np.ndarray | None]:
    known = table["p"].to_dict()
    vectors = [known.get(identity) for identity in asked["id"]]
    for (_, row), vector in zip(asked.iterrows(), vectors, strict=True):
        if vector is not None and (len(vector) != space_of(row).size or not np.isfinite(vector).all()):
            raise UserError(
                f"{file}: the answer to question {row['id']} holds {len(vector)} numbers, {space_of(row).size} finite ones "
                "are due; delete the file and run `dvc repro` again"
            )
    return vectors


if __name__ == "__main__":
    run(main)
