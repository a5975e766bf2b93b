"""A report from a packaged twin shows only what its calibration stands for."""

import math
from dataclasses import replace

from rich.console import Console

from tests.tiny_twin import shared
from twinforge.artifact import Twin
from twinforge.claims import Claim
from twinforge.reasoning.brief import BLANK, Brief, brief
from twinforge.reasoning.show import show_brief

TEXT = "tank A holds 2.0 m. In 1 h tank A will hold 2.5 m."
CLAIMS = (
    Claim("tank A", "level", 2.0, "m", 0.0, "", 13, 18),
    Claim("tank A", "level", 2.5, "m", 1.0, "", 44, 49),
)
REPORT = Brief("Report on tank A.", TEXT, CLAIMS, (True, False), 0.9, ("supported", "contradicted"), 1.0)


def page(report: Brief) -> str:
    console = Console(record=True, width=200)
    show_brief(report, console)
    return console.export_text()


def test_what_it_does_not_stand_for_is_left_out() -> None:
    assert REPORT.shown == f"tank A holds 2.0 m. In 1 h tank A will hold {BLANK}."
    shown = page(REPORT)
    assert "2.5" not in shown and "1 of 2 statements" in shown and "90%" in shown and "nothing wrong" in shown
    kept = replace(REPORT, kept=(True, True))
    assert kept.shown == TEXT and "2.5 m (contradicted)" in page(kept)


def test_that_something_is_missing_needs_no_blank() -> None:
    untold = replace(CLAIMS[0], value=math.nan)
    assert replace(REPORT, claims=(untold, CLAIMS[1]), kept=(False, True)).shown == TEXT


def test_a_twin_writes_where_a_report_is_asked_for() -> None:
    twin = Twin.open(shared(), str(shared().parents[1] / "base"))
    written = brief(twin, "Please report on tank A.")
    assert written is not None and len(written.kept) == len(written.claims) and written.seconds > 0
    assert brief(twin, "What is wrong here?") is None
