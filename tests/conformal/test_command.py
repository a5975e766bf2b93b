"""`twinforge conformal` as a user types it: every example of its help, every kind there and back, bad files named."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinforge import cli
from twinforge.conformal.arguments import EXAMPLES
from twinforge.conformal.choice import Choice
from twinforge.conformal.kinds import KINDS


def run(line: str) -> int:
    """`twinforge conformal LINE` in this process; its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main(["conformal", *shlex.split(line)])
    return int(left.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(kind: str, name: str, seed: int, n: int = 1200, **more: np.ndarray) -> None:
    """Scores of one kind whose truths follow them."""
    rng = np.random.default_rng(seed)
    if kind in ("choice", "online"):
        p = rng.dirichlet(np.ones(4), n)
        found = {"probabilities": p, "labels": (p.cumsum(1) < rng.random((n, 1))).sum(1)}
    elif kind == "number":
        middle, scale = rng.normal(size=n), rng.uniform(1, 3, n)
        grid = np.linspace(-12, 12, 49)
        mass = np.exp(-0.5 * ((grid - middle[:, None]) / scale[:, None]) ** 2)
        found = {
            "lower": middle - scale, "upper": middle + scale, "median": middle, "scale": scale, "grid": grid,
            "mass": mass / mass.sum(1, keepdims=True), "truth": middle + scale * rng.normal(size=n),
        }  # fmt: skip
    elif kind == "risk":
        confidence = rng.random(n)
        found = {"confidence": confidence, "correct": rng.random(n) < 0.5 + 0.5 * confidence}
    else:
        query, good = np.repeat(np.arange(n // 6), 6), rng.random(n) < 0.6
        total = np.maximum(np.bincount(query, good, minlength=n // 6).astype(int), 1)
        score = np.exp(good + rng.normal(size=n))
        found = {"query": query, "score": score, "gold": good, "correct": good, "supported": good, "gold_total": total}
    np.savez(name, **{**found, **more})  # type: ignore[arg-type]


def test_every_example_of_the_help_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = set()
    for line in EXAMPLES.splitlines():
        words = shlex.split(line) if line.startswith("  ") else []
        if words[:1] == ["python"]:
            subprocess.run([sys.executable, *words[1:]], check=True)
        elif words:
            with pytest.raises(SystemExit) as left:
                cli.main(words[1:])
            assert left.value.code == 0, line
            ran |= {words[i + 1] for i, word in enumerate(words) if word == "--kind"}
    assert ran == set(KINDS)
    assert "kept" in capsys.readouterr().out
    assert run("calibrate --help") == 0 and "examples" in capsys.readouterr().out


CASES = [(kind, method) for kind, found in KINDS.items() for method in found.methods]


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_calibrated_predicted_and_reported(
    kind: str, method: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(kind, "old.npz", 1)
    write(kind, "new.npz", 2)
    level = "--alpha 0.6 --delta 0.2" if kind in ("entities", "text") else "--risk 0.2"
    assert run(f"calibrate old.npz --kind {kind} --method {method} {level} -o cal.json") == 0
    stored = json.loads((folder / "cal.json").read_text())
    assert {"alpha", "n", "method", "score", "data", "kind", "format"} <= set(stored) and len(stored["data"]) == 64
    assert run("predict cal.json new.npz -o sets.npz") == 0
    with np.load(folder / "sets.npz") as sets, np.load(folder / "new.npz") as new:
        names = {
            "choice": {"sets"}, "number": {"lower", "upper"} | ({"sets"} if method == "density" else set()), "entities": {"keep"},
            "text": {"keep"}, "risk": {"answer"}, "online": {"sets", "threshold"},
        }  # fmt: skip
        assert set(sets.files) == names[kind]
        rows = len(
            new[{"choice": "labels", "number": "truth", "risk": "correct", "online": "labels"}.get(kind, "score")]
        )
        assert all(len(sets[name]) == rows for name in sets.files)
        assert all(sets[name].dtype == bool for name in {"sets", "keep", "answer"} & set(sets.files))
    assert run("report cal.json new.npz") == 0
    assert re.search(r"all +\d+ +[01]\.\d{3} ", capsys.readouterr().out)


def test_the_library_gives_what_the_command_writes(folder: Path) -> None:
    write("choice", "old.npz", 1)
    write("choice", "new.npz", 2)
    run("calibrate old.npz --kind choice --method aps --seed 7 -o cal.json")
    run("predict cal.json new.npz -o sets.npz")
    with np.load("old.npz") as old, np.load("new.npz") as new, np.load("sets.npz") as sets:
        fitted = Choice.fit(old["probabilities"], old["labels"], 0.1, "aps", seed=7)
        assert np.array_equal(fitted.sets(new["probabilities"]), sets["sets"])
    assert Choice.from_json(json.loads(Path("cal.json").read_text())) == fitted


def test_parquet_with_lists_of_different_length_is_the_padded_array(folder: Path) -> None:
    rng = np.random.default_rng(3)
    p = [rng.dirichlet(np.ones(k)) for k in rng.integers(1, 6, 300)]
    labels = [int(rng.integers(len(row))) for row in p]
    pd.DataFrame({"probabilities": p, "labels": labels, "site": ["a", "b", "c"] * 100}).to_parquet("ragged.parquet")
    padded = np.full((300, 5), np.nan)
    for row, values in zip(padded, p, strict=True):
        row[: len(values)] = values
    np.savez("padded.npz", probabilities=padded, labels=np.array(labels), site=np.array(["a", "b", "c"] * 100))
    for name in ("ragged.parquet", "padded.npz"):
        assert run(f"calibrate {name} --kind choice --group site -o {name}.json") == 0
        assert run(f"predict {name}.json {name} -o {name}.npz") == 0
    assert json.loads(Path("ragged.parquet.json").read_text()) == json.loads(Path("padded.npz.json").read_text())
    with np.load("ragged.parquet.npz") as a, np.load("padded.npz.npz") as b:
        assert np.array_equal(a["sets"], b["sets"])


def test_too_little_coverage_exits_1_and_new_groups_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("choice", "old.npz", 1, site=np.array(["a", "b"] * 600))
    write("choice", "new.npz", 2, site=np.array(["a", "c"] * 600), labels=np.zeros(1200, int))
    run("calibrate old.npz --kind choice -o all.json")
    run("calibrate old.npz --kind choice --group site -o site.json")
    assert run("report all.json new.npz") == 1 and "TOO LOW" in capsys.readouterr().out
    assert run("predict site.json new.npz -o sets.npz") == 0
    assert "not calibrated, so everything is in their sets: c" in capsys.readouterr().out


def test_gold_that_was_not_retrieved_counts_by_query_or_by_row(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("entities", "old.npz", 1)
    with np.load("old.npz") as old:
        rows = {name: old[name] for name in ("query", "score", "gold")}
        total = old["gold_total"]
    frame = pd.DataFrame({**rows, "gold_total": total[rows["query"]]})
    frame.to_parquet("old.parquet")
    for name in ("old.npz", "old.parquet"):
        assert run(f"calibrate {name} --kind entities --cover all --alpha 0.3 -o {name}.json") == 0
    first, second = (json.loads(Path(f"{name}.json").read_text()) for name in ("old.npz", "old.parquet"))
    assert first["least"] == second["least"] and first["n"] == second["n"] == 200
    np.savez("lost.npz", **rows, gold_total=np.append(total, np.ones(100, int)))  # 100 queries without a candidate
    assert run("calibrate lost.npz --kind entities --alpha 0.1 -o lost.json") == 2
    said = capsys.readouterr().err
    lowest = float(re.search(r"lost\.npz: alpha 0\.1: \d+ of 300 queries.*can be reached is (0\.\d+)", said)[1])  # type: ignore[index]
    assert not Path("lost.json").exists()
    assert run(f"calibrate lost.npz --kind entities --alpha {lowest + 1e-3} -o lost.json") == 0


def test_bad_input_is_one_line_that_names_file_field_and_mend(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("choice", "good.npz", 1)
    run("calibrate good.npz --kind choice -o cal.json")
    capsys.readouterr()
    before = Path("cal.json").read_bytes()
    np.savez("bare.npz", labels=np.arange(3))
    np.savez("short.npz", probabilities=np.full((5, 2), 0.5), labels=np.zeros(3, int))
    np.savez("sum.npz", probabilities=np.ones((5, 2)), labels=np.zeros(5, int))
    np.savez("objects.npz", probabilities=np.array([[1], [1, 2]], object))
    Path("broken.npz").write_text("no zip")
    Path("broken.json").write_text("{")
    Path("other.json").write_text('{"format": 1, "kind": "choice"}')
    Path("text.csv").write_text("a,b")
    for line, message in (
        ("calibrate none.npz --kind choice -o cal.json", "none.npz: no such file"),
        ("calibrate text.csv --kind choice -o cal.json", "text.csv: .csv; give scores as .npz or .parquet"),
        ("calibrate broken.npz --kind choice -o cal.json", "broken.npz: "),
        ("calibrate objects.npz --kind choice -o cal.json", "objects.npz: holds Python objects"),
        ("calibrate bare.npz --kind choice -o cal.json", "bare.npz: probabilities: missing; it holds labels"),
        ("calibrate short.npz --kind choice -o cal.json", "short.npz: rows differ (probabilities 5, labels 3)"),
        ("calibrate sum.npz --kind choice -o cal.json", "sum.npz: probabilities of row 0: they sum to 2"),
        ("calibrate good.npz --kind sets -o cal.json", "--kind sets: choose one of choice, number"),
        ("calibrate good.npz --kind choice --method cqr -o cal.json", "--method cqr: --kind choice has lac"),
        ("calibrate good.npz --kind choice --alpha 1.5 -o cal.json", "good.npz: alpha 1.5: give a share"),
        ("calibrate good.npz --kind choice --group site -o cal.json", "good.npz: site: missing"),
        ("calibrate good.npz --kind risk --group site -o cal.json", "only choice and number have a threshold a group"),
        ("predict none.json good.npz -o sets.npz", "none.json: no such file"),
        ("predict broken.json good.npz -o sets.npz", "broken.json: not JSON"),
        ("predict other.json good.npz -o sets.npz", "other.json: not a calibration"),
        ("predict cal.json good.npz -o sets.csv", "sets.csv: sets are written as .npz"),
        ("report cal.json bare.npz", "bare.npz: probabilities: missing"),
    ):
        assert run(line) == 2, line
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1, said
    assert Path("cal.json").read_bytes() == before and not Path("sets.npz").exists()


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_rows_are_told_and_nothing_is_ruled_out(
    n: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("choice", "few.npz", 1, n)
    write("choice", "new.npz", 2)
    assert run("calibrate few.npz --kind choice -o cal.json") == 0
    assert "fewer than 9 rows, so everything is in the set" in capsys.readouterr().out
    assert run("predict cal.json new.npz -o sets.npz") == 0
    with np.load("sets.npz") as sets:
        assert sets["sets"].all()
    assert run("report cal.json new.npz") == 0
