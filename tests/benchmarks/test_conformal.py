"""The benchmark beside other libraries: what it says of them holds at a small size, and its ways make the same sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import conformal
from benchmarks.conformal_speed import choices, compared, numbers, queries_of, rows_of, speed
from benchmarks.conformal_steps import stepped
from benchmarks.conformal_ways import measure
from benchmarks.conformal_wrong import cases


def test_what_goes_wrong_does() -> None:
    found = {case.name: case for case in cases(steps=400, repetitions=60, runs=10)}
    figures = {name: case.figures for name, case in found.items()}
    aci = figures["MAPIE: ACI"]
    assert min(aci["mapie"]) > aci["bound"] >= max(aci["ours"])
    level = figures["MAPIE: level of ACI"]
    assert (level["mapie"], level["ours"]) == (0.02, 0.025) and level["adapting"].startswith("KeyError")
    aps = figures["MAPIE: APS without the last label"]
    assert aps["mean"]["False"] + 2 * aps["half width of 95 %"]["False"] < 0.88
    assert all(abs(aps["mean"][name] - 0.9) < 2 * aps["half width of 95 %"][name] for name in ("ours", "randomized"))
    venn = figures["MAPIE: Venn-Abers"]
    assert venn["mapie"] == pytest.approx(1 / 3) and venn["ours"] == 1.0
    few = figures["MAPIE, crepes: just enough rows"]
    assert few["mapie"].startswith("ValueError") and few["crepes"] == "inf" and few["ours"] == 9.0
    test = figures["MAPIE: Learn then Test"]
    assert test["mapie"]["precision, fixed_sequence"] == 10 and test["ours"] == 0
    assert figures["crepes: levels met exactly"]["crepes"] == [19, 91, 901]
    assert figures["crepes: levels met exactly"]["ours"] == [18, 90, 900]
    ends = figures["crepes: predictive system"]
    assert ends["crepes"] == [["-inf", 19.0], [1.0, "inf"]] and ends["ours"] == [[1.0, 19.0], [1.0, 999.0]]
    assert (
        json.loads(json.dumps(figures, allow_nan=False))
        and conformal.wrong_table(list(found.values())).count("\n") == 9
    )


def test_ways_make_the_same_sets(tmp_path: Path) -> None:
    for name, array in (choices(1500) | numbers(1500) | queries_of(50, "", np.random.default_rng(2))).items():
        np.save(tmp_path / f"{name}.npy", array)
    told = {
        way: measure(way, tmp_path, 1)
        for way in ("lac.twinforge", "lac.mapie", "lac.crepes", "cqr.twinforge", "cqr.mapie", "split.twinforge", "split.crepes")
    }  # fmt: skip
    found = [speed(*way.split("."), 1500, each, tmp_path) for way, each in told.items()]  # type: ignore[misc]
    same = {f"{one.task}.{one.way}": one.same for one in found}
    assert same["lac.mapie"] == "0 of 7500 cells differ" and same["lac.crepes"] == "0 of 5000 cells differ"
    assert same["cqr.mapie"].startswith("ends within") and float(same["cqr.mapie"].split()[-1]) < 1e-12
    assert float(same["split.crepes"].split()[-1]) < 1e-12
    assert all(len(row) == 6 for row in rows_of(found))
    made = np.load(tmp_path / "lac.mapie.npy")
    assert compared("lac", ~made.astype(bool), made, tmp_path) == "7500 of 7500 cells differ"


def test_steps_are_taken() -> None:
    found = stepped(steps=30, rounds=1)
    assert {(one.name, one.way) for one in found} >= {
        ("ACI", "twinforge"),
        ("ACI", "MAPIE"),
        ("martingale", "twinforge"),
    }


def test_figures_go_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "mapie.md"
    page.write_text("a\n<!-- conformal-speed -->\nold\n<!-- /conformal-speed -->\nb\n")
    monkeypatch.setattr(conformal, "PAGE", page)
    conformal.fill("conformal-speed", "new")
    assert page.read_text() == "a\n<!-- conformal-speed -->\nnew\n<!-- /conformal-speed -->\nb\n"
