"""The pictures of docs/guarantees.md, each drawn from fresh draws with the library itself: `make guarantee-plots`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import beta, norm
from tqdm import tqdm

from eval.plots import COLOURS, FAINT, INK, RED, styled
from twinforge.conformal import martingale
from twinforge.conformal.choice import Choice
from twinforge.conformal.entities import Entities, lowest_alpha, needed
from twinforge.conformal.number import Number, pieces
from twinforge.conformal.online import ACI, PID, DtACI, follow
from twinforge.conformal.risk import Selective
from twinforge.conformal.text import Claims
from twinforge.conformal.threshold import rank, threshold_of
from twinforge.errors import UserError

FOLDER = Path("docs/guarantees")
BLUE, SKY, ORANGE, GREEN, _ = COLOURS.values()
ALPHA = 0.1


@styled
def choice() -> Figure:
    """How coverage spreads over calibrations, by their size; and set sizes of the methods where the model is sure or not."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for n, colour in ((99, SKY), (999, BLUE)):
        rng = np.random.default_rng(0)
        found = [1 - np.exp(-threshold_of(rng.exponential(size=n), ALPHA)) for _ in range(3000)]
        left.hist(found, bins=50, density=True, color=colour, alpha=0.5, label=f"{n} rows, 3,000 calibrations")
        x, k = np.linspace(0.78, 1, 400), rank(n, ALPHA)
        left.plot(x, beta.pdf(x, k, n + 1 - k), color=INK, lw=1)
    left.axvline(1 - ALPHA, color=RED, lw=1)
    left.set(
        title="Coverage over all rows, law in black", xlim=(0.78, 1), yticks=[], xlabel="share covered, promised 0.9"
    )
    left.legend(loc="upper left", fontsize=7)
    rng = np.random.default_rng(1)
    score = np.exp(rng.normal(size=(20_000, 8)) * rng.uniform(0.2, 4, (20_000, 1)))
    p = score / score.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    bins = np.quantile(p.max(axis=1), np.linspace(0, 1, 9))
    place = np.clip(np.searchsorted(bins, p[10_000:].max(axis=1)) - 1, 0, 7)
    for method, colour in (("lac", BLUE), ("aps", ORANGE), ("raps", GREEN)):
        sets = Choice.fit(p[:10_000], labels[:10_000], ALPHA, method).sets(p[10_000:])  # type: ignore[arg-type]
        held = sets[np.arange(10_000), labels[10_000:]]
        share = [held[place == i].mean() for i in range(8)]
        right.plot(
            (bins[1:] + bins[:-1]) / 2, share, "o-", color=colour, label=f"{method}, mean size {sets.sum(1).mean():.2f}"
        )
    right.axhline(1 - ALPHA, color=RED, lw=1)
    right.set(title="Coverage where the model is sure or not", xlabel="largest probability", ylim=(0.6, 1.02))
    right.legend(loc="lower right")
    return figure


@styled
def number() -> Figure:
    """One path with its joint band and bands a step; and a mass of two peaks with its density set and its interval."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    rng, steps = np.random.default_rng(2), 24

    def walks(n: int) -> np.ndarray:
        return np.asarray(rng.normal(size=(n, steps)).cumsum(axis=1))

    def columns(n: int) -> dict[str, np.ndarray]:
        return {"median": np.zeros((n, steps)), "scale": np.broadcast_to(np.sqrt(np.arange(1, steps + 1)), (n, steps))}

    fitted, fresh, hours = (
        Number.fit(columns(999), walks(999), ALPHA, "normalised"),
        walks(5000),
        np.arange(1, steps + 1),
    )
    low, high = fitted.intervals(columns(5000))
    whole = ((low <= fresh) & (fresh <= high)).all(axis=1).mean()
    apart = norm.ppf(0.95) * np.sqrt(hours)
    steps_only = (np.abs(fresh) <= apart).all(axis=1).mean()
    left.fill_between(hours, low[0], high[0], color=SKY, alpha=0.4, label=f"joint: holds {whole:.0%} of whole paths")
    left.plot(
        hours, np.column_stack([apart, -apart]), color=ORANGE, lw=1.2, label=[f"step by step: {steps_only:.0%}", None]
    )
    left.plot(hours, fresh[:12].T, color=FAINT, lw=0.6)
    left.set(title="A horizon: the whole path or its steps", xlabel="hours ahead")
    left.legend(loc="upper left")
    grid = np.arange(0.0, 121.0)
    at, mass = np.where(rng.random(2000) < 0.5, 35, 90), 0.5 * (norm.pdf(grid, 35, 4) + norm.pdf(grid, 90, 7))
    table = {"mass": np.tile(mass / mass.sum(), (2000, 1)), "grid": grid}
    truth = rng.normal(at, np.where(at == 35, 4, 7))
    cells = Number.fit(table, truth, ALPHA, "density").cells(table)[0]
    ends = Number.fit(table, truth, ALPHA, "cqr").intervals(table)
    right.plot(grid, mass, color=INK, lw=1)
    for a, b in pieces(cells, grid):
        right.axvspan(a, b, color=SKY, alpha=0.4, lw=0, label=f"density: {cells.sum()} wide" if a < 60 else None)
    right.hlines(
        -0.002, ends[0][0], ends[1][0], color=ORANGE, lw=3, label=f"interval: {ends[1][0] - ends[0][0]:.0f} wide"
    )
    right.set(title="A mass of two peaks", xlabel="value", yticks=[])
    right.legend(loc="upper center")
    return figure


@styled
def entities() -> Figure:
    """Set size and coverage against the level asked for, some gold never retrieved: what can't be reached is refused."""
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    rng = np.random.default_rng(3)

    def world(queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, int]]:
        query, gold = np.repeat(np.arange(queries), 20), rng.random(20 * queries) < 0.1
        score = rng.normal(np.where(gold, 2.5, 0.0))
        kept = ~gold | (rng.random(len(gold)) > 0.05)
        total = dict(enumerate(np.maximum(np.bincount(query, gold).astype(int), 1).tolist()))
        return query[kept], score[kept], gold[kept], total

    old, new = world(3000), world(3000)
    for cover, colour in (("any", BLUE), ("all", ORANGE)):
        levels, sizes = [], []
        for alpha in np.arange(0.02, 0.6, 0.01):
            try:
                fitted = Entities.fit(*old[:3], float(alpha), cover, old[3])  # type: ignore[arg-type]
            except UserError:
                continue
            _, _, kept = fitted.covered(*new)
            levels.append(1 - alpha)
            sizes.append(kept.mean())
        reach = 1 - lowest_alpha(needed(*old[:3], cover, old[3])[1])  # type: ignore[arg-type]
        ax.plot(levels, sizes, color=colour, label=f"{cover} gold; no level above {reach:.0%}")
        ax.axvline(reach, color=colour, ls=":", lw=1)
    ax.set(title="Nodes in a set of 20 candidates", xlabel="promised share of queries covered", yscale="log")
    ax.legend(loc="upper left")
    return figure


@styled
def text() -> Figure:
    """Claims kept against the level, for scores that tell true from false claims well, somewhat and not at all."""
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    rng = np.random.default_rng(4)
    query, true = np.repeat(np.arange(2000), 8), rng.random(16_000) < 0.85
    for gap, colour, name in (
        (3.0, BLUE, "a good scorer"),
        (1.5, SKY, "a fair one"),
        (0.0, ORANGE, "one that knows nothing"),
    ):
        score = rng.normal(np.where(true, gap, 0.0))
        levels = np.arange(0.4, 0.99, 0.02)
        kept = [Claims.fit(query, score, true, 1 - float(level)).keep(score).mean() for level in levels]
        ax.plot(levels, kept, color=colour, label=name)
    ax.axhline(true.mean(), color=FAINT, lw=1, ls=":")
    ax.set(title="Claims kept (dotted: the share that is true)", xlabel="promised share of texts without a false claim")
    ax.set(ylim=(0, 1))
    ax.legend()
    return figure


@styled
def risk() -> Figure:
    """Answered and wrong in 300 fresh calibrations: by rows, by clusters, and by the share seen."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    rng, limit, delta = np.random.default_rng(5), 0.05, 0.1

    def world(days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        day = np.repeat(np.arange(days), 25)
        confidence = rng.random(len(day))
        odds = -3.2 + 1.2 * rng.normal(size=days)[day] + 5 * (0.5 - confidence)
        return confidence, rng.random(len(day)) > 1 / (1 + np.exp(-odds)), day

    confidence, correct, _ = world(8000)
    found: dict[str, list[float]] = {"by clusters": [], "rows taken as independent": [], "by the share seen": []}
    for _ in range(300):
        old = world(90)
        order = np.argsort(-old[0])
        seen = np.flatnonzero(np.cumsum(~old[1][order]) / len(order) <= limit)
        thresholds = (
            Selective.fit(*old[:2], limit, delta, old[2]).threshold, Selective.fit(*old[:2], limit, delta).threshold,
            old[0][order][seen[-1]] if len(seen) else np.inf,
        )  # fmt: skip
        for name, threshold in zip(found, thresholds, strict=True):
            found[name].append(float(((confidence > threshold) & ~correct).mean()))
    for (name, values), colour in zip(found.items(), (BLUE, ORANGE, RED), strict=True):
        over = np.mean(np.array(values) > limit)
        left.hist(
            values, bins=np.linspace(0, 0.09, 37), histtype="step", color=colour, label=f"{name}: {over:.0%} above"
        )
    left.axvline(limit, color=INK, lw=1)
    left.set(title=f"300 calibrations of 90 days, limit {limit:.0%}", xlabel="share answered and wrong", yticks=[])
    left.set(xlim=(0, 0.14))
    left.legend(loc="upper right", fontsize=8)
    for rows, colour in ((60, SKY), (90, BLUE), (180, GREEN)):
        old = world(rows)
        limits = np.arange(0.02, 0.2, 0.01)
        share = [Selective.fit(*old[:2], float(r), delta, old[2]).answers(confidence).mean() for r in limits]
        right.plot(limits, share, color=colour, label=f"{rows} days")
    right.set(title="Share answered", xlabel="allowed share answered and wrong", ylim=(0, 1.02))
    right.legend(loc="lower right")
    return figure


@styled
def online() -> Figure:
    """Coverage of the last 300 rows through a drift: a static threshold and those that follow."""
    figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
    rng = np.random.default_rng(6)
    scale = np.concatenate([np.ones(1500), np.linspace(1, 4, 1500), np.full(1500, 2.0)])
    scores = np.abs(rng.normal(0, scale))
    runs = {"static": np.full(len(scores), threshold_of(scores[:500], ALPHA))}
    for name, follower in (("ACI", ACI(ALPHA, 0.02)), ("DtACI", DtACI(ALPHA)), ("PID", PID(ALPHA, 0.3, 60.0))):
        runs[name] = follow(follower, scores)[0]  # type: ignore[type-var]
    for (name, issued), colour in zip(runs.items(), (RED, BLUE, ORANGE, GREEN), strict=True):
        held = np.convolve(scores <= issued, np.full(300, 1 / 300), "valid")
        ax.plot(
            np.arange(299, len(scores)), held, color=colour, label=f"{name}: {np.mean(scores <= issued):.3f} of all"
        )
    ax.axhline(1 - ALPHA, color=INK, lw=0.8)
    ax.set(
        title="Coverage of the last 300 rows; the spread grows fourfold, then halves", xlabel="row", ylim=(0.3, 1.02)
    )
    ax.legend(loc="lower right")
    return figure


@styled
def trust() -> Figure:
    """Log wealth of a bet against exchangeability, ten calm streams and ten whose scores grow by a half."""
    figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
    rng = np.random.default_rng(7)
    old = np.abs(rng.normal(size=500))
    for growth, colour, name in ((1.0, FAINT, "calm"), (1.5, BLUE, "scores grow by a half at 300")):
        for seed in range(10):
            scores = np.abs(rng.normal(size=900)) * np.where(np.arange(900) < 300, 1, growth)
            path, _ = martingale.watch(scores, old, seed=seed, level=0.01)
            ax.plot(path / np.log(10), color=colour, lw=0.8, label=None if seed else name)
    ax.axhline(2, color=RED, lw=1, label="alarm at 100 to 1")
    ax.set(
        title="Evidence that the rows are no longer alike", xlabel="row", ylabel="odds, powers of ten", ylim=(-4, 12)
    )
    ax.legend(loc="upper left")
    return figure


PICTURES: tuple[Callable[[], Figure], ...] = (choice, number, entities, text, risk, online, trust)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guarantees", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these pictures, e.g. risk (default: all)")
    wanted = parser.parse_args().names
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = ("choice", "number", "entities", "text", "risk", "online", "trust")
    for name, draw in tqdm([pair for pair in zip(names, PICTURES, strict=True) if not wanted or pair[0] in wanted]):
        figure = draw()
        figure.savefig(FOLDER / f"{name}.png", dpi=140, facecolor="white", metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
