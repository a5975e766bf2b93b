"""One HTML file that opens from disk: the verdict, the figures, the plots, the worst answers. It loads nothing from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.blocks import (
    MEANINGS,
    Block,
    blocks,
    changes,
    costs,
    drift_blocks,
    failures,
    forgotten,
    harms,
    rolled,
    shared,
    told,
    written,
)
from eval.plots import INK
from eval.verdict import BAD, GateReport
from twinforge.records import REFUSAL, set_text, space_of

WORST, WORST_PER_SKILL = 20, 5
FULL = (
    "test_day",
    "accuracy_by_skill",
    "robustness",
    "dimensions",
    "propagation",
    "hallucination",
    "cost",
    "drift",
    "ablate",
    "scale",
    "learning",
)  # plots as wide as the page


def render(
    sector: str,
    gate: GateReport,
    metrics: Mapping[str, Any],
    table: pd.DataFrame,
    questions: pd.DataFrame,
    answers: pd.DataFrame,
    plots: Mapping[str, str],
    studied: Sequence[Block] = (),
) -> str:
    """The report as HTML.

    Parameters
    ----------
    metrics : suite -> split -> skill -> measure -> model -> entry. table : rows of `eval.scores.SCORE`.
    questions, answers : `records.QUESTION` of the test split, and the twin's `records.ANSWER`.
    plots : name -> SVG file's text. studied : tables of the studies.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    first, *others = blocks(metrics["quality"])
    return environment.get_template("report.html.j2").render(
        sector=sector,
        gate=gate,
        bad=BAD,
        first=first,
        sections=_sections(metrics, others, studied),
        plots=[{"svg": inline(name, svg), "full": name in FULL} for name, svg in plots.items()],
        worst=worst_answers(table, questions, answers),
        meanings=MEANINGS,
    )


def _sections(metrics: Mapping[str, Any], quality: Sequence[Block], studied: Sequence[Block]) -> dict[str, list[Block]]:
    """Title -> tables: a section a suite that was measured, then the studies."""
    suites = {
        "hallucination": written,
        "robustness": changes,
        "dimensions": told,
        "failing": failures,
        "drift": drift_blocks,
        "propagation": rolled,
        "forgetting": forgotten,
        "safety": harms,
        "contamination": shared,
        "cost": costs,
    }
    made = {name: make(metrics.get(name, {})) for name, make in suites.items()}
    return {
        name: tables for name, tables in {"quality": list(quality), **made, "studies": list(studied)}.items() if tables
    }


def inline(name: str, svg: str) -> Markup:
    """An SVG that may stand in a page beside others: ids of its own, ink in the page's colour."""
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    return Markup(re.sub(r"<svg\b", f'<svg role="img" aria-label="{name.replace("_", " ")}"', body, count=1))


def worst_answers(table: pd.DataFrame, questions: pd.DataFrame, answers: pd.DataFrame) -> list[dict[str, Any]]:
    """The twin's surest wrong answers on the test split."""
    twin = table[(table["model"] == "twin") & (table["split"] == "test") & (table["right"] == 0)]
    order = twin.sort_values(["confidence", "question"], ascending=[False, True])
    chosen = order[order.groupby("skill").cumcount() < WORST_PER_SKILL].head(WORST)
    by_id, vectors = questions.set_index("id", drop=False), answers.set_index("question")["p"]
    return [
        _told(row, by_id.loc[row["question"]], np.asarray(vectors[row["question"]])) for _, row in chosen.iterrows()
    ]


def _told(row: pd.Series, question: pd.Series, p: np.ndarray) -> dict[str, Any]:
    space, known = space_of(question), pd.notna(row["low"]) and question["kind"] == "number"
    return {
        **{name: question[name] for name in ("skill", "text", "episode", "evidence", "context")},
        "time": f"{question['time']:%Y-%m-%d %H:%M}",
        "said": _words(question, row["predicted"], space.decide_set(p)),
        "truth": _words(question, row["truth"], question["gold"]),
        "confidence": f"{row['confidence']:.0%}",
        "interval": f"{row['low']:g} to {row['high']:g} {question['unit']}" if known else "",
        "spread": "" if space.kind == "number" else _spread(space.labels, p),
    }


def _words(question: pd.Series, answer: float, members: Sequence[int]) -> str:
    if pd.isna(answer):
        return REFUSAL
    if question["kind"] == "entities":
        return set_text(question["options"], members, int(answer))
    return str(question["options"][int(answer)]) if question["kind"] == "choice" else f"{answer:g} {question['unit']}"


def _spread(labels: Sequence[str], p: np.ndarray) -> str:
    return "; ".join(f"{labels[i]} {p[i]:.0%}" for i in np.argsort(-p, kind="stable"))
