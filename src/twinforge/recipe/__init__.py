"""The recipe: base, sector and profile composed under a strict schema, and the slice of it that each stage reads."""

from twinforge.recipe.compose import check, load_recipe
from twinforge.recipe.schema import STAGES, Recipe
from twinforge.recipe.slices import Slice, read_slice, write_slice
from twinforge.recipe.source import Mistake

__all__ = ["STAGES", "Mistake", "Recipe", "Slice", "check", "load_recipe", "read_slice", "write_slice"]
