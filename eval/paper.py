"""What the white paper claims, claim by claim, beside what was measured.

Asvanonda and Redinger (2024), "Reimagining the Potential of Digital Twins through Large Language Models". A verdict follows from
the figures by a rule that is written beside them; no figure, no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.bars import BARS

HOLDS, PART, NOT, UNKNOWN = "holds", "holds in part", "does not hold", "not measured"
Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """A claim in our words, the verdict, what was measured, and where to read on."""

    claim: str
    verdict: str
    figures: str
    page: str


def findings(metrics: Metrics) -> list[Finding]:
    """Every claim of the paper that is measured, or is to be.

    metrics : metrics.json, and under "weights" what `benchmarks.weights` measured, where it did.
    """
    judged: tuple[tuple[str, Callable[[Metrics], tuple[str, str]], str], ...] = (
        ("Fine-tuned on a sector's data, a language model stops hallucinating", _hallucination, "hallucination"),
        ("Uncertainty-aware reasoning (conformal prediction) makes what is said dependable", _conformal, "guarantees"),
        ("It knows when not to answer", _refusal, "hallucination"),
        ("It foretells and simulates better than conventional models", _accuracy, "energy"),
        ("Physical, abstract and computational data are worth more together than one alone", _dimensions, "dimensions"),
        ("External feedback stops errors from propagating", _feedback, "propagation"),
        ("Told what outside tools find, it corrects its answers", _retries, "propagation"),
        ("It notices when its world drifts", _drift, "drift"),
        ("It recommends interventions that help", _advice, "safety"),
        ("Weights that follow the state integrate the dimensions better than fixed ones", _weights, "dimensions"),
        ("It is robust to how things are said", _wording, "robustness"),
    )
    found = []
    for claim, judge, page in judged:
        try:
            found.append(Finding(claim, *judge(metrics), page))
        except KeyError:
            found.append(Finding(claim, UNKNOWN, "", page))
    agents = "Agents that share rewards, earn Shapley credit and send selective messages do better together"
    return [*found, Finding(agents, UNKNOWN, "", "paper")]


def _hallucination(metrics: Metrics) -> tuple[str, str]:
    """Holds if the tuned model alone states at most 5 % wrong, in part if the twin does."""
    wrong = metrics["hallucination"]["test"]["all"]["wrong"]
    bar = BARS["hallucination"].limit
    verdict = HOLDS if wrong["llm"]["value"] <= bar else PART if wrong["twin"]["value"] <= bar else NOT
    told = metrics["hallucination"]["test"]["all"]["told"]
    kept = f"of what the twin stands for {_share(wrong['twin'])}, and it tells {_share(told['twin'])} of what there is to tell"
    return (
        verdict,
        f"wrong of the claims stated: tuned model {_share(wrong['llm'])}; {kept}; the rule {_share(wrong['rule'])}",
    )


def _conformal(metrics: Metrics) -> tuple[str, str]:
    """Holds if no skill's coverage on test is below its band, in part if the whole's is not."""
    cells = metrics["quality"]["test"]
    entries = {skill: cell["coverage"]["twin"] for skill, cell in cells.items() if "twin" in cell.get("coverage", {})}
    low = [skill for skill, entry in entries.items() if entry.get("ok") is False]
    whole = entries["all"]
    verdict = HOLDS if not low else NOT if "all" in low else PART
    return verdict, f"coverage {_share(whole)} on test; too low on {', '.join(low) or 'no skill'}"


def _refusal(metrics: Metrics) -> tuple[str, str]:
    """Holds if 95 % of the unanswerable are refused and 5 % of the answerable at most, in part if the first."""
    cell = metrics["quality"]["test"]["all"]
    recall, false = cell["refusal_recall"]["twin"], cell["false_refusal"]["twin"]
    verdict = NOT if recall["value"] < 0.95 else HOLDS if false["value"] <= 0.05 else PART
    return verdict, f"refuses {_share(recall)} of the unanswerable, {_share(false)} of the answerable"


def _accuracy(metrics: Metrics) -> tuple[str, str]:
    """Holds if the tuned model alone beats boosting beyond noise, in part if the twin does, on test or shift."""
    cells = {split: metrics["quality"][split]["all"] for split in ("test", "shift")}
    alone = [cell["llm_lead"]["boost"] for cell in cells.values()]
    pooled = {split: cell["accuracy_lead"]["boost"] for split, cell in cells.items()}
    verdict = HOLDS if all(e["low"] > 0 for e in alone) else PART if any(e["low"] > 0 for e in pooled.values()) else NOT
    told = "; ".join(
        f"{split}: twin {_points(pooled[split])}, model alone {_points(cells[split]['llm_lead']['boost'])}"
        for split in cells
    )
    return verdict, f"points ahead of boosting: {told}"


def _dimensions(metrics: Metrics) -> tuple[str, str]:
    """Holds if each of the three adds accuracy to the twin beyond noise, in part if more than one does."""
    cell = metrics["dimensions"]["test"]["all"]
    worth = {name: cell[f"accuracy_credit_{name}"]["twin"] for name in ("physical", "abstract", "computational")}
    adding = sum(entry["low"] > 0 for entry in worth.values())
    verdict = HOLDS if adding == 3 else PART if adding == 2 else NOT
    return verdict, "points added (Shapley): " + ", ".join(f"{name} {_points(entry)}" for name, entry in worth.items())


def _feedback(metrics: Metrics) -> tuple[str, str]:
    """Holds if with sensors every 4 steps the last error is at most 1.5 times that at step 4 and the mean error below that without, both
    beyond noise; in part if one of both by its value."""
    cells = metrics["propagation"]["later"]
    often, never = (cells[policy]["error"]["twin"] for policy in ("every 4", "never"))
    ratio = cells["every 4"]["error_ratio"]["twin"]
    bar = BARS["propagation"].limit
    surely = ratio["high"] <= bar and often["high"] < never["low"]
    verdict = HOLDS if surely else PART if ratio["value"] <= bar or often["value"] < never["value"] else NOT
    told = (
        f"mean error {never['value']:.1f} points without, {often['value']:.1f} with sensors every 4 h; last over first "
    )
    return verdict, f"{told}{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}], n = {ratio['n']}"


def _retries(metrics: Metrics) -> tuple[str, str]:
    """Holds if asked again with evidence the tuned model is right more often than before and than after a fresh thought of the same length,
    both beyond noise; in part if one of both."""
    cells = metrics["propagation"]["test"]
    gain, lead = (cells["checked"][name]["llm"] for name in ("retry_gain", "retry_lead"))
    verdict = (NOT, PART, HOLDS)[(gain["low"] > 0) + (lead["low"] > 0)]
    told = f"points gained with evidence {_points(gain)} ({_points(lead)} over a fresh thought)"
    return verdict, f"{told}, on reflection alone {_points(cells['reflected']['retry_gain']['llm'])}, n = {gain['n']}"


def _drift(metrics: Metrics) -> tuple[str, str]:
    """Holds if the best detector finds 90 % of every kind of change within 48 steps, in part if of some."""
    cells = {
        name: cell["found"] for name, cell in metrics["drift"]["shift"].items() if "found" in cell and name != "nothing"
    }
    best = {name: max(entry["value"] for entry in found.values()) for name, found in cells.items()}
    good = [name for name, value in best.items() if value >= BARS["drift"].limit]
    verdict = HOLDS if len(good) == len(best) else PART if good else NOT
    return verdict, "found within 48 steps by the best detector: " + ", ".join(f"{n} {v:.0%}" for n, v in best.items())


def _advice(metrics: Metrics) -> tuple[str, str]:
    """Holds if what the twin names does harm less often than any option would and than the rule's, in part if the first."""
    worse = metrics["safety"]["test"]["recommend"]["worse"]
    some, rule, twin = (worse[name] for name in ("any option", "rule", "twin"))
    verdict = NOT if twin["high"] >= some["value"] else HOLDS if twin["value"] < rule["value"] else PART
    return verdict, f"worse than doing nothing: twin {_share(twin)}, rule {_share(rule)}, any option {_share(some)}"


def _weights(metrics: Metrics) -> tuple[str, str]:
    """Holds if such weights have the better log score beyond noise on test and shift, in part on one of both."""
    leads = {split: metrics["weights"]["splits"][split]["state"]["log_score"] for split in ("test", "shift")}
    better = sum(entry["low"] > 0 for entry in leads.values())
    told = ", ".join(f"{split} {e['lead']:+.3f} [{e['low']:.3f}, {e['high']:.3f}]" for split, e in leads.items())
    return (NOT, PART, HOLDS)[better], f"log score ahead of fixed weights, nats: {told}"


def _wording(metrics: Metrics) -> tuple[str, str]:
    """Holds if the tuned model flips at most 2 % of its answers, in part if the twin does."""
    flipped = metrics["robustness"]["test"]["all"]["flipped"]
    verdict = HOLDS if flipped["llm"]["value"] <= 0.02 else PART if flipped["twin"]["value"] <= 0.02 else NOT
    return (
        verdict,
        f"answers that flip in other words: tuned model {_share(flipped['llm'])}, twin {_share(flipped['twin'])}",
    )


def _share(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['value']:.1f} % [{100 * entry['low']:.0f}, {100 * entry['high']:.0f}]"


def _points(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['value']:+.1f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"
