"""Splits of a run: overfit subset, concatenation, auxiliary dataset with coarse labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.cache import Cached
from segdeploy.datasets.dataset import Dataset, Sample
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, DataError

from .recipe import Recipe

Unions = tuple[tuple[int, ...], ...]
"""Of each coarse class the indices of those classes of ours of which a pixel of it is one."""


class CoarseLabels:
    """A helper's samples in the classes of ours.

    A mask holds their indices and, from their number K on, K + the place of a union.

    Attributes:
        classes: Our classes.
        unions: The coarse ones.
    """

    def __init__(
        self, samples: Dataset, classes: tuple[LabelClass, ...], unions: Mapping[str, Sequence[str]]
    ) -> None:
        """Match the classes.

        Args:
            samples: The helper.
            classes: Our classes.
            unions: Names of ours by names of the helper's; where one is left out it is ours of the
                same name, or not labeled.

        Raises:
            ConfigError: A name is unknown, or nothing of the helper is left.
        """
        theirs, ours = ([one.name for one in both] for both in (samples.classes, classes))
        for name, known in [(name, theirs) for name in unions] + [
            (name, ours) for names in unions.values() for name in names
        ]:
            if name not in known:
                msg = (
                    f"unions name the class {name!r}, which is none of {', '.join(known)}; correct"
                    " the recipe"
                )
                raise ConfigError(msg)
        self.classes = classes
        self._samples = samples
        self._table = np.full(IGNORE_INDEX + 1, IGNORE_INDEX, np.uint8)
        found: list[tuple[int, ...]] = []
        for index, name in enumerate(theirs):
            members = tuple(
                ours.index(one) for one in unions.get(name, [name] if name in ours else [])
            )
            if len(members) > 1:
                self._table[index] = len(ours) + len(found)
                found.append(members)
            elif members:
                self._table[index] = members[0]
        self.unions: Unions = tuple(found)
        if (self._table == IGNORE_INDEX).all():
            msg = (
                f"no class of the helper is one of ours: it has {', '.join(theirs)}; give unions in"
                " the recipe"
            )
            raise ConfigError(msg)
        if len(ours) + len(found) > IGNORE_INDEX:
            msg = (
                f"{len(ours)} classes and {len(found)} unions are more than the {IGNORE_INDEX} that a"
                " mask can hold; give fewer unions"
            )
            raise ConfigError(msg)

    @property
    def names(self) -> Sequence[str]:
        """Names of the helper's samples."""
        return self._samples.names

    @property
    def rule(self) -> str:
        """How the helper's split came to be."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        sample = self._samples[index]
        mask: Mask = np.asarray(cv2.LUT(sample.mask, self._table), dtype=np.uint8)
        return Sample(image=sample.image, mask=mask, name=sample.name)


class ConcatDataset:
    """The samples of datasets with the same classes, one dataset after the other.

    One that is given twice is seen twice.
    """

    def __init__(self, *parts: Dataset, rule: str) -> None:
        """Join datasets.

        Args:
            parts: Whose samples these are, in order; classes are those of the first.
            rule: How this came to be, in words.
        """
        self.rule = rule
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the dataset."""
        return self._parts[0].classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return [name for part in self._parts for name in part.names]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        part, end = next(
            (part, end) for part, end in zip(self._parts, self._ends, strict=True) if index < end
        )
        return part[index - end + len(part)]


class Subset:
    """The first samples of a dataset."""

    def __init__(self, samples: Dataset, count: int) -> None:
        """Take so many, or all where there are fewer.

        Args:
            samples: Where the samples come from.
            count: How many.
        """
        self._samples = samples
        self._count = min(count, len(samples))

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the dataset."""
        return self._samples.classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return self._samples.names[: self._count]

    @property
    def rule(self) -> str:
        """How the split came to be."""
        return f"the first {self._count} of the training split, also to validate"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        return self._samples[index]


def unchanged(recipe: Recipe) -> Recipe:
    """Show images as they are."""
    return replace(recipe, scale=(1.0, 1.0), max_share=1.0, flip=0.0, color=0.0, hue=0.0, blur=0.0)


ALL = "all images are learned from, also those that it is validated with"


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
        few = Cached(Subset(train, recipe.overfit), room)
        return Splits(train=few, val=few)
    val = open_split(recipe.dataset, recipe.data, "val")
    helper = (
        CoarseLabels(
            open_split(recipe.helper, recipe.helper_data, "train"), train.classes, recipe.unions
        )
        if recipe.helper
        else None
    )
    total = len(train) + len(val) + (len(helper) if helper else 0)
    kept, kept_val = (Cached(split, room * len(split) / total) for split in (train, val))
    own: Dataset = ConcatDataset(kept, kept_val, rule=ALL) if recipe.final else kept
    if helper is None:
        return Splits(train=own, val=kept_val)
    helping = Cached(helper, room * len(helper) / total)
    return Splits(
        train=ConcatDataset(*[own] * recipe.repeat, helping, rule=own.rule),
        val=kept_val,
        unions=helper.unions,
    )


def open_split(name: str, data: str, split: str) -> Dataset:
    """Open one split of a dataset; an empty one is a DataError."""
    samples = load(name, Path(data) if data else None, split)
    if not len(samples):
        msg = f"the split {split} of {name} holds no image; check {data or 'the dataset'}"
        raise DataError(msg)
    return samples
