"""What calm looks like, as a file: per asset and quantity the whitening, per quantity the thresholds. It travels with the twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from twinforge.conformal.threshold import digest
from twinforge.drift.detectors import MMD, SCALAR, Detector
from twinforge.drift.thresholds import Threshold, threshold_for
from twinforge.drift.whitening import Whitener
from twinforge.errors import UserError
from twinforge.files import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Watched:
    """One stream: what it is, and what it was in calm. n : calm values; data : sha256 of them."""

    asset: str
    quantity: str
    dimension: str
    whitener: Whitener
    n: int
    data: str


@dataclass(frozen=True)
class Reference:
    """The drift reference.

    run_length : stated average number of calm steps to a false alarm, of each stream and detector alone.
    streams : by asset and quantity. thresholds : quantity -> detector -> threshold, shared by the quantity's streams, whose
    whitened values have one scale. vectors : name -> detector of vectors, whose threshold stands under its name.
    """

    run_length: int
    streams: tuple[Watched, ...] = ()
    thresholds: Mapping[str, Mapping[str, Threshold]] = field(default_factory=dict)
    vectors: Mapping[str, MMD] = field(default_factory=dict)

    def with_streams(self, names: Sequence[tuple[str, str, str]], calm: np.ndarray, seed: int) -> Reference:
        """With more streams. names : (asset, quantity, dimension) of every column; calm : (n, k), NaN where missing.

        A stream that can't be whitened (it hardly ever moves) is left out.
        """
        added: list[Watched] = []
        whitened: dict[str, list[np.ndarray]] = {}
        for (asset, quantity, dimension), x in zip(names, calm.T, strict=True):
            try:
                whitener = Whitener.fit(x)
            except UserError:
                continue
            added.append(Watched(asset, quantity, dimension, whitener, int(np.isfinite(x).sum()), digest(x)))
            whitened.setdefault(quantity, []).append(whitener(x))
        found = {
            quantity: {each.name: threshold_for(each, z, self.run_length, seed) for each in SCALAR}
            for quantity, z in whitened.items()
        }
        return Reference(self.run_length, (*self.streams, *added), {**self.thresholds, **found}, self.vectors)

    def with_vectors(self, name: str, calm: np.ndarray, seed: int, block: float) -> Reference:
        """With a detector of vectors under a name; calm : (n, d). `block` : mean length of the bootstrap's blocks."""
        detector = MMD.fit(calm, seed=seed)
        threshold = threshold_for(detector, [calm], self.run_length, seed, block)
        thresholds = {**self.thresholds, name: {detector.name: threshold}}
        return Reference(self.run_length, self.streams, thresholds, {**self.vectors, name: detector})

    def whiten(self, names: Sequence[tuple[str, str, str]], x: np.ndarray) -> np.ndarray:
        """Whitened values (n, k) of streams as they come; NaN where missing and for streams that are not watched."""
        known = {(each.asset, each.quantity): each.whitener for each in self.streams}
        found = [
            known[asset, quantity](column) if (asset, quantity) in known else np.full(len(column), np.nan)
            for (asset, quantity, _), column in zip(names, x.T, strict=True)
        ]
        return np.stack(found, axis=1) if found else np.zeros((len(x), 0))

    def alarms(self, detector: Detector, quantity: str, z: np.ndarray) -> list[int]:
        """Steps at which a detector alarms on whitened values (n,) (missing ones are passed over) or vectors (n, d)."""
        steps = np.flatnonzero(np.isfinite(z)) if z.ndim == 1 else np.arange(len(z))
        return [int(steps[i]) for i in detector.alarms(z[steps], self.thresholds[quantity][detector.name].value)]

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
            streams = tuple(Watched(**{**each, "whitener": _whitener(each["whitener"])}) for each in content["streams"])
            thresholds = {
                quantity: {name: Threshold(**each) for name, each in found.items()}
                for quantity, found in content["thresholds"].items()
            }
            vectors = {name: MMD(**{**each, "mean": tuple(each["mean"])}) for name, each in content["vectors"].items()}
            return cls(int(content["run_length"]), streams, thresholds, vectors)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: not a drift reference ({error!r}); run the stage drift again (`dvc repro`)"
            ) from error


def _whitener(values: Mapping[str, Any]) -> Whitener:
    return Whitener(values["centre"], tuple(values["phi"]), values["scale"])
