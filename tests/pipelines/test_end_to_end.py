"""Every stage after another on the toy sector with the real SmolLM2, up to a twin that answers an operator."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from eval.probes import PROBE
from pipelines import Paths
from tests.toy_recipe import write_toy
from twinforge.artifact import Twin
from twinforge.drift.reference import Reference
from twinforge.files import read_json, read_table
from twinforge.model.base import BUNDLED
from twinforge.reasoning.ask import ask, demo
from twinforge.records import ANSWER

STAGES = (
    "lake",
    "curate",
    "train",
    "answer",
    "probe",
    "think",
    "write",
    "integrate",
    "roll",
    "calibrate",
    "drift",
    "evaluate",
    "gate",
    "report",
    "package",
)


def test_from_a_recipe_to_a_twin_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_toy(
        tmp_path,
        lake={"days": 16, "shift_days": 2},
        lora={"layers": 4},
        experts={"rounds": 5},
        evaluate={"resamples": 100},
        model={"base": BUNDLED},
        compute={"device": "cpu", "batch_trees": 2, "answer_batch_trees": 4},
        budget={
            "states_per_day": 3,
            "epochs": 1.0,
            "few_shot_sample": 4,
            "shots": 1,
            "slow_sample": 0,
            "probe_states": 1,
        },
    )
    for stage in STAGES:
        import_module(f"pipelines.{stage}").main("toy")
    paths = Paths("toy")
    curve = [entry["loss"] for entry in read_json(paths.training)["curve"]]
    assert np.mean(curve[-3:]) < 0.75 * curve[0]
    llm, base = (read_table(paths.answers_of(name), ANSWER).set_index("question")["p"] for name in ("llm", "base"))
    assert np.mean([np.abs(llm[question] - p).max() > 0.01 for question, p in base.items()]) > 0.9
    twin = Twin.open(paths.artifact)
    replies = demo(twin)
    assert len(replies) == 10 and all(np.isfinite(reply.seconds) for reply in replies)
    reply = ask(twin, "How high will tank B stand 2 h after pump P1 is lost?", "1")
    assert reply.question["template"] == "loss-level"
    assert Reference.load(paths.artifact / "drift_reference.json").streams == ()  # so few answers aren't watched
    assert read_json(paths.metrics)["drift"] == {}
    assert read_json(paths.metrics)["quality"]["test"]["all"]["accuracy"].keys() >= {
        "twin",
        "llm",
        "boost",
        "base-best",
    }
    robust = read_json(paths.metrics)["robustness"]["test"]
    assert set(robust["all"]["flipped"]) == {"llm", "twin"} and set(robust["all"]["accuracy_original"]) > {
        "llm",
        "boost",
    }
    reports = read_json(paths.metrics)["hallucination"]["test"]["all"]
    assert (
        set(reports["told"]) == {"twin", "llm", "base", "base-few", "rule"} and reports["wrong"]["rule"]["value"] < 0.6
    )
    rolled = read_json(paths.metrics)["propagation"]["later"]
    assert set(rolled["never"]["error"]) == {"twin", "llm", "boost", "rule", "persistence"}
    assert rolled["wrong answer, 1 on"]["moved"]["twin"]["n"] == 1 and rolled["every 4"]["error"]["twin"]["value"] > 0
    assert set(read_json(paths.metrics)["contamination"]["test"]["canary"]["canary_gain"]) == {"llm"}
    assert 0 <= read_json(paths.metrics)["safety"]["test"]["recommend"]["worse"]["twin"]["value"] <= 1
    assert {"options shuffled", "lines reordered", "hidden instruction"} < set(robust)
    less = read_json(paths.metrics)["dimensions"]
    assert set(less["test|PC"]["all"]["accuracy"]) == {"llm", "twin"} and len(less) == 9
    asked = read_table(paths.probe_questions, PROBE)
    for name in ("boost", "rule"):  # experts saw what is left, where they take part
        seen = asked.set_index("id").loc[read_table(paths.probe_expert(name), ANSWER)["question"]]
        less = seen[seen["suite"] == "dimensions"]
        assert set(less["probe"]) <= {"C", "PC", "AC"} and len(less) and set(seen["suite"]) <= {"dimensions", "failing"}
