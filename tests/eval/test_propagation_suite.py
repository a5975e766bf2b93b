"""The propagation suite finds growth, and the reach of a wrong answer, that are known by construction."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
import pytest

from eval import suite_plots
from eval.evidence import Evidence
from eval.rolling import ROLL, policies, roll
from eval.suites.propagation import course, run
from tests.eval.rolling import Tanks, growing
from twinforge.errors import UserError

STEPS = 48


@cache
def rolled(rate: float, share: float = 0.0, off: float = 0.0, rollouts: int = 4) -> pd.DataFrame:
    """Rollouts whose readings are off by about `off` at the start, so that there is something to grow."""
    tanks = [Tanks(f"tanks-{i}", off + i % 3) for i in range(rollouts)]
    return roll(tanks, policies(STEPS), growing(rate, share))


def cells(rows: pd.DataFrame) -> dict[str, Any]:
    return run(Evidence(pd.DataFrame(), {}, {}, 0.1, 400, 1, rolled=rows)).measures["later"]


def test_an_error_that_feeds_itself_grows_and_feedback_holds_it() -> None:
    found = cells(rolled(1.06, off=10))
    never, fed = found["never"], found["every 4"]
    assert never["growth"]["twin"]["low"] > 1 and never["error_ratio"]["twin"]["low"] > 4
    assert fed["error_ratio"]["twin"]["value"] == pytest.approx(1)
    assert 0 < fed["growth"]["twin"]["value"] < never["growth"]["twin"]["value"]
    assert never["over_rule"]["twin"]["low"] > 13 > never["error"]["rule"]["high"]  # the rule repeats what it is told


def test_one_that_forgets_its_errors_shows_none() -> None:
    never = cells(rolled(0.5, off=20))["never"]
    assert never["error_last"]["twin"]["value"] == 0 < never["error_near"]["twin"]["value"]
    assert never["growth"]["twin"]["high"] < 0 and never["over_rule"]["twin"]["high"] < 0


def test_a_constant_error_does_not_grow() -> None:
    never = cells(rolled(1.0, off=7))["never"]
    assert never["growth"]["twin"]["value"] == pytest.approx(0, abs=1e-9) and never["error_ratio"]["twin"]["value"] == 1


@pytest.mark.parametrize("rate, share, steps, reached", [(1.0, 0.0, 12, 0), (0.0, 0.0, 0, 0), (0.8, 0.3, 12, 1)])
def test_a_wrong_answer_lasts_and_reaches_as_it_was_made_to(
    rate: float, share: float, steps: int, reached: float
) -> None:
    found = cells(rolled(rate, share))
    wrong, soon = found["wrong answer"], found["wrong answer, 1 on"]
    assert wrong["lasting"]["twin"]["value"] == steps and wrong["reached"]["twin"]["value"] == reached
    assert soon["moved"]["twin"]["value"] == pytest.approx(30 * rate, abs=1)
    assert soon["moved_others"]["twin"]["value"] == pytest.approx(30 * share, abs=1)


def test_the_course_has_a_band_around_every_point() -> None:
    rows = rolled(1.06, off=10)
    frame = course(rows, 400, 1)
    assert set(frame["policy"]) == {"never", "every 4", "every 16", "simulator"} and frame["n"].gt(0).all()
    never = frame[(frame["policy"] == "never") & (frame["model"] == "twin")]
    assert (
        len(never) == STEPS // 4 and (never["low"] <= never["value"]).all() and (never["value"] <= never["high"]).all()
    )
    assert len(suite_plots.propagation(frame).axes) == 4
    assert never["value"].is_monotonic_increasing and never["value"].iloc[-1] > 2 * never["value"].iloc[0]


def test_bad_rows_are_named_and_none_is_no_suite() -> None:
    rows = rolled(1.0)
    with pytest.raises(UserError, match="stands twice"):
        cells(pd.concat([rows, rows.head(1)]))
    with pytest.raises(UserError, match="wrong answer.*lacks"):
        cells(rows[rows["policy"] != "never"])
    assert run(Evidence(pd.DataFrame(), {}, {}, 0.1, 400, 1, rolled=pd.DataFrame(columns=ROLL.names))).measures == {}
