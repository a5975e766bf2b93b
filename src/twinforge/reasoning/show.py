"""Replies as a person reads them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from twinforge.artifact import Twin
from twinforge.claims import WRONG
from twinforge.reasoning.ask import Claim, Reply, phrasebook
from twinforge.reasoning.brief import Brief
from twinforge.reasoning.said import number_text
from twinforge.reasoning.situation import stored
from twinforge.records import REFUSAL, AnswerSpace, set_text

MEANING = {
    "llm": "the tuned language model alone",
    "boost": "gradient boosting on the signals",
    "rule": "the operator's rule",
    "twin": "all of them, pooled",
}


def show_reply(reply: Reply, console: Console | None = None) -> None:
    """One answered question: answer, guaranteed set, truth where known, who said what, evidence."""
    console = console or Console()
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    for label, value in _lines(reply):
        rows.add_row(label, value)
    title = Text(reply.wording or str(reply.question["text"]), style="bold")
    console.print(Panel(rows, title=title, title_align="left", box=box.ROUNDED, expand=False))


def show_brief(report: Brief, console: Console | None = None) -> None:
    """A report, with a blank for each statement that the twin does not stand for."""
    console = console or Console()
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    rows.add_row("report", report.shown or "(nothing)")
    rows.add_row("stands for", _promise(report))
    if report.statuses:
        told = zip(report.claims, report.kept, report.statuses, strict=True)
        wrong = [f"{report.text[c.start : c.end]} ({status})" for c, keep, status in told if keep and status in WRONG]
        rows.add_row("truth", f"wrong among them: {', '.join(wrong)}" if wrong else "nothing wrong among them")
    rows.add_row("", f"{report.seconds:.1f} s")
    console.print(Panel(rows, title=Text(report.wording, style="bold"), title_align="left", expand=False))


def _promise(report: Brief) -> str:
    if math.isnan(report.level):
        return "nothing: reports were not calibrated"
    kept, asked = sum(report.kept), len(report.claims)
    return f"{kept} of {asked} statements; all of them right in {report.level:.0%} of reports"


def show_demo(replies: Sequence[Reply], console: Console | None = None) -> None:
    """Answered test questions one by one, and a table of them with how many sets held the truth."""
    console = console or Console()
    for reply in replies:
        show_reply(reply, console)
    table = Table(box=box.SIMPLE_HEAD, title="The ten at a glance" if len(replies) == 10 else None)
    for name in ("skill", "twin", "guaranteed", "truth", "held"):
        table.add_column(name)
    for reply in replies:
        claim = claim_text(reply, brief=True) if reply.claim else "none"
        held = _tick(reply.claim.covers) if reply.claim else ""
        table.add_row(str(reply.question["skill"]), reply.said[reply.speaker], claim, truth_text(reply), held)
    console.print(table)
    console.print(summary(replies))


def summary(replies: Sequence[Reply]) -> str:
    """How many sets held the truth, beside what is promised; never more than the few questions can tell."""
    judged = [reply.claim for reply in replies if reply.claim and reply.claim.covers is not None]
    if not judged:
        return "no truth is known for these questions"
    held, level = sum(bool(claim.covers) for claim in judged), judged[0].level
    seconds = sum(reply.seconds for reply in replies)
    return (
        f"{held} of {len(judged)} sets hold the truth (promised on average: {level:.0%}); answered in {seconds:.1f} s. "
        "The figures over the whole test split are in the model card."
    )


def show_states(twin: Twin, console: Console | None = None) -> None:
    """The stored states, by the number that `--state` takes."""
    table = Table("state", "episode", "time", "readings", box=box.SIMPLE_HEAD)
    counts = twin.states.groupby(["episode", "time"]).size()
    for number, key in stored(twin).items():
        table.add_row(number, key[0], str(key[1]), str(counts.get(key, 0)))
    (console or Console()).print(table)


def show_questions(twin: Twin, console: Console | None = None) -> None:
    """One example of each question it was calibrated on."""
    book = phrasebook(twin)
    table = Table("skill", "answer", "for example", box=box.SIMPLE_HEAD)
    for skill in book.skills:
        table.add_row(skill.skill, skill.kind, book.example(skill))
    (console or Console()).print(table)


def claim_text(reply: Reply, brief: bool = False) -> str:
    """The guaranteed set or interval in words."""
    claim = reply.claim
    if claim is None:
        return ""
    if reply.space.kind == "entities":
        held = set_text(claim.labels, range(len(claim.labels)))
    elif reply.space.kind == "choice":
        return "{" + ", ".join("?" if brief and label == REFUSAL else label for label in claim.labels) + "}"
    else:
        held = _interval(claim, reply.space)
    end = " or ?" if brief else f", or {REFUSAL}"
    return held + (end if claim.refusal else "")


def _interval(claim: Claim, space: AnswerSpace) -> str:
    """Ends rounded outwards to the resolution of the answers, so that what is shown still holds the promise."""
    places = max(len(f"{space.step:.6f}".rstrip("0").partition(".")[2]), 0)
    scale = 10**places
    low, high = math.floor(claim.low * scale + 1e-9) / scale, math.ceil(claim.high * scale - 1e-9) / scale
    return f"{low:.{places}f} to {number_text(high, space.unit)}"


def sure_text(claim: Claim) -> str:
    """Whether an answer is sure enough to be given without a person."""
    if claim.sure:
        return f"enough: of all questions at most {claim.risk:.0%} are answered so and wrong"
    return "not enough: have a person decide, by the set above"


def truth_text(reply: Reply) -> str:
    """The simulator's truth in words; empty where it isn't known."""
    truth, space = float(reply.question["truth"]), reply.space
    if not reply.truth_known:
        return ""
    if math.isnan(truth):
        return REFUSAL
    if space.kind == "entities":
        return set_text(space.options, reply.question["gold"], int(truth))
    return space.options[int(truth)] if space.kind == "choice" else number_text(truth, space.unit)


def _lines(reply: Reply) -> list[tuple[str, Text]]:
    said = reply.said
    lines = [("asked as", Text(reply.match.text))] if reply.match else []
    lines.append(("skill", Text(f"{reply.question['asked']} ({reply.question['kind']})")))
    lines.append(("answer", Text(said[reply.speaker], style="bold")))
    if reply.claim:
        form = "interval" if reply.space.kind == "number" else "set"
        lines.append((f"{reply.claim.level:.0%} {form}", Text(claim_text(reply))))
        if said[reply.speaker] != REFUSAL:
            lines.append(("sure", Text(sure_text(reply.claim))))
    if reply.truth_known:
        mark = _tick(reply.claim.covers) if reply.claim else ""
        lines.append(("truth", Text(f"{truth_text(reply)}  {mark}".rstrip())))
    for model, words in said.items():
        who = Text(f"  {MEANING.get(model, '')}", style="dim")
        lines.append((f"{model} says", Text(f"{words}{_odds(reply, model)}") + who))
    if reply.question["evidence"]:
        lines.append(("evidence", Text(str(reply.question["evidence"]))))
    return [*lines, *(("note", Text(note)) for note in reply.notes)]


def _odds(reply: Reply, model: str) -> str:
    p = reply.parts[model]
    if reply.space.kind != "choice":
        return f" (refusal {p[-1]:.2f})" if p[-1] >= 0.005 else ""
    return f" ({p.max():.2f})"


def _tick(covers: bool | None) -> str:
    return "" if covers is None else "✓ in the set" if covers else "✗ not in the set"
