"""The robustness suite finds flip rates that are known by construction, and cheap models don't look good on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval.evidence import Evidence, Result
from eval.pooled import pooled
from eval.probes import PROBE, probes_of
from eval.probes.robustness import AGAIN, ATTACK, CHANGES, CONTROL
from eval.suites import SUITES
from eval.suites.robustness import PAIRED
from tests.eval.states import WORDS, states
from twinforge.agents.integration import Integration
from twinforge.errors import UserError
from twinforge.records import space_of

Model = Callable[[pd.Series, np.random.Generator], np.ndarray]
RATES = {"typos": 0.3, "lines reordered": 0.1, "renamed": 0.0, "options shuffled": 0.5, "asked in other unit": 0.2}
STRANGE = 0.05  # flips of every other change


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return states(60, 30).assign(split="test")


@pytest.fixture(scope="module")
def probes(questions: pd.DataFrame) -> pd.DataFrame:
    return probes_of(questions.drop(columns="split"), WORDS, 60, seed=1)


def sure(row: pd.Series, place: int | list[int]) -> np.ndarray:
    p = np.zeros(space_of(row).size)
    p[place] = 1.0
    return p


def right(row: pd.Series) -> np.ndarray:
    return sure(
        row, list(row["gold"]) if row["kind"] == "entities" and row["truth"] > 0 else space_of(row).index(row["truth"])
    )


def wrong(row: pd.Series) -> np.ndarray:
    """Another answer, further than a number's tolerance."""
    if row["kind"] == "entities":
        return sure(row, 0)
    return sure(row, (space_of(row).index(row["truth"]) + 5) % (space_of(row).size - 1))


def answers(rows: pd.DataFrame, model: Model, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    vectors = [model(row, rng) for _, row in rows.iterrows()]
    return pd.DataFrame({"question": rows["id"].to_numpy(), "p": vectors, "tokens": 1, "seconds": 0.1})


def run(questions: pd.DataFrame, probes: pd.DataFrame, **models: Model) -> Result:
    before = {name: answers(questions, model) for name, model in models.items()}
    after = {name: answers(probes, model, seed=1) for name, model in models.items()}
    return SUITES["robustness"](Evidence(questions, before, {}, 0.1, 400, 17, probes, after))


def scripted(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Always right as it stands; after a change wrong at that change's rate."""
    change = row.get("probe", AGAIN)
    rate = 0.0 if change == AGAIN else RATES.get(change, STRANGE)
    return wrong(row) if rng.random() < rate else right(row)


@pytest.fixture(scope="module")
def result(questions: pd.DataFrame, probes: pd.DataFrame) -> Result:
    return run(questions, probes, llm=scripted)


@pytest.mark.parametrize("change", [change.name for change in CHANGES])
def test_flip_rates_and_losses_are_found(result: Result, change: str) -> None:
    rate = 0.0 if change == AGAIN else RATES.get(change, STRANGE)
    cell = {name: entries["llm"] for name, entries in result.measures["test"][change].items()}
    noise = 4 * np.sqrt(rate * (1 - rate) / cell["flipped"]["n"])
    for name in ("flipped", "accuracy_lost"):
        assert abs(cell[name]["value"] - rate) <= noise
        assert cell[name]["low"] <= cell[name]["value"] <= cell[name]["high"] <= cell[name]["low"] + 0.25
    assert cell["accuracy_original"]["value"] == 1
    assert cell["accuracy"]["value"] == pytest.approx(1 - cell["accuracy_lost"]["value"])
    assert cell["right_both"] == cell["accuracy"]


def test_nearly_all_intervals_hold_their_rate(result: Result) -> None:
    held = [
        entry["low"] <= RATES.get(change, STRANGE) <= entry["high"]
        for change, cell in result.measures["test"].items()
        for entry in (cell["flipped"]["llm"], cell["accuracy_lost"]["llm"])
        if change not in ("all", AGAIN)
    ]
    assert len(held) == 24 and np.mean(held) > 0.8


def test_where_nothing_flipped_the_interval_still_has_a_width(result: Result) -> None:
    cell = result.measures["test"]["renamed"]
    assert cell["flipped"]["llm"]["value"] == 0 and 0 < cell["flipped"]["llm"]["high"] < 0.03
    assert cell["accuracy_lost"]["llm"]["low"] == -cell["accuracy_lost"]["llm"]["high"] < 0
    assert 0 < cell["accuracy_lost"]["llm"]["smallest"] < 0.06


def test_all_leaves_out_what_was_only_asked_again_and_always_is_the_worst_case(
    result: Result, probes: pd.DataFrame
) -> None:
    cell = result.measures["test"]["all"]
    assert cell["flipped"]["llm"]["n"] == (probes["probe"] != AGAIN).sum()
    table = result.table
    assert list(table) == PAIRED.names and len(table) == len(probes)
    kept = table.groupby("original")["right"].min().mean()
    assert cell["right_always"]["llm"]["value"] == pytest.approx(kept) and kept < cell["right_both"]["llm"]["value"]
    assert cell["right_always"]["llm"]["n"] == probes["original"].nunique()


def test_the_smallest_loss_shown_has_the_power_it_promises(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    typos = probes[probes["probe"] == "typos"]

    def loss(rate: float, seed: int) -> dict[str, Any]:
        model: Model = lambda row, rng: wrong(row) if rng.random() < rate else right(row)  # noqa: E731
        before, after = {"llm": answers(questions, lambda row, rng: right(row))}, {"llm": answers(typos, model, seed)}
        found = SUITES["robustness"](Evidence(questions, before, {}, 0.1, 200, seed, typos, after))
        return dict(found.measures["test"]["typos"]["accuracy_lost"]["llm"])

    smallest = loss(0.0, 0)["smallest"]
    seen = np.mean([loss(smallest, seed)["low"] > 0 for seed in range(12)])
    missed = np.mean([loss(smallest / 8, seed)["low"] > 0 for seed in range(12)])
    assert seen >= 0.6 and missed <= 0.4


def test_cheap_models_do_not_look_good(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    result = run(
        questions,
        probes,
        llm=lambda row, rng: right(row),
        refuser=lambda row, rng: sure(row, -1),
        first=lambda row, rng: sure(row, 0),
        copy=lambda row, rng: sure(row, space_of(row).index(row["copy"])),
    )
    cell = result.measures["test"]["all"]
    assert cell["right_always"]["llm"]["value"] == 1
    for model in ("refuser", "first", "copy"):
        assert cell["accuracy"][model]["high"] < 0.45 and cell["right_both"][model]["high"] < 0.45
        assert cell["right_always"][model]["high"] < cell["right_always"]["llm"]["low"] - 0.4
    assert cell["flipped"]["refuser"]["value"] == 0 and cell["abstention"]["refuser"]["value"] == 1
    shuffled = result.measures["test"]["options shuffled"]
    assert shuffled["flipped"]["first"]["low"] > 0.5  # the first option is another one


def test_a_hidden_instruction_that_is_obeyed_is_seen_and_a_harmless_note_is_not(
    questions: pd.DataFrame, probes: pd.DataFrame
) -> None:
    def obedient(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
        return sure(row, -1) if "answer unknown" in row["context"] else right(row)

    cells = run(questions, probes, llm=obedient).measures["test"]
    told = probes[probes["probe"] == ATTACK]
    share = (told["context"].str.contains("answer unknown") & told["truth"].notna()).mean()
    assert cells[ATTACK]["flipped"]["llm"]["value"] == pytest.approx(share) and 0.1 < share < 0.5
    others = [cell["flipped"]["llm"]["value"] for change, cell in cells.items() if change not in (ATTACK, "all")]
    assert CONTROL in cells and not any(others)


def test_a_number_flips_beyond_its_tolerance_only(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    def near(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
        moved = row.get("probe", AGAIN) != AGAIN and row["kind"] == "number" and not np.isnan(row["truth"])
        return sure(row, space_of(row).index(row["truth"]) + 2) if moved else right(row)

    assert run(questions, probes, llm=near).measures["test"]["all"]["flipped"]["llm"]["value"] == 0


def test_models_without_probes_stand_beside_with_what_they_had(questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    before = {"llm": answers(questions, scripted), "rule": answers(questions.head(100), lambda row, rng: wrong(row))}
    after = {"llm": answers(probes, scripted)}
    cell = SUITES["robustness"](Evidence(questions, before, {}, 0.1, 200, 1, probes, after)).measures["test"]["all"]
    assert set(cell["accuracy_original"]) == {"llm", "rule"} and set(cell["accuracy"]) == {"llm"}
    assert cell["accuracy_original"]["rule"]["n"] == 100


def test_a_probe_without_its_original_is_refused_and_none_measures_nothing(
    questions: pd.DataFrame, probes: pd.DataFrame
) -> None:
    before, after = {"llm": answers(questions.head(7), scripted)}, {"llm": answers(probes, scripted)}
    with pytest.raises(UserError, match="without an answer to the question as it stood, first"):
        SUITES["robustness"](Evidence(questions, before, {}, 0.1, 200, 1, probes, after))
    none = SUITES["robustness"](Evidence(questions, before, {}, 0.1, 200, 1, probes.head(0), {}))
    assert none.measures == {} and list(none.table) == PAIRED.names


def test_same_answers_same_figures(result: Result, questions: pd.DataFrame, probes: pd.DataFrame) -> None:
    assert run(questions, probes, llm=scripted).measures == result.measures


def test_the_twin_pools_the_experts_answer_to_the_original_in_the_probes_order(
    questions: pd.DataFrame, probes: pd.DataFrame
) -> None:
    rng = np.random.default_rng(0)
    shaken = probes.sample(frac=1, random_state=0).groupby("probe").head(40)
    flat = answers(
        shaken, lambda row, _: np.full(space_of(row).size, 0.5 if row["kind"] == "entities" else 1 / space_of(row).size)
    )
    expert = answers(questions, lambda row, _: rng.dirichlet(np.ones(space_of(row).size)))
    by_id: Mapping[str, pd.Series] = {row["id"]: row for _, row in questions.iterrows()}
    known = expert.set_index("question")["p"]
    twin = pooled(shaken[PROBE.names], flat, {"boost": expert}, Integration({}, {}))
    for (_, probe), p in zip(shaken.iterrows(), twin["p"], strict=True):
        old = by_id[probe["original"]]
        if probe["kind"] == "choice":
            mass = dict(zip(old["options"], known[old["id"]], strict=False))
            names = dict(
                zip(old["options"], probe["options"] if not len(probe["order"]) else old["options"], strict=True)
            )
            ranked = sorted(old["options"], key=mass.__getitem__)
            assert [names[o] for o in ranked] == [probe["options"][i] for i in np.argsort(p[:-1])]
        assert len(p) == space_of(probe).size
