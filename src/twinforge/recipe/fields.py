"""What the sections of a recipe are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]
Listed = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

Learnt = Literal["what-if", "forecast", "diagnosis", "standard", "dependency", "recommend", "unanswerable", "report"]


class Section(BaseModel):
    """One part of a recipe: frozen, no unknown keys, no silent conversion, no NaN or infinity."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
