"""Plots of the studies, in the style of `eval.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval import suite_plots
from eval.curves import of_credits
from eval.plots import COLOURS, FAINT, NAMES, legend, percent, styled
from eval.studies import SHOWN, WHOLE, Measured


def ablated(measured: Measured) -> Figure:
    """What each dimension adds by skill, by twins tuned for each subset."""
    return suite_plots.dimensions(of_credits(measured.measures))


@styled
def scaled(measured: Measured) -> Figure:
    """Accuracy by size, the growth of errors by size, and accuracy by how many skills one adapter learns."""
    measures = measured.measures
    sizes = sorted(system_sizes(measured), key=lambda name: size_of(measured, name))
    few = [name for name in measures if name not in sizes]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
    at = [size_of(measured, name) for name in sizes]
    for model in SHOWN:
        _line(axes[0], at, [measures[name]["all"]["accuracy"].get(model) for name in sizes], model)
        for end, style in (("error_first", ":"), ("error_end", "-")):
            _line(axes[1], at, [measures[name]["all"].get(end, {}).get(model) for name in sizes], model, style)
    axes[0].set(title="Accuracy", xlabel="assets of the system", ylim=(0, 1.02))
    axes[1].set(title="Error fed its own answers", xlabel="assets of the system", ylabel="first (dotted), last steps")
    percent(axes[0].yaxis)
    adapters = sorted([*few, WHOLE], key=lambda name: len(measured.facts[name]["skills"]))
    shared = list(measures[adapters[0]]) if few else []
    for skill in (name for name in shared if name != "all"):
        counts = [len(measured.facts[name]["skills"]) for name in adapters if skill in measures[name]]
        found = [measures[name][skill]["accuracy"]["llm"]["value"] for name in adapters if skill in measures[name]]
        axes[2].plot(counts, found, marker="o", color=COLOURS["llm"])
        axes[2].annotate(skill, (counts[0], found[0]), (4, 4), textcoords="offset points", fontsize=8)
    axes[2].set(title="Skills in one adapter", xlabel="skills learnt", ylim=(0, 1.02))
    percent(axes[2].yaxis)
    _legend(figure, axes[0])
    return figure


@styled
def learned(measured: Measured) -> Figure:
    """Accuracy and log score against the states seen in training."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    names = list(measured.measures)
    states = [measured.facts[name]["states"] for name in names]
    for ax, (measure, title) in zip(
        axes, {"accuracy": "Accuracy", "log_score": "Log score, nats"}.items(), strict=True
    ):
        for model in SHOWN:
            _line(ax, states, [measured.measures[name]["all"][measure].get(model) for name in names], model)
        ax.set_xscale("log", base=2)
        ax.set_xticks(states, [str(count) for count in states])
        ax.set(title=title, xlabel="states learnt")
    percent(axes[0].yaxis)
    _legend(figure, axes[0])
    return figure


def system_sizes(measured: Measured) -> list[str]:
    """Variants that differ from the recipe in the system, not in the skills that are asked."""
    whole = measured.facts[WHOLE]["changes"]["curate.skills"]
    return [name for name, facts in measured.facts.items() if facts["changes"]["curate.skills"] == whole]


def size_of(measured: Measured, name: str) -> int:
    """How many assets a variant's system has, by its knowledge graph."""
    return sum(measured.facts[name]["assets"].values())


def _line(
    ax: Axes, at: Sequence[float], entries: Sequence[Mapping[str, Any] | None], model: str, style: str = "-"
) -> None:
    """Values with their 95 % intervals, where there are any."""
    found = [(x, entry) for x, entry in zip(at, entries, strict=True) if entry]
    if not found:
        return
    x, value = np.array([x for x, _ in found]), np.array([entry["value"] for _, entry in found])
    ends = [[entry["value"] if entry[end] is None else entry[end] for _, entry in found] for end in ("low", "high")]
    errors = np.clip([value - ends[0], np.array(ends[1]) - value], 0, None)
    colour = COLOURS.get(model, FAINT)
    ax.errorbar(
        x, value, yerr=errors, fmt="o", ls=style, ms=4, color=colour, capsize=2, lw=1.3, label=NAMES.get(model, model)
    )


def _legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    legend(figure, handles, labels, ncols=4)
