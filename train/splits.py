"""The pictures of a run: to learn from, and to validate with."""

from dataclasses import dataclass
from pathlib import Path

from segdeploy.datasets import Dataset, load
from segdeploy.datasets.cache import Cached
from segdeploy.errors import DataError

from .coarse import Coarse, Unions
from .joined import Joined
from .overfit import First
from .recipe import Recipe

ALL = "all pictures are learned from, also those that it is validated with"


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a run reads.

    Attributes:
        train: To learn from.
        val: To validate with.
        unions: What the indices of `train` mean from the number of classes on.
    """

    train: Dataset
    val: Dataset
    unions: Unions = ()


def open_both(recipe: Recipe, *, room: float) -> Splits:
    """Open what a recipe trains on and validates with; what is read is kept in the room, in bytes.

    Raises:
        DataError: One cannot be used, or is empty.
        ConfigError: The helper's classes are not ours.
    """
    train = open_split(recipe.dataset, recipe.data, "train")
    if recipe.overfit:
        few = Cached(First(train, recipe.overfit), room)
        return Splits(train=few, val=few)
    val = open_split(recipe.dataset, recipe.data, "val")
    helper = Coarse(open_split(recipe.helper, recipe.helper_data, "train"), train.classes, recipe.unions) if recipe.helper else None
    total = len(train) + len(val) + (len(helper) if helper else 0)
    kept, kept_val = (Cached(split, room * len(split) / total) for split in (train, val))
    own: Dataset = Joined(kept, kept_val, rule=ALL) if recipe.final else kept
    if helper is None:
        return Splits(train=own, val=kept_val)
    helping = Cached(helper, room * len(helper) / total)
    return Splits(train=Joined(*[own] * recipe.repeat, helping, rule=own.rule), val=kept_val, unions=helper.unions)


def open_split(name: str, data: str, split: str) -> Dataset:
    """Open one split of a data set; an empty one is a DataError."""
    samples = load(name, Path(data) if data else None, split)
    if not len(samples):
        msg = f"the split {split} of {name} holds no picture; check {data or 'the data set'}"
        raise DataError(msg)
    return samples
