"""Gradient boosting of one group of questions by LightGBM: features in, answer vectors out.

Four forms, by what the features and the answers are:

- "class": one row of features, multiclass over the option index, with a class for the refusal where it occurs;
- "option": one row of features an option; the log-odds of "this one is right" go through a softmax over the options;
- "entities": the same, but each option is right or not on its own: no softmax;
- "number": one row; quantile regression at given levels, on what a ridge regression leaves over where that helps,
  made into a mass on the grid.

All but "class" get the probability of the refusal from a binary model of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from twinforge.errors import UserError
from twinforge.records import AnswerSpace
from twinforge.training.masses import Floats, quantile_mass, smooth

SMALL = 50_000  # rows below which one thread is fastest: LightGBM's threads would wait for each other
PER_OPTION = ("option", "entities")  # forms with one row of features an option
RIDGE = 1.0  # penalty on standardised coefficients
HOLDOUT = 0.2  # share of episodes that choose the number of rounds


class Section(Protocol):
    """The recipe's `experts` section."""

    @property
    def rounds(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def leaves(self) -> int: ...
    @property
    def min_leaf(self) -> int: ...
    @property
    def quantiles(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Linear:
    """Ridge regression on standardised features; a missing feature counts as its mean."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    @staticmethod
    def fit(x: Floats, y: Floats) -> Linear:
        """Least squares of y (n,) on x (n, d) with a fixed small penalty."""
        known = np.isfinite(x)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, x, 0.0).sum(axis=0) / count
        scale = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / count)
        scale = np.where(scale > 0, scale, 1.0)
        z = np.where(known, (x - mean) / scale, 0.0)
        weights = np.linalg.solve(z.T @ z + RIDGE * np.eye(x.shape[1]), z.T @ (y - y.mean()))
        return Linear(tuple(mean.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), float(y.mean()))

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Linear:
        """From the fields as JSON holds them."""
        mean, scale, weights = (tuple(value[name]) for name in ("mean", "scale", "weights"))
        return Linear(mean, scale, weights, value["intercept"])

    def __call__(self, x: Floats) -> Floats:
        z = np.where(np.isfinite(x), (x - np.array(self.mean)) / np.array(self.scale), 0.0)
        return np.asarray(z @ np.array(self.weights) + self.intercept)


@dataclass(frozen=True)
class Boosted:
    """The fitted boosting of one group.

    form, width : "class", "option", "entities" or "number", and the features a row.
    n : training rows; sets how much of the uniform is mixed in (one pseudo-count an option).
    classes : option index of each class, -1 the refusal ("class" only).
    refusal : share of refusals, used where no model tells them apart.
    models : LightGBM boosters by name: "class"; "option" (of a set too); "q0", "q1", ...; "refusal". A missing one had nothing
        to learn.
    """

    form: str
    width: int
    n: int
    refusal: float
    models: Mapping[str, lgb.Booster]
    classes: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    linear: Linear | None = None


def fit_group(rows: pd.DataFrame, section: Section, seed: int, name: str) -> Boosted:
    """Fit one group's boosting on its training rows (`records.QUESTION`), refusals included.

    Raises
    ------
    UserError
        Rows of the group differ in the number of features.
    """
    form = _form(rows)
    width = max((len(row) for feature in rows["features"] for row in feature), default=0)
    trainer = _Trainer(section, seed, rows["episode"].to_numpy())
    x, owner = _matrix(rows, form, width, name)
    truth = rows["truth"].to_numpy(dtype=float)
    refused = np.isnan(truth)
    share = float((refused.sum() + 0.5) / (len(rows) + 1))
    if form == "class":
        return _fit_class(x, truth, share, trainer)
    models: dict[str, lgb.Booster] = {}
    if 0 < refused.sum() < len(rows) and width:
        summary = x if form == "number" else _summary(x, owner, len(rows))
        models["refusal"] = trainer.fit(summary, refused.astype(float), np.arange(len(rows)), objective="binary")
    if form in PER_OPTION:
        right, keep = _right(rows, form), ~refused[owner]
        if right.any() and width:
            models["option"] = trainer.fit(x[keep], right[keep].astype(float), owner[keep], objective="binary")
        return Boosted(form, width, len(rows), share, models)
    return _fit_number(x, truth, share, models, trainer, tuple(section.quantiles))


def answer_group(model: Boosted, rows: pd.DataFrame, space: AnswerSpace, name: str) -> Floats:
    """Answer vectors (n, space.size) for rows of one group whose answer space has one size (numbers: one grid).

    A group without a model of its options gives them all the same chance, to belong to a set too.
    """
    x, owner = _matrix(rows, model.form, model.width, name)
    if model.form == "class":
        p = _answer_class(model, x, space.size)
        return smooth(p, space.size / (model.n + space.size))
    summary = x if model.form == "number" else _summary(x, owner, len(rows))
    if "refusal" in model.models:
        refusal = np.asarray(model.models["refusal"].predict(summary, num_threads=_threads(summary)))
    else:
        refusal = np.full(len(rows), model.refusal)
    if model.form == "number":
        p = np.hstack([(1 - refusal)[:, None] * _answer_number(model, x, space), refusal[:, None]])
        return smooth(p, 1 / (model.n + 1))
    score = np.zeros(len(x))
    if "option" in model.models:
        score = np.asarray(model.models["option"].predict(x, raw_score=True, num_threads=_threads(x)))
    table = score.reshape(len(rows), space.size - 1)
    if model.form == "entities":
        p = np.hstack([expit(table), refusal[:, None]])
        return p + (0.5 - p) * 2 / (model.n + 2)
    p = np.hstack([(1 - refusal)[:, None] * softmax(table, axis=1), refusal[:, None]])
    return smooth(p, space.size / (model.n + space.size))


@dataclass(frozen=True)
class _Trainer:
    section: Section
    seed: int
    episodes: np.ndarray  # of each question

    def fit(self, x: Floats, y: Floats, owner: np.ndarray, rounds: int | None = None, **objective: Any) -> lgb.Booster:
        """Train on all rows, with the number of rounds that whole held-out episodes choose (or a given one)."""
        rounds = rounds or self.rounds(x, y, owner, **objective)[0]
        data = lgb.Dataset(x, y, params={"verbose": -1})
        return lgb.train(self._params(_threads(x), **objective), data, num_boost_round=rounds)

    def rounds(self, x: Floats, y: Floats, owner: np.ndarray, **objective: Any) -> tuple[int, float]:
        """The best number of rounds on held-out episodes, and its loss there (NaN where there are too few)."""
        held = self.held_out()[owner]
        if not held.any() or held.all() or len(np.unique(y[~held])) < 2:
            return self.section.rounds, float("nan")
        train = lgb.Dataset(x[~held], y[~held], params={"verbose": -1})
        valid = lgb.Dataset(x[held], y[held], reference=train)
        booster = lgb.train(
            self._params(_threads(x), **objective),
            train,
            self.section.rounds,
            [valid],
            callbacks=[lgb.early_stopping(20, verbose=False)],
        )
        return max(booster.best_iteration, 1), float(next(iter(booster.best_score["valid_0"].values())))

    def held_out(self) -> np.ndarray:
        names = np.unique(self.episodes)
        if len(names) < 5:
            return np.zeros(len(self.episodes), dtype=bool)
        chosen = np.random.default_rng(self.seed).permutation(names)[: max(1, round(HOLDOUT * len(names)))]
        return np.isin(self.episodes, chosen)

    def median(self, x: Floats, y: Floats, owner: np.ndarray) -> tuple[int, float]:
        """Rounds and pinball loss of the median, whose rounds serve all quantiles."""
        return self.rounds(x, y, owner, objective="quantile", alpha=0.5)

    def _params(self, threads: int, **objective: Any) -> dict[str, Any]:
        return {
            "learning_rate": self.section.learning_rate,
            "num_leaves": self.section.leaves,
            "min_data_in_leaf": self.section.min_leaf,
            "lambda_l2": 1.0,
            "num_threads": threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
            **objective,
        }


def _fit_class(x: Floats, truth: Floats, share: float, trainer: _Trainer) -> Boosted:
    label = np.where(np.isnan(truth), -1, truth).astype(int)
    classes, y = np.unique(label, return_inverse=True)
    models = {}
    if len(classes) > 1 and x.shape[1]:
        owner = np.arange(len(x))
        models["class"] = trainer.fit(x, y.astype(float), owner, objective="multiclass", num_class=len(classes))
    return Boosted("class", x.shape[1], len(x), share, models, tuple(classes.tolist()))


def _answer_class(model: Boosted, x: Floats, size: int) -> Floats:
    p = np.zeros((len(x), size))
    share = np.ones((len(x), 1))
    if "class" in model.models:
        share = np.asarray(model.models["class"].predict(x, num_threads=_threads(x))).reshape(len(x), -1)
    for column, option in zip(share.T, model.classes, strict=True):
        if option < size - 1:  # an option that this question doesn't offer is dropped
            p[:, option] = column
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / size)


def _fit_number(
    x: Floats,
    truth: Floats,
    share: float,
    models: dict[str, lgb.Booster],
    trainer: _Trainer,
    levels: tuple[float, ...],
) -> Boosted:
    known = np.flatnonzero(~np.isnan(truth))
    if len(known) < 2 or x.shape[1] == 0:
        return Boosted("number", x.shape[1], len(x), share, models)
    xs, ys = x[known], truth[known]
    held = trainer.held_out()[known]
    rounds, loss = trainer.median(xs, ys, known)
    linear = None
    if held.any() and not held.all():  # the ridge's part is chosen where neither it nor the trees have learnt
        left = ys - Linear.fit(xs[~held], ys[~held])(xs)
        rounds_left, loss_left = trainer.median(xs, left, known)
        if loss_left < loss:
            rounds, linear = rounds_left, Linear.fit(xs, ys)
            ys = ys - linear(xs)
    for i, level in enumerate(levels):
        models[f"q{i}"] = trainer.fit(xs, ys, known, rounds, objective="quantile", alpha=level)
    return Boosted("number", x.shape[1], len(x), share, models, (), levels, linear)


def _answer_number(model: Boosted, x: Floats, space: AnswerSpace) -> Floats:
    if not model.levels:
        return np.full((len(x), space.size - 1), 1 / (space.size - 1))
    base = model.linear(x) if model.linear else np.zeros(len(x))
    columns = [
        base + np.asarray(model.models[f"q{i}"].predict(x, num_threads=_threads(x))) for i in range(len(model.levels))
    ]
    return quantile_mass(np.stack(columns, axis=1), np.array(model.levels), space.values)


def _threads(x: Floats) -> int:
    return 1 if len(x) < SMALL else os.cpu_count() or 1


def _form(rows: pd.DataFrame) -> str:
    if rows["kind"].iloc[0] == "number":
        return "number"
    if rows["kind"].iloc[0] == "entities":
        return "entities"
    lengths = {(len(feature), len(options)) for feature, options in zip(rows["features"], rows["options"], strict=True)}
    return "option" if all(features in (0, options) for features, options in lengths) else "class"


def _matrix(rows: pd.DataFrame, form: str, width: int, name: str) -> tuple[Floats, np.ndarray]:
    """Features (rows or options, width) and the question that each belongs to. No features at all: all missing."""
    blocks = []
    for identity, feature, options in zip(rows["id"], rows["features"], rows["options"], strict=True):
        count = len(options) if form in PER_OPTION else 1
        block = np.full((count, width), np.nan)
        if len(feature):
            block = np.array([np.asarray(row, dtype=float) for row in feature])
        if block.shape != (count, width):
            raise UserError(
                f"question {identity} of {name}: features of shape {block.shape}, others of its group have "
                f"{(count, width)}; the sector's `questions` must give one group one shape"
            )
        blocks.append(block)
    counts = [len(block) for block in blocks]
    x = np.concatenate(blocks) if blocks else np.empty((0, width))
    return x, np.repeat(np.arange(len(blocks)), counts)


def _right(rows: pd.DataFrame, form: str) -> np.ndarray:
    """Whether each option of each question (options,) is the right one, or belongs to the set."""
    marks = [
        np.isin(np.arange(len(options)), gold if form == "entities" else [truth])
        for options, gold, truth in zip(rows["options"], rows["gold"], rows["truth"], strict=True)
    ]
    return np.concatenate(marks)


def _summary(x: Floats, owner: np.ndarray, n: int) -> Floats:
    """What the refusal of a question with a row an option is judged by: per column mean, extremes, and share missing."""
    frame = pd.DataFrame(x).groupby(owner)
    missing = pd.DataFrame(np.isnan(x)).groupby(owner).mean()
    counts = np.bincount(owner, minlength=n)[:, None]
    return np.hstack([frame.mean(), frame.min(), frame.max(), missing, counts]).astype(float)
