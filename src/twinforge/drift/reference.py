"""What calm looks like, as a file: per asset and quantity the whitening and the thresholds. It travels with the twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from twinforge.conformal.threshold import digest
from twinforge.drift.detectors import MMD, SCALAR, Detector
from twinforge.drift.thresholds import LEAST, Threshold, threshold_for
from twinforge.drift.whitening import Whitener
from twinforge.errors import UserError
from twinforge.files import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Watched:
    """One stream: what it is, and what it was in calm.

    thresholds : by detector. n : calm values; data : sha256 of them.
    """

    asset: str
    quantity: str
    dimension: str
    whitener: Whitener
    thresholds: Mapping[str, Threshold]
    n: int
    data: str


@dataclass(frozen=True)
class Vectors:
    """A stream of vectors: its detector and threshold, and how many calm vectors these are made of; data : sha256 of them."""

    detector: MMD
    threshold: Threshold
    n: int
    data: str


@dataclass(frozen=True)
class Reference:
    """The drift reference.

    run_length : stated average number of calm steps to a false alarm, of each stream and detector alone.
    streams : by asset and quantity. vectors : by name.
    """

    run_length: int
    streams: tuple[Watched, ...] = ()
    vectors: Mapping[str, Vectors] = field(default_factory=dict)

    @cached_property
    def watched(self) -> dict[tuple[str, str], Watched]:
        """The streams by asset and quantity."""
        return {(each.asset, each.quantity): each for each in self.streams}

    def with_streams(self, names: Sequence[tuple[str, str, str]], calm: np.ndarray, seed: int) -> Reference:
        """With more streams. names : (asset, quantity, dimension) of every column; calm : (n, k), NaN where missing.

        A stream is left out that hardly ever moves or has fewer than 2,000 calm innovations. A distribution-free detector gets
        one threshold for all streams of a quantity, any other detector one a stream.
        """
        fitted = {name: (x, fit) for name, x in zip(names, calm.T, strict=True) if (fit := _fitted(x)) is not None}
        shared = {
            quantity: {
                each.name: threshold_for(
                    each, [fit(x) for name, (x, fit) in fitted.items() if name[1] == quantity], self.run_length, seed
                )
                for each in SCALAR
                if each.free
            }
            for quantity in dict.fromkeys(name[1] for name in fitted)
        }
        added = []
        for (asset, quantity, dimension), (x, fit) in tqdm(fitted.items(), desc="calm", unit="stream"):
            own = {each.name: threshold_for(each, [fit(x)], self.run_length, seed) for each in SCALAR if not each.free}
            n = int(np.isfinite(x).sum())
            added.append(Watched(asset, quantity, dimension, fit, {**own, **shared[quantity]}, n, digest(x)))
        return replace(self, streams=(*self.streams, *added))

    def with_vectors(self, name: str, calm: np.ndarray, seed: int, block: float) -> Reference:
        """With a detector of vectors under a name; calm : (n, d). `block` : mean length of the bootstrap's blocks."""
        detector = MMD.fit(calm, seed=seed)
        threshold = threshold_for(detector, [calm], self.run_length, seed, block)
        return replace(self, vectors={**self.vectors, name: Vectors(detector, threshold, len(calm), digest(calm))})

    def whiten(self, names: Sequence[tuple[str, str, str]], x: np.ndarray) -> np.ndarray:
        """Whitened values (n, k) of streams as they come; NaN where missing and for streams that are not watched."""
        found = np.full(x.shape, np.nan)
        for i, (asset, quantity, _) in enumerate(names):
            if (asset, quantity) in self.watched:
                found[:, i] = self.watched[asset, quantity].whitener(x[:, i])
        return found

    def alarms(self, detector: Detector, asset: str, quantity: str, z: np.ndarray) -> list[int]:
        """Steps at which a detector alarms on whitened values (n,) of a watched stream; missing ones are passed over."""
        steps = np.flatnonzero(np.isfinite(z))
        threshold = self.watched[asset, quantity].thresholds[detector.name].value
        return [int(steps[i]) for i in detector.alarms(z[steps], threshold)]

    def vector_alarms(self, name: str, x: np.ndarray) -> list[int]:
        """Steps at which the detector of vectors (n, d) alarms."""
        return self.vectors[name].detector.alarms(x, self.vectors[name].threshold.value)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json({"format": FORMAT, **asdict(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote; raises `UserError` for a file that is missing or no drift reference."""
        content: Any = read_json(path)
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}")
            streams = tuple(
                Watched(
                    **{**each, "whitener": _whitener(each["whitener"]), "thresholds": _thresholds(each["thresholds"])}
                )
                for each in content["streams"]
            )
            vectors = {
                name: Vectors(_mmd(each["detector"]), Threshold(**each["threshold"]), each["n"], each["data"])
                for name, each in content["vectors"].items()
            }
            return cls(int(content["run_length"]), streams, vectors)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: not a drift reference ({error!r}); run the stage drift again (`dvc repro`)"
            ) from error


def _whitener(values: Mapping[str, Any]) -> Whitener:
    return Whitener(values["centre"], tuple(values["phi"]), values["scale"])


def _thresholds(values: Mapping[str, Any]) -> dict[str, Threshold]:
    return {name: Threshold(**each) for name, each in values.items()}


def _mmd(values: Mapping[str, Any]) -> MMD:
    return MMD(**{**values, "mean": tuple(values["mean"])})


def _fitted(x: np.ndarray) -> Whitener | None:
    """The calm stream's whitening, or None for one that can't be watched."""
    try:
        fit = Whitener.fit(x)
    except UserError:
        return None
    return fit if np.isfinite(fit(x)).sum() >= LEAST else None
