"""Drift: what calm looks like, and what the detectors make of known changes.

Watches the sector's sensors against what is expected of them (where the plug-in has `streams`), the stored answers by their
conformal p-values, and the questions' wording by the base model's input embeddings. Reads data/curated/SECTOR/,
data/answers/SECTOR/, the twin's answers and the episodes' regimes; writes models/SECTOR/drift_reference.json and
data/drift/SECTOR/: runs.parquet (a row a stretch and detector) and course.parquet (what the report draws).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm import tqdm

from eval.scores import score
from pipelines import Paths, run
from twinforge.conformal.predictive import p_values
from twinforge.drift.detectors import CUSUM, KSWIN, SCALAR, Detector
from twinforge.drift.reference import Reference
from twinforge.drift.thresholds import LEAST
from twinforge.drift.trial import COURSE, RUN, Trial, trial, vector_trial
from twinforge.drift.whitening import standardised
from twinforge.files import read_table, replacing, write_table
from twinforge.model.base import base_folder
from twinforge.reasoning.embedding import text_vectors
from twinforge.recipe import read_slice
from twinforge.records import ANSWER, EPISODE, QUESTION, SPLITS
from twinforge.sectors import Change, Readings, Sector, Streams, load_sector

BEFORE, AFTER = 272, 168  # questions: what goes before a change in answers or wording, and what is watched after it
BLOCK = 28.0  # questions: mean length of a bootstrap block of wordings, two states
HELD = 30  # streams of a quantity that are watched in held-out calm
SPARED = 5  # one of so many stretches is watched by KSWIN too: it takes a thousand times the others' time
CALM = 2100  # training questions that the reference of their wording is made of; the later ones are held-out calm


def main(sector: str) -> None:
    paths = Paths(sector)
    recipe = read_slice(paths.recipe("drift"))
    plugin = load_sector(recipe.module)
    questions = {split: read_table(paths.questions(split), QUESTION) for split in SPLITS}
    watched = [answer_streams(paths, questions, recipe.seed), word_streams(questions, plugin)]
    if hasattr(plugin, "streams"):
        watched.insert(0, plugin.streams(recipe))
    watched = [each for each in watched if len(each.calm.raw) >= LEAST]
    reference = Reference(recipe.drift.run_length)
    for each in watched:
        reference = reference.with_streams(each.names, each.calm.residual, recipe.seed)
    rows, course = [], []
    for each in watched:
        rows += list(runs(reference, each))
        course += list(courses(reference, each))
    if len(questions["train"]) >= CALM + BEFORE:
        vectors = {
            split: text_vectors(base_folder(recipe.model), part["text"].tolist()) for split, part in questions.items()
        }
        reference = reference.with_vectors("wording", vectors["train"][:CALM], recipe.seed, BLOCK)
        rows += list(wording_runs(reference, vectors, questions, plugin))
    reference.save(paths.drift_reference)
    with replacing(paths.drift) as folder:
        folder.mkdir()
        write_table(pd.DataFrame(rows, columns=RUN.names), folder / paths.drift_runs.name, RUN)
        write_table(pd.DataFrame(course, columns=COURSE.names), folder / paths.drift_course.name, COURSE)


def runs(reference: Reference, streams: Streams) -> Iterator[dict[str, Any]]:
    """Every detector, on whitened residuals and on the raw signal, on held-out calm and on each change; rows of `RUN`."""
    known = reference.watched
    held = _views(reference, streams, streams.held)
    for i, column in enumerate(_spread(streams.names, known)):
        asset, quantity, dimension = streams.names[column]
        for detector in _watching(i):
            for suffix, z in held.items():
                found = trial(reference, detector, streams.names, z, column, 0)
                yield _row("calm", detector.name + suffix, asset, quantity, dimension, False, found)
    several = len({name[2] for name in streams.names}) > 1  # to name the only dimension there is proves nothing
    seen: dict[str, int] = {}
    for change in tqdm(streams.changes, desc="changes watched", unit="change"):
        if (change.asset, change.quantity) not in known:
            continue
        column, views = _viewed(reference, streams, change)
        seen[change.scenario] = seen.get(change.scenario, -1) + 1
        for detector in _watching(seen[change.scenario]):
            for suffix, z in views.items():
                found = trial(reference, detector, streams.names, z, column, len(change.before.raw))
                dimension = change.dimension if several else ""
                what = change.asset, change.quantity, dimension, change.named
                yield _row(change.scenario, detector.name + suffix, *what, found)


def courses(reference: Reference, streams: Streams) -> Iterator[dict[str, Any]]:
    """CUSUM's evidence over its threshold through the first change of each scenario; rows of `COURSE`."""
    known = reference.watched
    firsts: dict[str, Change] = {}
    for change in streams.changes:
        if (change.asset, change.quantity) in known:
            firsts.setdefault(change.scenario, change)
    for scenario, change in firsts.items():
        column, views = _viewed(reference, streams, change)
        limit = known[change.asset, change.quantity].thresholds[CUSUM.name].value
        for suffix, z in views.items():
            steps = np.flatnonzero(np.isfinite(z[:, column]))
            path = CUSUM().path(z[steps, column]) / limit
            for step, value in zip(steps - len(change.before.raw), path, strict=True):
                yield {
                    "scenario": scenario,
                    "asset": change.asset,
                    "model": CUSUM.name + suffix,
                    "step": int(step),
                    "evidence": float(value),
                }


def answer_streams(paths: Paths, questions: Mapping[str, pd.DataFrame], seed: int) -> Streams:
    """The twin's and the language model's answers by how ill they foretold the truth: conformal p-values as normal quantiles.

    Changes: another regime (the shift split, `AFTER` questions of each), and another model (the untuned base's answers in the
    place of the tuned one's, where it was asked).
    """
    models = ("twin", "llm")
    parts = ("calibration", "test", "shift")
    calm = questions["calibration"]
    rng = np.random.default_rng(seed)

    @cache
    def losses(model: str, split: str) -> np.ndarray:
        return _losses(paths, questions[split], model)

    def strangeness(model: str, judge: str, split: str) -> np.ndarray:
        """(n,) normal quantiles of the p-values of a model's answers among the judge's calm ones of the same skill and kind."""
        own, known = losses(model, split), losses(judge, "calibration")
        group, groups = (rows["skill"] + "/" + rows["kind"] for rows in (questions[split], calm))
        found = np.full(len(own), np.nan)
        for name in group.unique():
            here = (group == name).to_numpy() & np.isfinite(own)
            among = known[(groups == name).to_numpy()]
            found[here] = p_values(among[np.isfinite(among)], own[here], rng.random(int(here.sum())))
        return np.asarray(norm.isf(np.clip(found, 1e-4, 1 - 1e-4)))

    streams = {split: np.column_stack([strangeness(m, m, split) for m in models]) for split in parts}
    swapped = streams["test"].copy()
    if paths.answers_of("base").is_file():
        swapped[:, 1] = strangeness("base", "llm", "test")
    else:  # it was not asked: no model is swapped
        swapped = swapped[:0]
    episodes = read_table(paths.episodes, EPISODE).set_index("episode")["regime"]
    regime = questions["shift"]["episode"].map(episodes).to_numpy()
    changes = []
    for name in pd.unique(regime):
        after = streams["shift"][regime == name][:AFTER]
        changes += [
            _change("another regime", m, "answers", "", streams["test"][-BEFORE:], after, False) for m in models
        ]
    for at in range(BEFORE, len(swapped) - AFTER + 1, AFTER):
        after = swapped[at : at + AFTER]
        changes.append(
            _change("model swapped", "llm", "answers", "computational", streams["test"][at - BEFORE : at], after, False)
        )
    names = tuple((model, "answers", "computational") for model in models)
    return Streams(names, _same(streams["calibration"]), _same(streams["test"]), tuple(changes))


def word_streams(questions: Mapping[str, pd.DataFrame], plugin: Sector) -> Streams:
    """The number of words of the questions, less the usual of their template: the plain detector beside MMD on embeddings."""
    train = questions["train"]
    words = {split: part["text"].map(lambda text: float(len(text.split()))) for split, part in questions.items()}
    usual = words["train"][:CALM].groupby(train["template"][:CALM]).mean()

    def lengths(split: str) -> Readings:
        raw = words[split].to_numpy()[:, None]
        residual = raw[:, 0] - questions[split]["template"].map(usual).fillna(raw.mean()).to_numpy()
        return Readings(raw, residual[:, None])

    own = lengths("train")
    changes = tuple(
        Change(scenario, "questions", "words", "abstract", own[-BEFORE:], _at(lengths(split), at), False)
        for scenario, split, at in reworded(questions, plugin)
    )
    return Streams((("questions", "words", "abstract"),), own[:CALM], own[CALM:], changes)


def reworded(questions: Mapping[str, pd.DataFrame], plugin: Sector) -> Iterator[tuple[str, str, np.ndarray]]:
    """Stretches of `AFTER` questions in words that training never saw: scenario, split and rows. "a part" mixes them as asked."""
    patterns = {template.name: [_pattern(text) for text in template.phrasings] for template in plugin.TEMPLATES}
    for split in ("calibration", "test"):
        rows = questions[split]
        new = [
            not any(p.fullmatch(text) for p in patterns[name])
            for name, text in zip(rows["template"], rows["text"], strict=True)
        ]
        for scenario, at in (("wording, all new", np.flatnonzero(new)), ("wording, a part new", np.arange(len(rows)))):
            for first in range(0, len(at) - AFTER + 1, AFTER):
                yield scenario, split, at[first : first + AFTER]


def wording_runs(
    reference: Reference, vectors: Mapping[str, np.ndarray], questions: Mapping[str, pd.DataFrame], plugin: Sector
) -> Iterator[dict[str, Any]]:
    """MMD on the embeddings of held-out training questions, and of reworded ones; rows of `RUN`."""
    held = vectors["train"][CALM:]
    what = "questions", "wording", "abstract", False
    yield _row("calm", "mmd", *what, vector_trial(reference, "wording", held, 0))
    for scenario, split, at in reworded(questions, plugin):
        found = vector_trial(reference, "wording", np.vstack([held[-BEFORE:], vectors[split][at]]), BEFORE)
        yield _row(scenario, "mmd", *what, found)


def _losses(paths: Paths, questions: pd.DataFrame, model: str) -> np.ndarray:
    """Minus the log score of each question's answer, (n,); NaN where the model gave none."""
    answers = read_table(paths.answers_of(model), ANSWER)
    own = answers[answers["question"].isin(questions["id"])]
    scored = score(questions.assign(split=""), own, model, 0.1).set_index("question")["log_score"]
    return -scored.reindex(questions["id"]).to_numpy()


def _pattern(phrasing: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(re.escape(part) for part in re.split(r"\{[^}]*\}", phrasing)))


def _views(reference: Reference, streams: Streams, readings: Readings) -> dict[str, np.ndarray]:
    """What detectors watch: whitened residuals, and under "-raw" the signal as it comes over its calm scale."""
    raw = [standardised(calm, x) for calm, x in zip(streams.calm.raw.T, readings.raw.T, strict=True)]
    return {"": reference.whiten(streams.names, readings.residual), "-raw": np.column_stack(raw)}


def _viewed(reference: Reference, streams: Streams, change: Change) -> tuple[int, dict[str, np.ndarray]]:
    whole = Readings(
        *(np.vstack([getattr(change.before, name), getattr(change.after, name)]) for name in ("raw", "residual"))
    )
    column = [name[:2] for name in streams.names].index((change.asset, change.quantity))
    return column, _views(reference, streams, whole)


def _spread(names: Sequence[tuple[str, str, str]], known: Iterable[tuple[str, str]]) -> list[int]:
    """Columns of at most `HELD` watched streams of each quantity, evenly spread."""
    found: list[int] = []
    for quantity in dict.fromkeys(name[1] for name in names):
        own = [i for i, name in enumerate(names) if name[1] == quantity and name[:2] in known]
        found += [own[i] for i in np.unique(np.linspace(0, len(own) - 1, min(HELD, len(own))).round().astype(int))]
    return found


def _watching(i: int) -> list[Detector]:
    return [each for each in SCALAR if each is not KSWIN or i % SPARED == 0]


def _row(
    scenario: str, model: str, asset: str, quantity: str, dimension: str, named: bool, found: Trial
) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "model": model,
        "asset": asset,
        "quantity": quantity,
        "dimension": dimension,
        "named": named,
        **asdict(found),
    }


def _change(
    scenario: str, asset: str, quantity: str, dimension: str, before: np.ndarray, after: np.ndarray, named: bool
) -> Change:
    return Change(scenario, asset, quantity, dimension, _same(before), _same(after), named)


def _at(readings: Readings, rows: np.ndarray) -> Readings:
    return Readings(readings.raw[rows], readings.residual[rows])


def _same(x: np.ndarray) -> Readings:
    return Readings(x, x)


if __name__ == "__main__":
    run(main)
