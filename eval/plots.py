"""Plots for the report and the README. Drawn from the tables of `eval.curves`; ink and paper are set here."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.dates as dates
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.curves import SHOWN

INK, FAINT, RED = (
    "#24292f",
    "#8c959f",
    "#d1242f",
)  # INK becomes the page's own text colour where a figure stands in the report
DAY = ("twin's interval", "twin's estimate", "truth", "truth outside it", "reading at that time")
FEW = 10  # bins with fewer answers are left out of the picture (the table has them)
COLOURS = dict(
    zip(SHOWN, ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#b07aa1"), strict=True)
)  # Okabe and Ito, nearly
SIDES = {"physical": "#0072b2", "abstract": "#009e73", "computational": "#e69f00"}
NAMES = {
    "twin": "twin",
    "llm": "language model alone",
    "boost": "boosting",
    "rule": "operator's rule",
    "base-best": "untuned base",
}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "twinforge",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
    ),
}


def save(figure: Figure, path: Path) -> None:
    """Write `path` as .png on white and as .svg on nothing, the same bytes for the same figure."""
    with plt.rc_context(STYLE):
        figure.savefig(path.with_suffix(".png"), dpi=160, facecolor="white", metadata={"Software": None})
        figure.savefig(path.with_suffix(".svg"), transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a drawing function under the house's style."""

    def wrapped(*args: pd.DataFrame) -> Figure:
        with plt.rc_context(STYLE):
            return draw(*args)

    wrapped.__doc__ = draw.__doc__
    return wrapped


@styled
def test_day(day: pd.DataFrame) -> Figure:
    """The twin's intervals over one day beside the truth: after outages and ahead in time (`curves.example_day`)."""
    titles = {
        "what-if": "If a line trips: what the twin says, what the simulator says",
        "forecast": "Hours ahead",
        "recommend": "After an outage and a remedy: the fullest line",
    }
    asked = sorted(day["asked"].unique(), key=lambda name: [*titles, name].index(name)) or ["forecast"]
    size = (9, 1 + 2.7 * len(asked))
    figure, axes = plt.subplots(len(asked), 1, figsize=size, sharex=True, squeeze=False, layout="constrained")
    for ax, name in zip(axes[:, 0], asked, strict=True):
        if len(day):
            _day(ax, day[day["asked"] == name], titles.get(name, name))
    if len(day):
        bottom, start = axes[-1, 0], day["time"].min().normalize()
        bottom.set_xlim(start - pd.Timedelta(minutes=30), max(start + pd.Timedelta(hours=24), day["time"].max()))
        bottom.xaxis.set_major_locator(dates.AutoDateLocator(minticks=6, maxticks=10))
        bottom.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        bottom.set_xlabel(f"time of the state, {start:%d %B %Y}")
        found = {
            label: handle for ax in axes[:, 0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        labels = [label for label in DAY if label in found]
        legend(figure, [found[label] for label in labels], labels, ncols=5)
    return figure


def _day(ax: Axes, rows: pd.DataFrame, title: str) -> None:
    same = rows.groupby("time")
    beside = (same.cumcount() - (same["time"].transform("size") - 1) / 2) * pd.Timedelta(minutes=22)
    at, truth, now = (
        (rows["time"] + beside).map(dates.date2num).to_numpy(),
        rows["truth"].to_numpy(),
        rows["copy"].to_numpy(),
    )
    low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
    inside = (low <= truth) & (truth <= high)
    ax.bar(at, high - low, bottom=low, width=0.013, color=COLOURS["twin"], alpha=0.3, label=DAY[0])
    ax.hlines(rows["predicted"], at - 0.0065, at + 0.0065, color=COLOURS["twin"], lw=2.5, label=DAY[1])
    ax.vlines(at, now, truth, color=FAINT, lw=0.8, zorder=1)
    ax.scatter(at, now, s=26, facecolors="none", edgecolors=FAINT, lw=1.2, zorder=3, label=DAY[4])
    ax.scatter(at[inside], truth[inside], s=26, color=INK, zorder=4, label=DAY[2])
    if (~inside).any():
        ax.scatter(at[~inside], truth[~inside], s=48, color=RED, marker="X", zorder=4, label=DAY[3])
    unit = rows["unit"].iloc[0]
    top = float(np.nanmax([high.max(), truth.max(), 100 if unit == "%" else 0]))
    ax.set(ylim=(0, top * 1.3), ylabel=unit, title=title)
    if unit == "%":
        ax.axhline(100, color=RED, lw=1, ls=(0, (4, 3)), zorder=0)
        ax.annotate("limit", (1.005, 100), xycoords=("axes fraction", "data"), color=RED, fontsize=9, va="center")
    jump = (rows["truth"] - rows["copy"]).abs().to_numpy()
    if np.isfinite(jump).any():
        worst = int(np.nanargmax(jump))
        _point_out(ax, float(at[worst]), float(max(high[worst], truth[worst])), rows["text"].iloc[worst])


def _point_out(ax: Axes, x: float, y: float, text: str) -> None:
    """Write the question over the day's points, in the part of the axis that is kept free for it."""
    early = x % 1 < 0.5
    ax.annotate(
        textwrap.fill(text, 80),
        (x, y),
        xytext=(x, 0.99),
        textcoords=("data", "axes fraction"),
        ha="left" if early else "right",
        va="top",
        fontsize=9,
        arrowprops={
            "arrowstyle": "-",
            "color": FAINT,
            "lw": 0.9,
            "ls": ":",
            "shrinkB": 3,
            "relpos": (0 if early else 1, 0),
        },
    )


@styled
def reliability(bins: pd.DataFrame) -> Figure:
    """Share right against confidence (`curves.reliability`); on the diagonal a model knows how sure to be."""
    figure, ax = plt.subplots(figsize=(5.4, 5), layout="constrained")
    ax.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (4, 3)))
    for model, rows in bins[bins["n"] >= FEW].groupby("model", sort=False):
        ax.plot(rows["confidence"], rows["accuracy"], color=COLOURS[str(model)], lw=1.6, label=NAMES[str(model)])
        ax.scatter(
            rows["confidence"],
            rows["accuracy"],
            s=4 + 160 * rows["n"] / rows["n"].sum(),
            color=COLOURS[str(model)],
            zorder=3,
        )
    ax.set(
        xlabel="confidence of the answer",
        ylabel="share right",
        title="Does it know how sure to be?",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    percent(ax.xaxis, ax.yaxis)
    ax.set_aspect("equal")
    legend(figure, *ax.get_legend_handles_labels(), ncols=3)
    return figure


@styled
def risk_coverage(curve: pd.DataFrame) -> Figure:
    """Share wrong among the most confident answers (`curves.risk_coverage`)."""
    figure, ax = plt.subplots(figsize=(5.4, 4), layout="constrained")
    for model, rows in curve.groupby("model", sort=False):
        ax.plot(rows["answered"], rows["wrong"], color=COLOURS[str(model)], lw=1.8, label=NAMES[str(model)])
    ax.set(
        xlabel="share of questions answered, the surest first",
        ylabel="share wrong among them",
        title="What if it answers only when sure?",
    )
    ax.set(xlim=(0, 1), ylim=(0, None))
    percent(ax.xaxis, ax.yaxis)
    legend(figure, *ax.get_legend_handles_labels(), ncols=3)
    return figure


@styled
def accuracy_by_skill(accuracy: pd.DataFrame) -> Figure:
    """Accuracy with 95 % intervals, per skill and model (`curves.of_measure`)."""
    skills = ["all", *sorted(set(accuracy["skill"]) - {"all"})]
    models = [model for model in SHOWN if model in set(accuracy["model"])]
    figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
    step = 0.8 / max(len(models), 1)
    for i, model in enumerate(models):
        rows = accuracy[accuracy["model"] == model].set_index("skill").reindex(skills)
        at = np.arange(len(skills)) - 0.4 + step * (i + 0.5)
        value = rows["value"].to_numpy(float)
        low, high = (rows[name].astype(float).fillna(rows["value"]).to_numpy() for name in ("low", "high"))
        ax.bar(at, value, width=step * 0.92, color=COLOURS[model], label=NAMES[model])
        errors = np.clip([value - low, high - value], 0, None)
        ax.errorbar(at, value, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    ax.set_xticks(range(len(skills)), skills)
    ax.axvline(0.5, color=FAINT, lw=0.8)
    ax.set(ylim=(0, 1.02), xlim=(-0.55, len(skills) - 0.45))
    ax.set_title("Accuracy by skill, with 95 % intervals")
    percent(ax.yaxis)
    ax.tick_params(axis="x", length=0)
    legend(figure, *ax.get_legend_handles_labels(), ncols=5)
    return figure


@styled
def coverage(entries: pd.DataFrame) -> Figure:
    """The twin's coverage per skill, with its interval, in the band that agrees with the promise (`curves.of_measure`)."""
    rows = entries[entries["model"] == "twin"].reset_index(drop=True)
    figure, ax = plt.subplots(figsize=(6.4, 0.9 + 0.42 * max(len(rows), 1)), layout="constrained")
    if "ok" in rows:
        ax.barh(
            rows.index,
            rows["band_high"] - rows["band_low"],
            left=rows["band_low"],
            height=0.62,
            color=FAINT,
            alpha=0.3,
            lw=0,
            label="agrees with the promise",
        )
        ax.axvline(float(rows["promise"].iloc[0]), color=FAINT, lw=1, ls=(0, (4, 3)), label="promised")
    errors = np.clip(
        [
            rows["value"] - rows["low"].astype(float).fillna(rows["value"]),
            rows["high"].astype(float).fillna(rows["value"]) - rows["value"],
        ],
        0,
        None,
    )
    ax.errorbar(
        rows["value"],
        rows.index,
        xerr=errors,
        fmt="o",
        ms=5,
        color=COLOURS["twin"],
        capsize=2,
        lw=1.4,
        label="seen, with 95 % interval",
    )
    ax.set_yticks(rows.index, rows["skill"])
    ax.invert_yaxis()
    ax.set(title="Does the promised coverage hold?", xlabel="share of truths in the twin's set or interval")
    ax.set_xlim(min(0.75, float(rows["value"].min() if len(rows) else 1) - 0.05), 1.005)
    percent(ax.xaxis)
    legend(figure, *ax.get_legend_handles_labels(), ncols=3)
    return figure


def legend(figure: Figure, handles: list[Any], labels: list[str], ncols: int) -> None:
    figure.legend(
        handles, labels, loc="outside lower center", ncols=ncols, handlelength=1.2, columnspacing=1.5, fontsize=9
    )


def percent(*axes: matplotlib.axis.Axis) -> None:
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
