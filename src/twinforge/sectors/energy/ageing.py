"""Ageing lines, cables and transformers: health, hazard, failures within a year, and the maintenance log that hints at them.

The hazard is that of the British DNO Common Network Asset Indices Methodology (CNAIM) v2.1, 2021, for 132 kV assets, which
stand in for 110 kV ones: normal expected lives (Table 20), failure curve (Table 21), condition inputs (Tables 93, 142, 185),
ageing reduction (Table 216). What CNAIM does not say is ours: how ages and true conditions are spread over a fleet, how well
an inspection sees the true condition, and how often a severe finding is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from twinforge.errors import UserError
from twinforge.sectors.energy.grid import Grid

C, HEALTH_LIMIT = 1.087, 4.0  # Table 21: shape, and the health score below which the hazard stays what it is there
NEW, END_OF_LIFE, WORST_NOW, WORST_LATER = 0.5, 5.5, 10.0, 15.0
STEP = 30  # days over which a hazard is held constant
SEVERITIES = ("none", "slight", "clear", "severe")
HISTORY = 730  # days of log before day 0
INSPECTED_EVERY = 300  # days, give or take 60
GRADING = (0.1, 0.8, 0.1)  # an inspection grades the true condition one too low, right, one too high
REPAIRS = 0.4  # share of severe findings after day 0 that are repaired
PAST_REPAIRS = 0.1  # share of sound assets that were severe, and repaired, in the past two years


@dataclass(frozen=True)
class Kind:
    """One kind of asset. k: failures a year (for lines and cables: a year and km); life: years, old and new build;
    factors, collars: what the true condition (0 none, 1 slight, 2 clear, 3 severe deterioration) does to the health score;
    findings: what an inspection looks at.
    """

    k: float
    life: tuple[float, float]
    factors: tuple[float, float, float, float]
    collars: tuple[float, float, float, float]
    findings: tuple[str, ...]
    repair: str


KINDS = {
    "line": Kind(  # OHL conductor, ACSR greased and not; visual condition of Table 142
        8.0e-5, (55.0, 50.0), (0.9, 1.1, 1.3, 1.4), (0.5, 0.5, 4.0, 8.0),
        ("corrosion", "sag", "hot joint", "broken strands"), "worn spans replaced",
    ),
    "cable": Kind(  # non-pressurised cable; partial discharge of Table 185
        6.58e-4, (100.0, 100.0), (1.0, 1.0, 1.15, 1.5), (0.5, 0.5, 0.5, 5.5),
        ("partial discharge", "sheath damage", "joint heating"), "weak joint replaced",
    ),
    "transformer": Kind(  # built before and after 1980; main tank condition of Table 93
        4.54e-4, (60.0, 50.0), (1.0, 1.0, 1.4, 1.8), (0.5, 0.5, 4.0, 8.0),
        ("oil acidity", "dissolved gas", "moisture", "oil leak"), "oil reclaimed and bushings renewed",
    ),
}  # fmt: skip
FINDINGS = tuple(finding for kind in KINDS.values() for finding in kind.findings)


@dataclass(frozen=True)
class Fleet:
    """The grid's lines and transformers as they stand on day 0; arrays are (n_asset,).

    names, kinds : of the assets. age, expected_life : years. length_km : 1 for transformers.
    condition : true deterioration, 0 to 3. Hidden: nobody sees it but through inspections.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    age: np.ndarray
    expected_life: np.ndarray
    length_km: np.ndarray
    condition: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Event:
    """One line of the log. day: counted from day 0, negative before. kind: inspection, repair or failure.
    finding, severity (1 slight, 2 clear, 3 severe): inspections only; an inspection that finds nothing has none of them.
    """

    day: int
    asset: str
    kind: str
    finding: str = ""
    severity: int = 0


def ageing_acceleration(hot_spot_c: np.ndarray | float) -> np.ndarray:
    """How many times faster than at 110 degC a transformer's insulation ages (IEEE C57.91-2011, F_AA)."""
    return np.exp(15000 / 383 - 15000 / (np.asarray(hot_spot_c, float) + 273))


def draw_fleet(grid: Grid, rng: np.random.Generator) -> Fleet:
    """Draw ages, lives and true conditions for every line and transformer of a grid.

    Old assets are worse off, but not all of them. A transformer's duty is its insulation's ageing acceleration at its usual
    hottest spot, within CNAIM's range of duty factors (1 to 1.4, Table 34).
    """
    kinds = tuple(np.where(grid.lines["underground"], "cable", "line")) + ("transformer",) * len(grid.transformers)
    n = len(kinds)
    old = rng.random(n) < 0.5
    normal = np.array([KINDS[k].life[0 if o else 1] for k, o in zip(kinds, old, strict=True)])
    duty = np.clip(ageing_acceleration(rng.normal(106, 6, n)), 1.0, 1.4)
    life = normal / np.where(np.array(kinds) == "transformer", duty, 1.0)
    age = np.round(life * rng.uniform(0.1, 1.5, n))
    latent = 2.2 * (age / life - 0.75) + rng.normal(size=n)
    length = np.concatenate([grid.lines["length_km"].to_numpy(float), np.ones(len(grid.transformers))])
    return Fleet(grid.branches, kinds, np.maximum(age, 1.0), life, length, np.digitize(latent, [-0.6, 0.4, 1.2]))


def health(fleet: Fleet, day: float | np.ndarray = 0.0) -> np.ndarray:
    """Health scores, (n_asset,), 0.5 (new) to 15, on a day from 0 on, or (days, n_asset) on days of shape (days, 1).

    On day 0: 0.5 exp(b1 age) up to 5.5, with b1 = ln(5.5 / 0.5) / expected life, times the condition's factor, not below
    its collar, 0.5 to 10. Later: times exp(b2 t / r), b2 = ln(H / 0.5) / age, at most 2 b1, and r the ageing reduction.
    """
    b1 = np.log(END_OF_LIFE / NEW) / fleet.expected_life
    factor, collar = (
        np.array([getattr(KINDS[k], name)[c] for k, c in zip(fleet.kinds, fleet.condition, strict=True)])
        for name in ("factors", "collars")
    )
    now = np.clip(np.maximum(np.minimum(NEW * np.exp(b1 * fleet.age), END_OF_LIFE) * factor, collar), NEW, WORST_NOW)
    b2 = np.minimum(np.log(now / NEW) / fleet.age, 2 * b1)
    b2 = np.where(now <= NEW, b1, b2)
    reduction = np.clip((now - 2) / 7 + 1, 1.0, 1.5)
    return np.minimum(now * np.exp(b2 / reduction * day / 365.25), WORST_LATER)


def failure_curve(k: np.ndarray | float, score: np.ndarray | float) -> np.ndarray:
    """K (1 + CH + (CH)^2 / 2 + (CH)^3 / 6): CNAIM's expected failures a year at a health score."""
    x = C * np.asarray(score, float)
    return k * (1 + x + x**2 / 2 + x**3 / 6)


def pof(fleet: Fleet, day: float | np.ndarray = 0.0) -> np.ndarray:
    """Expected failures a year of every asset, (n_asset,); constant up to a health score of 4."""
    k = np.array([KINDS[kind].k for kind in fleet.kinds]) * fleet.length_km
    return failure_curve(k, np.maximum(health(fleet, day), HEALTH_LIMIT))


def failure_probability(fleet: Fleet, days: int, stress: float = 1.0) -> np.ndarray:
    """Probability to fail within `days` of day 0, (n_asset,), for who knew the true condition, if nothing is repaired."""
    return 1 - np.exp(-_hazard(fleet, days, stress).sum(0))


def simulate(fleet: Fleet, days: int, rng: np.random.Generator, stress: float = 1.0) -> tuple[Event, ...]:
    """The log of two years before day 0, and of `days` days after it, in order of time.

    All assets are alive on day 0, and their true condition until then is that of day 0, or severe before a past repair. An
    inspection looks at two things and grades each as the true condition, now and then one step off. Some severe findings
    after day 0 are repaired within eighty days, which leaves a slight condition. No asset's log goes on past its failure.

    Parameters
    ----------
    stress : multiplies the hazard: 1 is the cited model; more is a stress test in which a year shows what decades would.

    Raises
    ------
    UserError
        stress or days not positive.
    """
    if stress <= 0 or days <= 0:
        raise UserError(f"ageing needs stress and days above 0, got stress = {stress}, days = {days}")
    events: list[Event] = []
    repaired = np.full(len(fleet), days)
    for i in range(len(fleet)):
        log, repaired[i] = _inspect(fleet, i, days, rng)
        events += log
    failed = _failure_days(fleet, days, repaired, stress, rng)
    end = dict(zip(fleet.names, failed, strict=True))
    kept = [e for e in events if e.day < end[e.asset]]
    kept += [Event(int(day), name, "failure") for name, day in end.items() if day < days]
    return tuple(sorted(kept, key=lambda e: (e.day, e.asset, e.finding)))


def _inspect(fleet: Fleet, i: int, days: int, rng: np.random.Generator) -> tuple[list[Event], int]:
    """One asset's inspections and repairs, and the day after day 0 on which it is repaired (`days` when it is not)."""
    name, kind, condition = fleet.names[i], KINDS[fleet.kinds[i]], int(fleet.condition[i])
    mended = -int(rng.integers(30, HISTORY)) if condition <= 1 and rng.random() < PAST_REPAIRS else -HISTORY
    log = [Event(mended, name, "repair")] if mended > -HISTORY else []
    repair = days
    day = -HISTORY + int(rng.integers(INSPECTED_EVERY))
    while day < days:
        true = 3 if day < mended else condition if day < repair else min(condition, 1)
        seen = np.clip(true + rng.choice([-1, 0, 1], size=2, p=GRADING), 0, 3).tolist()
        looked_at = rng.permutation(kind.findings)[:2].tolist()
        found = [Event(day, name, "inspection", f, s) for f, s in zip(looked_at, seen, strict=True) if s]
        log += found or [Event(day, name, "inspection")]
        if max(seen) == 3 and day >= 0 and repair == days and rng.random() < REPAIRS:
            repair = min(day + int(rng.integers(20, 80)), days)
            log += [Event(repair, name, "repair")] if repair < days else []
        day += int(rng.integers(INSPECTED_EVERY - 60, INSPECTED_EVERY + 60))
    return log, repair


def _failure_days(fleet: Fleet, days: int, repaired: np.ndarray, stress: float, rng: np.random.Generator) -> np.ndarray:
    """First day on which each asset's summed hazard passes a unit exponential draw; `days` or more when it survives."""
    mended = replace(fleet, condition=np.minimum(fleet.condition, 1))
    steps = np.arange(0, days, STEP)[:, None]
    worn, sound = _hazard(fleet, days, stress), _hazard(mended, days, stress)
    total = np.vstack([np.zeros(len(fleet)), np.cumsum(np.where(steps < repaired, worn, sound), axis=0)])
    draw = rng.exponential(size=len(fleet))
    edges = np.append(steps[:, 0], days)
    return np.array([
        days if draw[i] >= total[-1, i] else int(np.interp(draw[i], total[:, i], edges)) for i in range(len(fleet))
    ])  # fmt: skip


def _hazard(fleet: Fleet, days: int, stress: float) -> np.ndarray:
    """Expected failures in each step of `STEP` days from day 0 on, (steps, n_asset)."""
    edges = np.append(np.arange(0, days, STEP), days)[:, None]
    return stress * pof(fleet, (edges[1:] + edges[:-1]) / 2) * np.diff(edges, axis=0) / 365.25


def findings(events: Iterable[Event], day: int) -> dict[tuple[str, str], int]:
    """What the log says on a day: the latest severity of each (asset, finding), 1 to 3; a repair wipes the asset's."""
    known: dict[tuple[str, str], int] = {}
    for e in events:
        if e.day > day:
            break
        if e.kind == "repair":
            known = {key: value for key, value in known.items() if key[0] != e.asset}
        elif e.finding:
            known[e.asset, e.finding] = e.severity
    return known


def failed(events: Iterable[Event], day: int, within: int = 365) -> frozenset[str]:
    """Assets that fail after `day` and at most `within` days later."""
    return frozenset(e.asset for e in events if e.kind == "failure" and day < e.day <= day + within)


def log_text(events: Iterable[Event], fleet: Fleet, start: date) -> list[str]:
    """The log in words, one entry an event; `start` is the date of day 0."""
    kind = dict(zip(fleet.names, fleet.kinds, strict=True))
    return [
        f"{start + timedelta(days=e.day)} {e.asset} ({kind[e.asset]}): {_words(e, KINDS[kind[e.asset]])}"
        for e in events
    ]


def _words(event: Event, kind: Kind) -> str:
    if event.kind == "failure":
        return "failed in service"
    if event.kind == "repair":
        return f"repaired, {kind.repair}"
    if not event.finding:
        return "inspected, nothing found"
    return f"inspected, {SEVERITIES[event.severity]} {event.finding}"
