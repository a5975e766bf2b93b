"""Answers by twinforge: context trees of whole states, as the answer stage asks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.window import around, job, windows
from twinforge.files import read_table
from twinforge.model.answers import answer, plan
from twinforge.model.base import load_base
from twinforge.model.prompt import Prompt
from twinforge.recipe import read_slice
from twinforge.records import QUESTION

PORTION = 16  # states a call


def main() -> None:
    told = job()
    recipe = read_slice(Path(told["recipe"]))
    model, tokenizer = load_base(recipe.model, recipe.compute)
    prompt = Prompt.of(tokenizer)
    tables = {name: read_table(Path(path), QUESTION) for name, path in told["tables"].items()}
    portions = {
        name: around([rows for _, rows in table.groupby("context", sort=False)], PORTION)
        for name, table in tables.items()
    }
    said: dict[str, str] = {}
    for window in windows("torch", "transformers"):
        tokens = 0
        while not window.over:
            for_pandas = next(portions[window.questions])
            rows = np.concatenate([part.index for part in for_pandas])
            frame = tables[window.questions].loc[rows].reset_index(drop=True)
            found = answer(model, prompt, plan(prompt, frame), frame["id"].tolist(), recipe.compute.answer_batch_trees)
            said |= {
                question: chr(ord("A") + int(np.argmax(p)))
                for question, p in zip(found["question"], found["p"], strict=True)
            }
            tokens += int(found["tokens"].sum())
            window.did(len(found))
        window.tell(said=said, tokens=tokens)


if __name__ == "__main__":
    main()
