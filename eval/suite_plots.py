"""Plots of the suites beside `quality`, in the style of `eval.plots`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from eval.curves import SHOWN
from eval.plots import COLOURS, FAINT, INK, NAMES, RED, SIDES, legend, percent, styled
from twinforge.claims import WRONG

WRITERS = {
    "twin": "twin",
    "llm": "language model alone",
    "rule": "operator's rule",
    "base-few": "untuned base, an example",
    "base": "untuned base",
}
KINDS = dict(zip(WRONG, ("#d1242f", "#e69f00", "#b07aa1", "#57606a"), strict=True))


@styled
def hallucination(judged: pd.DataFrame) -> Figure:
    """Left, how much of what each writer states is wrong, and how; right, how much is wrong among the surest claims of the language
    model. judged : `suites.hallucination.JUDGED`, of one split."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1), layout="constrained")
    stated = judged[judged["stated"]]
    names = [name for name in WRITERS if name in set(stated["model"])]
    start = np.zeros(len(names))
    for status, colour in KINDS.items():
        share = [float((stated.loc[stated["model"] == name, "status"] == status).mean()) for name in names]
        left.barh(range(len(names)), share, left=start, color=colour, height=0.6, label=status)
        start += share
    left.set_yticks(range(len(names)), [WRITERS[name] for name in names])
    left.invert_yaxis()
    left.axvline(0.05, color=FAINT, lw=0.8, ls="--")
    left.set(title="Stated and wrong, of all that is stated")
    percent(left.xaxis)
    own = judged[(judged["model"] == "llm") & (judged["status"] != "abstained")]
    wrong = own["status"].isin(WRONG).to_numpy()
    for column, label, colour in (
        ("sure", "by kind and probability", COLOURS["twin"]),
        ("log", "by probability", COLOURS["llm"]),
    ):
        order = np.argsort(-own[column].to_numpy(float), kind="stable")
        kept = np.arange(1, len(own) + 1)
        shown = kept >= 0.05 * len(own)
        right.plot(kept[shown] / max(len(own), 1), (wrong[order].cumsum() / kept)[shown], color=colour, label=label)
    right.axhline(0.05, color=FAINT, lw=0.8, ls="--")
    right.set(title="Wrong among the surest claims", xlabel="share of the claims stated")
    percent(right.xaxis, right.yaxis)
    right.legend(loc="upper left")
    handles, labels = left.get_legend_handles_labels()
    legend(figure, handles, labels, ncols=4)
    return figure


@styled
def robustness(changes: pd.DataFrame) -> Figure:
    """Share of the answers that flipped and accuracy lost, by change and model (`curves.of_changes`)."""
    names = list(dict.fromkeys(changes["change"]))
    models = [model for model in SHOWN if model in set(changes["model"])]
    size = (9, 1.4 + 0.36 * max(len(names), 1))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    titles = {"flipped": "How often does the answer flip?", "accuracy_lost": "Accuracy lost"}
    step = 0.7 / max(len(models), 1)
    for ax, (measure, title) in zip(axes, titles.items(), strict=True):
        for i, model in enumerate(models):
            rows = changes[(changes["measure"] == measure) & (changes["model"] == model)]
            at = np.array([names.index(name) for name in rows["change"]]) - 0.35 + step * (i + 0.5)
            value = rows["value"].to_numpy(float)
            low, high = (rows[name].astype(float).fillna(rows["value"]).to_numpy() for name in ("low", "high"))
            errors = np.clip([value - low, high - value], 0, None)
            ax.errorbar(
                value, at, xerr=errors, fmt="o", ms=4, color=COLOURS[model], capsize=2, lw=1.3, label=NAMES[model]
            )
        ax.axvline(0, color=FAINT, lw=0.8)
        ax.set(title=title)
        percent(ax.xaxis)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    legend(figure, handles, labels, ncols=3)
    return figure


@styled
def dimensions(credits: pd.DataFrame) -> Figure:
    """What each dimension is worth to twin and language model, by skill, with 95 % intervals (`curves.of_credits`)."""
    skills = list(dict.fromkeys(credits["skill"]))
    models = [model for model in ("twin", "llm") if model in set(credits["model"])] or ["twin"]
    figure, axes = plt.subplots(
        len(models), 1, figsize=(9, 0.6 + 2.6 * len(models)), sharex=True, squeeze=False, layout="constrained"
    )
    for ax, model in zip(axes[:, 0], models, strict=True):
        for i, (dimension, colour) in enumerate(SIDES.items()):
            of = (credits["model"] == model) & (credits["dimension"] == dimension)
            rows = credits[of].set_index("skill").reindex(skills)
            at = np.arange(len(skills)) - 0.27 + 0.27 * i
            value = rows["value"].to_numpy(float)
            low, high = (rows[name].astype(float).fillna(rows["value"]).to_numpy() for name in ("low", "high"))
            ax.bar(at, value, width=0.25, color=colour, label=dimension)
            errors = np.clip([value - low, high - value], 0, None)
            ax.errorbar(at, value, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        ax.axhline(0, color=FAINT, lw=0.8)
        ax.set_title(f"What each dimension adds to the accuracy: {NAMES[model]}")
        percent(ax.yaxis)
        ax.tick_params(axis="x", length=0)
    axes[-1, 0].set_xticks(range(len(skills)), skills)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend(figure, handles, labels, ncols=3)
    return figure


@styled
def drift(course: pd.DataFrame) -> Figure:
    """CUSUM's evidence over its threshold through one change of each scenario, whitened and raw (`drift.trial.COURSE`)."""
    scenarios = list(course["scenario"].unique())
    rows = -(-len(scenarios) // 2)
    figure, axes = plt.subplots(
        rows, 2, figsize=(9, 0.8 + 1.7 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, scenario in zip(axes.flat, scenarios, strict=False):
        own = course[course["scenario"] == scenario]
        for model, colour, name in (
            ("cusum-raw", FAINT, "raw signal"),
            ("cusum", COLOURS["twin"], "whitened residual"),
        ):
            line = own[own["model"] == model]
            ax.plot(line["step"], line["evidence"].clip(1e-2), color=colour, lw=1.4, label=name)
        ax.axhline(1, color=RED, lw=1, ls=(0, (4, 3)), label="threshold")
        ax.axvline(0, color=INK, lw=0.8, ls=":", label="the change")
        ax.set(title=f"{scenario} ({own['asset'].iloc[0]})", yscale="log", ylim=(0.02, 50))
    for ax in axes.flat[len(scenarios) :]:
        ax.set_visible(False)
    figure.supylabel("CUSUM over its threshold", fontsize=10)
    for ax in axes.flat[max(len(scenarios) - 2, 0) : len(scenarios)]:
        ax.set_xlabel("steps from the change")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend(figure, handles, labels, ncols=4)
    return figure


@styled
def propagation(course: pd.DataFrame) -> Figure:
    """Error against the horizon, a panel a policy (`suites.propagation.course`); bands are 95 % intervals over rollouts."""
    policies = [name for name in ("every 4", "every 16", "never", "simulator") if name in set(course["policy"])]
    figure, axes = plt.subplots(
        1,
        len(policies),
        figsize=(9, 3.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
        width_ratios=[2 if name == "never" else 1 for name in policies],
    )
    for ax, policy in zip(axes[0], policies, strict=True):
        for model, rows in course[course["policy"] == policy].groupby("model", sort=False):
            colour = COLOURS.get(str(model), FAINT)
            for _, part in rows.groupby((rows["step"].diff() > 4.5).cumsum()):
                label = NAMES.get(str(model), str(model))
                ax.plot(part["step"], part["value"], color=colour, lw=1.6, marker="o", ms=2.5, label=label)
                if model == "twin":
                    ax.fill_between(part["step"], part["low"], part["high"], color=colour, alpha=0.2, lw=0)
                    ax.vlines(
                        part["step"], part["low"], part["high"], color=colour, alpha=0.2 if len(part) > 1 else 0.5
                    )
        ax.set(title=policy, xlabel="hours")
    axes[0, 0].set_ylabel("mean error, points")
    axes[0, 0].set_ylim(bottom=0)
    found = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    legend(figure, list(found.values()), list(found), ncols=5)
    return figure


@styled
def cost(ways: pd.DataFrame) -> Figure:
    """Accuracy against tokens and seconds a question, the ways that no cheaper one beats joined by a line (`curves.of_costs`)."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    units = {"tokens": ("tokens a question", 1.0), "seconds": ("seconds a question", 1e-5)}
    for ax, (name, (label, least)) in zip(axes, units.items(), strict=True):
        rows = ways[ways["cost"] == name]
        best = rows[rows["front"]].sort_values("spent")
        ax.step(best["spent"], best["value"], where="post", color=FAINT, lw=1)
        for _, row in rows.iterrows():
            low, high = (row["value"] if pd.isna(row[end]) else row[end] for end in ("low", "high"))
            errors = [[max(row["value"] - low, 0)], [max(high - row["value"], 0)]]
            colour = COLOURS.get(row["model"], FAINT)
            ax.errorbar(row["spent"], row["value"], yerr=errors, fmt="o", ms=4, color=colour, capsize=2, lw=1.1)
        middle = rows.groupby("spent")["value"].transform("median")
        for (spent, value, above), names in rows.groupby(["spent", "value", rows["value"] >= middle])["model"]:
            text, beside = ", ".join(names), (4, 4 if above else -10)
            ax.annotate(text, (spent, value), beside, textcoords="offset points", fontsize=8)
        ax.set_xscale("symlog", linthresh=least)
        ax.set(xlabel=label, xlim=(-least / 3, 9 * max(rows["spent"].max(), least)), ylim=(0, 1.02))
        percent(ax.yaxis)
    axes[0].set_title("Accuracy for what it costs")
    return figure
