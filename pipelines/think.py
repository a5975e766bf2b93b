"""Think: slow ways of answering a sample of the test questions, and asking again, by the tuned model and the untuned base.

Reads the questions, the lake's readings, the adapter and the first answers; writes data/thoughts/SECTOR/: MODEL-WAY.parquet and
transcripts.parquet (every thought). The ways: cot (one thought first), sc (several, the mean of their answers), react (thoughts and calls
of the sector's tools); and asked again: reflected (on its own answer), checked (the same with what a tool tells), again (a fresh
thought that knows of no answer). `budget.slow_sample` whole states' questions; a run that was cut off goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from transformers.utils import logging

from pipelines import Paths, run
from twinforge.files import read_table, replacing, sha256, write_table
from twinforge.lake.quality import check_readings
from twinforge.lake.states import Key, keys_of, states_at
from twinforge.model.adapter import load_adapter
from twinforge.model.answers import sample_states
from twinforge.model.base import base_folder, load_base, weights_hash
from twinforge.model.prompt import Prompt
from twinforge.model.write import Style
from twinforge.packaging import rows_of
from twinforge.reasoning.acting import START, example, manual, react
from twinforge.reasoning.said import in_words
from twinforge.reasoning.thinking import (
    AGAIN,
    MOST,
    SAMPLES,
    STEPWISE,
    TEMPERATURE,
    THOUGHT,
    GoOn,
    Request,
    pooled,
    read_each,
    think,
    wording,
    write_on,
)
from twinforge.recipe import Slice, read_slice
from twinforge.records import ANSWER, QUESTION, space_of
from twinforge.sectors import State, load_sector
from twinforge.sectors.tools import Tool, call
from twinforge.training.checkpoints import forget_others, run_key

MODELS = ("llm", "base")  # those that were asked at all
TRANSCRIPT = pa.schema([("way", pa.string()), *THOUGHT])


def main(sector: str) -> None:
    logging.disable_progress_bar()
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("think"))
    test, sample = read_table(paths.questions("test"), QUESTION), recipe.budget.slow_sample
    asked = sample_states(test, sample, recipe.seed) if sample else test.head(0)
    made = _thought(recipe, paths, asked) if len(asked) else {}
    transcripts = [thoughts.assign(way=way) for way, (_, thoughts) in made.items()]
    with replacing(paths.thoughts) as folder:
        folder.mkdir()
        for way, (answers, _) in made.items():
            write_table(answers, folder / f"{way}.parquet", ANSWER)
        told = pd.concat(transcripts, ignore_index=True) if transcripts else pd.DataFrame(columns=TRANSCRIPT.names)
        write_table(told, folder / "transcripts.parquet", TRANSCRIPT)


Made = dict[str, tuple[pd.DataFrame, pd.DataFrame]]  # way -> its answers, its thoughts


def _thought(recipe: Slice, paths: Paths, asked: pd.DataFrame) -> Made:
    desk = Desk.of(recipe, paths, asked)
    values = {name: str(value) for name, value in vars(recipe).items()}
    names = [name for name in MODELS if paths.answers_of(name).is_file()]
    firsts = {name: read_table(paths.answers_of(name), ANSWER).set_index("question")["p"] for name in names}
    read = [*sorted(paths.adapter.glob("adapter_*")), *map(paths.answers_of, names)]
    told = [desk.checked(row) for _, row in asked.iterrows()]
    said = asked.drop(columns="features").to_json(orient="records") + str([desk.examples, told])
    scratch = (
        paths.scratch / "think" / run_key(values, weights_hash(base_folder(recipe.model)), said, *map(sha256, read))
    )
    forget_others(scratch)
    network, tokenizer = load_base(recipe.model, recipe.compute)
    model, prompt = load_adapter(network, paths.adapter), Prompt.of(tokenizer)
    made: Made = {}
    for name in names:
        with model.disable_adapter() if name == "base" else nullcontext():
            mind = Mind(name, model, prompt, asked, recipe, scratch / name)
            made |= {f"{name}-{way}": found for way, found in ways(mind, desk, firsts[name]).items()}
    return made


@dataclass(frozen=True)
class Mind:
    """A model at its thinking about the questions asked."""

    name: str
    model: Any
    prompt: Prompt
    asked: pd.DataFrame
    recipe: Slice
    scratch: Path

    def think(
        self, way: str, requests: Sequence[Request], style: Style, go_on: GoOn = write_on
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Answers after each thought (see `read_each`), and the thoughts."""
        label, keep, size = f"{self.name} {way}", self.scratch / way, self.recipe.compute.answer_batch_trees
        thoughts = think(self.model, self.prompt, requests, style, go_on, label, keep)
        told = _led(thoughts, requests)
        return read_each(self.model, self.prompt, self.asked, told, size, f"{label}, answers", keep / "read"), thoughts


def _led(thoughts: pd.DataFrame, requests: Sequence[Request]) -> pd.DataFrame:
    """The thoughts behind what their requests were led by."""
    lead = {request.question: request.lead for request in requests}
    texts = [f"{lead[question]} {text}" for question, text in zip(thoughts["question"], thoughts["text"], strict=True)]
    return thoughts.assign(text=texts)


def ways(mind: Mind, desk: Desk, first: pd.Series) -> Made:
    """Every way of one model. first : question -> its answer vector without a thought."""
    greedy = Style(MOST)
    rows = [row for _, row in mind.asked.iterrows()]
    words = {row["id"]: f"{wording(row)}\n" for row in rows}
    plain = [Request(row["id"], row["context"], words[row["id"]] + STEPWISE) for row in rows]
    seed = mind.recipe.seed
    made = {
        "cot": mind.think("cot", plain, greedy),
        "sc": mind.think("sc", plain, Style(MOST, SAMPLES, TEMPERATURE, seed)),
    }
    said = {row["id"]: f"Your answer was: {in_words(space_of(row), np.asarray(first[row['id']]))}." for row in rows}
    leads = {"reflected": said}
    if desk.tools:
        made["react"] = mind.think("react", desk.requests(rows, words), greedy, desk.acting(mind.prompt, rows))
        leads["checked"] = {row["id"]: f"{said[row['id']]} Checked: {desk.checked(row)}." for row in rows}
    for way, lead in leads.items():
        again = [
            Request(
                row["id"],
                row["context"],
                f"{words[row['id']]}{lead[row['id']]}\n{AGAIN}",
                lead=lead[row["id"]],
            )
            for row in rows
        ]
        made[way] = mind.think(way, again, greedy)
    made["again"] = mind.think("again", plain, Style(MOST, 1, TEMPERATURE, seed + 1))
    return {way: (pooled(answers), thoughts) for way, (answers, thoughts) in made.items()}


@dataclass(frozen=True)
class Desk:
    """What a model may ask: the sector's tools, the state behind each question, and a worked example of each template."""

    tools: Sequence[Tool]
    calls: Callable[[pd.Series], tuple[str, ...]]
    states: Mapping[Key, State]
    examples: Mapping[str, str]

    @classmethod
    def of(cls, recipe: Slice, paths: Paths, asked: pd.DataFrame) -> Desk:
        """Empty for a sector without tools. Examples are training questions that one call tells something of."""
        plugin: Any = load_sector(recipe.module)
        if not hasattr(plugin, "tools"):
            return cls((), lambda _: (), {}, {})
        tools = plugin.tools(recipe)
        train = read_table(paths.questions("train"), QUESTION)
        learnt = train[~train["validation"] & train["truth"].notna()]
        shown = learnt.sample(frac=1, random_state=recipe.seed).groupby("template").head(1)
        rows = pd.concat([asked, shown])
        sound = check_readings(rows_of(paths.observations, rows), plugin.SIGNALS, recipe.curate.jump).readings
        desk = cls(tools, plugin.calls, states_at(sound, keys_of(rows)), {})
        examples = {row["template"]: desk.example(row) for _, row in shown.iterrows() if plugin.calls(row)}
        return cls(tools, plugin.calls, desk.states, examples)

    def example(self, row: pd.Series) -> str:
        return example(row["text"], self.calls(row)[0], self.checked(row))

    def checked(self, row: pd.Series) -> str:
        """What the tools tell of a question."""
        told = [call(self.tools, self.state(row), words) for words in self.calls(row)]
        return "; ".join(told) or "no tool tells anything of it"

    def state(self, row: pd.Series) -> State:
        return self.states[Key(row["episode"], row["time"])]

    def requests(self, rows: Sequence[pd.Series], words: Mapping[str, str]) -> list[Request]:
        told = manual(self.tools)
        return [
            Request(
                row["id"],
                f"{row['context']}\n{told}",
                self.examples.get(row["template"], "") + words[row["id"]],
                START,
            )
            for row in rows
        ]

    def acting(self, prompt: Prompt, rows: Sequence[pd.Series]) -> GoOn:
        def encode(text: str) -> list[int]:
            return prompt.reference_ids(text)[:-1]

        return lambda talk, chosen: react(talk, self.tools, [self.state(rows[i]) for i in chosen], encode)


if __name__ == "__main__":
    run(main)
