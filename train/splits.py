"""The pictures of a run: to learn from, and to validate with."""

from pathlib import Path

from segdeploy.datasets import Dataset, load
from segdeploy.datasets.cache import Cached
from segdeploy.errors import DataError

from .joined import Joined
from .overfit import First
from .recipe import Recipe


def open_both(recipe: Recipe, *, room: float) -> tuple[Cached, Cached]:
    """Open what a recipe trains on and validates with; what is read is kept in the room, in bytes.

    Raises:
        DataError: One cannot be used, or is empty.
    """
    whole = open_split(recipe, "train")
    few = First(whole, recipe.overfit) if recipe.overfit else None
    val = few or open_split(recipe, "val")
    train = few or (Joined(whole, val) if recipe.final else whole)
    total = len(train) + len(val)
    return Cached(train, room * len(train) / total), Cached(val, room * len(val) / total)


def open_split(recipe: Recipe, split: str) -> Dataset:
    """Open one split of the recipe's data set; an empty one is a DataError."""
    samples = load(recipe.dataset, Path(recipe.data) if recipe.data else None, split)
    if not len(samples):
        msg = f"the split {split} of {recipe.dataset} holds no picture; check {recipe.data or 'the data set'}"
        raise DataError(msg)
    return samples
