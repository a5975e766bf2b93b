"""Remedies: what each changes, which are offered, and how near their estimates come."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sectors.energy.world import Fresh
from twinforge.sectors.energy.grid import Grid, lost_buses, single_outages
from twinforge.sectors.energy.remedies import NOTHING, Remedy


def offers(f: Fresh) -> tuple[str, list[str]]:
    """The outage, and the actions in their order."""
    keys = [key.partition("|") for key in f.of("action").query("quantity == 'lost_mw'")["cause"]]
    assert len({outage for outage, _, _ in keys}) == 1
    return keys[0][0], [action for _, _, action in keys]


@pytest.mark.parametrize(("name", "part"), [("D7", "load"), ("W2", "sgen"), ("V3", "sgen")])
def test_half_of_one_injection_goes(rated: Grid, fresh: list[Fresh], name: str, part: str) -> None:
    before = fresh[0].injections()
    after = Remedy("x", halved=name).inject(rated, before)
    for field, table in (("p_load", rated.loads), ("q_load", rated.loads), ("p_sgen", rated.sgens)):
        a, b = getattr(after, field), getattr(before, field)
        hit = (table["name"] == name).to_numpy()
        assert np.array_equal(a[~hit], b[~hit]) and np.allclose(a[hit], 0.5 * b[hit])
        assert hit.sum() == (part in field)
    assert after.slack_vm_pu == before.slack_vm_pu


def test_switching_changes_the_open_lines_alone(rated: Grid, fresh: list[Fresh]) -> None:
    out, state = frozenset({"L1", "L2"}), fresh[0].injections()
    assert Remedy("x", opened="L3").out(out) == {"L1", "L2", "L3"}
    assert Remedy("x", closed="L2").out(out) == {"L1"}
    assert Remedy(NOTHING).out(out) == out
    assert np.array_equal(Remedy("x", opened="L3").inject(rated, state).p_load, state.p_load)


def test_three_to_five_actions_and_to_do_nothing(fresh: list[Fresh]) -> None:
    for f in fresh:
        outage, actions = offers(f)
        work = f.day.out(f.step / 4)
        assert actions[-1] == NOTHING and len(actions) == len(set(actions)) == 5
        assert [a for a in actions if a.startswith("close")] == [f"close {line}" for line in work]
        assert outage not in work and f"open {outage}" not in actions
        assert sum(a.startswith(("curtail", "halve")) for a in actions) == 2


def test_no_one_is_cut_off_by_opening_a_line_as_the_switches_are_reported(rated: Grid, fresh: list[Fresh]) -> None:
    for f in fresh:
        outage, actions = offers(f)
        reported = f.day.out(f.step / 4) | {outage}
        least = lost_buses(rated, rated.mask(reported)).sum()
        cut = dict(zip(rated.lines["name"], lost_buses(rated, single_outages(rated, reported)).sum(1), strict=True))
        assert all(cut[a.split()[1]] == least for a in actions if a.startswith("open"))


def test_estimates_are_near_the_truth_where_no_sensor_lies(fresh: list[Fresh]) -> None:
    errors = []
    for f in fresh:
        if f.fault[0] == 0:
            true = f.of("action").query("quantity == 'worst_loading'").set_index("cause")["value"]
            errors += [f.state.get(key, "estimate") - v for key, v in true.items()]
    assert 0.1 < np.median(np.abs(errors)) < 4 and np.quantile(np.abs(errors), 0.9) < 25


def test_best_and_random_of_a_sort_are_offered(fresh: list[Fresh]) -> None:
    """The best lowers the worst loading often, the other one seldom: choosing needs the numbers."""
    better = []
    for f in fresh:
        outage, actions = offers(f)
        value = {a: f.state.get(f"{outage}|{a}", "estimate") for a in actions}
        halved = sorted(value[a] for a in actions if a.startswith(("curtail", "halve")))
        better.append([v < value[NOTHING] - 1 for v in halved])
    best, other = np.mean(better, axis=0)
    assert best > other + 0.15 and best > 0.3
