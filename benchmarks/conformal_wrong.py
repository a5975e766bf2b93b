"""Where MAPIE 1.6 and crepes 0.9 go wrong, each shown by their own code and beside ours, on the same rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinforge.conformal import reference
from twinforge.conformal.choice import Choice
from twinforge.conformal.number import Number
from twinforge.conformal.online import ACI
from twinforge.conformal.predictive import Predictive
from twinforge.conformal.probability import VennAbers
from twinforge.conformal.risk import Selective
from twinforge.conformal.threshold import Floats

ALPHA, GAMMA, MOST, OPTIONS = 0.1, 0.05, 1.0, 6


@dataclass(frozen=True)
class Case:
    """One difference: what was asked, what the library answers, ours, and what is due by the theorem that both name.

    figures : the same as numbers, with counts.
    """

    name: str
    asked: str
    theirs: str
    ours: str
    due: str
    figures: dict[str, Any]


def cases(steps: int = 400, repetitions: int = 400, runs: int = 150) -> list[Case]:
    """All of them. steps : of the adversarial stream. repetitions : of APS' coverage. runs : of Learn then Test."""
    with warnings.catch_warnings(record=True):  # MAPIE sets filters of its own, so they are caught instead
        return [
            aci(steps), aci_level(), aps(repetitions), venn_abers(), few_rows(), learn_then_test(runs),
            crepes_regressor(), crepes_predictive(),
        ]  # fmt: skip


class TheirACI:
    """MAPIE's TimeSeriesRegressor as a follower: scores are |y - 0|, for predictions that are all 0."""

    def __init__(self, scores: Floats) -> None:
        from mapie.regression import TimeSeriesRegressor

        self.at = np.zeros((1, 1))
        self.fitted = TimeSeriesRegressor(reference.regressor(0), "aci", cv="prefit")
        self.fitted.fit(np.zeros((len(scores), 1)), scores)

    def threshold(self) -> float:
        found = self.fitted.predict(self.at, confidence_level=1 - ALPHA, allow_infinite_bounds=True)[1]
        return float(found[0, 1, 0])

    def observe(self, score: float, issued: float) -> TheirACI:
        self.fitted.adapt_conformal_inference(self.at, np.array([score]), gamma=GAMMA, confidence_level=1 - ALPHA)
        self.fitted.update(self.at, np.array([score]))
        return self


def adversary(follower: Any, steps: int) -> float:
    """Share of misses on a stream that is always just outside, wherever the set leaves room below `MOST`."""
    misses = 0
    for _ in range(steps):
        issued = follower.threshold()
        score = min(issued + 1e-6, MOST) if issued < MOST else 0.0
        misses += score > issued
        follower = follower.observe(score, issued)
    return misses / steps


def aci(steps: int, sizes: tuple[int, ...] = (100, 200, 500)) -> Case:
    """Its level is clipped to [0, 1], so a surplus of misses is forgotten and never paid back (adapt_conformal_inference)."""
    drawn = {n: np.random.default_rng(0).uniform(0, MOST, n) for n in sizes}
    theirs = {n: adversary(TheirACI(scores), steps) for n, scores in drawn.items()}
    ours = {n: adversary(ACI(ALPHA, GAMMA).seen(scores), steps) for n, scores in drawn.items()}
    bound = ALPHA + ACI(ALPHA, GAMMA).bound(steps)
    return Case(
        "MAPIE: ACI", f"misses of {steps}, adversarial stream, after {_list(sizes)} scores", _list(theirs.values(), ".3f"),
        _list(ours.values(), ".3f"), f"at most {bound:.3f} (Gibbs and Candes 2021, proposition 4.1)",
        {"steps": steps, "scores": list(sizes), "mapie": list(theirs.values()), "ours": list(ours.values()), "bound": bound},
    )  # fmt: skip


def aci_level() -> Case:
    """Its level is rounded to two decimals when it is first used; asked for by name afterwards it is not found."""
    from mapie.regression import TimeSeriesRegressor

    def fitted() -> Any:
        made = TimeSeriesRegressor(reference.regressor(0), "aci", cv="prefit")
        made.fit(np.zeros((200, 1)), np.linspace(0, MOST, 200))
        made.predict(np.zeros((1, 1)), confidence_level=0.975)
        return made

    start = fitted()
    used = float(next(iter(start.current_alpha.values())))
    named = said(lambda: start.adapt_conformal_inference(np.zeros((1, 1)), np.zeros(1), GAMMA, confidence_level=0.975))
    return Case(
        "MAPIE: level of ACI", "alpha in force at confidence 0.975; then adapting at 0.975", f"{used:g}; {named}",
        f"{ACI(0.025, GAMMA).level:g}; adapts", "0.025", {"mapie": used, "adapting": named, "ours": ACI(0.025, GAMMA).level},
    )  # fmt: skip


def aps(repetitions: int, rows: int = 99, fresh: int = 500) -> Case:
    """include_last_label=False: calibrated with a random share of the truth's probability, predicted with all of it."""
    from mapie.classification import SplitConformalClassifier

    rng = np.random.default_rng(0)
    held: dict[str, list[float]] = {"False": [], "randomized": [], "True": [], "ours": []}
    for turn in range(repetitions):
        (p, label), (new, truth) = drawn(rng, rows), drawn(rng, fresh)
        sets = {"ours": Choice.fit(p, label, ALPHA, "aps", seed=turn).sets(new)}
        for option in (False, "randomized", True):
            made = SplitConformalClassifier(reference.classifier(OPTIONS), 1 - ALPHA, "aps", random_state=turn)
            made.conformalize(p, label)
            sets[str(option)] = made.predict_set(new, conformity_score_params={"include_last_label": option})[1][..., 0]
        for name, inside in sets.items():
            held[name].append(float(inside[np.arange(fresh), truth].mean()))
    mean = {name: float(np.mean(values)) for name, values in held.items()}
    reach = {name: 1.96 * float(np.std(values)) / math.sqrt(repetitions) for name, values in held.items()}
    told = {name: f"{mean[name]:.3f} ± {reach[name]:.3f}" for name in held}
    return Case(
        "MAPIE: APS without the last label", f"coverage, {repetitions} calibrations of {rows} rows, {fresh} fresh rows each",
        f"{told['False']} (\"randomized\": {told['randomized']}, with it: {told['True']})", told["ours"], "0.900",
        {"repetitions": repetitions, "rows": rows, "fresh": fresh, "mean": mean, "half width of 95 %": reach},
    )  # fmt: skip


def venn_abers() -> Case:
    """A score above all calibration scores gets the fit of the largest of them."""
    from mapie.calibration import VennAbersCalibrator
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_, n_features_in_ = np.array([0, 1]), 1

        def fit(self, x: Floats, y: Floats) -> Given:
            return self

        def predict_proba(self, x: Floats) -> Floats:
            return np.column_stack([1 - np.ravel(x), np.ravel(x)])

    score, right, new = np.array([0.0, 0.4, 0.4]), np.zeros(3, int), np.array([0.7])
    made = VennAbersCalibrator(Given(), cv="prefit").fit(score[:, None], right)
    theirs = float(made.predict_proba(new[:, None], p0_p1_output=True)[1][0, 1])
    ours = float(VennAbers.fit(score, right.astype(bool)).bounds(new)[1][0])
    return Case(
        "MAPIE: Venn-Abers", "p1 at 0.7 after scores 0, 0.4, 0.4, all wrong", f"{theirs:.3f}", f"{ours:.3f}",
        "1: a right row above all others is a block of its own", {"mapie": theirs, "ours": ours, "due": 1.0},
    )  # fmt: skip


def few_rows() -> Case:
    """n = 1/alpha - 1: the largest score is a threshold, yet MAPIE refuses, and crepes gives everything."""
    from crepes import ConformalRegressor  # type: ignore

    scores = np.arange(1.0, 10.0)
    p, label = drawn(np.random.default_rng(0), 9)
    refused = said(lambda: reference.lac(p, label, ALPHA))
    wide = float(ConformalRegressor().fit(scores).predict_int(np.zeros(1), confidence=1 - ALPHA)[0, 1])
    ours = _upper(scores, ALPHA)
    return Case(
        "MAPIE, crepes: just enough rows", "upper end at 90 % from errors 1 to 9", f"MAPIE: {refused}; crepes: {wide:g}", f"{ours:g}",
        "9: n = 1/alpha - 1 rows are enough", {"mapie": refused, "crepes": _plain(wide), "ours": ours},
    )  # fmt: skip


def learn_then_test(runs: int, rows: int = 500) -> Case:
    """Precision is of the few answered rows alone, so the safe end of the grid has too few rows to show anything; the share of
    all rows that are answered and wrong asks nothing else, and MAPIE finds it when told to."""
    from mapie.risk_control import BinaryClassificationController, BinaryRisk

    wrong = BinaryRisk(lambda y, p: (p == 1) & (y == 0), lambda y, p: np.ones(len(y), bool), higher_is_better=False)
    answered = BinaryRisk(lambda y, p: p == 1, lambda y, p: np.ones(len(y), bool), higher_is_better=True)
    grid, rng = np.linspace(0, 0.99, 100), np.random.default_rng(0)
    asked: dict[str, tuple[Any, float, str]] = {
        f"precision, {method}": ("precision", 0.9, method) for method in ("fixed_sequence", "bonferroni_holm")
    }
    asked["answered and wrong, fixed_sequence"] = (wrong, 0.05, "fixed_sequence")
    nothing, ours = dict.fromkeys(asked, 0), 0
    for _ in range(runs):
        confidence = rng.random(rows)
        right = (rng.random(rows) < confidence).astype(int)
        for name, (risk, level, method) in asked.items():
            made = BinaryClassificationController(
                lambda x: np.column_stack([1 - x, x]), risk, level, 0.9, answered, grid, method
            )
            nothing[name] += made.calibrate(confidence, right).best_predict_param is None
        ours += math.isinf(Selective.fit(confidence, right.astype(bool), 0.05, 0.1).threshold)
    told = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in nothing.items())
    return Case(
        "MAPIE: Learn then Test", f"runs of {runs} that answer nothing, {rows} rows, precision of 0.9 held from confidence 0.8 on",
        told, f"answered and wrong: {ours}", "0: safe thresholds exist",
        {"runs": runs, "rows": rows, "mapie": nothing, "ours": ours},
    )  # fmt: skip


def crepes_regressor() -> Case:
    """int((1 - confidence) (n + 1)): floats put a level that is met exactly one score too high."""
    from crepes import ConformalRegressor  # type: ignore

    sizes = (19, 99, 999)
    errors = [np.arange(1.0, n + 1) for n in sizes]
    theirs = [float(ConformalRegressor().fit(e).predict_int(np.zeros(1), confidence=0.9)[0, 1]) for e in errors]
    ours = [_upper(e, ALPHA) for e in errors]
    return Case(
        "crepes: levels met exactly", f"upper end at 90 % from errors 1 to n = {_list(sizes)}", _list(theirs), _list(ours),
        "0.9 (n + 1): " + _list((n + 1) * 9 // 10 for n in sizes), {"n": list(sizes), "crepes": theirs, "ours": ours},
    )  # fmt: skip


def crepes_predictive() -> Case:
    """The same in its predictive system, where an end becomes infinite."""
    from crepes import ConformalPredictiveSystem  # type: ignore

    levels = ((19, 0.9), (999, 0.998))
    theirs, ours = [], []
    for n, confidence in levels:
        errors = np.arange(1.0, n + 1)
        made = ConformalPredictiveSystem().fit(errors).predict_int(np.zeros(1), confidence=confidence)[0]
        theirs.append([float(end) for end in made])
        alpha = round(1 - confidence, 6)
        ours.append([float(end[0]) for end in Predictive.fit(np.zeros(n), errors).interval(alpha, np.zeros(1))])
    return Case(
        "crepes: predictive system", "intervals from errors 1 to 19 at 90 %, 1 to 999 at 99.8 %",
        _list(f"[{_list(ends)}]" for ends in theirs), _list(f"[{_list(ends)}]" for ends in ours),
        "[1, 19], [1, 999]: both ends exist", {"crepes": [[_plain(end) for end in ends] for ends in theirs], "ours": ours},
    )  # fmt: skip


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Any]:
    """Probabilities of six options and truths drawn from them."""
    score = np.exp(2 * rng.normal(size=(n, OPTIONS)))
    p = score / score.sum(axis=1, keepdims=True)
    return p, (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=OPTIONS - 1)


def said(call: Callable[[], Any]) -> str:
    """What a library says when it refuses, its type first; "nothing" if it doesn't."""
    try:
        call()
    except Exception as error:  # any: the point is to show it
        return f"{type(error).__name__}: {str(error).splitlines()[0].rstrip(',')}"
    return "nothing"


def _upper(errors: Floats, alpha: float) -> float:
    """Our upper end about 0, without the last bits that keep rounded truths inside."""
    return round(float(Number.fit({"median": 0 * errors}, errors, alpha, "split").thresholds.groups[""][1]), 9)


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _list(values: Any, form: str = "") -> str:
    return ", ".join(v if isinstance(v, str) else format(v, form or "g") for v in values)
