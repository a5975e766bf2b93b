"""Experts: computational models that answer from the signals alone, and the simple baselines beside them.

boost : gradient boosting on each question's features (`twinforge.training.boosting`).
rule, copy, persistence, majority : point answers, spread by their errors on training rows (`twinforge.training.points`).

All are fitted per group "asked/template" on the rows of `train` outside its validation share. Refusals are learnt from
features too: a question that can't be answered is trained on in the group of the template it was asked by.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from tqdm import tqdm

from twinforge.errors import UserError
from twinforge.files import read_json, replacing, write_json
from twinforge.records import ANSWER, AnswerSpace, space_of
from twinforge.training.boosting import Boosted, Linear, Section, answer_group, fit_group
from twinforge.training.points import PointModel, defined, distribution, fit_point, points, set_distribution

NAMES = ("boost", "rule", "majority", "persistence", "copy")
INDEX = "experts.json"


def group_of(frame: pd.DataFrame) -> pd.Series:
    """The group key "asked/template" of each question: one way to ask has one shape of features."""
    return frame["asked"] + "/" + frame["template"]


@dataclass(frozen=True)
class Experts:
    """All fitted experts: boosting by group, and point models by name and group."""

    boosted: Mapping[str, Boosted]
    point: Mapping[str, Mapping[str, PointModel]]

    def answer(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Answers (`records.ANSWER`) to the questions of `frame` that the expert `name` is defined on, in their order.

        A group that was never seen in training is not answered. Tokens are 0; seconds are the batch's time a row.

        Raises
        ------
        UserError
            Unknown expert, features of another shape than in training, or a point answer outside the options.
        """
        if name not in NAMES:
            raise UserError(f"no expert {name!r}; there are {', '.join(NAMES)}")
        known = self.boosted if name == "boost" else self.point[name]
        groups = group_of(frame)
        usable = groups.isin(list(known)).to_numpy()
        if name != "boost":
            usable &= defined(name, frame)
        begin = time.perf_counter()
        p: list[np.ndarray | None] = [None] * len(frame)
        for group, rows, space in _batches(frame, groups, usable):
            part = frame.iloc[rows]
            for row, vector in zip(rows, self._vectors(name, group, part, space), strict=True):
                p[row] = vector
        seconds = (time.perf_counter() - begin) / max(usable.sum(), 1)
        kept = np.flatnonzero(usable)
        names, vectors = frame["id"].to_numpy()[kept], [p[row] for row in kept]
        return pd.DataFrame({"question": names, "p": vectors, "tokens": 0, "seconds": seconds}, columns=ANSWER.names)

    def _vectors(self, name: str, group: str, part: pd.DataFrame, space: AnswerSpace) -> np.ndarray:
        if name == "boost":
            return answer_group(self.boosted[group], part, space, group)
        model = self.point[name][group]
        if space.kind == "entities":
            return set_distribution(name, model, part)
        point = points(name, model, part)
        if space.kind == "choice" and (bad := (point < 0) | (point >= space.size - 1)).any():
            first = part.iloc[int(np.argmax(bad))]
            raise UserError(f"question {first['id']}: column {name!r} names option {first[name]}, of {space.size - 1}")
        return distribution(model, point, space)

    def save(self, folder: Path) -> None:
        """Write `experts.json` and a LightGBM text file a booster; the folder is replaced as a whole."""
        with replacing(folder) as part:
            part.mkdir()
            index: dict[str, Any] = {"boost": {}, "point": {}}
            for group, model in self.boosted.items():
                index["boost"][group] = _boosted_to_json(model, group, part)
            for name, models in self.point.items():
                index["point"][name] = {group: model.to_json() for group, model in models.items()}
            write_json(index, part / INDEX)

    @staticmethod
    def load(folder: Path) -> Experts:
        """Read what `save` wrote: text and JSON, no code.

        Raises
        ------
        UserError
            A file is missing or broken; the message names it.
        """
        index = read_json(folder / INDEX)
        try:
            boosted = {group: _boosted_from_json(value, folder) for group, value in index["boost"].items()}
            point = {
                name: {group: PointModel.from_json(value) for group, value in models.items()}
                for name, models in index["point"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder / INDEX}: not an index of experts ({error!r}); run `dvc repro` again") from error
        return Experts(boosted, point)


def fit_experts(train: pd.DataFrame, section: Section, seed: int) -> Experts:
    """Fit all experts on the rows of `train` (`records.QUESTION`) outside its validation share.

    section : the recipe's `experts` section.

    Raises
    ------
    UserError
        No training rows, or a group whose features differ in shape.
    """
    rows = train[~train["validation"].astype(bool)]
    if rows.empty:
        raise UserError("train: no rows outside the validation share to fit experts on; lower `curate.validation`")
    groups = {str(name): part for name, part in rows.groupby(group_of(rows), sort=True)}
    boosted = {
        name: fit_group(part, section, seed, name) for name, part in tqdm(groups.items(), "experts", disable=None)
    }
    point = {
        name: {group: fit_point(name, part) for group, part in groups.items() if defined(name, part).any()}
        for name in NAMES
        if name != "boost"
    }
    return Experts(boosted, point)


def _batches(frame: pd.DataFrame, groups: pd.Series, usable: np.ndarray) -> list[tuple[str, np.ndarray, AnswerSpace]]:
    """Rows that can be answered together: one group, and one size of answer (numbers: one grid)."""
    key = pd.DataFrame(
        {
            "group": groups.to_numpy(),
            "options": frame["options"].map(len).to_numpy(),
            "low": frame["low"].to_numpy(),
            "high": frame["high"].to_numpy(),
            "step": frame["step"].to_numpy(),
            "row": np.arange(len(frame)),
        }
    )[usable]
    key.loc[key["options"] > 0, ["low", "high", "step"]] = 0.0
    parts = key.groupby(["group", "options", "low", "high", "step"], sort=True)["row"]
    return [(str(k[0]), rows.to_numpy(), space_of(frame.iloc[rows.iloc[0]])) for k, rows in parts]


def _boosted_to_json(model: Boosted, group: str, folder: Path) -> dict[str, Any]:
    files = {}
    for part, booster in model.models.items():
        files[part] = f"{group.replace('/', '-')}.{part}.txt"
        (folder / files[part]).write_text(booster.model_to_string(), encoding="utf-8")
    return {
        "form": model.form,
        "width": model.width,
        "n": model.n,
        "refusal": model.refusal,
        "classes": list(model.classes),
        "levels": list(model.levels),
        "linear": asdict(model.linear) if model.linear else None,
        "files": files,
    }


def _boosted_from_json(value: Mapping[str, Any], folder: Path) -> Boosted:
    linear = value["linear"]
    return Boosted(
        form=value["form"],
        width=value["width"],
        n=value["n"],
        refusal=value["refusal"],
        models={part: _read_booster(folder / file) for part, file in value["files"].items()},
        classes=tuple(value["classes"]),
        levels=tuple(value["levels"]),
        linear=Linear.from_json(linear) if linear else None,
    )


def _read_booster(path: Path) -> lgb.Booster:
    try:
        return lgb.Booster(model_str=path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run `dvc repro` again") from error
    except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a LightGBM model ({error}); run `dvc repro` again") from error
