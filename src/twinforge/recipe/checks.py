"""Values that are each legal but don't fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinforge.recipe.judging import Calibrate, Gate
from twinforge.recipe.schema import (
    PACKAGED_BASE,
    PACKAGED_LAYERS,
    Budget,
    Compute,
    Curate,
    Experts,
    Lake,
    Lora,
    Model,
)

PRIMARY = 8  # figures that decide at the gate


@dataclass(frozen=True)
class Check:
    """`test` takes the sections named in `reads` and returns how to mend `key`, or None when all is well."""

    key: str
    reads: tuple[str, ...]
    test: Callable[..., str | None]


def conflicts(sections: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, mend) of every check that fails; checks that read a missing section are left out."""
    for check in CHECKS:
        if all(name in sections for name in check.reads):
            mend = check.test(*(sections[name] for name in check.reads))
            if mend is not None:
                yield check.key, mend


def _shares(curate: Curate) -> str | None:
    total = curate.validation + curate.calibration + curate.test
    return None if total < 1 else f"validation + calibration + test are {total:g}; leave a share for training: below 1"


def _skills(curate: Curate) -> str | None:
    asked = set(curate.skills) - {"unanswerable", "report"}
    return None if asked else "by these nothing is asked; name a skill that has answers too, such as what-if"


def _episodes(lake: Lake, curate: Curate) -> str | None:
    smallest = min(curate.validation, curate.calibration, curate.test, 1 - curate.calibration - curate.test)
    if smallest <= 0 or lake.days * smallest >= 1:
        return None
    return f"too few for every split to get a day; write {_at_least(1 / smallest)} or more, or raise the smallest share"


def _calibration(lake: Lake, curate: Curate, calibrate: Calibrate, budget: Budget) -> str | None:
    states = lake.days * curate.calibration * budget.states_per_day
    needed = 1 / calibrate.alpha - 1
    if states >= needed:
        return None
    return f"{states:.0f} calibration states can't promise this, {_at_least(needed)} could; raise alpha, or lake.days"


def _layers(lora: Lora, model: Model) -> str | None:
    if model.base != PACKAGED_BASE or lora.layers <= PACKAGED_LAYERS:
        return None
    return f"{PACKAGED_BASE} has {PACKAGED_LAYERS} layers; write 0 (all) to {PACKAGED_LAYERS}"


def _revision(model: Model) -> str | None:
    if model.revision is None or not (model.base == PACKAGED_BASE or Path(model.base).is_dir()):
        return None
    return f"only a Hub id has revisions and {model.base!r} is none; write null"


def _targets(lora: Lora) -> str | None:
    return None if len(set(lora.targets)) == len(lora.targets) else "a module is named twice; keep one"


def _quantiles(experts: Experts) -> str | None:
    levels = experts.quantiles
    return None if list(levels) == sorted(set(levels)) else "the levels must ascend without repeats"


def _processes(compute: Compute) -> str | None:
    if compute.processes <= compute.batch_trees:
        return None
    return f"a step has {compute.batch_trees} trees to share; write as many at most, or raise batch_trees"


def _sharding(model: Model, compute: Compute) -> str | None:
    if compute.sharding == "none":
        return None
    if compute.processes == 1:
        return "one process has nothing to share; write none, or raise processes"
    return "weights in four bits can't be in pieces; write none" if model.quantization != "none" else None


def _kept_in_pieces(compute: Compute) -> str | None:
    if compute.sharding not in ("zero-3", "fsdp") or not compute.kept_gib:
        return None
    return f"with {compute.sharding} no process has whole lower layers to run ahead; write 0"


def _few_shot(budget: Budget) -> str | None:
    if budget.shots or not budget.few_shot_sample:
        return None
    return "few_shot_sample asks for few-shot answers; write 1 or more, or set few_shot_sample to 0"


def _gate_once(gate: Gate) -> str | None:
    named = [*(f"{one.suite} {one.skill} {one.measure}" for one in gate.measures), *gate.bars]
    twice = sorted({name for name in named if named.count(name) > 1})
    return f"{', '.join(twice)} stands twice; keep one" if twice else None


def _gate_few(gate: Gate) -> str | None:
    """More would make the gate blind: each one more takes power from all, and fails an equal twin more often."""
    count = len(gate.measures) + len(gate.bars)
    return None if count <= PRIMARY else f"measures and bars are {count} together; keep {PRIMARY} at most"


def _gate_regret(gate: Gate) -> str | None:
    wrong = [measure.skill for measure in gate.measures if measure.measure == "regret" and measure.skill != "recommend"]
    return f"regret is known for the skill recommend only, not for {', '.join(wrong)}" if wrong else None


def _at_least(number: float) -> int:
    return int(-(-number // 1))


CHECKS = (
    Check("curate", ("curate",), _shares),
    Check("curate.skills", ("curate",), _skills),
    Check("lake.days", ("lake", "curate"), _episodes),
    Check("calibrate.alpha", ("lake", "curate", "calibrate", "budget"), _calibration),
    Check("lora.layers", ("lora", "model"), _layers),
    Check("lora.targets", ("lora",), _targets),
    Check("model.revision", ("model",), _revision),
    Check("compute.processes", ("compute",), _processes),
    Check("compute.sharding", ("model", "compute"), _sharding),
    Check("compute.kept_gib", ("compute",), _kept_in_pieces),
    Check("experts.quantiles", ("experts",), _quantiles),
    Check("budget.shots", ("budget",), _few_shot),
    Check("gate.measures", ("gate",), _gate_once),
    Check("gate.measures", ("gate",), _gate_regret),
    Check("gate", ("gate",), _gate_few),
)
