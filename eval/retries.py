"""Asked again: what a second look at its own answer corrects and what it spoils, with evidence from outside and without.

The first answer is the model's plain one. It is asked again whether it was right or wrong, since it can't know, in three ways of the
same length at most (stage `think`): "reflected" on its answer (Shinn et al. 2023, arXiv:2303.11366, without the feedback); "checked": the same with
what the sector's tools tell; "again": a fresh thought that knows of no answer: what one more thought buys. All three may write as much; what each took in all,
the tools' words among it, is `tokens`. The tools compute from readings, as an operator does; none of the three sees an outcome.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eval.bootstrap import interval
from eval.evidence import Evidence
from eval.measures import Cell, Entry, Sample, better, difference_entry, entry, mean_of, share_entry
from eval.scores import score
from twinforge.errors import UserError

SPLIT = "test"
CONTROL = "again"
WAYS = ("reflected", "checked", CONTROL)
MODELS = ("llm", "base")


def asked_again(evidence: Evidence) -> dict[str, Cell]:
    """Of each way and model, on the questions asked again: `right_first` and `right_then` (shares), `retry_gain` (then less first, paired),
    `set_right` (of the wrong ones) and `set_wrong` (of the right ones), `retry_lead` (right then less right under the control, paired) and
    `tokens` of the asking again.

    Raises
    ------
    UserError
        A question was asked again that had no first answer.
    """
    scored = {
        (way, model): pair for model in MODELS for way in WAYS if (pair := _pair(evidence, model, way)) is not None
    }
    episodes = {episode for pair in scored.values() for episode in pair["episode"]}
    sample = Sample.of(episodes, evidence.resamples, evidence.seed)
    cells: dict[str, Cell] = {}
    for (way, model), pair in scored.items():
        control = scored.get((CONTROL, model))
        for name, found in _figures(pair, control if way != CONTROL else None, sample):
            cells.setdefault(way, {}).setdefault(name, {})[model] = found
    return cells


def _pair(evidence: Evidence, model: str, way: str) -> pd.DataFrame | None:
    """Columns question, episode, first, then (right or not) and tokens; None where it wasn't asked in this way."""
    again = evidence.thoughts.get(f"{model}-{way}")
    if again is None or not len(again):
        return None
    questions = evidence.questions[evidence.questions["split"] == SPLIT]
    first = evidence.answers[model] if model in evidence.answers else again.head(0)
    first = first[first["question"].isin(again["question"])]
    if len(first) < len(again):
        raise UserError(
            f"{model}-{way}: {len(again) - len(first)} questions had no first answer; run `dvc repro` again"
        )
    then, before = (score(questions, rows, model, evidence.alpha).sort_values("question") for rows in (again, first))
    return then[["question", "episode", "tokens"]].assign(first=before["right"].to_numpy(), then=then["right"])


def _figures(pair: pd.DataFrame, control: pd.DataFrame | None, sample: Sample) -> Iterator[tuple[str, Entry]]:
    yield "right_first", share_entry("right_first", pair, pair["first"], sample)
    yield "right_then", share_entry("right_then", pair, pair["then"], sample)
    yield "retry_gain", difference_entry("retry_gain", pair, pair["then"] - pair["first"], sample)
    wrong, right = pair[pair["first"] == 0], pair[pair["first"] == 1]
    if len(wrong):
        yield "set_right", share_entry("set_right", wrong, wrong["then"], sample)
    if len(right):
        yield "set_wrong", share_entry("set_wrong", right, 1 - right["then"], sample)
    if control is not None:
        lead = pair["then"].to_numpy() - control.set_index("question").loc[pair["question"], "then"].to_numpy()
        yield "retry_lead", difference_entry("retry_lead", pair, pd.Series(lead), sample)
    spent = mean_of(pair, pair["tokens"], sample)
    yield "tokens", entry(spent, interval(spent.draws, spent.episodes), better("tokens"))
