"""Probe: the tuned model answers the extra questions that suites ask.

Reads the lake, the train and test questions, the adapter and the experts; writes data/probes/SECTOR/: questions.parquet
(what is asked, of `budget.probe_states` whole states), llm.parquet, boost.parquet and rule.parquet (where they see other signals
than before: dimensions missing, late or false), and general.parquet (how likely tuned and base model find each way to go on
from texts of no sector; none where no state is asked). A run that was cut off goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from eval.probes import FAILING, PROBE, dimensions, failing, probes_of, some_states
from eval.probes.contamination import canaries
from eval.probes.continuations import continuation_logs
from eval.probes.general import GENERAL, items
from eval.probes.words import Words
from pipelines import Paths, run
from twinforge.files import read_table, replacing, sha256, write_table
from twinforge.lake.quality import check_readings
from twinforge.lake.states import keys_of, states_at
from twinforge.lake.store import read_lake
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import answer, plan
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.prompt import Prompt
from twinforge.recipe import Slice, read_slice
from twinforge.records import ANSWER, EXPERTS, KNOWLEDGE, QUESTION
from twinforge.sectors import load_sector
from twinforge.sectors.dimensions import BLIND, letters
from twinforge.training.checkpoints import forget_others, run_key
from twinforge.training.experts import Experts


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("probe"))
    words = Words.of(sector, read_table(paths.knowledge, KNOWLEDGE))
    test = read_table(paths.questions("test"), QUESTION)
    states, seed = recipe.budget.probe_states, recipe.seed
    train = read_table(paths.questions("train"), QUESTION)
    learnt, keep = train[~train["validation"]], load_sector(recipe.module).keep
    blanked = [canaries(some_states(rows, states, seed), name) for name, rows in (("train", learnt), ("test", test))]
    less = dimensions.ask(some_states(test, states, seed), keep)
    parts = [
        probes_of(test, words, states, seed),
        less,
        _failing(recipe, paths, some_states(test, states, seed)),
        *blanked,
    ]
    asked = pd.concat([part[PROBE.names] for part in parts if len(part)] or [less], ignore_index=True)
    answers, general = _answers(recipe, paths, asked)
    with replacing(paths.probes) as folder:
        folder.mkdir()
        write_table(asked, folder / paths.probe_questions.name, PROBE)
        write_table(answers, folder / paths.probe_answers.name, ANSWER)
        for name, told in _seeing(paths, asked).items():
            write_table(told, folder / paths.probe_expert(name).name, ANSWER)
        write_table(general, folder / paths.probe_general.name, GENERAL)


def _failing(recipe: Slice, paths: Paths, questions: pd.DataFrame) -> pd.DataFrame:
    """The questions while a side of the twin is late or lies; none of a sector that can't tell a question again."""
    sector = load_sector(recipe.module)
    if not len(questions) or not hasattr(sector, "retell"):
        return pd.DataFrame(columns=PROBE.names)
    sound = check_readings(read_lake(paths.lake).observations, sector.SIGNALS, recipe.curate.jump).readings
    every, keys = keys_of(sound), keys_of(questions)
    earlier = failing.before(keys, every)
    states = states_at(sound, [*keys, *earlier.values()])
    before = {key: states[other] for key, other in earlier.items()}
    world = failing.World({key: states[key] for key in keys}, before, sector.SIGNALS, sector.retell, recipe)
    return failing.ask(questions, world, recipe.seed)


def _answers(recipe: Slice, paths: Paths, asked: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not len(asked):
        return pd.DataFrame(columns=ANSWER.names), pd.DataFrame(columns=GENERAL.names)
    values = {name: str(value) for name, value in vars(recipe).items()}
    hashes = [sha256(file) for file in sorted(paths.adapter.glob("adapter_*"))]
    said = asked.drop(columns="features").to_json(orient="records")
    scratch = paths.scratch / "probe" / run_key(values, weights_hash(base_folder(recipe.model)), said, *hashes)
    forget_others(scratch)
    model, tokenizer = load_base(recipe.model, recipe.compute)
    model, prompt = load_adapter(model, paths.adapter), Prompt.of(tokenizer)
    size = recipe.compute.answer_batch_trees
    told = answer(model, prompt, plan(prompt, asked), asked["id"].tolist(), size, "probes", scratch)
    tuned = _general("llm", model, tokenizer, size)
    with model.disable_adapter():
        return told, pd.concat([tuned, _general("base", model, tokenizer, size)], ignore_index=True)


def _seeing(paths: Paths, asked: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What the experts make of other signals: of a side that is missing those that were fitted without it, of one that is late or lies
    the twin's own, for no one told them."""
    if not len(asked):
        return dict.fromkeys(EXPERTS, pd.DataFrame(columns=ANSWER.names))
    fitted = [(Experts.load(paths.blind_experts(letters(kept))), dimensions.under(asked, kept)) for kept in BLIND]
    fitted.append((Experts.load(paths.experts), asked[asked["suite"] == FAILING]))
    return {name: pd.concat([experts.answer(name, rows) for experts, rows in fitted if len(rows)]) for name in EXPERTS}


def _general(name: str, model: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> pd.DataFrame:
    asked = items()
    logs = continuation_logs(model, tokenizer, asked["text"].tolist(), asked["continuations"].tolist(), size)
    return asked[["item", "topic"]].assign(model=name, logs=pd.Series(logs))[GENERAL.names]


if __name__ == "__main__":
    run(main)
