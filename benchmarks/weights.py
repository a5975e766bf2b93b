"""Would weights that follow the state pool better than fixed ones? `python -m benchmarks.weights`, after `dvc repro` (a minute).

The twin pools with one weight a part and kind of question. A weight may follow the state instead, w = softmax(g(state)): here g is
linear in how unsure each part is and how far each two are apart, starts from the fixed weights, and is pulled back to them by a
penalty that cross-validation over days chooses on the validation share. The same weights are held against each other while one side of
the twin is dead, late or lying (the suite "failing"; with C dead there are no experts to weigh). Writes
benchmarks/results/weights.json and the table of docs/dimensions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from benchmarks.setting import PATHS
from eval.bootstrap import interval
from eval.measures import Sample, mean_of
from eval.probes import PROBE
from eval.scores import score
from eval.suites.failing import FAILURES, asked_of
from pipelines import told_in_one_line
from pipelines.integrate import Fact, facts
from pipelines.readme import fill
from twinforge.agents.integration import Floats, Integration, fit, log_floor, pairs, pool
from twinforge.card import table
from twinforge.files import read_table, write_json
from twinforge.records import ANSWER, PARTS, QUESTION, SPLITS

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
FOLDS, RESAMPLES, SEED = 5, 1000, 17
RESULT, PAGE = Path("benchmarks/results/weights.json"), Path("docs/dimensions.md")
WAYS = {"uniform": "equal", "fixed": "fixed, by kind of question", "state": "following the state"}
LEAST = 0.01  # of a fixed weight, before its logarithm
Vectors = Mapping[str, Floats]


@dataclass(frozen=True)
class Rows:
    """Facts as arrays: log-probabilities of the parts (n, m, k), where padded (n, k), truth (n,), fixed weights (n, m), state (n, f)."""

    logs: Floats
    absent: NDArray[np.bool_]
    truth: NDArray[np.int64]
    fixed: Floats
    state: Floats

    def losses(self, gate: Floats) -> Floats:
        """Log loss of each row (n,) under weights that follow the state by `gate` (m, f)."""
        return self._score(gate)[1][np.arange(len(self.truth)), self.truth] * -1

    def loss(self, gate: Floats) -> tuple[float, Floats]:
        """The sum of the losses, and its gradient (m, f)."""
        weights, scores = self._score(gate)
        at = np.arange(len(self.truth))
        slope = np.einsum("nk,nmk->nm", np.exp(scores), self.logs) - self.logs[at, :, self.truth]
        total = weights.sum(axis=1, keepdims=True)
        pull = weights * (slope - (weights / total * slope).sum(axis=1, keepdims=True))
        return float(-scores[at, self.truth].sum()), pull.T @ self.state

    def _score(self, gate: Floats) -> tuple[Floats, Floats]:
        weights = gated(self.fixed, self.state, gate)
        pooled = np.where(self.absent, -np.inf, np.einsum("nm,nmk->nk", weights, self.logs))
        return weights, np.asarray(log_softmax(pooled, axis=1))


def gated(fixed: Floats, state: Floats, gate: Floats) -> Floats:
    """Weights (n, m) that follow the state: the fixed ones' sum, shared out by a softmax that is theirs where the gate is 0."""
    shares = softmax(np.log(np.maximum(fixed, LEAST)) + state @ gate.T, axis=-1)
    return np.asarray(fixed.sum(axis=-1, keepdims=True) * shares)


def state_of(parts: Vectors) -> Floats:
    """How unsure each part is (entropy over its largest), and how far each two are apart (total variation): both 0 to 1."""
    logs = [np.asarray(log_floor(parts[name])) for name in PARTS]
    unsure = [-float((np.exp(log) * log).sum()) / np.log(len(log)) for log in logs]
    apart = [0.5 * float(np.abs(np.exp(a) - np.exp(b)).sum()) for a, b in combinations(logs, 2)]
    return np.array([*unsure, *apart])


def rows_of(told: Sequence[Fact], integration: Integration) -> Rows:
    """Facts that all parts answered, with the fixed weights of their groups."""
    vectors = [{name: np.asarray(fact.parts[name], dtype=float) for name in PARTS} for fact in told]
    longest = max(len(parts[PARTS[0]]) for parts in vectors)
    logs = np.zeros((len(told), len(PARTS), longest))
    absent = np.ones((len(told), longest), bool)
    for i, parts in enumerate(vectors):
        size = len(parts[PARTS[0]])
        logs[i, :, :size] = [log_floor(parts[name]) for name in PARTS]
        absent[i, :size] = False
    weights = [[integration.weights(fact.group, PARTS)[name] for name in PARTS] for fact in told]
    state = np.stack([state_of(parts) for parts in vectors])
    return Rows(logs, absent, np.array([fact.truth for fact in told]), np.array(weights), state)


def fit_gate(rows: Rows, penalty: float) -> Floats:
    """The gate (m, f) of least loss, ridge-penalised towards 0: towards the fixed weights."""
    shape = (rows.logs.shape[1], rows.state.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        value, slope = rows.loss(flat.reshape(shape))
        return value + penalty / 2 * float(flat @ flat), slope.ravel() + penalty * flat

    return np.asarray(minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B").x).reshape(shape)


def fitted(told: Sequence[Fact]) -> Integration:
    """Fixed weights, as the stage `integrate` fits them."""
    parts = {name: [fact.parts[name] for fact in told] for name in PARTS}
    return fit(parts, [f.truth for f in told], [f.group for f in told], [f.episode for f in told])


def cross_validated(told: Sequence[Fact]) -> pd.DataFrame:
    """What each penalty gains on held-out days against fixed weights; columns penalty, gain (nats a row), error (standard, of days)."""
    days = np.unique([fact.episode for fact in told])
    fold = {day: i % FOLDS for i, day in enumerate(days)}
    gains: dict[float, dict[str, float]] = {penalty: dict.fromkeys(days, 0.0) for penalty in PENALTIES}
    for held in range(FOLDS):
        seen = [fact for fact in told if fold[fact.episode] != held]
        unseen = [fact for fact in told if fold[fact.episode] == held]
        integration = fitted(seen)
        train, test = standard(rows_of(seen, integration), rows_of(unseen, integration))
        still = test.losses(np.zeros((len(PARTS), train.state.shape[1])))
        for penalty in PENALTIES:
            for fact, gain in zip(unseen, still - test.losses(fit_gate(train, penalty)), strict=True):
                gains[penalty][fact.episode] += float(gain)
    n = len(told)
    sums = {penalty: np.array(list(by_day.values())) for penalty, by_day in gains.items()}
    return pd.DataFrame(
        [(penalty, each.sum() / n, np.sqrt((each**2).sum()) / n) for penalty, each in sums.items()],
        columns=["penalty", "gain", "error"],
    )


def standard(train: Rows, *others: Rows) -> tuple[Rows, ...]:
    """The rows with their states less the mean of `train`'s, over its standard deviation."""
    mean, scale = train.state.mean(axis=0), train.state.std(axis=0) + 1e-9
    return tuple(replace(rows, state=(rows.state - mean) / scale) for rows in (train, *others))


def pooled(question: pd.Series, parts: Vectors, weigh: Callable[[Vectors], Floats]) -> Floats:
    """The answer vector of one question under the weights (m,) that `weigh` gives; of a set each entry is a yes or no of its own."""

    def one(vectors: Vectors) -> Floats:
        return pool(vectors, dict(zip(PARTS, weigh(vectors), strict=True)))

    if question["kind"] != "entities":
        return one(parts)
    entries = range(len(parts[PARTS[0]]))
    return np.array([one({name: pairs(p[i]) for name, p in parts.items()})[1] for i in entries])


def compared(
    questions: pd.DataFrame, known: Mapping[str, Mapping[Any, Floats]], splits: Sequence[str] = ("test", "shift")
) -> dict[str, Any]:
    """Uniform, fixed and state-following weights on test and shift (or other splits), each paired with the fixed ones.

    questions : `records.QUESTION` and `split`; known : model -> question -> answer vector.
    """
    parts = [{name: np.asarray(known[name][question], dtype=float) for name in PARTS} for question in questions["id"]]
    rows = list(zip(questions.to_dict("index").values(), parts, strict=True))
    told = [fact for row, vectors in rows if row["validation"] for fact in facts(pd.Series(row), vectors)]
    integration, checked = fitted(told), cross_validated(told)
    train = rows_of(told, integration)
    mean, scale = train.state.mean(axis=0), train.state.std(axis=0) + 1e-9
    penalty = float(checked.sort_values("gain")["penalty"].iloc[-1])
    gate = fit_gate(standard(train)[0], penalty)
    result: dict[str, Any] = {"validation": checked.to_dict("records"), "penalty": penalty, "splits": {}}
    for split in splits:
        own = [(pd.Series(row), vectors) for row, vectors in rows if row["split"] == split]
        found = {}
        for way in WAYS:
            vectors = []
            for question, each in own:
                by_name = integration.weights(f"{question['asked']}/{question['kind']}", PARTS)
                fixed = np.array([by_name[name] for name in PARTS])

                def weigh(seen: Vectors, way: str = way, fixed: Floats = fixed) -> Floats:
                    if way == "state":
                        return gated(fixed, (state_of(seen) - mean) / scale, gate)
                    return fixed if way == "fixed" else np.full(len(PARTS), 1 / len(PARTS))

                vectors.append(pooled(question, each, weigh))
            asked = questions[questions["split"] == split]
            said = pd.DataFrame({"question": asked["id"].to_numpy(), "p": vectors, "tokens": 0, "seconds": 0.0})
            found[way] = score(asked, said, way, 0.1)
        wrong = {way: scored[scored["rule_wrong"]].reset_index(drop=True) for way, scored in found.items()}
        for name, ways in ((split, found), (f"{split}, rule wrong", wrong)):
            if len(ways["fixed"]):
                result["splits"][name] = {way: _against(scored, ways["fixed"]) for way, scored in ways.items()}
    return result


def _against(scored: pd.DataFrame, fixed: pd.DataFrame) -> dict[str, Any]:
    """Accuracy and log score, each with its lead over the fixed weights and that lead's interval by resampling days."""
    sample = Sample.of(scored["episode"], RESAMPLES, SEED)
    figures: dict[str, Any] = {"n": len(scored)}
    for name, column in (("accuracy", "right"), ("log_score", "log_score")):
        lead = mean_of(scored, pd.Series(scored[column].to_numpy() - fixed[column].to_numpy()), sample)
        low, high = interval(lead.draws, lead.episodes)
        figures[name] = {"value": float(scored[column].mean()), "lead": lead.value, "low": low, "high": high}
    return figures


def weights_table(result: Mapping[str, Any]) -> str:
    """Each way on both splits, and what following the state gains on held-out days of the validation share."""
    rows = []
    for split, ways in result["splits"].items():
        for way, one in ways.items():
            right, nats = one["accuracy"], one["log_score"]
            leads = (f"{100 * right['lead']:.1f} [{100 * right['low']:.1f}, {100 * right['high']:.1f}]",
                     f"{nats['lead']:.3f} [{nats['low']:.3f}, {nats['high']:.3f}]") if way != "fixed" else ("", "")  # fmt: skip
            rows.append(
                (
                    split,
                    WAYS[way],
                    str(one["n"]),
                    f"{100 * right['value']:.1f}",
                    leads[0],
                    f"{nats['value']:.3f}",
                    leads[1],
                )
            )
    head = ("split", "weights", "n", "right, %", "lead over fixed", "nats", "lead over fixed")
    checked = [(f"{one['penalty']:g}", f"{one['gain']:.4f}", f"{one['error']:.4f}") for one in result["validation"]]
    below = table(("penalty", "gain on held-out validation days, nats", "standard error"), checked)
    return f"{table(head, rows)}\n\n{below}"


def main() -> None:
    splits = [read_table(PATHS.questions(name), QUESTION).assign(split=name) for name in SPLITS]
    known = {name: read_table(PATHS.answers_of(name), ANSWER).set_index("question")["p"] for name in PARTS}
    failing = asked_of(read_table(PATHS.probe_questions, PROBE))
    files = {"llm": PATHS.probe_answers, **{name: PATHS.probe_expert(name) for name in PARTS if name != "llm"}}
    known = {
        name: pd.concat([p, read_table(files[name], ANSWER).set_index("question")["p"]]) for name, p in known.items()
    }
    questions = pd.concat([*splits, failing.assign(split=failing["failure"])], ignore_index=True)
    answered = np.logical_and.reduce([questions["id"].isin(p.index) for p in known.values()])
    whole = questions[answered]
    ways = [name for name in ("test", "shift", *FAILURES) if (whole["split"] == name).any()]
    result = compared(whole, {name: p.to_dict() for name, p in known.items()}, ways)
    print(weights_table(result))
    write_json(result, RESULT)
    fill("weights", weights_table(result), PAGE)


if __name__ == "__main__":
    with told_in_one_line():
        main()
