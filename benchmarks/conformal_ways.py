"""One way of making guaranteed sets, measured in a process of its own: `python -m benchmarks.conformal_ways WAY FOLDER ROUNDS`.

`benchmarks.conformal_speed` writes the arrays of FOLDER and starts this on one core. A way is built from its arrays and gives
a function that does the whole work, from raw arrays to sets; it is run once on few rows before anything is measured. What it
made is left as FOLDER/WAY.npy, the seconds and the memory are printed as JSON. Nothing here may import what the environment of
another library lacks, except within that library's way.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ALPHA, KAPPA = 0.1, 5
WARM = 1000  # rows of the warm-up
PART = 1000  # rows that crepes predicts, which compares each option with every calibration score
Arrays = Mapping[str, Any]
Work = Callable[[Arrays], Any]


def choice(method: Any, randomised: bool = True) -> Work:
    from twinforge.conformal.choice import Choice

    return lambda a: Choice.fit(a["p"], a["label"], ALPHA, method, randomised=randomised).sets(a["new"])


def mapie_choice(score: str, **more: Any) -> Work:
    from mapie.classification import SplitConformalClassifier

    from twinforge.conformal import reference

    def work(a: Arrays) -> Any:
        fitted = SplitConformalClassifier(reference.classifier(KAPPA), 1 - ALPHA, score, random_state=0)
        fitted.conformalize(a["p"], a["label"])
        return fitted.predict_set(a["new"], conformity_score_params=more)[1][:, :, 0]

    return work


def torchcp_choice(score: str, **more: Any) -> Work:
    """Its package as a whole asks for three more that this needs no part of: only what is measured is imported."""
    home = next(Path(folder) / "torchcp" for folder in sys.path if (Path(folder) / "torchcp").is_dir())
    package, sorting = types.ModuleType("torchcp"), types.ModuleType("torchsort")
    package.__path__ = [str(home)]
    sorting.soft_rank = sorting.soft_sort = None  # type: ignore[attr-defined]
    sys.modules.update(torchcp=package, torchsort=sorting)
    import torch
    from torchcp.classification import score as scores  # type: ignore
    from torchcp.classification.predictor import SplitPredictor  # type: ignore

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def work(a: Arrays) -> Any:
        fitted = SplitPredictor(getattr(scores, score)("identity", **more), alpha=ALPHA)
        fitted.calculate_threshold(torch.from_numpy(a["p"]), torch.from_numpy(a["label"]))
        return fitted.predict_with_logits(torch.from_numpy(a["new"])).numpy()

    return work


def crepes_choice() -> Work:
    from crepes import ConformalClassifier  # type: ignore

    def work(a: Arrays) -> Any:
        rows = np.arange(len(a["label"]))
        fitted = ConformalClassifier().fit(1 - a["p"][rows, a["label"]])
        return fitted.predict_set(1 - a["new"][:PART], confidence=1 - ALPHA, smoothing=False)

    return work


def number(method: Any) -> Work:
    from twinforge.conformal.number import Number

    def columns(band: Any) -> dict[str, Any]:
        return {"lower": band[:, 0], "upper": band[:, 1], "median": band[:, 2]}

    def work(a: Arrays) -> Any:
        return np.column_stack(
            Number.fit(columns(a["band"]), a["truth"], ALPHA, method).intervals(columns(a["new_band"]))
        )

    return work


def mapie_cqr() -> Work:
    from mapie.regression import ConformalizedQuantileRegressor

    from twinforge.conformal import reference

    def work(a: Arrays) -> Any:
        stubs = [reference.regressor(i) for i in range(3)]
        fitted = ConformalizedQuantileRegressor(stubs, 1 - ALPHA, prefit=True).conformalize(a["band"], a["truth"])
        return fitted.predict_interval(a["new_band"], symmetric_correction=True)[1][:, :, 0]

    return work


def mapie_split() -> Work:
    from mapie.regression import SplitConformalRegressor

    from twinforge.conformal import reference

    def work(a: Arrays) -> Any:
        fitted = SplitConformalRegressor(reference.regressor(2), 1 - ALPHA, prefit=True)
        return fitted.conformalize(a["band"], a["truth"]).predict_interval(a["new_band"])[1][:, :, 0]

    return work


def crepes_split() -> Work:
    from crepes import ConformalRegressor  # type: ignore

    def work(a: Arrays) -> Any:
        fitted = ConformalRegressor().fit(a["truth"] - a["band"][:, 2])
        return fitted.predict_int(a["new_band"][:, 2], confidence=1 - ALPHA)

    return work


def entities() -> Work:
    """Calibrated on all queries, and all queries of the second half of the arrays judged."""
    from twinforge.conformal.entities import Entities

    def work(a: Arrays) -> Any:
        fitted = Entities.fit(a["query"], a["score"], a["gold"], ALPHA, "all")
        return fitted.covered(a["new_query"], a["new_score"], a["new_gold"])[1]

    return work


CHOICE, NUMBER = ("p", "label", "new"), ("band", "truth", "new_band")
ENTITIES = ("query", "score", "gold", "new_query", "new_score", "new_gold")
WAYS: Mapping[str, tuple[tuple[str, ...], Callable[[], Work]]] = {
    "lac.twinforge": (CHOICE, lambda: choice("lac")),
    "lac.mapie": (CHOICE, lambda: mapie_choice("lac")),
    "lac.torchcp": (CHOICE, lambda: torchcp_choice("LAC")),
    "lac.crepes": (CHOICE, crepes_choice),
    "aps.twinforge": (CHOICE, lambda: choice("aps")),
    "aps.mapie": (CHOICE, lambda: mapie_choice("aps", include_last_label="randomized")),
    "aps.torchcp": (CHOICE, lambda: torchcp_choice("APS", randomized=True)),
    "aps-plain.twinforge": (CHOICE, lambda: choice("aps", randomised=False)),
    "aps-plain.torchcp": (CHOICE, lambda: torchcp_choice("APS", randomized=False)),
    "cqr.twinforge": (NUMBER, lambda: number("cqr")),
    "cqr.mapie": (NUMBER, mapie_cqr),
    "split.twinforge": (NUMBER, lambda: number("split")),
    "split.mapie": (NUMBER, mapie_split),
    "split.crepes": (NUMBER, crepes_split),
    "entities.twinforge": (ENTITIES, entities),
}


def status(name: str) -> int | None:
    """A figure of this process in bytes, as Linux counts it; None elsewhere."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    return 1024 * int(next(line.split()[1] for line in path.read_text().splitlines() if line.startswith(name)))


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of each round, bytes of the input, and the bytes that the first round held beyond it at its peak."""
    needs, make = WAYS[name]
    work = make()
    arrays = {each: np.load(folder / f"{each}.npy") for each in needs}
    work({each: array[:WARM] for each, array in arrays.items()})
    if (forget := Path("/proc/self/clear_refs")).exists():
        forget.write_text("5")  # the peak counts from here
    before, seconds, extra = status("VmRSS"), [], None
    for turn in range(rounds):
        start = time.perf_counter()
        made = work(arrays)
        seconds.append(time.perf_counter() - start)
        if not turn and before is not None:
            extra = (status("VmHWM") or before) - before
    np.save(folder / f"{name}.npy", np.asarray(made))
    return {"seconds": seconds, "input": sum(array.nbytes for array in arrays.values()), "extra": extra}


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
