"""What a detector does on a stretch whose change is known: found how soon, alarmed before, and what it named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from twinforge.drift.detectors import Detector
from twinforge.drift.naming import deviations, since
from twinforge.drift.reference import Reference

SOON = 48  # steps within which a change is to be found
RUN = pa.schema(
    [
        ("scenario", pa.string()),  # "calm": no change in it, false alarms are counted
        ("model", pa.string()),  # the detector; "<detector>-raw" on the signal as it comes
        ("asset", pa.string()),
        ("quantity", pa.string()),
        ("dimension", pa.string()),  # that changed; "" where none did or several may have
        ("named", pa.bool_()),  # whether the asset is the one that changed
        ("steps", pa.int64()),  # watched from the change on
        ("alarms", pa.int64()),  # in those
        ("early", pa.bool_()),  # whether it alarmed in the 48 steps before the change
        ("delay", pa.float64()),  # steps to the first alarm, 1 at the change itself; NaN: missed
        ("named_asset", pa.string()),  # by the first alarm; "" where missed
        ("named_dimension", pa.string()),
    ]
)
COURSE = pa.schema(
    [
        ("scenario", pa.string()),
        ("asset", pa.string()),
        ("model", pa.string()),
        ("step", pa.int64()),  # from the change, which is 0
        ("evidence", pa.float64()),  # the detector's path over its threshold
    ]
)


@dataclass(frozen=True)
class Trial:
    """One detector on one stretch: the last columns of `RUN`."""

    steps: int
    alarms: int
    early: bool
    delay: float
    named_asset: str
    named_dimension: str


def trial(
    reference: Reference,
    detector: Detector,
    names: Sequence[tuple[str, str, str]],
    z: np.ndarray,
    column: int,
    change: int,
) -> Trial:
    """Watch one column of z, and at its first alarm from `change` on name the stream that has moved furthest.

    names : (asset, quantity, dimension) of the k streams. z : (n, k) values of scale 1, NaN where missing.
    """
    found = _timed(reference.alarms(detector, *names[column][:2], z[:, column]), len(z), change)
    if not found.alarms:
        return found
    seen = z[: change + int(found.delay)]
    asset, _, dimension = names[int(np.argmax(deviations(seen, since(seen[:, column]))))]
    return replace(found, named_asset=asset, named_dimension=dimension)


def vector_trial(reference: Reference, name: str, x: np.ndarray, change: int) -> Trial:
    """The same for a detector of vectors x (n, d), which names nothing."""
    return _timed(reference.vector_alarms(name, x), len(x), change)


def _timed(steps: Sequence[int], length: int, change: int) -> Trial:
    """What alarms at these steps of a stretch come to; nothing is named yet."""
    after = [at for at in steps if at >= change]
    early = any(change - SOON <= at < change for at in steps)
    delay = float(after[0] - change + 1) if after else float("nan")
    return Trial(length - change, len(after), early, delay, "", "")
