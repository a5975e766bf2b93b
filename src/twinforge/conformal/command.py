"""`twinforge conformal`: files in, files out. A calibration is one JSON file; it needs nothing else to predict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinforge.conformal.kinds import KINDS, Kind, Options
from twinforge.conformal.report import Outcome, Promise, Row, conditional, report, spread_of
from twinforge.conformal.tables import read_scores
from twinforge.conformal.threshold import smallest_n
from twinforge.errors import UserError
from twinforge.files import read_json, replacing, write_json

FORMAT = 1


@dataclass(frozen=True)
class Calibrated:
    """A calibrator as it lies in a file. group : the column whose groups have thresholds of their own.

    spread : standard deviation of the coverage over calibrations, where clusters say that it isn't the independent rows'.
    """

    kind: str
    calibrator: Any
    group: str | None = None
    spread: float | None = None

    def save(self, path: Path) -> None:
        """Write as JSON; what stood at `path` is replaced only when all is written."""
        own = {"format": FORMAT, "kind": self.kind, "group": self.group, "spread": self.spread}
        write_json({**own, **self.calibrator.to_json()}, path)

    @staticmethod
    def load(path: Path) -> Calibrated:
        """Read what `save` wrote; raises `UserError` that names the file and what is wrong with it."""
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; `twinforge conformal calibrate` writes one")
        try:
            value = read_json(path)
            if value["format"] != FORMAT:
                raise UserError(f"{path}: format {value['format']}; this version reads {FORMAT}, calibrate again")
            return Calibrated(value["kind"], KINDS[value["kind"]].load(value), value["group"], value["spread"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: not a calibration ({error!r}); calibrate again") from error


def calibrate(scores: Path, kind: str, options: Options, out: Path) -> str:
    """Calibrate on a SCORES file and write the calibration; a line for the reader is given back.

    Raises
    ------
    UserError
        Bad input, or a promise that can't be made; nothing is written then.
    """
    chosen, table = _kind(kind), read_scores(scores)
    if options.method and options.method not in chosen.methods:
        raise UserError(f"--method {options.method}: --kind {kind} has {', '.join(chosen.methods)}")
    if options.group and kind not in ("choice", "number"):
        raise UserError(f"--group {options.group}: only choice and number have a threshold a group; leave it out")
    with _of(scores):
        calibrator = chosen.fit(table, options)
        spread = None
        if "cluster" in table and kind in ("choice", "number") and not options.group:
            spread = spread_of(chosen.outcome(calibrator, table, None)[0].covered, table["cluster"])
    Calibrated(kind, calibrator, options.group, spread).save(out)
    return f"{out}: {_described(kind, calibrator)}"


def predict(calibration: Path, scores: Path, out: Path) -> str:
    """Write the sets of a SCORES file as .npz; a line for the reader is given back."""
    found, table = Calibrated.load(calibration), read_scores(scores)
    if Path(out).suffix != ".npz":
        raise UserError(f"{out}: sets are written as .npz; name a file that ends so")
    with _of(scores):
        arrays = KINDS[found.kind].predict(found.calibrator, table, found.group)
    with replacing(Path(out)) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return f"{out}: {_counted(arrays)}" + "".join(f"\n{note}" for note in _unseen(found, table.get(found.group)))


def judge(calibration: Path, scores: Path) -> tuple[list[Row], list[tuple[str, list[Row]]], str]:
    """Hold the promise against a SCORES file with truths: the rows of the report, the conditional ones, and a heading."""
    found, table = Calibrated.load(calibration), read_scores(scores)
    with _of(scores):
        outcome, promise = KINDS[found.kind].outcome(found.calibrator, table, found.group)
        if not len(outcome.covered):
            raise UserError("no rows; a report needs some")
    promise = Promise(promise.level, promise.n, found.spread, promise.bound)
    return report(outcome, promise), list(conditional(outcome)), _heading(found, outcome, promise)


def lines(rows: list[Row], parts: list[tuple[str, list[Row]]], heading: str) -> Iterator[str]:
    """A report as text."""
    yield heading
    yield f"{'':24}{'rows':>8}{'coverage':>10}{'band':>18}{'mean size':>11}{'median':>9}"
    for row in rows:
        yield _line(row)
    for name, part in parts:
        yield f"{name} (nothing is promised here)"
        for row in part:
            yield _line(row)


def _line(row: Row) -> str:
    band = "" if math.isnan(row.band[0]) else f"{row.band[0]:.3f} to {row.band[1]:.3f}"
    verdict = "" if not band else "  kept" if row.ok else "  TOO LOW"
    return f"  {row.name:22.22}{row.n:8d}{row.coverage:10.3f}{band:>18}{row.size:11.4g}{row.median_size:9.4g}{verdict}"


def _heading(found: Calibrated, outcome: Outcome, promise: Promise) -> str:
    value = found.calibrator.to_json()
    how = "whole clusters resampled" if outcome.cluster is not None else "rows taken as independent"
    if promise.bound is not None:
        how = (
            "the method's own long-run bound"
            if math.isfinite(promise.bound)
            else "dtaci bounds its regret, not its misses"
        )
    return f"{found.kind} by {value['method']}, promised {promise.level:.4g} ({outcome.size_name}; band: {how})"


def _described(kind: str, calibrator: Any) -> str:
    value = calibrator.to_json()
    text = f"{kind} by {value['method']}, alpha {value['alpha']:g}, {value['n']} rows"
    groups: Mapping[str, Any] = value.get("groups", {})
    if len(groups) == 1 and "" in groups:
        text += (
            f", threshold {'infinite' if groups['']['threshold'] is None else format(groups['']['threshold'], '.6g')}"
        )
    elif groups:
        text += f", {len(groups)} groups"
    if few := [name or "all rows" for name, entry in groups.items() if entry["threshold"] is None]:
        text += f"\nfewer than {smallest_n(value['alpha'])} rows, so everything is in the set: {', '.join(few)}"
    if kind == "risk":
        text += f"\nanswers where the confidence is above: {value['threshold']}"
        text += "; too little is known for any answer to be safe" if value["threshold"] == "never" else ""
    return text


def _counted(arrays: Mapping[str, NDArray[Any]]) -> str:
    if "lower" in arrays:
        width = arrays["upper"] - arrays["lower"]
        if np.isinf(width).all():
            return f"{len(width)} bounds, one end of each infinite"
        return f"{len(width)} intervals, median width {np.median(width):.4g}, {int(np.isinf(width).sum())} infinite"
    if "sets" in arrays:
        size = arrays["sets"].sum(axis=1)
        return f"{len(size)} sets, mean size {size.mean():.4g}, {int((size == 0).sum())} empty"
    name, marks = next(iter(arrays.items()))
    return f"{name}: {int(marks.sum())} of {len(marks)}"


def _unseen(found: Calibrated, groups: NDArray[Any] | None) -> Iterator[str]:
    if found.group and groups is not None:
        known = found.calibrator.thresholds.groups
        if new := sorted({str(name) for name in groups} - set(known)):
            yield f"not calibrated, so everything is in their sets: {', '.join(new[:5])}{' ...' if len(new) > 5 else ''}"


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise UserError(f"--kind {kind}: choose one of {', '.join(KINDS)}")
    return KINDS[kind]


class _of:
    """Puts the file's name before what is wrong with its rows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError) and not str(error).startswith(str(self._path)):
            raise UserError(f"{self._path}: {error}") from error
