"""A packaged twin: loaded only when its manifest holds, over the very base weights it was calibrated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from twinforge.errors import UserError
from twinforge.files import read_json, read_table
from twinforge.manifest import Manifest, check_base, verify
from twinforge.recipe import Slice, read_slice
from twinforge.records import KNOWLEDGE, OBSERVATION, OUTCOME, QUESTION, STANDARD

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from twinforge.agents.integration import Integration
    from twinforge.conformal.calibration import Calibration
    from twinforge.recipe.schema import Compute, Model
    from twinforge.training.experts import Experts


@dataclass(frozen=True)
class Twin:
    """A verified twin. Its parts are read at their first use; all come from its folder, but the base weights.

    base : what to load the base model from, where it isn't what the recipe names (a folder given by the user).
    """

    folder: Path
    manifest: Manifest
    base: str | None = None

    @classmethod
    def open(cls, folder: Path | str, base: str | None = None) -> Twin:
        """Verify a twin; the language model is loaded at its first use.

        Raises
        ------
        UserError
            The manifest does not hold (see `manifest.verify`).
        """
        return cls(Path(folder), verify(Path(folder)), base)

    @classmethod
    def load(cls, folder: Path | str, base: str | None = None) -> Twin:
        """Verify a twin and load all of it, the language model too.

        Raises
        ------
        UserError
            As `open`; the base weights are not those that the twin was calibrated on; a part can't be read.
        """
        twin = cls.open(folder, base)
        _ = twin.model, twin.experts, twin.integration
        return twin

    @cached_property
    def recipe(self) -> Slice:
        """The resolved recipe that made the twin."""
        return read_slice(self.folder / "recipe.yaml")

    @cached_property
    def model(self) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        """The base model with the adapter on it, in eval mode, and the twin's own tokenizer."""
        return self.load_model(self.base_section, self.recipe.compute)

    @property
    def base_section(self) -> Model:
        """The recipe's `model` section, pointing at where the base model is to be loaded from here.

        Raises
        ------
        UserError
            The recipe's base was a folder of another machine, and `base` doesn't say where its like is here.
        """
        section: Model = self.recipe.model
        if self.base is not None:
            return section.model_copy(update={"base": self.base, "revision": None})
        if self.manifest.base.get("local"):
            raise UserError(f"{self.folder}: its base model was a folder, {section.base!r}: say where with --base")
        return section

    def load_model(self, section: Model, compute: Compute) -> tuple[PeftModel, PreTrainedTokenizerBase]:
        """Load base (its weights checked), adapter and tokenizer afresh."""
        from transformers import AutoTokenizer

        from twinforge.model.adapter import load_adapter
        from twinforge.model.base import base_folder, load_base, weights_hash

        check_base(self.manifest, weights_hash(base_folder(section)))
        network, _ = load_base(section, compute)
        return load_adapter(network, self.folder).eval(), AutoTokenizer.from_pretrained(str(self.folder))

    def ask_model(self, questions: pd.DataFrame) -> pd.DataFrame:
        """The language model's own answers (`records.ANSWER`) to rows of `records.QUESTION`."""
        model, tokenizer = self.model
        return answers_of(model, tokenizer, questions)

    @cached_property
    def experts(self) -> Experts:
        from twinforge.training.experts import Experts

        return Experts.load(self.folder / "experts")

    @cached_property
    def integration(self) -> Integration:
        from twinforge.agents.integration import Integration

        return Integration.from_json(read_json(self.folder / "integration.json"))

    @cached_property
    def calibration(self) -> Calibration:
        from twinforge.conformal.calibration import Calibration

        return Calibration.load(self.folder / "calibration.json")

    @cached_property
    def skills(self) -> list[Mapping[str, Any]]:
        """The templates it can be asked by (`skills.json`)."""
        found: list[Mapping[str, Any]] = read_json(self.folder / "skills.json")
        return found

    @cached_property
    def examples(self) -> pd.DataFrame:
        """Stored test questions with their truths (`records.QUESTION`)."""
        return read_table(self.folder / "examples.parquet", QUESTION)

    @cached_property
    def states(self) -> pd.DataFrame:
        """The sound readings of the examples' states (`records.OBSERVATION`)."""
        return read_table(self.folder / "states.parquet", OBSERVATION)

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """What the simulator says follows the examples' states (`records.OUTCOME`)."""
        return read_table(self.folder / "outcomes.parquet", OUTCOME)

    @cached_property
    def knowledge(self) -> pd.DataFrame:
        return read_table(self.folder / "knowledge.parquet", KNOWLEDGE)

    @cached_property
    def standards(self) -> pd.DataFrame:
        return read_table(self.folder / "standards.parquet", STANDARD)


def answers_of(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: pd.DataFrame,
    batch_trees: int = 1,
) -> pd.DataFrame:
    """Answers (`records.ANSWER`) of a language model to rows of `records.QUESTION`.

    A handful of questions about several states is answered soonest in small batches: states differ in length.
    """
    from twinforge.model.answers import answer, plan
    from twinforge.model.prompt import Prompt

    prompt = Prompt.of(tokenizer)
    return answer(model, prompt, plan(prompt, questions), questions["id"].tolist(), batch_trees)
