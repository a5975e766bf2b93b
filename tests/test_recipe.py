from __future__ import annotations

import datetime
import shutil
import types
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from eval.meanings import MEANS
from twinforge.errors import UserError
from twinforge.recipe import STAGES, Mistake, Recipe, check, load_recipe, read_slice, write_slice
from twinforge.recipe.checks import CHECKS
from twinforge.recipe.judging import Measure, Skill
from twinforge.recipe.schema import SECTIONS
from twinforge.records import SKILLS

PROJECT = Path(__file__).parents[1]
SECTOR = "sector: alpha\nmodule: fake_alpha\n"
PARTS = ("NAME", "SIGNALS", "CLAUSES", "TEMPLATES", "episodes", "episode_count", "knowledge", "questions", "keep")


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    network: str = "ring"
    load_scale: float = Field(1.0, gt=0, le=10)


@pytest.fixture(autouse=True)
def fake_sector(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("fake_alpha")
    module.Settings = Settings
    for name in PARTS:
        setattr(module, name, None)
    monkeypatch.setitem(__import__("sys").modules, "fake_alpha", module)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with the real base and profiles, and one sector."""
    shutil.copytree(PROJECT / "recipes", tmp_path / "recipes")
    (tmp_path / "recipes" / "alpha.yaml").write_text(SECTOR)
    (tmp_path / "params.yaml").write_text("sectors: [alpha]\nprofile: cpu\n")
    return tmp_path


def written(root: Path, text: str) -> Path:
    file = root / "recipes" / "alpha.yaml"
    file.write_text(SECTOR + text)
    return file


def mistakes(root: Path, text: str) -> list[Mistake]:
    return check(written(root, text), "cpu", root)


# what is composed


def test_sector_overrides_base_and_profile_overrides_both(root: Path) -> None:
    written(root, "lora: {r: 4}\n")
    (root / "recipes/profiles/big.yaml").write_text("budget: {epochs: 7}\n")
    recipe = load_recipe("alpha", "big", root)
    assert (recipe.lora.r, recipe.lora.alpha, recipe.budget.epochs) == (4, 32.0, 7)
    assert recipe.budget.shots == load_recipe("alpha", "cpu", root).budget.shots


def test_profile_is_the_one_in_params_unless_named(root: Path) -> None:
    (root / "params.yaml").write_text("profile: gpu\n")
    assert load_recipe("alpha", root=root).model.quantization == "nf4"
    assert load_recipe("alpha", "cpu", root).model.quantization == "none"


def test_a_recipe_may_lie_anywhere_even_without_a_project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    far = tmp_path_factory.mktemp("far") / "mine.yaml"
    far.write_text(SECTOR + "seed: 3\n")
    assert load_recipe(far, "cpu", root).seed == 3
    assert load_recipe(far, root=far.parent).lake == load_recipe("alpha", "cpu", root).lake


def test_base_says_every_key_with_the_value_the_schema_has() -> None:
    said = yaml.safe_load((PROJECT / "recipes/base.yaml").read_text().replace("1e-3", "0.001"))
    defaults = Recipe(sector="any", module="any").model_dump(mode="json")
    assert said == {key: value for key, value in defaults.items() if key not in ("sector", "module")}


@pytest.mark.parametrize("profile", ["cpu", "cpu-suites", "gpu", "cluster"])
def test_profiles_that_come_along_are_sound(root: Path, profile: str) -> None:
    assert check("alpha", profile, root) == []


def test_the_profile_of_the_suites_differs_by_what_it_asks_more_only() -> None:
    plain, suites = (load_recipe("energy", name, PROJECT).model_dump() for name in ("cpu", "cpu-suites"))
    for name, least in (("probe_states", 1), ("slow_sample", 0)):
        assert suites["budget"].pop(name) > plain["budget"].pop(name) >= least
    assert plain == suites


def test_energy_is_sound_and_names_what_experiments_change() -> None:
    assert check("energy", root=PROJECT) == []
    assert "r" in yaml.safe_load((PROJECT / "recipes/energy.yaml").read_text())["lora"]


def test_skills_of_the_gate_are_the_skills_there_are() -> None:
    assert set(get_args(Skill)) == {"all", *SKILLS}


def test_measures_of_the_gate_are_those_that_are_measured() -> None:
    assert set(get_args(Measure)) == {measure.name for measure in MEANS} | {"macro_f1", "calibration_error"}


def test_system_is_checked_and_filled_by_the_sector(root: Path) -> None:
    written(root, "lake: {system: {load_scale: 2}}\n")
    assert load_recipe("alpha", "cpu", root).lake.system == {"network": "ring", "load_scale": 2.0}


@given(st.floats(1e-12, 1.0))
def test_numbers_in_exponent_form_are_numbers(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    file = tmp_path_factory.mktemp("recipe") / "mine.yaml"
    file.write_text(f"{SECTOR}train: {{lr: {value:e}}}\n")
    assert load_recipe(file, root=file.parent).train.lr == float(f"{value:e}")


# what is wrong


def test_every_mistake_at_once_with_file_line_value_and_mend(root: Path) -> None:
    (root / "recipes/profiles/bad.yaml").write_text("budget:\n  epochs: 0\nlora: {r: 2}\n")
    file = written(
        root,
        "lr: 3\n"  # line 3
        "lake:\n"
        "  dayz: 4\n"
        "  system: {load_scal: 2, load_scale: 30}\n"
        "lora:\n"
        '  r: "16"\n'  # line 8
        "train: {schedule: cosin}\n"
        "model: {base: x}\n"
        "curate: {validation: 0.5, calibration: 0.3, test: 0.3}\n",  # line 11
    )
    found = [str(mistake) for mistake in check(file, "bad", root)]
    assert found == [
        "recipes/alpha.yaml:3: lr = 3: no such key; did you mean train.lr?",
        "recipes/alpha.yaml:5: lake.dayz = 4: no such key; did you mean lake.days?",
        "recipes/alpha.yaml:6: lake.system.load_scale = 30: write a number above 0 and at most 10",
        "recipes/alpha.yaml:6: lake.system.load_scal = 2: no such key; did you mean lake.system.load_scale?",
        "recipes/alpha.yaml:9: train.schedule = cosin: write one of cosine, linear, constant; did you mean cosine?",
        "recipes/alpha.yaml:10: model: belongs to the profile; move it to recipes/profiles/bad.yaml",
        "recipes/alpha.yaml:11: curate: validation + calibration + test are 1.1; leave a share for training: below 1",
        "recipes/profiles/bad.yaml:2: budget.epochs = 0: write a number above 0",
        "recipes/profiles/bad.yaml:3: lora: belongs to the sector; move it to recipes/alpha.yaml",
    ]
    with pytest.raises(UserError) as error:
        load_recipe(file, "bad", root)
    assert all(line in str(error.value) for line in found)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("seed: -1\n", "3: seed = -1: write a whole number at least 0"),
        ("seed: true\n", "3: seed = true: write a whole number at least 0"),
        ("seed: 1.5\n", "3: seed = 1.5: write a whole number at least 0"),
        ("train: {warmup: .nan}\n", "3: train.warmup = nan: write a number at least 0 and below 1"),
        ("lora: {targets: [q_proj, qproj]}\n", "3: lora.targets.1 = qproj: write one of q_proj, k_proj"),
        ("lora: {targets: []}\n", "3: lora.targets: write a list of at least 1"),
        ("lake: {start: soon}\n", "3: lake.start = soon: write a date like 2026-01-31 or null"),
        ("lake: {start: 2016-02-31}\n", "3: lake.start: '2016-02-31' is not a plain YAML value"),
        ("lora:\n  r: 2\n  r: 3\n", "5: lora.r: said twice (first on line 4); keep one"),
        ("experts: 5\n", "3: experts = 5: write a mapping with the keys rounds, "),
        (
            "gate: {measures: [{skill: all, measure: accuracy}]}\n",
            "3: gate.measures.0.margin: missing; write a number at",
        ),
        ("sector: beta\n", "3: sector: said twice (first on line 1); keep one"),
        ("seed: [1\n", "4: not YAML: "),
        ("curate: {dimensions: CP}\n", "3: curate.dimensions = CP: write a word matching ^P?A?C?$"),
        ("curate: {learnt: 0}\n", "3: curate.learnt = 0: write a number above 0 and at most 1"),
        ("study: {adapters: [[what-if, guess]]}\n", "3: study.adapters.0.1 = guess: write one of what-if, forecast"),
        ("zzz: 1\n", "3: zzz = 1: no such key; keys here: sector, module, seed"),
    ],
)
def test_one_mistake(root: Path, text: str, mistake: str) -> None:
    found = mistakes(root, text)
    assert len(found) == 1
    assert str(found[0]).startswith(f"recipes/alpha.yaml:{mistake}")


@pytest.mark.parametrize(
    ("sector", "profile", "key", "mended"),
    [
        ("curate: {test: 0.7}", "", "curate", "curate: {test: 0.6}"),
        ("lake: {days: 9}", "", "lake.days", "lake: {days: 10}"),
        ("calibrate: {alpha: 0.01}", "", "calibrate.alpha", "calibrate: {alpha: 0.011}"),
        ("curate: {skills: [unanswerable]}", "", "curate.skills", "curate: {skills: [unanswerable, what-if]}"),
        ("lora: {layers: 31}", "", "lora.layers", "lora: {layers: 30}"),
        ("", "compute: {processes: 5}", "compute.processes", None),
        ("", "compute: {sharding: zero-2}", "compute.sharding", None),
        ("", "compute: {sharding: zero-3, processes: 2}", "compute.kept_gib", None),
        ("lora: {targets: [q_proj, q_proj]}", "", "lora.targets", "lora: {targets: [q_proj]}"),
        ("experts: {quantiles: [0.1, 0.5, 0.4]}", "", "experts.quantiles", "experts: {quantiles: [0.1, 0.4, 0.5]}"),
        ("gate: {measures: [{skill: all, measure: brier, margin: 0}, {skill: all, measure: brier, margin: 1}]}", "",
         "gate.measures", "gate: {measures: [{skill: all, measure: brier, margin: 0}]}"),
        ("gate: {measures: [{skill: all, measure: regret, margin: 0}]}", "",
         "gate.measures", "gate: {measures: [{skill: recommend, measure: regret, margin: 0}]}"),
        ("gate: {measures: [" + ", ".join(f"{{skill: all, measure: {one}, margin: 0}}" for one in ("brier", "mae", "width", "accuracy")) + "]}",
         "", "gate", "gate: {bars: [drift]}"),
        ("", "model: {revision: main}", "model.revision", None),
        ("", "budget: {shots: 0}", "budget.shots", None),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_together(root: Path, sector: str, profile: str, key: str, mended: str | None) -> None:
    (root / "recipes/profiles/mine.yaml").write_text(profile)
    found = check(written(root, sector), "mine", root)
    assert [mistake.key for mistake in found] == [key]
    if mended is None:
        (root / "recipes/profiles/mine.yaml").write_text("")
    assert check(written(root, mended or ""), "mine", root) == []


def test_every_check_is_tried_above() -> None:
    tried = test_values_that_do_not_fit_together.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert sorted(check.key for check in CHECKS) == sorted(case[2] for case in tried)


def test_a_mistake_in_base_is_found_in_base(root: Path) -> None:
    base = root / "recipes/base.yaml"
    base.write_text(base.read_text().replace("  days: 60", "  days: none"))
    (found,) = check("alpha", "cpu", root)
    assert str(found) == "recipes/base.yaml:7: lake.days = none: write a whole number at least 1"
    assert check(written(root, "lake: {days: 30}\n"), "cpu", root) == []  # overridden: no mistake of this recipe


def test_unknown_names(root: Path) -> None:
    with pytest.raises(UserError, match=r"unknown sector 'beta'.*sectors with a recipe: alpha, energy"):
        load_recipe("beta", "cpu", root)
    with pytest.raises(UserError, match=r"unknown profile 'tpu'.*cluster, cpu, cpu-long, cpu-suites, gpu, study"):
        load_recipe("alpha", "tpu", root)
    with pytest.raises(UserError, match="nowhere.yaml: can't be read"):
        load_recipe(root / "nowhere.yaml", "cpu", root)
    (root / "recipes/alpha.yaml").write_text("sector: nowhere\n")
    (found,) = check(root / "recipes/alpha.yaml", "cpu", root)
    assert (found.line, found.key) == (1, "sector")
    assert "energy" in found.mend


def test_a_sectors_file_names_its_own_sector(root: Path) -> None:
    shutil.copy(root / "recipes/alpha.yaml", root / "recipes/beta.yaml")
    (found,) = check("beta", "cpu", root)
    assert (found.key, found.mend) == ("sector", "the file is recipes/beta.yaml; write beta")


# slices


def test_a_slice_holds_what_its_stage_reads_and_nothing_else(root: Path, tmp_path: Path) -> None:
    written(root, "lake: {start: 2016-01-04, system: {load_scale: 2}}\ntrain: {lr: 2e-5}\n")
    recipe = load_recipe("alpha", "cpu", root)
    for stage in STAGES:
        write_slice(recipe, stage, tmp_path / f"{stage}.yaml")
    lake, train = read_slice(tmp_path / "lake.yaml"), read_slice(tmp_path / "train.yaml")
    assert (lake.lake, lake.seed, lake.lake.start) == (recipe.lake, recipe.seed, datetime.date(2016, 1, 4))
    assert (train.train.lr, train.lora, train.budget.epochs) == (2e-5, recipe.lora, recipe.budget.epochs)
    with pytest.raises(AttributeError, match="STAGES"):
        _ = lake.lora
    with pytest.raises(AttributeError):
        _ = train.budget.shots
    whole = read_slice(tmp_path / "package.yaml")
    assert all(getattr(whole, name) == getattr(recipe, name) for name in SECTIONS)


def test_every_key_is_read_by_a_stage_before_package() -> None:
    read = {key for stage, keys in STAGES.items() if stage != "package" for key in keys}
    for name, section in SECTIONS.items():
        assert name in read or {f"{name}.{key}" for key in section.model_fields} <= read


def test_a_slice_edited_by_hand_is_held_against_the_schema(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibrate.yaml"
    write_slice(load_recipe("alpha", "cpu", root), "calibrate", file)
    file.write_text(file.read_text().replace("0.1", "1.1"))
    with pytest.raises(UserError, match=r"calibrate.yaml:4: calibrate.alpha: write a number above 0"):
        read_slice(file)
    with pytest.raises(UserError, match="no such file"):
        read_slice(tmp_path / "gone.yaml")
