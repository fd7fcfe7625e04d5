"""Data of a run: its splits, a second dataset with coarse labels, weights of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.cache import CachedDataset
from segdeploy.datasets.checks.statistics import inverse_log
from segdeploy.datasets.dataset import Dataset, Sample
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, DataError

from .bands import selected
from .recipe import Recipe

CoarseClasses = tuple[tuple[int, ...], ...]
"""For each coarse class the indices of the classes that it covers."""

Shares = npt.NDArray[np.float64]

COUNTED_SAMPLES = 100
"""Samples from which the classes' shares are estimated; reading a whole large dataset would take
minutes."""

FINAL_RULE = "all images are trained on, also those of the validation split"


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Data of a run.

    Attributes:
        train: Training split.
        val: Validation split.
        coarse_classes: Classes that the indices of `train`'s masks stand for from the number of
            classes on.
    """

    train: Dataset
    val: Dataset
    coarse_classes: CoarseClasses = ()


def open_run_splits(recipe: Recipe, *, cache_bytes: float) -> Splits:
    """Open what a recipe trains on and validates with.

    Args:
        recipe: Names the datasets.
        cache_bytes: Bytes of decoded samples that may be kept.

    Raises:
        DataError: A split cannot be used, is empty, or shows less than two classes.
        ConfigError: The classes of the second dataset do not match.
    """
    splits = _open_run_splits(recipe, cache_bytes)
    check_labels(splits.train, "to train on")
    check_labels(splits.val, "to validate with")
    return splits


def _open_run_splits(recipe: Recipe, cache_bytes: float) -> Splits:
    train = selected(open_split(recipe.dataset, recipe.data, "train"), recipe)
    if recipe.overfit:
        few = CachedDataset(Subset(train, recipe.overfit), cache_bytes)
        return Splits(train=few, val=few)
    val = selected(open_split(recipe.dataset, recipe.data, "val"), recipe)
    extra = open_extra(recipe, train.classes) if recipe.extra_dataset else None
    total = len(train) + len(val) + (len(extra) if extra else 0)
    cached, cached_val = (
        CachedDataset(split, cache_bytes * len(split) / total) for split in (train, val)
    )
    own: Dataset = ConcatDataset(cached, cached_val, rule=FINAL_RULE) if recipe.final else cached
    if extra is None:
        return Splits(train=own, val=cached_val)
    cached_extra = CachedDataset(extra, cache_bytes * len(extra) / total)
    return Splits(
        train=ConcatDataset(*[own] * recipe.repeat, cached_extra, rule=own.rule),
        val=cached_val,
        coarse_classes=extra.coarse_classes,
    )


def open_split(name: str, data: str, split: str) -> Dataset:
    """Open one split of a dataset; an empty one is a DataError."""
    samples = load(name, Path(data) if data else None, split)
    if not len(samples):
        msg = f"the split {split} of {name} holds no image; check {data or 'the dataset'}"
        raise DataError(msg)
    return samples


def check_labels(samples: Dataset, purpose: str) -> None:
    """Check that something can be learned: pixels of two classes are labeled.

    Samples are read in a random order until two classes were seen, mostly in the first one.

    Args:
        samples: One split.
        purpose: What its images are for, as a part of a sentence.

    Raises:
        DataError: No pixel of any mask is labeled, or all are of one class.
    """
    found: set[int] = set()
    for index in np.random.default_rng(0).permutation(len(samples)).tolist():
        found |= set(np.unique(samples[index].mask).tolist()) - {IGNORE_INDEX}
        if len(found) > 1:
            return
    known = dict(enumerate(entry.name for entry in samples.classes))
    what = (
        f"every labeled pixel of all {len(samples)} images {purpose} is of one class,"
        f" {known.get(min(found), 'a coarse one')!r}"
        if found
        else f"no pixel of any of the {len(samples)} images {purpose} is labeled"
    )
    msg = f"{what}, so there is nothing to distinguish; compare the masks with the classes"
    raise DataError(msg)


def open_extra(recipe: Recipe, classes: tuple[LabelClass, ...]) -> "CoarseLabels":
    """Open the training split of the recipe's second dataset, in the given classes."""
    samples = selected(open_split(recipe.extra_dataset, recipe.extra_data, "train"), recipe)
    return CoarseLabels(samples, classes, recipe.coarse_classes)


def without_augmentation(recipe: Recipe) -> Recipe:
    """Return a recipe that trains on images as they are."""
    return replace(recipe, scale=(1.0, 1.0), max_share=1.0, flip=0.0, color=0.0, hue=0.0, blur=0.0)


class CoarseLabels:
    """The samples of a second dataset, in the classes of the first one.

    Masks hold indices of these K classes and, from K on, K + i for coarse class i.

    Attributes:
        classes: Classes of the first dataset.
        coarse_classes: The coarse classes.
    """

    def __init__(
        self,
        samples: Dataset,
        classes: tuple[LabelClass, ...],
        covered: Mapping[str, Sequence[str]],
    ) -> None:
        """Match the classes.

        Args:
            samples: The second dataset.
            classes: Classes of the first dataset.
            covered: Names of the classes that a class of the second dataset covers, by its name; a
                class that is left out is the class of the same name, or not labeled.

        Raises:
            ConfigError: A name is unknown, or no class of the second dataset matches.
        """
        given = [entry.name for entry in samples.classes]
        own = [entry.name for entry in classes]
        _check_names(covered, given, own)
        self.classes = classes
        self._samples = samples
        self._table = np.full(IGNORE_INDEX + 1, IGNORE_INDEX, np.uint8)
        coarse: list[tuple[int, ...]] = []
        for index, name in enumerate(given):
            names = covered.get(name, [name] if name in own else [])
            members = tuple(own.index(member) for member in names)
            if len(members) > 1:
                self._table[index] = len(own) + len(coarse)
                coarse.append(members)
            elif members:
                self._table[index] = members[0]
        self.coarse_classes: CoarseClasses = tuple(coarse)
        self._check_table(given, len(own))

    def _check_table(self, given: Sequence[str], own: int) -> None:
        if (self._table == IGNORE_INDEX).all():
            msg = (
                f"no class of the second dataset is one of the first: it has {', '.join(given)};"
                " give coarse_classes in the recipe"
            )
            raise ConfigError(msg)
        if own + len(self.coarse_classes) > IGNORE_INDEX:
            msg = (
                f"{own} classes and {len(self.coarse_classes)} coarse classes are more than the"
                f" {IGNORE_INDEX} that a mask can hold; give fewer coarse_classes"
            )
            raise ConfigError(msg)

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return self._samples.names

    @property
    def rule(self) -> str:
        """Description of the split."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        sample = self._samples[index]
        mask: Mask = np.asarray(cv2.LUT(sample.mask, self._table), dtype=np.uint8)
        return Sample(image=sample.image, mask=mask, name=sample.name)


def _check_names(
    covered: Mapping[str, Sequence[str]], given: Sequence[str], own: Sequence[str]
) -> None:
    """Raise a ConfigError for a name that is unknown to its dataset."""
    names = [(name, given) for name in covered]
    names += [(member, own) for members in covered.values() for member in members]
    for name, known in names:
        if name not in known:
            msg = (
                f"coarse_classes name the class {name!r}, which is not one of {', '.join(known)};"
                " correct the recipe"
            )
            raise ConfigError(msg)


class ConcatDataset:
    """The samples of several datasets with the same classes, one dataset after the other."""

    def __init__(self, *parts: Dataset, rule: str) -> None:
        """Concatenate datasets.

        Args:
            parts: The datasets, in order; one may occur more than once.
            rule: Description of the split.
        """
        self.rule = rule
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the first dataset."""
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
        """Take `count` samples, or all where there are fewer."""
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
        """Description of the split."""
        return f"the first {self._count} of the training split, also to validate"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        return self._samples[index]


def class_weights(samples: Dataset, method: str) -> npt.NDArray[np.float32] | None:
    """Return the weight of each class in the loss, (K,), from at most 100 samples of a split.

    They are scaled so that the mean weight of a labeled pixel is 1.

    Args:
        samples: The training split.
        method: "none" (returns None), "inverse-log" (Paszke et al., ENet, 2016, section 5.1) or
            "median-frequency" (Eigen and Fergus, ICCV 2015, section 6.3.2).
    """
    if method == "none":
        return None
    pixels, of_images = count_pixels(samples)
    shares = pixels / max(float(pixels.sum()), 1)
    weights = (
        np.array([inverse_log(float(share)) for share in shares])
        if method == "inverse-log"
        else by_median_frequency(pixels, of_images)
    )
    mean = float((weights * shares).sum())
    return (weights / mean if mean else weights).astype(np.float32)


def count_pixels(samples: Dataset) -> tuple[Shares, Shares]:
    """Return the pixels of each class, and the labeled pixels of the images that it occurs in.

    Both are (K,).
    """
    pixels, of_images = np.zeros(len(samples.classes)), np.zeros(len(samples.classes))
    for index in range(0, len(samples), max(1, len(samples) // COUNTED_SAMPLES)):
        counts = np.bincount(samples[index].mask.ravel(), minlength=IGNORE_INDEX + 1)
        counts = counts[: len(pixels)]
        pixels += counts
        of_images += counts.sum() * (counts > 0)
    return pixels, of_images


def by_median_frequency(pixels: Shares, of_images: Shares) -> Shares:
    """Return the median of all frequencies by each class's own; 1 for one that never occurs.

    A class's frequency is its share of the labeled pixels of the images that it occurs in.
    """
    frequencies = np.divide(
        pixels, of_images, out=np.full_like(pixels, np.nan), where=of_images > 0
    )
    if not of_images.any():
        return np.ones_like(pixels)
    weights: Shares = np.nan_to_num(np.nanmedian(frequencies) / frequencies, nan=1.0)
    return weights
