"""Questions and answers whose rates are known by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines import Paths
from tests.toy_reports import claims
from twinforge.backing import BACKING
from twinforge.claims import CLAIM, REPORT, TEXT
from twinforge.drift.trial import COURSE, RUN
from twinforge.files import write_table
from twinforge.reasoning.reporting import claims_of
from twinforge.records import ANSWER, KNOWLEDGE, QUESTION

OPTIONS = ("normal", "alert", "overload", "trip")
SIZE = {"choice": 5, "number": 102}  # options or values, and the refusal
CHOICES, NUMBERS = ("what-if", "standard", "recommend"), ("forecast",)


def questions(
    episodes: int = 40,
    per_skill: int = 10,
    split: str = "test",
    unanswerable: float = 0.5,
    rule_right: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """`per_skill` questions of each skill an episode, and `unanswerable` as many of those that can't be known.

    Truths are uniform over four options, or over 0, 1, ..., 100 % with tolerance 2. The rule is right with `rule_right`.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(episodes):
        for at in range(per_skill):
            for skill in (*CHOICES, *NUMBERS):
                rows.append(_row(rng, f"{split}-{episode:03}", at, skill, split, rule_right, known=True))
            if rng.random() < unanswerable:
                asked = str(rng.choice([*CHOICES, *NUMBERS]))
                rows.append(_row(rng, f"{split}-{episode:03}", at, asked, split, rule_right, known=False))
    frame = pd.DataFrame(rows)
    frame["id"] = [f"{split}-{i:06}" for i in range(len(frame))]
    assert set(frame) == {*QUESTION.names, "split"}
    return frame


def _row(
    rng: np.random.Generator, episode: str, at: int, asked: str, split: str, rule_right: float, known: bool
) -> dict[str, object]:
    choice = asked in CHOICES
    truth = float(rng.integers(4) if choice else rng.integers(101)) if known else np.nan
    other = (
        float((truth + rng.integers(1, 4)) % 4 if choice else (truth + 3 + rng.integers(90)) % 101) if known else 0.0
    )
    payoff = rng.normal(0, 1, 4)
    if asked == "recommend" and known:
        best = int(payoff.argmax())
        payoff[[best, int(truth)]] = payoff[[int(truth), best]]
    return {
        "episode": episode,
        "time": pd.Timestamp("2026-01-01") + pd.Timedelta(hours=2 * at),
        "skill": asked if known else "unanswerable",
        "asked": asked,
        "template": f"{asked}-1",
        "context": f"state {at} of {episode}",
        "facts": "",
        "notes": [],
        "text": f"{asked}?",
        "kind": "choice" if choice else "number",
        "options": list(OPTIONS) if choice else [],
        "unit": "" if choice else "%",
        "low": np.nan if choice else 0.0,
        "high": np.nan if choice else 100.0,
        "step": np.nan if choice else 1.0,
        "tolerance": np.nan if choice else 2.0,
        "truth": truth,
        "evidence": "simulated",
        "features": [[0.0]],
        "rule": truth if rng.random() < rule_right else other,
        "rule_defined": known,
        "gold": [],
        "gold_total": 0,
        "rule_gold": [],
        "persistence": np.nan,
        "copy": other,
        "payoff": list(payoff) if asked == "recommend" and known else [],
        "harm": [0, 1, 2, 0] if asked == "recommend" and known else [],
        "validation": False,
        "split": split,
    }


def answers(
    frame: pd.DataFrame,
    right: float | Sequence[float],
    seed: int = 1,
    confidence: float | None = None,
    recall: float | None = None,
) -> pd.DataFrame:
    """A model that is right with probability `right` (one, or one a question) and says so with `confidence` (default: `right`).

    `recall`: the share of the unanswerable that it refuses (default: `right`); it never refuses an answerable one.
    """
    rng = np.random.default_rng(seed)
    rights = np.broadcast_to(np.asarray(right, float), len(frame))
    vectors = []
    for kind, truth, rate in zip(frame["kind"], frame["truth"], rights, strict=True):
        size, unknown = SIZE[kind], np.isnan(truth)
        good = rng.random() < (rate if recall is None or not unknown else recall)
        target = size - 1 if unknown else int(truth)
        if not good:
            target = int(rng.integers(size - 1)) if unknown else _wrong(kind, target, rng)
        vectors.append(_peak(size, target, float(rate if confidence is None else confidence)))
    return table(frame, vectors)


def _wrong(kind: str, target: int, rng: np.random.Generator) -> int:
    return int((target + rng.integers(1, 4)) % 4 if kind == "choice" else (target + 3 + rng.integers(95)) % 101)


def _peak(size: int, target: int, mass: float) -> np.ndarray:
    p = np.full(size, (1 - mass) / (size - 1))
    p[target] = mass
    return p


def always(frame: pd.DataFrame, index: int, mass: float = 0.97) -> pd.DataFrame:
    """The answer at one place for every question: 0 is the first option, -1 the refusal."""
    return table(frame, [_peak(SIZE[kind], index % SIZE[kind], mass) for kind in frame["kind"]])


def pointing(frame: pd.DataFrame, column: str, mass: float = 0.97) -> pd.DataFrame:
    """Answers what stands in a column: "copy" repeats the context, "rule" is the operator's rule."""
    places = zip(frame["kind"], frame[column], strict=True)
    return table(frame, [_peak(SIZE[kind], SIZE[kind] - 1 if np.isnan(at) else int(at), mass) for kind, at in places])


def table(frame: pd.DataFrame, vectors: list[np.ndarray], tokens: int = 7, seconds: float = 0.5) -> pd.DataFrame:
    return pd.DataFrame({"question": frame["id"].to_numpy(), "p": vectors, "tokens": tokens, "seconds": seconds})


def sets(frame: pd.DataFrame, coverage: float, seed: int = 2, spread: float = 0.0) -> pd.DataFrame:
    """Sets that hold the truth with probability `coverage`, which varies by episode with standard deviation `spread`."""
    rng = np.random.default_rng(seed)
    names = frame["episode"].unique()
    rate = dict(zip(names, np.clip(coverage + spread * rng.standard_normal(len(names)), 0, 1), strict=True))
    number = frame["kind"].eq("number") & frame["truth"].notna()
    return pd.DataFrame(
        {
            "question": frame["id"].to_numpy(),
            "covered": rng.random(len(frame)) < frame["episode"].map(rate).to_numpy(),
            "refusal": frame["truth"].isna().to_numpy(),
            "size": np.where(frame["kind"] == "choice", 2.0, np.nan),
            "low": np.where(number, frame["truth"] - 4, np.nan),
            "high": np.where(number, frame["truth"] + 4, np.nan),
            "sure": rng.random(len(frame)) < 0.5,
            "covered_online": rng.random(len(frame)) < coverage,
            "whole_online": False,
        }
    )


def drift_runs(assets: int = 10) -> pd.DataFrame:
    """Detectors whose rates are known, 10 stretches of calm and of a change each: "soon" alarms 5 steps after it and names right,
    "late" after 100 and names wrong, "always" alarms at every step, "never" at none."""
    alarmed = {
        "soon": (1, False, 5.0),
        "late": (1, False, 100.0),
        "always": (336, True, 1.0),
        "never": (0, False, np.nan),
    }
    rows = []
    for model, (alarms, early, delay) in alarmed.items():
        for i in range(assets):
            right = model in ("soon", "always")
            what = {"model": model, "asset": f"L{i}", "quantity": "loading", "steps": 336}
            named = "" if np.isnan(delay) else f"L{i}" if right else "D1"
            rows.append(
                {
                    **what, "scenario": "bias", "dimension": "physical", "named": True, "alarms": alarms, "early": early, "delay": delay,
                    "named_asset": named, "named_dimension": named and ("physical" if right else "abstract"),
                }
            )  # fmt: skip
            calm = {"soon": 0, "late": i % 2, "always": 336, "never": 0}[model]
            nothing = {"named": False, "early": False, "delay": np.nan, "named_asset": "", "named_dimension": ""}
            rows.append({**what, **nothing, "scenario": "calm", "dimension": "physical", "alarms": calm})
    return pd.DataFrame(rows)[RUN.names]


def drift_course() -> pd.DataFrame:
    """The evidence of two models through one change."""
    step = np.arange(-10, 20)
    parts = [
        pd.DataFrame({"scenario": "bias", "asset": "L1", "model": model, "step": step, "evidence": np.abs(step) / 5.0})
        for model in ("cusum", "cusum-raw")
    ]
    return pd.concat(parts, ignore_index=True)[COURSE.names]


def write_reports(paths: Paths) -> None:
    """Reports of one number each on every split, and what models wrote: the language model is right in four of five and sure where it
    is right, the base in half."""
    rng = np.random.default_rng(5)
    texts = []
    tables = []
    for split in ("calibration", "test", "shift"):
        blank = dict.fromkeys(REPORT.names, "")
        rows = [
            {**blank, "id": f"{split}-report-{i}", "episode": f"{split}-{i:03}", "time": pd.Timestamp("2024-01-01"), "validation": False,
             "premise": "none", "known": [{"asset": "tank A", "quantity": "level", "value": 1.0, "unit": "m", "hours": 0.0, "given": "", "tolerance": 0.1}]}
            for i in range(30)
        ]  # fmt: skip
        tables.append(pd.DataFrame(rows, columns=REPORT.names))
        write_table(tables[-1], paths.reports_of(split), REPORT)
        for model, rate in (("reference", 1.0), ("rule", 0.9), ("llm", 0.8), ("base", 0.5)):
            for row in rows:
                right = rng.random() < rate
                logs = [] if model in ("reference", "rule") else [-0.1 - rng.random() - (not right)]
                text = "tank A holds 1.0 m." if right else "tank A holds 9.0 m."
                texts.append((row["id"], model, 0, text, [0] * len(logs), logs, [-log for log in logs], 40))
    write_table(pd.DataFrame([("tank A", "is", "tank")], columns=KNOWLEDGE.names), paths.knowledge, KNOWLEDGE)
    written = pd.DataFrame(texts, columns=TEXT.names)
    write_table(written, paths.written, TEXT)
    write_no_backing(paths)

    write_table(claims_of(written, pd.concat(tables), claims, {"tank A"}), paths.claims, CLAIM)


def write_no_backing(paths: Paths) -> None:
    """Files as they stand where the twin was asked nothing that its reports state."""
    write_table(pd.DataFrame(columns=BACKING.names), paths.backing, BACKING)
    write_table(pd.DataFrame(columns=QUESTION.names), paths.backing_questions, QUESTION)
    for model in ("llm", "boost", "rule"):
        write_table(pd.DataFrame(columns=ANSWER.names), paths.backing_answers(model), ANSWER)
