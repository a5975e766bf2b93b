"""The gate's verdict as data, as a terminal's table and as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table

from eval.bars import BARS, Held, shown

Outcome = Literal["pass", "fail", "no baseline", "not comparable"]
Finding = Literal["worse", "not worse", "unclear", "undefined", "no release", "not measured"]
MEANINGS = {
    "worse": "worse by more than the margin, beyond chance: fails",
    "not worse": "shown to be no worse than the margin allows",
    "missed": "beyond its bar, and the whole interval too: fails",
    "kept": "within its bar, and the whole interval too",
    "unclear": "neither shown: too few episodes; does not fail",
    "undefined": "no question defines it on both sides: fails",
    "no release": "nothing of this suite was released; does not fail",
    "not measured": "the suite did not run, or on too little; does not fail, but can't be released",
}
JUDGED = ("suite", "measure", "bar or release", "today (95 %)", "n", "finding")
COMPARED = ("suite", "measure", "gain (95 %)", "margin", "p (Holm)", "smallest loss seen", "n", "finding")
COVERED = ("skill", "coverage", "band", "n", "finding")
BAD = ("worse", "missed", "undefined", "too low")


@dataclass(frozen=True)
class Comparison:
    """One primary measure, today against the release, on the questions both answered.

    gain : today minus release, signed so that positive is better; low, high : its 95 % interval (Student's t, episodes);
    p : chance of a gain this low, were the true one -margin; holm : p adjusted; smallest : the smallest true loss that
    would have failed with 80 % power (None where the answers are the same and the measure is no share).
    """

    skill: str
    measure: str
    margin: float
    n: int
    episodes: int
    release: float | None = None
    today: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    holm: float = 1.0
    smallest: float | None = None
    finding: Finding = "undefined"
    suite: str = "quality"

    @property
    def name(self) -> str:
        return f"{self.skill}: {self.measure.replace('_', ' ')}"


@dataclass(frozen=True)
class Coverage:
    """Coverage of one skill on the test split against the band that agrees with the promise."""

    skill: str
    value: float
    band_low: float
    band_high: float
    n: int
    ok: bool


@dataclass(frozen=True)
class GateReport:
    """The verdict, and all that it rests on."""

    verdict: Outcome
    passed: bool
    alpha: float
    measures: tuple[Comparison, ...]
    bars: tuple[Held, ...]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As gate.json holds it."""
        value = asdict(self)
        return {key: list(part) if isinstance(part, tuple) else part for key, part in value.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GateReport:
        """Read what `to_json` gave."""
        parts = {
            "measures": tuple(Comparison(**row) for row in value["measures"]),
            "bars": tuple(Held(**row) for row in value["bars"]),
            "coverage": tuple(Coverage(**row) for row in value["coverage"]),
            "notes": tuple(value["notes"]),
        }
        return cls(**{**value, **parts})

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """The suites whose primary measure has no figure today."""
        rows: list[Comparison | Held] = [*self.measures, *self.bars]
        return tuple(dict.fromkeys(row.suite for row in rows if row.finding == "not measured"))

    def markdown(self) -> str:
        """The verdict as tables for a CI job's summary."""
        lines = [f"## Gate: {self.verdict}", ""]
        for head, rows in self.tables_of_text():
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows), ""]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes), ""])

    def tables(self) -> list[Table]:
        """The same for a terminal."""
        return [_rich(head, rows, f"gate: {self.verdict}", self.passed) for head, rows in self.tables_of_text()]

    def tables_of_text(self) -> list[tuple[tuple[str, ...], list[list[str]]]]:
        """Heads and rows as text: all primary measures, what the compared ones rest on, then the coverage; no empty table.

        The last column is the finding.
        """
        compared = [_compared(row) for row in self.measures if row.gain is not None]
        found = [(JUDGED, self.judged()), (COMPARED, compared), (COVERED, [_covered(row) for row in self.coverage])]
        return [(head, rows) for head, rows in found if rows]

    def judged(self) -> list[list[str]]:
        """A row a primary measure, cells under `JUDGED`."""
        return [*map(_against_release, self.measures), *map(_against_bar, self.bars)]


def _rich(head: Sequence[str], rows: Sequence[Sequence[str]], title: str, passed: bool) -> Table:
    table = Table(title=title, title_style="bold green" if passed else "bold red", box=box.SIMPLE_HEAD, padding=0)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row, style="red" if row[-1] in BAD else None)
    return table


def _against_release(row: Comparison) -> list[str]:
    release, today = ("" if value is None else f"{value:.4f}" for value in (row.release, row.today))
    return [row.suite, row.name, release and f"{release} less {row.margin:g}", today, str(row.n), row.finding]


def _against_bar(row: Held) -> list[str]:
    bar, today = BARS[row.suite], ""
    if row.value is not None:
        bounds = [shown(bound, bar.share).removesuffix(" %") for bound in (row.low, row.high) if bound is not None]
        today = shown(row.value, bar.share) + (f" [{', '.join(bounds)}]" if len(bounds) == 2 else "")
    return [row.suite, bar.meaning, row.bar, today, str(row.n), row.finding]


def _compared(row: Comparison) -> list[str]:
    gain = f"{row.gain:+.4f} [{row.low:+.4f}, {row.high:+.4f}]"
    smallest = "" if row.smallest is None else f"{row.smallest:.4f}"
    return [row.suite, row.name, gain, f"{row.margin:g}", f"{row.holm:.3g}", smallest, str(row.n), row.finding]


def _covered(row: Coverage) -> list[str]:
    place = "too low" if not row.ok else "above its band" if row.value > row.band_high else "as promised"
    return [row.skill, f"{row.value:.4f}", f"{row.band_low:.3f} to {row.band_high:.3f}", str(row.n), place]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
