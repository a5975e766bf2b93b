"""Study: the same pipeline over several variants of a sector's recipe, in the profile `study`, measured side by side.

    ablate     twins tuned for each subset of the dimensions, and what each dimension is worth by them
    scale      accuracy, error growth and cost against the size of the system, and against the skills of one adapter
    learning   accuracy against the states seen in training

Each variant is a project of its own under .scratch/SECTOR/studies/ and shares DVC's cache. Run again, a study goes on where it
was cut off; finished stages are not run again. Writes data/studies/SECTOR/STUDY.parquet (a row an answer) and
reports/studies/SECTOR/STUDY.json with its plot beside it. `study:` in the recipe says what differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from eval import plots, studies, study_plots
from eval.rolling import ROLL
from eval.scores import score
from eval.studies import ROW, Measured
from pipelines import Paths, told_in_one_line
from pipelines.variants import Variant, Workspace
from twinforge.errors import UserError
from twinforge.files import read_json, read_table, write_json, write_table
from twinforge.lake.store import read_lake
from twinforge.recipe import Recipe, load_recipe
from twinforge.records import ANSWER, QUESTION, SKILLS
from twinforge.sectors.dimensions import SUBSETS, letters

MODELS = ("llm", "boost", "rule", "majority", "twin")
SPLITS = ("test", "shift")
SHARES = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "1": 1.0}


def subsets(recipe: Recipe) -> list[Variant]:
    """A twin for each non-empty subset of the dimensions, all of them first."""
    return [Variant(letters(kept), {"curate.dimensions": letters(kept)}) for kept in reversed(SUBSETS[1:])]


def sizes(recipe: Recipe) -> list[Variant]:
    """The system as it is, those of another size, and adapters of some skills."""
    other = [Variant(name, changes, rolled=True) for name, changes in recipe.study.sizes.items()]
    few = [
        Variant(f"{len(skills)} {'skill' if len(skills) == 1 else 'skills'}", {"curate.skills": list(skills)})
        for skills in recipe.study.adapters
    ]
    return [Variant(studies.WHOLE, {}, rolled=True), *other, *few]


def shares(recipe: Recipe) -> list[Variant]:
    """Twins of ever more training states."""
    return [Variant(name, {"curate.learnt": share}) for name, share in SHARES.items()]


@dataclass(frozen=True)
class Study:
    """variants : from a recipe. measure : rows, rolled answers, facts, draws, seed -> measures. draw : its picture."""

    variants: Callable[[Recipe], list[Variant]]
    measure: Callable[[studies.Answers], studies.Measures]
    draw: Callable[[Measured], Figure]


STUDIES = {
    "ablate": Study(subsets, studies.ablated, study_plots.ablated),
    "scale": Study(sizes, studies.scaled, study_plots.scaled),
    "learning": Study(shares, studies.learned, study_plots.learned),
}


def main(sector: str, name: str) -> None:
    paths, study = Paths(sector), STUDIES[name]
    recipe = load_recipe(sector, root=paths.root)
    spaces = workspaces(paths, name, recipe)
    for number, space in enumerate(spaces):
        print(f"study {name}: variant {space.variant.name!r}, {number + 1} of {len(spaces)}", flush=True)
        space.run()
    answers = collected(spaces, recipe)
    write_table(answers.rows, paths.study_rows(name), ROW)
    measured = Measured(name, answers.facts, study.measure(answers))
    write_json(measured.to_json(), paths.study(name))
    plots.save(study.draw(measured), paths.study(name))
    print(f"study {name}: {len(answers.rows)} answers of {len(spaces)} variants measured; see {paths.study(name)}")


def workspaces(paths: Paths, name: str, recipe: Recipe) -> list[Workspace]:
    """The projects of a study's variants, all laid out and their recipes checked before any is run.

    Raises
    ------
    UserError
        A variant's recipe has mistakes, or two variants have one name.
    """
    variants = STUDIES[name].variants(recipe)
    names = [variant.name for variant in variants]
    if again := {one for one in names if names.count(one) > 1}:
        raise UserError(
            f"study {name}: two variants are called {', '.join(sorted(again))}; see `study:` in recipes/{paths.sector}.yaml"
        )
    asked = {"curate.skills": list(SKILLS), **recipe.study.changes}
    made = []
    for variant in variants:
        folder = paths.scratch / "studies" / name / variant.name.replace("/", "-").replace(" ", "-")
        whole = Variant(variant.name, {**asked, **variant.changes}, variant.rolled)
        made.append(Workspace(paths.sector, whole, folder))
        made[-1].write(paths.root)
    return made


def collected(spaces: Sequence[Workspace], recipe: Recipe) -> studies.Answers:
    """What every variant answered, as rows, and what is known of each.

    Raises
    ------
    UserError
        A variant without answers to its test questions.
    """
    rows, rolled, facts = [], [], {}
    for space in spaces:
        own = answered(space)
        if not (own["split"] == "test").any():
            raise UserError(
                f"variant {space.variant.name!r}: no answer to a test question in {space.paths.twin_answers}; delete {space.root} and run the "
                "study again"
            )
        rows.append(own)
        facts[space.variant.name] = facts_of(space)
        if space.variant.rolled:
            told = read_table(space.paths.rolled_answers, ROLL)
            rolled.append(told.assign(variant=space.variant.name))
    fed = pd.concat(rolled, ignore_index=True) if rolled else pd.DataFrame(columns=[*ROLL.names, "variant"])
    return studies.Answers(pd.concat(rows, ignore_index=True), fed, facts, recipe.evaluate.resamples, recipe.seed)


def answered(space: Workspace) -> pd.DataFrame:
    """A row an answer of a variant's models to its later questions (`studies.ROW`)."""
    paths, name = space.paths, space.variant.name
    asked = pd.concat(
        [read_table(paths.questions(split), QUESTION).assign(split=split) for split in SPLITS], ignore_index=True
    )
    parts = []
    for model in MODELS:
        told = read_table(paths.answers_of(model), ANSWER)
        told = told[told["question"].isin(asked["id"])]
        parts.append(score(asked, told, model, alpha=0.1).assign(variant=name))
    return pd.concat(parts, ignore_index=True)[ROW.names]


def facts_of(space: Workspace) -> dict[str, Any]:
    """What a variant was made of: its changes, and how much there was of what."""
    paths = space.paths
    learnt = read_table(paths.questions("train"), QUESTION)
    learnt = learnt[~learnt["validation"]]
    test, record = read_table(paths.questions("test"), QUESTION), read_json(paths.training)
    knowledge = read_lake(paths.lake).knowledge
    kinds = knowledge.loc[knowledge["relation"] == "is", "object"].value_counts()
    return {
        "changes": dict(space.variant.changes),
        "states": len(learnt[["episode", "time"]].drop_duplicates()),
        "questions": len(learnt),
        "skills": sorted(test["skill"].unique()),
        "assets": {str(kind): int(count) for kind, count in sorted(kinds.items())},
        "context_tokens": read_json(paths.curate_report)["context_tokens"]["mean"],
        "training_seconds": round(float(record["seconds"] + record["lower_seconds"]), 1),
    }


def command() -> tuple[str, str]:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sector", metavar="SECTOR", help="a sector with a recipe: recipes/SECTOR.yaml, e.g. energy")
    parser.add_argument("study", metavar="STUDY", choices=STUDIES, help=", ".join(STUDIES))
    told = parser.parse_args()
    return told.sector, told.study


if __name__ == "__main__":
    with told_in_one_line():
        main(*command())
