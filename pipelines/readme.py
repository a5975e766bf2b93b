"""Write a sector's measured tables into README.md and docs/: `python -m pipelines.readme energy`, after `dvc repro`.

What stands between `<!-- results SECTOR -->` and `<!-- end -->` is replaced by the figures of reports/SECTOR/metrics.json;
between `<!-- SUITE SECTOR -->` and `<!-- end -->` in docs/SUITE.md by those of the other suites.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import Paths, run
from twinforge.card import table
from twinforge.errors import UserError
from twinforge.files import read_json, replacing

README, ROBUSTNESS, FORGETTING = Path("README.md"), Path("docs/robustness.md"), Path("docs/forgetting.md")
DIMENSIONS, DRIFT = Path("docs/dimensions.md"), Path("docs/drift.md")
PROPAGATION, SAFETY, CONTAMINATION = (Path(f"docs/{name}.md") for name in ("propagation", "safety", "contamination"))
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


def main(sector: str) -> None:
    metrics = read_json(Paths(sector).metrics)
    fill(f"results {sector}", results(metrics["quality"]))
    if changes := metrics.get("robustness", {}).get("test"):
        fill(f"robustness {sector}", "\n\n".join(robustness(changes, model) for model in ("llm", "twin")), ROBUSTNESS)
    if told := metrics.get("dimensions"):
        fill(f"dimensions {sector}", dimensions(told), DIMENSIONS)
    if topics := metrics.get("forgetting", {}).get("general"):
        fill(f"forgetting {sector}", forgetting(topics), FORGETTING)
    if watched := metrics.get("drift"):
        fill(f"drift {sector}", drift(watched), DRIFT)
    if policies := metrics.get("propagation", {}).get("later"):
        fill(f"propagation {sector}", propagation(policies), PROPAGATION)
    if advice := metrics.get("safety"):
        fill(f"safety {sector}", safety(advice), SAFETY)
    if shared := metrics.get("contamination"):
        fill(f"contamination {sector}", contamination(shared), CONTAMINATION)


def fill(name: str, figures: str, page: Path = README, end: str = "end") -> None:
    """Put a measured table into a page, between `<!-- name -->` and `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- {end} -->)", re.S)
    if not pattern.search(text):
        raise UserError(f"{page}: no place for the figures; put `<!-- {name} -->` and `<!-- {end} -->` there")
    with replacing(page) as part:
        part.write_text(pattern.sub(lambda m: m[1] + figures + "\n" + m[2], text), encoding="utf-8")


def results(quality: Mapping[str, Any]) -> str:
    """Accuracy of every model by skill on `test`, the same where the rule is wrong, and the twin's guarantees."""
    test = quality["test"]
    parts = [
        accuracy("Accuracy on `test`, 95 % interval", test),
        accuracy("The same where the rule is wrong", quality.get("test|rule-wrong", {})),
        accuracy("F1 of the said sets on `test`", test, "set_f1"),
        accuracy("Accuracy on `shift`: later weeks and other regimes", quality["shift"]),
        guarantees(test),
        on_both({split: quality[split] for split in ("test", "shift")}),
    ]
    return "\n\n".join(part for part in parts if part)


def accuracy(title: str, skills: Mapping[str, Any], measure: str = "accuracy") -> str:
    """One measure in percent, skills down and models across; "all" is left out where one skill alone has it.

    The best of those that answered every question is bold; the others have their own count beside.
    """
    found = {skill: cells[measure] for skill, cells in skills.items() if cells.get(measure)}
    if len(found) == 2:
        found.pop("all", None)
    models = [m for m in MODELS if any(m in cells for cells in found.values())]
    if not models:
        return ""
    rows = []
    for skill, cells in found.items():
        count = max(cells[m]["n"] for m in models if m in cells)
        best = max(cells[m]["value"] for m in models if m in cells and cells[m]["n"] == count)
        rows.append((skill, str(count), *(_share(cells[m], best, count) if m in cells else "" for m in models)))
    return f"**{title}**\n\n" + table(("skill", "n", *models), rows)


def guarantees(skills: Mapping[str, Any]) -> str:
    """Coverage of the twin's sets with the band it has to lie in, their size, and refusals."""
    rows = []
    for skill, cells in skills.items():
        covered = cells.get("coverage", {}).get("twin")
        if not covered:
            continue
        band = f"{covered['band_low']:.3f} or more: {'kept' if covered['ok'] else 'BROKEN'}" if "ok" in covered else ""
        rows.append(
            (
                skill,
                str(covered["n"]),
                _figure(covered),
                band,
                *(_twin(cells, name) for name in ("set_size", "width", "regret")),
            )
        )
    head = ("skill", "n", "coverage", "promise", "labels or nodes in the set", "width, %", "regret, points")
    return "**The twin's guaranteed sets and intervals on `test`**\n\n" + table(head, rows)


def on_both(splits: Mapping[str, Any]) -> str:
    """What the twin's promises come to on both splits: only thresholds that follow the stream promise anything on `shift`."""
    head = {
        "coverage": "static sets", "coverage_online": "sets that follow the stream", "whole_online": "of these hold everything",
        "answered": "answered when sure", "answered_wrong": "of all: so answered and wrong",
    }  # fmt: skip
    rows = [(split, *(_twin(skills["all"], name) for name in head)) for split, skills in splits.items()]
    if not any(cell for row in rows for cell in row[1:]):
        return ""
    return "**Coverage and sure answers of the twin, all skills**\n\n" + table(("split", *head.values()), rows)


def robustness(changes: Mapping[str, Any], model: str) -> str:
    """What each change of the words does to one model: accuracy before and after, what is lost, how many answers flip."""
    head = ("change", "n", "as it stood", "in other words", "lost, points", "a loss is seen from", "flipped", "refused")
    rows = []
    for change, cells in changes.items():
        before, after, lost, flipped, refused = (
            cells[name][model] for name in ("accuracy_original", "accuracy", "accuracy_lost", "flipped", "abstention")
        )
        seen = f"{100 * lost['smallest']:.1f}" if lost["smallest"] is not None else ""
        shares = (f"{100 * before['value']:.1f}", f"{100 * after['value']:.1f}", _percent(lost, 1), seen)
        rows.append((change, str(lost["n"]), *shares, _percent(flipped, 1), f"{100 * refused['value']:.1f}"))
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
            rows.append((skill, str(credits[0]["n"]), none, *(_percent(entry, 1) for entry in credits), whole))
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
                    _percent(cell["accuracy_lost"][model], 1) if "accuracy_lost" in cell else "",
                    f"{cell['log_score'][model]['value']:.2f}",
                )
            ]
            rows.append((split.partition("|")[2], *figures))
    return "\n\n".join([*parts, "**By what is told, all skills**\n\n" + table(head, rows)])


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
        rows.append((topic, str(lost["n"]), *right, _percent(lost, 1), seen, *nats, _figure(more)))
    return "**Percent and nats, 95 % interval**\n\n" + table(head, rows)


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
            detectors("Accuracy with a double less that without, points", cells, "double_gain", 100, MODELS, 1),
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


def _twin(cells: Mapping[str, Any], measure: str) -> str:
    entry = cells.get(measure, {}).get("twin")
    return _figure(entry) if entry else ""


def _figure(entry: Mapping[str, Any]) -> str:
    return f"{entry['value']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"


def _percent(entry: Mapping[str, Any], digits: int = 0) -> str:
    low, high = (f"{round(100 * entry[end], digits) + 0.0:.{digits}f}" for end in ("low", "high"))
    return f"{100 * entry['value']:.1f} [{low}, {high}]"


def _share(entry: Mapping[str, Any], best: float, count: int) -> str:
    text = _percent(entry)
    if entry["n"] < count:
        return f"{text} of {entry['n']}"
    return f"**{text}**" if entry["value"] == best else text


if __name__ == "__main__":
    run(main)
