"""Experts: what they learn, where they answer, how they spread, and that they load to the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synthetic import classes, numbers, picks, question, sets, table
from twinforge.errors import UserError
from twinforge.records import ANSWER, membership, space_of
from twinforge.training.experts import NAMES, Experts, fit_experts
from twinforge.training.masses import laplace_mass, quantile_mass

SECTION = SimpleNamespace(
    rounds=150, learning_rate=0.1, leaves=15, min_leaf=10, quantiles=(0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)
)


def questions(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return table(classes(n, rng) + picks(n, rng) + numbers(n, rng) + sets(n, rng))


@pytest.fixture(scope="module")
def experts() -> Experts:
    return fit_experts(questions(600, 0), SECTION, 17)


@pytest.fixture(scope="module")
def fresh() -> pd.DataFrame:
    return questions(300, 1)


def judged(experts: Experts, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """One row an answer: log loss, whether it is right, whether it refuses and should."""
    answers = experts.answer(name, frame).set_index("question")["p"]
    rows = []
    for _, row in frame[frame["id"].isin(answers.index)].iterrows():
        space, p = space_of(row), answers[row["id"]]
        assert len(p) == space.size
        assert p.sum() == pytest.approx(1) or space.kind == "entities"
        assert 0 < p.min() <= p.max() < 1
        unknown = bool(np.isnan(row["truth"]))
        if space.kind == "entities":
            happened = membership(row)
            refuses, right = p[-1] > 0.5, ((p > 0.5) == happened)[~np.isnan(happened)].all()
            loss = -np.log(np.where(happened == 1, p, 1 - p))[~np.isnan(happened)].sum()
            rows.append((row["asked"], unknown, loss, bool(right), bool(refuses)))
            continue
        if space.kind == "choice":
            refuses, right = p.argmax() == space.size - 1, p.argmax() == space.index(row["truth"])
        else:
            refuses = p[-1] > 0.5
            median = space.values[np.searchsorted(np.cumsum(p[:-1]) / p[:-1].sum(), 0.5)]
            right = refuses if unknown else not refuses and abs(median - row["truth"]) <= row["tolerance"]
        rows.append((row["asked"], unknown, -np.log(p[space.index(row["truth"])]), bool(right), bool(refuses)))
    return pd.DataFrame(rows, columns=["asked", "unknown", "loss", "right", "refuses"])


def test_boosting_learns_each_kind_of_question(experts: Experts, fresh: pd.DataFrame) -> None:
    found = judged(experts, "boost", fresh)
    right = found[~found["unknown"]].groupby("asked")["right"].mean()
    assert right["what-if"] > 0.95
    assert right["recommend"] > 0.75  # chance: 0.32
    assert right["dependency"] > 0.85  # all of three to six candidates; by chance one in 23
    assert 0.8 < right["forecast"] < 0.97  # noise of 3 against a tolerance of 5: at most 0.93
    assert found["loss"][found["asked"] == "forecast"].mean() < 2.6  # the truth's own entropy is about 2.5


def test_boosting_refuses_what_cannot_be_known(experts: Experts, fresh: pd.DataFrame) -> None:
    found = judged(experts, "boost", fresh)
    assert found["refuses"][found["unknown"]].mean() > 0.9
    assert found["refuses"][~found["unknown"]].mean() < 0.05


def test_shuffled_truths_teach_nothing(fresh: pd.DataFrame) -> None:
    """The control: with no relation to learn, boosting stays near chance (one in three)."""
    train = table(classes(600, np.random.default_rng(0), unknown=0))
    train["truth"] = np.random.default_rng(1).permutation(train["truth"])
    found = judged(fit_experts(train, SECTION, 17), "boost", fresh[fresh["asked"] == "what-if"])
    assert found["right"][~found["unknown"]].mean() < 0.5
    assert found["loss"][~found["unknown"]].mean() < 1.3  # log 3 is 1.1: early stopping keeps it from overconfidence


def test_points_are_spread_by_their_errors(experts: Experts, fresh: pd.DataFrame) -> None:
    for name in ("rule", "persistence", "majority", "copy"):
        found = judged(experts, name, fresh[fresh["kind"] != "entities"])
        choices = found[(found["asked"] == "what-if")]
        if len(choices):
            p = np.exp(-choices["loss"][choices["right"]])
            assert p.mean() == pytest.approx(choices["right"].mean(), abs=0.12), name
    rule, persistence = judged(experts, "rule", fresh), judged(experts, "persistence", fresh)
    known = [f[(f["asked"] == "forecast") & ~f["unknown"]]["loss"].mean() for f in (rule, persistence)]
    assert 2.9 < known[0] < known[1] < 4.1  # Laplace of scale 4.8 and 8: 3.3 and 3.8


def test_each_answers_only_where_it_is_defined(experts: Experts, fresh: pd.DataFrame) -> None:
    assert len(experts.answer("majority", fresh)) == len(experts.answer("boost", fresh)) == len(fresh)
    assert len(experts.answer("rule", fresh)) == fresh["rule_defined"].sum()
    assert len(experts.answer("copy", fresh)) == fresh["copy"].notna().sum()
    assert len(experts.answer("persistence", fresh)) == 300
    assert experts.answer("boost", fresh.assign(asked="never")).empty


def test_a_rules_set_is_trusted_as_far_as_it_was_right_a_candidate(experts: Experts, fresh: pd.DataFrame) -> None:
    rows = fresh[fresh["kind"] == "entities"].set_index("id")
    rule, majority = (
        experts.answer(name, rows.reset_index()).set_index("question")["p"] for name in ("rule", "majority")
    )
    known = rows[rows["truth"].notna()]
    for identity, row in known.iterrows():
        said = np.isin(np.arange(len(row["options"])), row["rule_gold"])
        np.testing.assert_allclose(np.where(said, 1 - rule[identity][:-1], rule[identity][:-1]), 0.1, atol=0.03)
        np.testing.assert_allclose(
            majority[identity][:-1], 0.38, atol=0.04
        )  # who exceeds 0.3 of a normal: it says no one
        assert rule[identity][-1] < 0.01 and 0.05 < majority[identity][-1] < 0.15
    assert 0.4 < np.mean([set(row["rule_gold"]) == set(row["gold"]) for _, row in known.iterrows()]) < 0.9
    assert all(rule[identity][-1] > 0.9 for identity in rows.index[rows["truth"].isna()])


def test_a_rule_of_nan_refuses(experts: Experts, fresh: pd.DataFrame) -> None:
    rows = fresh[fresh["rule_defined"] & fresh["rule"].isna()]
    assert all(p[-1] > 0.9 for p in experts.answer("rule", rows)["p"])


def test_majority_goes_by_text_then_by_index() -> None:
    rows = [question(i, f"day-{i}", "diagnosis", options=["b", "a"], features=[[0.0]], truth=1.0) for i in range(5)]
    experts = fit_experts(table(rows), SECTION, 17)
    asked = table(
        [
            question(0, "x", "diagnosis", options=["a", "b", "c"], features=[[0.0]]),
            question(1, "x", "diagnosis", options=["c", "d", "e"], features=[[0.0]]),
        ]
    )
    assert [p.argmax() for p in experts.answer("majority", asked)["p"]] == [0, 1]


def test_the_validation_share_is_never_looked_at(fresh: pd.DataFrame) -> None:
    train = questions(100, 3)
    hidden = questions(100, 4).assign(validation=True, truth=0.0)
    hidden["id"] += "-hidden"
    alone, beside = (fit_experts(f, SECTION, 17) for f in (train, pd.concat([train, hidden], ignore_index=True)))
    for name in NAMES:
        pairs = zip(alone.answer(name, fresh)["p"], beside.answer(name, fresh)["p"], strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_saved_text_loads_to_equal_answers(experts: Experts, fresh: pd.DataFrame, tmp_path: Path) -> None:
    experts.save(tmp_path / "experts")
    assert {path.suffix for path in (tmp_path / "experts").iterdir()} == {".json", ".txt"}
    loaded = Experts.load(tmp_path / "experts")
    for name in NAMES:
        before, after = experts.answer(name, fresh), loaded.answer(name, fresh)
        assert list(before.columns) == ANSWER.names
        assert all(np.array_equal(a, b) for a, b in zip(before["p"], after["p"], strict=True))


def test_order_of_questions_does_not_matter(experts: Experts, fresh: pd.DataFrame) -> None:
    mixed = fresh.sample(frac=1, random_state=0)
    straight, shuffled = (experts.answer("boost", f).set_index("question")["p"] for f in (fresh, mixed))
    assert all(np.array_equal(straight[i], shuffled[i]) for i in fresh["id"])
    assert list(shuffled.index) == list(mixed["id"])


def test_ragged_choices_of_one_feature_row(experts: Experts) -> None:
    """An option that a question doesn't offer gets no mass; the rest keep theirs."""
    rows = table(classes(20, np.random.default_rng(9))).assign(options=[["low", "middle"]] * 20)
    assert all(len(p) == 3 and p.sum() == pytest.approx(1) for p in experts.answer("boost", rows)["p"])


def test_tiny_groups_still_answer() -> None:
    rng = np.random.default_rng(0)
    rows = table(classes(1, rng) + picks(1, rng, unknown=0) + numbers(1, rng, unknown=1) + sets(1, rng, unknown=0))
    experts = fit_experts(rows, SECTION, 17)
    for name in NAMES:
        judged(experts, name, rows)
    assert len(experts.answer("boost", rows)) == 4


def test_no_features_and_no_questions(experts: Experts, fresh: pd.DataFrame) -> None:
    """Questions without features get the shares of the refusal; no questions get no answers."""
    rows = table(
        [question(i, f"day-{i}", "standard", options=["a", "b"], truth=float(i % 2), features=[]) for i in range(9)]
    )
    assert fit_experts(rows, SECTION, 17).answer("boost", rows)["p"].iloc[0][:2] == pytest.approx(
        [0.43, 0.43], abs=0.06
    )
    assert all(experts.answer(name, fresh.iloc[:0]).empty for name in NAMES)


def test_mistakes_are_named(experts: Experts, fresh: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no expert 'oracle'"):
        experts.answer("oracle", fresh)
    with pytest.raises(UserError, match="no rows outside the validation share"):
        fit_experts(fresh.assign(validation=True), SECTION, 17)
    wide = fresh[fresh["asked"] == "what-if"].head(2).copy()
    wide["features"] = [[[1.0, 2.0]], [[1.0, 2.0]]]
    with pytest.raises(UserError, match=r"what-if-choice-0 of what-if/choice: features of shape \(1, 2\)"):
        experts.answer("boost", wide)
    with pytest.raises(UserError, match="names option 7"):
        experts.answer("rule", fresh[fresh["asked"] == "what-if"].head(1).assign(rule=7.0))
    experts.save(tmp_path / "experts")
    (tmp_path / "experts" / "what-if-choice.class.txt").unlink()
    with pytest.raises(UserError, match=r"what-if-choice\.class\.txt: no such file"):
        Experts.load(tmp_path / "experts")
    (tmp_path / "experts" / "experts.json").write_text(json.dumps({"boost": 1}))
    with pytest.raises(UserError, match=r"experts\.json: not an index"):
        Experts.load(tmp_path / "experts")


@given(st.lists(st.floats(-50, 200), min_size=3, max_size=3), st.floats(0.1, 50))
def test_masses_sum_to_one_and_are_never_negative(quantile: list[float], scale: float) -> None:
    values = np.arange(0.0, 101.0)
    for mass in (
        quantile_mass(np.array([quantile]), np.array([0.1, 0.5, 0.9]), values),
        laplace_mass(np.array(quantile), scale, values),
    ):
        assert mass.sum(axis=1) == pytest.approx(1)
        assert mass.min() >= -1e-12


def test_a_mass_has_the_quantiles_it_was_made_of() -> None:
    values = np.arange(0.0, 101.0)
    mass = quantile_mass(np.array([[30.0, 50.0, 65.0]]), np.array([0.1, 0.5, 0.9]), values)
    cdf = np.cumsum(mass[0])
    assert np.interp([0.1, 0.5, 0.9], cdf, values + 0.5) == pytest.approx([30, 50, 65], abs=0.6)
