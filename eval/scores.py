"""One row a question and model: what was said, whether it was right, and every proper score of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from twinforge.errors import UserError
from twinforge.records import REFUSAL, SLACK, membership, same_set

FLOOR = 1e-9  # the least probability that the log score sees: no answer costs more than 20.7 nats

_TEXT = ("question", "episode", "split", "skill", "asked", "kind", "unit", "model", "label_true", "label_said")
_NUMBER = (
    *("truth", "predicted", "right", "refused", "false_refusal", "refusal_recall", "confidence"),
    *("log_score", "brier", "set_f1", "error", "interval_score", "low", "high", "covered", "size", "width", "regret"),
    *("answered", "answered_wrong", "covered_online", "whole_online"),
    *("tokens", "seconds", "scale"),
)
SCORE = pa.schema(
    [
        *[(name, pa.string()) for name in _TEXT],
        ("time", pa.timestamp("ms")),
        *[(name, pa.float64()) for name in _NUMBER],  # NaN: not defined for this row
        ("rule_wrong", pa.bool_()),  # the operator's rule is defined here and gives a wrong answer
    ]
)
OF_SETS = ("covered", "size", "width", "answered", "answered_wrong", "covered_online", "whole_online")
SETS = ("question", "covered", "refusal", "size", "low", "high", "sure", "covered_online", "whole_online")


@dataclass(frozen=True)
class Spread:
    """Answer vectors of many questions, padded: `mass` (n, longest) without the refusal, and `refusal` (n,)."""

    mass: np.ndarray
    refusal: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, vectors: pd.Series) -> Spread:
        """Pad a series of probability vectors, each ending with the refusal."""
        length = vectors.map(len).to_numpy(int) - 1
        mass = np.zeros((len(vectors), int(length.max(initial=1))))
        flat = np.concatenate([*vectors, np.zeros(0)])
        ends = np.cumsum(length + 1) - 1
        inner = np.ones(len(flat), bool)
        inner[ends] = False
        mass[np.arange(mass.shape[1]) < length[:, None]] = flat[inner]
        return cls(mass, flat[ends], length)


def score(
    questions: pd.DataFrame, answers: pd.DataFrame, model: str, alpha: float, sets: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Score the answers of one model; a row an answered question, columns of `SCORE`.

    Parameters
    ----------
    questions : frame of `records.QUESTION` columns and `split`.
    answers : frame of `records.ANSWER` columns.
    alpha : the interval score and the model's own interval are central at 1 - alpha.
    sets : frame of columns `SETS`, the calibrated sets, where the model has them: covered, refusal (in the set), size
        (labels or nodes), low and high (numbers).

    A choice is refused when the refusal is the likeliest, a number or a set when its refusal is above one half. A set is right
    when it is just the true one, none missing; its `log_score` is summed and its `brier` averaged over all that happened
    (`records.membership`), its `confidence` is the product of that of its parts. `error` and
    `interval_score` look at the distribution over values with the refusal taken out, also where it was refused (a model can't
    better them by refusing). `regret` of a refusal is that of the worst option. Interval score: Gneiting and Raftery (2007),
    equation 43.

    Raises
    ------
    UserError
        Answers to unknown questions, two answers to one, vectors of the wrong length or no probabilities.
    """
    rows = _joined(questions, answers, model)
    parts = [
        part
        for kind, columns in (("choice", _choice), ("number", _number), ("entities", _entities))
        if len(frame := rows[rows["kind"] == kind])
        for part in [frame.assign(**columns(frame, alpha))]
    ]
    scored = pd.concat(parts, ignore_index=True) if parts else rows.assign(**dict.fromkeys(_NUMBER, np.nan))
    scored = _with_sets(_refusals(scored), sets).assign(model=model)
    for name in (*_TEXT, *_NUMBER):
        if name not in scored:
            scored[name] = None if name in _TEXT else np.nan
    return scored[SCORE.names].copy()


def rule_wrong(questions: pd.DataFrame) -> pd.Series:
    """Where the operator's rule is defined and its answer is not right."""
    missed = (questions["rule"] - questions["truth"]).abs() > questions["tolerance"].fillna(0.0) + SLACK
    both_refuse = questions["rule"].isna() & questions["truth"].isna()
    one_refuses = questions["rule"].isna() ^ questions["truth"].isna()
    return questions["rule_defined"].astype(bool) & (missed | one_refuses | ~same_set(questions)) & ~both_refuse


def _joined(questions: pd.DataFrame, answers: pd.DataFrame, model: str) -> pd.DataFrame:
    for name, bad in {
        "answered twice": answers.loc[answers["question"].duplicated(), "question"],
        "answers to unknown questions": answers.loc[~answers["question"].isin(questions["id"]), "question"],
    }.items():
        if len(bad):
            raise UserError(
                f"answers of {model!r}: {len(bad)} {name}, first {list(bad[:3])}; run the `answer` stage again"
            )
    keep = questions.rename(columns={"id": "question"}).assign(rule_wrong=rule_wrong(questions).to_numpy())
    rows = answers.merge(keep, on="question", validate="one_to_one")
    count = ((rows["high"] - rows["low"]) / rows["step"]).round() + 1
    size = rows["options"].map(len).astype(float).where(rows["kind"] != "number", count) + 1
    whole = ((rows["p"].map(np.sum) - 1).abs() < 1e-3).where(rows["kind"] != "entities", rows["p"].map(np.max) <= 1)
    proper = whole & (rows["p"].map(np.min) >= 0)
    wrong = (rows["p"].map(len) != size) | ~proper
    if wrong.any():
        raise UserError(
            f"answers of {model!r}: {int(wrong.sum())} vector(s) `p` of the wrong length or not a distribution, "
            f"first for question {rows.loc[wrong, 'question'].iloc[0]!r}; run the `answer` stage again"
        )
    return rows


def _refusals(rows: pd.DataFrame) -> pd.DataFrame:
    refused, unknown = rows["refused"], rows["truth"].isna()
    return rows.assign(false_refusal=refused.where(~unknown), refusal_recall=refused.where(unknown))


def _choice(rows: pd.DataFrame, alpha: float) -> dict[str, np.ndarray]:
    spread, truth = Spread.of(rows["p"]), rows["truth"].to_numpy()
    at, unknown = np.arange(len(rows)), np.isnan(truth)
    best = spread.mass.argmax(1)
    refused = spread.refusal > spread.mass[at, best]
    target = np.where(unknown, 0, truth).astype(int)
    p_true = np.where(unknown, spread.refusal, spread.mass[at, target])
    labels = [[*options, REFUSAL] for options in rows["options"]]
    said = np.where(refused, spread.length, best)
    meant = np.where(unknown, spread.length, target)
    return {
        "predicted": np.where(refused, np.nan, best),
        "refused": refused.astype(float),
        "right": (said == meant).astype(float),
        "confidence": np.where(refused, spread.refusal, spread.mass[at, best]),
        "log_score": np.log(np.maximum(p_true, FLOOR)),
        "brier": (spread.mass**2).sum(1) + spread.refusal**2 - 2 * p_true + 1,
        "regret": _regret(rows["payoff"], np.where(refused, -1, best)),
        "label_true": np.array(
            [f"{asked}: {row[i]}" for asked, row, i in zip(rows["asked"], labels, meant, strict=True)]
        ),
        "label_said": np.array(
            [f"{asked}: {row[i]}" for asked, row, i in zip(rows["asked"], labels, said, strict=True)]
        ),
        "low": np.full(len(rows), np.nan),
        "high": np.full(len(rows), np.nan),
        "scale": np.ones(len(rows)),
    }


def _entities(rows: pd.DataFrame, alpha: float) -> dict[str, np.ndarray]:
    spread, truth = Spread.of(rows["p"]), rows["truth"].to_numpy()
    refused, unknown = spread.refusal > 0.5, np.isnan(truth)
    happened = Spread.of(pd.Series([membership(row) for _, row in rows.iterrows()])).mass
    asked = np.arange(spread.mass.shape[1]) < spread.length[:, None]
    gold, said = (happened == 1) & asked, (spread.mass > 0.5) & ~refused[:, None]
    hits, count = (gold & said).sum(1), said.sum(1)
    exact = ~refused & (hits == count) & (hits == truth)
    p_true = np.where(asked & ~unknown[:, None], np.where(gold, spread.mass, 1 - spread.mass), 1.0)
    refusal = np.where(unknown, spread.refusal, 1 - spread.refusal)
    parts = np.where(unknown, 0, spread.length) + 1
    sure = np.where(asked, np.maximum(spread.mass, 1 - spread.mass), 1.0).prod(1)
    both = np.where(count + truth > 0, 2 * hits / np.where(count + truth > 0, count + truth, 1), 1.0)
    return {
        "predicted": np.where(refused, np.nan, count),
        "refused": refused.astype(float),
        "right": np.where(unknown, refused, exact).astype(float),
        "confidence": np.where(refused, spread.refusal, (1 - spread.refusal) * sure),
        "log_score": np.log(np.maximum(p_true, FLOOR)).sum(1) + np.log(np.maximum(refusal, FLOOR)),
        "brier": (((1 - p_true) ** 2).sum(1) + (1 - refusal) ** 2) / parts,
        "set_f1": np.where(unknown, np.nan, np.where(refused, 0.0, both)),
        "low": np.full(len(rows), np.nan),
        "high": np.full(len(rows), np.nan),
        "scale": np.ones(len(rows)),
    }


def _regret(payoffs: pd.Series, chosen: np.ndarray) -> np.ndarray:
    def one(payoff: np.ndarray | None, option: int) -> float:
        if payoff is None or not len(payoff):
            return float("nan")
        return float(np.max(payoff) - (np.min(payoff) if option < 0 else payoff[option]))

    return np.array([one(payoff, int(option)) for payoff, option in zip(payoffs, chosen, strict=True)])


def _number(rows: pd.DataFrame, alpha: float) -> dict[str, np.ndarray]:
    spread, truth = Spread.of(rows["p"]), rows["truth"].to_numpy()
    low, step, tolerance = (rows[name].to_numpy(float) for name in ("low", "step", "tolerance"))
    inside = np.arange(spread.mass.shape[1]) < spread.length[:, None]
    total = spread.mass.sum(1, keepdims=True)
    renormalised = np.where(total > 0, spread.mass / np.where(total > 0, total, 1), inside / spread.length[:, None])
    cdf = renormalised.cumsum(1)

    def quantile(level: float) -> np.ndarray:
        index = np.minimum((cdf < level - SLACK).sum(1), spread.length - 1)
        return low + step * index

    values = low[:, None] + step[:, None] * np.arange(spread.mass.shape[1])
    point, lower, upper = quantile(0.5), quantile(alpha / 2), quantile(1 - alpha / 2)
    unknown, refused = np.isnan(truth), spread.refusal > 0.5
    index = np.clip(np.rint((np.where(unknown, low, truth) - low) / step), 0, spread.length - 1).astype(int)
    p_true = np.where(unknown, spread.refusal, spread.mass[np.arange(len(rows)), index])
    near = (np.abs(values - point[:, None]) <= tolerance[:, None] + SLACK) & inside
    error = np.abs(point - truth)
    right = np.where(unknown, refused, (error <= tolerance + SLACK) & ~refused)
    outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return {
        "predicted": np.where(refused, np.nan, point),
        "refused": refused.astype(float),
        "right": right.astype(float),
        "confidence": np.where(refused, spread.refusal, (spread.mass * near).sum(1)),
        "log_score": np.log(np.maximum(p_true, FLOOR)),
        "error": error,
        "interval_score": upper - lower + 2 / alpha * outside,
        "low": lower,
        "high": upper,
        "scale": np.maximum(tolerance, step),
    }


def _with_sets(rows: pd.DataFrame, sets: pd.DataFrame | None) -> pd.DataFrame:
    if sets is None:
        return rows.assign(**dict.fromkeys(OF_SETS, np.nan))
    named = sets[list(SETS)].rename(columns={"low": "set_low", "high": "set_high"})
    joined = rows.merge(named, on="question", how="left", validate="one_to_one")
    number = joined["kind"] == "number"
    known = joined["covered"].notna() & number
    answered = (joined["sure"].astype(float) * (1 - joined["refused"])).where(joined["covered"].notna())
    return joined.assign(
        answered=answered,
        covered_online=joined["covered_online"].astype(float),
        whole_online=joined["whole_online"].astype(float),
        answered_wrong=answered * (1 - joined["right"]),
        covered=joined["covered"].astype(float),
        size=joined["size"].where(~number),
        width=(joined["set_high"] - joined["set_low"]).where(known),
        low=joined["set_low"].where(known, joined["low"]),
        high=joined["set_high"].where(known, joined["high"]),
    )
