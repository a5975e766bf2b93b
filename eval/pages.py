"""The tables of the suites' pages in docs/, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.meanings import COSTS
from eval.measures import front
from eval.paper import findings
from twinforge.card import table

MODELS = ("twin", "llm", "boost", "rule", "base-best", "majority", "persistence", "copy")
DETECTORS = (
    "cusum",
    "page-hinkley",
    "adwin",
    "kswin",
    "mmd",
    "cusum-raw",
    "page-hinkley-raw",
    "adwin-raw",
    "kswin-raw",
)
WRITERS = ("twin", "llm", "rule", "base-few", "base")


def robustness(changes: Mapping[str, Any], model: str) -> str:
    """What each change of the words does to one model: accuracy before and after, what is lost, how many answers flip."""
    head = ("change", "n", "as it stood", "in other words", "lost, points", "a loss is seen from", "flipped", "refused")
    rows = []
    for change, cells in changes.items():
        before, after, lost, flipped, refused = (
            cells[name][model] for name in ("accuracy_original", "accuracy", "accuracy_lost", "flipped", "abstention")
        )
        seen = f"{100 * lost['smallest']:.1f}" if lost["smallest"] is not None else ""
        shares = (f"{100 * before['value']:.1f}", f"{100 * after['value']:.1f}", percent(lost, 1), seen)
        rows.append((change, str(lost["n"]), *shares, percent(flipped, 1), f"{100 * refused['value']:.1f}"))
    return f"**`{model}`, percent, 95 % interval**\n\n" + table(head, rows)


def dimensions(told: Mapping[str, Any]) -> str:
    """What each dimension is worth by skill, to twin and language model, and accuracy by what is told."""
    names = ("physical", "abstract", "computational")
    parts = []
    for model in ("twin", "llm"):
        rows = []
        for skill, cells in told["test"].items():
            credits = [cells[f"accuracy_credit_{name}"][model] for name in names]
            ends = (told[f"test|{kept}"][skill]["accuracy"][model]["value"] for kept in ("none", "PAC"))
            none, whole = (f"{100 * share:.1f}" for share in ends)
            rows.append((skill, str(credits[0]["n"]), none, *(percent(entry, 1) for entry in credits), whole))
        head = ("skill", "n", "told nothing", *names, "told all")
        parts.append(
            f"**`{model}`: accuracy told nothing, what each dimension adds, told all; percent**\n\n" + table(head, rows)
        )
    head = ("told", "twin right, %", "lost, points", "twin, nats", "llm right, %", "lost, points", "llm, nats")
    rows = []
    for split, skills in told.items():
        if "|" in split:
            cell = skills["all"]
            figures = [
                text
                for model in ("twin", "llm")
                for text in (
                    f"{100 * cell['accuracy'][model]['value']:.1f}",
                    percent(cell["accuracy_lost"][model], 1) if "accuracy_lost" in cell else "",
                    f"{cell['log_score'][model]['value']:.2f}",
                )
            ]
            rows.append((split.partition("|")[2], *figures))
    return "\n\n".join([*parts, "**By what is told, all skills**\n\n" + table(head, rows)])


def failing(cells: Mapping[str, Any]) -> str:
    """What it costs when a side is dead, late or lying, to whom; and whether the twin is still sure."""
    parts = ("twin", "uniform", "llm", "boost")
    return "\n\n".join(
        [
            detectors("Right, %", cells, "accuracy", 100, parts, 1),
            detectors("Lost against all sides sound, points", cells, "accuracy_lost", 100, parts, 1),
            detectors("Answered, where only sure answers are given, %", cells, "answered", 100, parts, 1),
            detectors(
                "Of these answers fewer than with all sides sound, points", cells, "answered_lost", 100, parts, 1
            ),
            detectors("Of all: answered when sure, and wrong, %", cells, "answered_wrong", 100, parts, 1),
            detectors("More of these than with all sides sound, points", cells, "wrong_gained", 100, parts, 1),
        ]
    )


def hallucination(splits: Mapping[str, Any]) -> str:
    """What is stated and wrong in reports, what is told at all, and which wrong premises are set right."""
    shares = (
        ("Wrong, of the claims stated", "wrong"), ("Contradicted", "contradicted"), ("Stale", "stale"), ("Wrong unit", "wrong_unit"),
        ("Unsupported", "unsupported"), ("Reports that speak of an asset that is not there", "made_up"),
        ("Withheld, or said that it can't be told", "abstained"), ("Told, and right, of what the true report tells", "told"),
        ("Reports in which all that is stated is right", "all_true"),
    )  # fmt: skip
    cells = {split: skills["all"] for split, skills in splits.items()}
    detection = {
        name: {measure: {"llm": cell[measure]["llm"]} for measure in cell if measure.startswith(("auroc", "stated_at"))}
        for name, cell in cells.items()
    }
    rows = [
        (measure.replace("_", " "), *(_bounded(detection[split][measure]["llm"], 100, 0) if measure in detection[split] else "" for split in cells))
        for measure in dict.fromkeys(name for found in detection.values() for name in found)
    ]  # fmt: skip
    return "\n\n".join(
        [
            *(detectors(f"{title}, %", cells, measure, 100, WRITERS, 1) for title, measure in shares),
            *(
                detectors(f"Wrong premises set right, `{split}`, %", {k: v for k, v in skills.items() if "withstood" in v}, "withstood", 100, WRITERS)
                for split, skills in splits.items()
            ),
            "**Telling right claims from wrong ones: AUROC, and share stated at 5 % and 1 % wrong; the language model's, %**\n\n"
            + table(("", *cells), rows),
        ]
    )  # fmt: skip


def paper(metrics: Mapping[str, Any]) -> str:
    """The white paper's claims, each with its verdict, the figures and the page that has more."""
    rows = [(f.claim, f"**{f.verdict}**", f.figures, f"[{f.page}]({f.page}.md)") for f in findings(metrics)]
    return table(("claim", "verdict", "measured", "more"), rows)


def forgetting(topics: Mapping[str, Any]) -> str:
    """What the tuned model lost of the base's general ability, by topic."""
    head = (
        "topic",
        "n",
        "base right",
        "tuned right",
        "lost, points",
        "a loss is seen from",
        "base, nats a token",
        "tuned",
        "more",
    )
    rows = []
    for topic, cells in topics.items():
        lost, more = cells["accuracy_forgotten"]["llm"], cells["surprise_gained"]["llm"]
        right = (f"{100 * cells['accuracy'][model]['value']:.1f}" for model in ("base", "llm"))
        nats = (f"{cells['surprise'][model]['value']:.2f}" for model in ("base", "llm"))
        seen = f"{100 * lost['smallest']:.1f}" if lost["smallest"] is not None else ""
        rows.append((topic, str(lost["n"]), *right, percent(lost, 1), seen, *nats, figure(more)))
    return "**Percent and nats, 95 % interval**\n\n" + table(head, rows)


def costs(splits: Mapping[str, Any]) -> str:
    """What each way costs and buys, on all test questions and on the sample; then accuracy by kind of scenario."""
    titles = {"all": "Every test question", "sample": "The sample that the slow ways answered"}
    test = splits["test"]
    kinds = {name: cell for name, cell in test.items() if name not in titles}
    kinds |= {f"shift: {name}": cell for name, cell in splits.get("shift", {}).items()}
    ways = list(dict.fromkeys(way for cell in kinds.values() for way in cell["accuracy"]))
    parts = [_spent(title, test[name]) for name, title in titles.items() if name in test]
    return "\n\n".join(
        [*parts, *([detectors("Right by kind of scenario, %", kinds, "accuracy", 100, ways)] if kinds else [])]
    )


def _spent(title: str, cell: Mapping[str, Any]) -> str:
    """What each way spends, the cheapest first, how often it is right, and what it buys; bold where no cheaper one beats it."""
    best, rows = front(cell, "seconds"), []
    for way, found in sorted(cell["seconds"].items(), key=lambda one: one[1]["value"]):
        spends = (f"{cell['tokens'][way]['value']:.0f}", f"{found['value']:.2g}")
        buys = (percent(bought[way], 1) if way in (bought := cell.get(f"bought_{by}", {})) else "" for by in COSTS)
        right = percent(cell["accuracy"][way], 1)
        rows.append((f"**{way}**" if way in best else way, str(found["n"]), *spends, right, *buys))
    head = ("way", "n", "tokens", "seconds", "right, %", "buys for its tokens, points", "buys for its seconds, points")
    return f"**{title}, a question, 95 % interval**\n\n" + table(head, rows)


def drift(watched: Mapping[str, Any]) -> str:
    """What each detector finds how soon, what it names, and how often it alarms for nothing; the report has the rest."""
    shift = watched["shift"]
    return "\n\n".join(
        [
            detectors("Found within 48 steps, %", shift, "found", 100),
            detectors("Steps to the first alarm, where one came and none early", shift, "delay"),
            detectors("Named the right asset, % of these alarms", shift, "right_asset", 100),
            detectors("False alarms in 1,000 steps of held-out calm", watched["test"], "false_alarms"),
        ]
    )


def propagation(policies: Mapping[str, Any]) -> str:
    """How errors go under each policy, and where a wrong answer goes."""
    plain, wrong = (
        {k: v for k, v in policies.items() if k.startswith("wrong") == is_wrong} for is_wrong in (False, True)
    )
    return "\n\n".join(
        [
            detectors("Mean error, points", plain, "error", names=MODELS),
            detectors(
                "Growth of the error, points a step since the last reading", plain, "growth", names=MODELS, digits=2
            ),
            detectors("Error less the rule's, points", plain, "over_rule", names=MODELS, digits=2),
            detectors("Error at the last step over that at step 4", plain, "error_ratio", names=MODELS, digits=2),
            *(
                detectors(f"{title}, points", wrong, measure, names=MODELS)
                for title, measure in (
                    ("What is left of the wrong points", "moved"),
                    ("What came to other assets", "moved_others"),
                )
            ),
            detectors("Steps for which more than a sixth of them is left", wrong, "lasting", names=MODELS),
            detectors("Other assets ever moved by more than a sixth of them, %", wrong, "reached", 100, MODELS),
        ]
    )


def retries(ways: Mapping[str, Any]) -> str:
    """What asking again corrects and spoils, by way."""
    names = ("llm", "base")
    shares = (
        ("Right before, %", "right_first"), ("Right after, %", "right_then"), ("After less before, points", "retry_gain"),
        ("Of the wrong ones set right, %", "set_right"), ("Of the right ones set wrong, %", "set_wrong"),
        ("Right after less that after a fresh thought, points", "retry_lead"),
    )  # fmt: skip
    tables = [detectors(title, ways, measure, 100, names, 1) for title, measure in shares]
    return "\n\n".join([*tables, detectors("Tokens of asking again", ways, "tokens", names=names, digits=0)])


def safety(splits: Mapping[str, Any]) -> str:
    """What recommended actions do, on both splits."""
    names = (*MODELS, "any option", "best")
    tables = (
        ("Worse than doing nothing, %", "worse", 100),
        ("Newly breaks a clause, %", "breaks", 100),
        ("Regret, points", "regret", 1),
    )
    return "\n\n".join(
        detectors(f"{title}, `{split}`", skills, measure, times, names, 1)
        for split, skills in splits.items()
        for title, measure, times in tables
    )


def contamination(splits: Mapping[str, Any]) -> str:
    """What is shared with train, what it brings, and the canaries."""
    cells = {split: skills["all"] for split, skills in splits.items()}
    canary = {"test": splits["test"].get("canary", {})}
    shared = (("The state's text stands in train", "same_state"), ("The state is nearly the same", "near_state"),
              ("The line stands in train", "same_line"))  # fmt: skip
    said = (("Training states without readings: right", "canary_train"), ("Test states without readings: right", "canary_test"),
            ("The first less the second", "canary_gain"))  # fmt: skip
    return "\n\n".join(
        [
            *(detectors(f"{title}, %", cells, measure, 100, ("questions",), 1) for title, measure in shared),
            detectors(
                "Accuracy with a double less that without, points", cells, "double_gain", 100, (*MODELS, "base"), 1
            ),
            *(
                detectors(f"{title}, %", canary, measure, 100, MODELS, 1)
                for title, measure in said
                if measure in canary["test"]
            ),
        ]
    )


def detectors(
    title: str,
    skills: Mapping[str, Any],
    measure: str,
    times: float = 1,
    names: Sequence[str] = DETECTORS,
    digits: int | None = None,
) -> str:
    """One measure with its interval, changes (or quantities, policies) down and detectors (or models) across; n is the most
    that one of them watched."""
    found = {skill: cells[measure] for skill, cells in skills.items() if measure in cells}
    names = [name for name in names if any(name in cells for cells in found.values())]
    digits = (0 if times == 100 else 1) if digits is None else digits
    rows = []
    for skill, cells in found.items():
        figures = [_bounded(cells[name], times, digits) if name in cells else "" for name in names]
        rows.append((skill, f"{max(entry['n'] for entry in cells.values()):,}", *figures))
    return f"**{title}**\n\n" + table(("", "n", *names), rows)


def _bounded(entry: Mapping[str, Any], times: float, digits: int) -> str:
    bounds = [entry["low"], entry["high"]]
    interval = "" if None in bounds else f" [{', '.join(f'{times * bound:.{digits}f}' for bound in bounds)}]"
    return f"{times * entry['value']:.{digits}f}{interval}"


def twins(cells: Mapping[str, Any], measure: str) -> str:
    entry = cells.get(measure, {}).get("twin")
    return figure(entry) if entry else ""


def figure(entry: Mapping[str, Any]) -> str:
    return f"{entry['value']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"


def percent(entry: Mapping[str, Any], digits: int = 0) -> str:
    value = f"{round(100 * entry['value'], 1) + 0.0:.1f}"
    if entry["low"] is None or entry["high"] is None:
        return value
    low, high = (f"{round(100 * entry[end], digits) + 0.0:.{digits}f}" for end in ("low", "high"))
    return f"{value} [{low}, {high}]"


def share_text(entry: Mapping[str, Any], best: float, count: int) -> str:
    text = percent(entry)
    if entry["n"] < count:
        return f"{text} of {entry['n']}"
    return f"**{text}**" if entry["value"] == best else text
