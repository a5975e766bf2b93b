"""The model card: what a twin is, what it was made from, its figures beside the baselines, its limits, its use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from twinforge.manifest import Manifest

Metrics = Mapping[str, Any]  # suite -> split -> skill -> measure -> model -> {value, low, high, n, better}
SUITE, SPLIT = "quality", "test"
MODELS = (
    "twin", "llm", "boost", "base", "base-few", "base-prior", "rule", "majority", "persistence", "copy",
)  # fmt: skip
MEASURES = {
    "accuracy": "Accuracy (numbers: within the question's tolerance)",
    "coverage": "Coverage of the guaranteed sets and intervals",
    "coverage_online": "Coverage where the thresholds follow the stream, as truths come in",
    "answered": "Share answered, where it answers only when it is sure",
    "answered_wrong": "Share answered and wrong, where it answers only when it is sure",
    "set_size": "Size of the guaranteed sets (options or nodes)",
    "set_f1": "F1 of the sets of nodes said",
    "width": "Width of the guaranteed intervals",
    "log_score": "Log score",
    "regret": "Regret of recommendations",
}
KEPT = ("accuracy", "coverage", "coverage_online", "answered", "answered_wrong", "log_score", "regret")


@dataclass(frozen=True)
class About:
    """What the card tells beside the manifest and the metrics.

    title, summary : what the twin is a twin of. license : SPDX name in lower case. counts : split -> questions.
    training : words -> value, as rows of the training table. alpha : allowed share of misses. risk, delta : as in the
    recipe's `calibrate`. data, limits : sentences.
    """

    title: str
    summary: str
    license: str
    counts: Mapping[str, int]
    training: Mapping[str, str]
    alpha: float
    risk: float
    delta: float
    data: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def card(about: About, manifest: Manifest, metrics: Metrics) -> str:
    """The text of `README.md`, with the metadata block that the Hugging Face Hub reads."""
    name = f"twinforge-{manifest.sector}"
    data = ModelCardData(
        model_name=name,
        base_model=manifest.base["id"],
        library_name="peft",
        license=about.license,
        language="en",
        pipeline_tag="text-generation",
        tags=["digital-twin", "lora", "conformal-prediction", "twinforge", manifest.sector],
        eval_results=list(eval_results(manifest.sector, metrics)) or None,
    )
    body = "\n\n".join(
        (f"# {about.title}", about.summary, _use(manifest), _data(about, manifest), _training(about, manifest))
        + (_figures(about, metrics), _limits(about, manifest))
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def eval_results(sector: str, metrics: Metrics) -> Iterator[EvalResult]:
    """The twin's and the language model's figures on the test split as the Hub's `model-index` has them."""
    for skill, measures in metrics.get(SUITE, {}).get(SPLIT, {}).items():
        for measure in (name for name in KEPT if name in measures):
            for model in (name for name in ("twin", "llm") if _known(measures[measure], name)):
                yield EvalResult(
                    task_type="text-generation",
                    task_name="question answering about a state",
                    dataset_type=f"twinforge-{sector}",
                    dataset_name=f"twinforge {sector}",
                    dataset_split=SPLIT,
                    dataset_config=skill,
                    metric_type=measure,
                    metric_name=f"{measure} ({model}, {skill})",
                    metric_config=model,
                    metric_value=round(float(measures[measure][model]["value"]), 4),
                )


def _known(cells: Mapping[str, Any], model: str) -> bool:
    return model in cells and cells[model].get("value") is not None


def figure(cell: Mapping[str, Any]) -> str:
    """A value with its interval, `0.91 [0.89, 0.93]`."""
    if cell.get("low") is None or cell.get("high") is None:
        return f"{cell['value']:.3g}"
    return f"{cell['value']:.3g} [{cell['low']:.3g}, {cell['high']:.3g}]"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _figures(about: About, metrics: Metrics) -> str:
    parts = [
        "## Figures",
        "On whole episodes that nothing was fitted on. In brackets: 95 % intervals, resampling whole episodes. "
        "`twin` pools the language model (`llm`) with the experts; `base` is the untuned language model.",
    ]
    for split, skills in metrics.get(SUITE, {}).items():
        for measure, words in MEASURES.items():
            found = {skill: measures[measure] for skill, measures in skills.items() if measures.get(measure)}
            models = [model for model in MODELS if any(_known(cells, model) for cells in found.values())]
            if found and models:
                rows = [_row(skill, cells, models) for skill, cells in found.items()]
                parts += [f"**{words}, split `{split}`**", table(("skill", "n", *models), rows)]
    parts += _reports(metrics.get("hallucination", {}), about.alpha)
    level = f"{1 - about.alpha:.0%}"
    promise = (
        f"The sets and intervals are made to hold the truth in at least {level} of questions like those of `test`. On `shift` "
        f"only thresholds that follow the stream promise anything: a share of misses near {about.alpha:.0%} in the long run. "
        f"Where it answers only when it is sure, at most {about.risk:.0%} of all questions are answered and wrong, with "
        f"probability {1 - about.delta:.0%} over the calibration episodes."
    )
    return "\n\n".join([*parts, promise])


def _reports(splits: Mapping[str, Any], alpha: float) -> list[str]:
    """What the twin stands for in free reports: nothing where it wrote none."""
    head = {
        "all_true": "all that is stated is right",
        "wrong": "wrong, of the claims stated",
        "told": "told, of what there is to tell",
    }
    rows = []
    for split, skills in splits.items():
        cells = [skills["all"].get(name, {}).get("twin") for name in head]
        rows.append((split, str((cells[0] or {}).get("n", 0)), *(figure(cell) if cell else "" for cell in cells)))
    if not rows:
        return []
    title = "**Free reports, less the statements that the twin does not stand for**"
    promise = f"In {1 - alpha:.0%} of free reports like those of `test` all that it stands for is right."
    return [title, table(("split", "n", *head.values()), rows), promise]


def _row(skill: str, cells: Mapping[str, Any], models: list[str]) -> tuple[str, ...]:
    count = max(int(cell.get("n") or 0) for cell in cells.values())
    return (skill, str(count), *(figure(cells[model]) if _known(cells, model) else "" for model in models))


def _data(about: About, manifest: Manifest) -> str:
    counts = table(("split", "questions"), [(split, str(count)) for split, count in about.counts.items()])
    hashes = "\n".join(f"- `{part}`: `{value}`" for part, value in manifest.data.items())
    return "\n\n".join(["## Data", *about.data, counts, "Hashes of the data:", hashes])


def _training(about: About, manifest: Manifest) -> str:
    rows = [(key, value) for key, value in about.training.items()]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.packages.items())
    code = f"Code revision `{manifest.code['revision']}`; {versions}."
    return "\n\n".join(["## Training", table(("setting", "value"), rows), code])


def _limits(about: About, manifest: Manifest) -> str:
    base = manifest.base
    lines = [
        f"The guarantees hold for base weights with sha256 `{base['sha256']}`, those of `{base['source']}`. "
        f"`{base['id']}` on the Hub may have others: twinforge refuses to load the twin over them.",
        "The promise is a static one: it needs questions that are like those of the calibration split. Where the "
        "regime shifts (split `shift`), coverage can be lower; the figures above show how much.",
        "It is a decision aid. It has not been approved for switching or for any other operation without a person.",
        *about.limits,
    ]
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines)])


def _use(manifest: Manifest) -> str:
    return f"""## How to use it

```bash
pip install twinforge
twinforge verify DIR        # every byte against the manifest
twinforge demo DIR          # ten questions with answers, evidence and the truth
twinforge ask DIR --questions    # what it can be asked
twinforge export DIR --merged OUT    # a plain model folder
```

```python
from twinforge.artifact import Twin

twin = Twin.load("DIR")    # refuses changed files and other base weights
```

The adapter alone is a [PEFT](https://huggingface.co/docs/peft) adapter of `{manifest.base["id"]}`; the exported folder
answers with `transformers.pipeline("decision", model="OUT")`. Both give the language model's part only, without the
experts and without the guarantee."""
