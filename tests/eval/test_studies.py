"""Studies of scripted answers find the figures that were played: Shapley values, gains, growth, and who is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval import plots, studies, study_blocks, study_pages, study_plots
from eval.studies import ROW, SHOWN, Answers, Measured, ablated, learned, scaled
from eval.suites.dimensions import TEAMS
from twinforge.errors import UserError

DAYS, PER_DAY = 12, 10
SKILLS = ("what-if", "forecast")
SUBSETS = [kept for kept in reversed(TEAMS) if kept != "none"]
Right = Callable[[str, str, str, int], bool]  # variant, model, skill, number -> whether the answer is right


def rows(variants: list[str], right: Right, models: tuple[str, ...] = (*SHOWN, "majority")) -> pd.DataFrame:
    """Two skills' questions of some days, the same for every variant; of a subset their ids have its letters."""
    made = []
    for variant in variants:
        mark = f"-{variant}" if variant in SUBSETS and variant != "PAC" else ""
        for number in range(DAYS * PER_DAY):
            skill = SKILLS[number % 2]
            for model in models:
                hit = float(right(variant, model, skill, number))
                cost = (
                    {"tokens": 90.0, "seconds": 0.1} if model in ("twin", "llm") else {"tokens": 0.0, "seconds": 1e-5}
                )
                row = {
                    "variant": variant,
                    "question": f"q{number}{mark}",
                    "episode": f"day {number // PER_DAY}",
                    "split": "test",
                }
                made.append({**row, "skill": skill, "model": model, "right": hit, "log_score": hit - 1, **cost})
    return pd.DataFrame(made)[ROW.names]


def facts(variants: list[str], **more: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "changes": {"curate.skills": [name]} if "skill" in name else {"curate.skills": list(SKILLS)},
            "states": 10 * (i + 1), "questions": 100 * (i + 1), "skills": ["forecast"] if "skill" in name else list(SKILLS),
            "assets": {"line": 10 * (i + 1), "bus": 5}, "context_tokens": 150.0, "training_seconds": 60.0,
        }
        for i, name in enumerate(variants)
    }  # fmt: skip


def answers(variants: list[str], right: Right, rolled: pd.DataFrame | None = None) -> Answers:
    fed = pd.DataFrame(columns=["variant"]) if rolled is None else rolled
    return Answers(rows(variants, right), fed, facts(variants), 300, 17)


def team(variant: str, model: str, skill: str, number: int) -> bool:
    """what-if needs P and C, forecast needs A; the majority is right in every fifth question."""
    if model == "majority":
        return number % 5 == 0
    return set("PC" if skill == "what-if" else "A") <= set(variant) or number % 5 == 0


@pytest.fixture(scope="module")
def ablation() -> Answers:
    return answers(SUBSETS, team)


def credits(found: studies.Measures, skill: str, model: str) -> list[float]:
    return [
        found["test"][skill][f"accuracy_credit_{name}"][model]["value"]
        for name in ("physical", "abstract", "computational")
    ]


def test_credits_are_those_of_the_game_that_was_played(ablation: Answers) -> None:
    found = ablated(ablation)
    for model in ("twin", "llm"):
        assert credits(found, "what-if", model) == pytest.approx([0.4, 0, 0.4])
        assert credits(found, "forecast", model) == pytest.approx([0, 0.8, 0])
        assert sum(credits(found, "all", model)) == pytest.approx(1 - 0.2)
    assert found["test|none"]["all"]["accuracy"]["twin"]["value"] == pytest.approx(0.2)  # the majority's
    entry = found["test"]["what-if"]["accuracy_credit_physical"]["twin"]
    assert entry["low"] <= 0.4 <= entry["high"] and entry["n"] == DAYS * PER_DAY / 2


def test_intervals_resample_whole_episodes() -> None:
    def right(variant: str, model: str, skill: str, number: int) -> bool:
        return "C" in variant and number // PER_DAY % 2 == 0 and model != "majority"  # all of a day, or nothing

    entry = ablated(answers(SUBSETS, right))["test"]["all"]["accuracy_credit_computational"]["twin"]
    assert (
        entry["value"] == pytest.approx(0.5) and 0.4 < entry["high"] - entry["low"] < 0.9
    )  # of questions by themselves: .18


def test_without_the_computational_dimension_the_twin_is_its_language_model() -> None:
    def right(variant: str, model: str, skill: str, number: int) -> bool:
        return model == "twin"

    found = ablated(answers(SUBSETS, right))
    assert credits(found, "all", "twin") == pytest.approx([0, 0, 1]) and credits(found, "all", "llm") == pytest.approx(
        [0, 0, 0]
    )


def test_who_reads_nothing_gets_no_credit() -> None:
    found = ablated(answers(SUBSETS, lambda variant, model, skill, number: number % 3 == 0))
    for model in ("twin", "llm"):
        for name in ("physical", "abstract", "computational"):
            entry = found["test"]["all"][f"accuracy_credit_{name}"][model]
            assert entry["value"] == 0 and -0.06 < entry["low"] < 0 < entry["high"] < 0.06


def test_a_missing_subset_is_named(ablation: Answers) -> None:
    short = ablation.rows[ablation.rows["variant"] != "PA"]
    with pytest.raises(UserError, match=r"no answers of the variant\(s\) PA; run the study again"):
        ablated(Answers(short, ablation.rolled, ablation.facts, 100, 1))
    strange = ablation.rows.assign(question=ablation.rows["question"] + ablation.rows["variant"])
    with pytest.raises(UserError, match="'twin' answered no test question under every subset"):
        ablated(Answers(strange, ablation.rolled, ablation.facts, 100, 1))


def test_only_questions_answered_under_every_subset_count(ablation: Answers) -> None:
    few = ablation.rows[~((ablation.rows["variant"] == "C") & (ablation.rows["question"] == "q0-C"))]
    found = ablated(Answers(few, ablation.rolled, ablation.facts, 100, 1))
    assert found["test"]["all"]["accuracy_credit_physical"]["twin"]["n"] == DAYS * PER_DAY - 1


def curve(variant: str, model: str, skill: str, number: int) -> bool:
    """The language model is right in ever more of ten questions, the twin in nine."""
    return number % 10 < {"1/8": 3, "1/4": 4, "1/2": 6, "1": 8}[variant] if model == "llm" else number % 10 < 9


def test_a_learning_curve_and_what_the_last_doubling_gained() -> None:
    found = learned(answers(["1/8", "1/4", "1/2", "1"], curve))
    seen = [found[name]["all"]["accuracy"]["llm"]["value"] for name in found]
    assert seen == pytest.approx([0.3, 0.4, 0.6, 0.8]) and "accuracy_gained" not in found["1/8"]["all"]
    gained = found["1"]["all"]["accuracy_gained"]
    assert gained["llm"]["value"] == pytest.approx(0.2) and gained["llm"]["low"] <= 0.2 <= gained["llm"]["high"]
    assert gained["twin"]["value"] == 0 and gained["twin"]["low"] < 0 < gained["twin"]["high"] < 0.05


def rolled(variants: list[str], growth: float) -> pd.DataFrame:
    """Two stretches of 12 steps, foretold too high by `growth` a step; with feedback without any error."""
    made = []
    for variant in variants:
        for start in ("a", "b"):
            for step in range(1, 13):
                for policy, error in (("never", growth * step), ("every 4", 0.0)):
                    row = {
                        "variant": variant,
                        "rollout": start,
                        "policy": policy,
                        "model": "twin",
                        "asset": "L1",
                        "step": step,
                    }
                    made.append({**row, "said": 50 + error, "truth": 50.0})
    return pd.DataFrame(made)


def size(variant: str, model: str, skill: str, number: int) -> bool:
    return number % 4 > 0


def test_scale_shows_cost_and_how_errors_grow() -> None:
    names = [studies.WHOLE, "large", "1 skill"]
    found = scaled(answers(names, size, rolled(names[:2], 0.5)))
    cell = found["large"]["all"]
    assert (
        cell["accuracy"]["twin"]["value"] == 0.75
        and cell["tokens"]["llm"]["value"] == 90
        and cell["seconds"]["boost"]["value"] < 1e-4
    )
    assert cell["error_first"]["twin"]["value"] == pytest.approx(0.5 * 2.5) and cell["error_end"]["twin"][
        "value"
    ] == pytest.approx(0.5 * 10.5)
    assert "error_end" not in found["1 skill"]["all"]


@pytest.mark.parametrize(
    ("name", "variants", "right", "said"),
    [
        ("ablate", SUBSETS, team, "| what-if | 60 | 20.0 | 40.0 ["),
        ("scale", [studies.WHOLE, "large", "1 skill"], size, "| forecast, large | 60 | 100.0 ["),
        ("learning", ["1/8", "1/4", "1/2", "1"], curve, "| 1/4 (20) | 120 | 90.0 ["),
    ],
)
def test_plots_pages_and_blocks(tmp_path: Path, name: str, variants: list[str], right: Right, said: str) -> None:
    given = answers(variants, right, rolled(variants[:2], 0.5) if name == "scale" else None)
    measure = {"ablate": ablated, "scale": scaled, "learning": learned}[name]
    told = Measured(name, given.facts, measure(given))
    again = Measured.from_json(json.loads(json.dumps(told.to_json(), allow_nan=False)))
    assert again == told
    draw = {"ablate": study_plots.ablated, "scale": study_plots.scaled, "learning": study_plots.learned}[name]
    plots.save(draw(again), tmp_path / name)
    assert (tmp_path / f"{name}.svg").stat().st_size > 5000
    assert said in study_pages.PAGES[name](again, {}), study_pages.PAGES[name](again, {})
    blocks = study_blocks.BLOCKS[name](again)
    assert blocks and all(
        block.rows and np.isfinite(float(block.rows[0].cells[0].value)) for block in blocks if block.rows[0].cells[0]
    )
