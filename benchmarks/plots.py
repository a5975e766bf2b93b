"""The pictures of docs/performance.md: a peer's line beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from twinforge.files import replacing  # noqa: E402

FOLDER = Path("docs/performance")
_PEERS = {"trained": "LLaMA-Factory", "scored": "lm-evaluation-harness"}


def accuracy(result: Mapping[str, Any], path: Path) -> None:
    """Accuracy against minutes of training, with its interval."""
    figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, points in result["points"].items():
        minutes, value, low, high = zip(
            *((one["seconds"] / 60, 100 * one["accuracy"], 100 * one["low"], 100 * one["high"]) for one in points),
            strict=True,
        )
        ax.plot(minutes, value, marker="o", label=name)
        ax.fill_between(minutes, low, high, alpha=0.15)
    ax.set(xscale="log", xlabel="minutes of training", ylabel=f"right of {result['test']} questions, %")
    ax.legend()
    _save(figure, path)


def size(result: Mapping[str, Any], path: Path) -> None:
    """Answers a second against each size, trained above and scored below."""
    axes_of = list(dict.fromkeys(one["axis"] for one in result["points"]))
    figure, axes = plt.subplots(2, len(axes_of), figsize=(4 * len(axes_of), 6), layout="constrained", squeeze=False)
    for row, (work, peer) in zip(axes, _PEERS.items(), strict=True):
        for ax, axis in zip(row, axes_of, strict=True):
            points = [one for one in result["points"] if (one["work"], one["axis"]) == (work, axis)]
            _lines(ax, points, peer)
            ax.set(xlabel=axis, ylabel=f"answers {work} a second")
    _save(figure, path)


def _lines(ax: Axes, points: list[Mapping[str, Any]], peer: str) -> None:
    for name, label in (("ours", "twinforge"), ("theirs", peer)):
        known = [one for one in points if one[name]]
        ax.plot([one["x"] for one in known], [one[name] for one in known], marker="o", label=label)
    ax.set(xscale="log", yscale="log")
    ax.legend()


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110)
    plt.close(figure)
