"""Figures of a split: sizes, classes and their balance, mean and deviation of the colors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log
from statistics import median
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass

Counts = npt.NDArray[np.int64]
"""(256,): how many pixels of a mask have each value."""

Moments = npt.NDArray[np.float64]
"""(3, 3): for red, green, blue in [0, 1] the number of pixels, the sum and the sum of the
squares."""

ENET = 1.02
"""Is added to a class's share before its logarithm is taken, so that weights stay within 1.4 and 50
(ENet, Paszke 2016, section 5.2)."""


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How often a class occurs.

    Attributes:
        name: Its name.
        pixels: How many pixels are labeled with it.
        share: Share of the labeled pixels, in [0, 1].
        images: In how many images it occurs.
        weight: What its loss may be multiplied with: 1 / ln(1.02 + share); None where it never
            occurs.
        median_weight: Another choice: the median of all classes' frequencies by its own (Eigen
            2015, section 6.3.2); a frequency is the share among the labeled pixels of the images
            in which the class occurs.
    """

    name: str
    pixels: int
    share: float
    images: int
    weight: float | None
    median_weight: float | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of one split.

    Attributes:
        images: How many images could be read.
        masks: How many of them have a mask that could be read.
        sizes: How many images have each size, as "WIDTHxHEIGHT" in pixels, the most frequent
            first.
        classes: Figures of each class, in channel order.
        labeled: Share of the pixels of all masks that are labeled, in [0, 1].
        mean: Mean of red, green, blue in [0, 1].
        std: Deviation of red, green, blue in [0, 1].
    """

    images: int
    masks: int
    sizes: Mapping[str, int]
    classes: tuple[ClassFigures, ...]
    labelled: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON knows them."""
        return asdict(self)


class Tally:
    """Counts that grow image by image, and the figures that follow from them."""

    def __init__(self, classes: tuple[LabelClass, ...]) -> None:
        """Start with nothing counted.

        Args:
            classes: Classes in the order of the masks' indices.
        """
        self._classes = classes
        self._masks = 0
        self._sizes: Counter[str] = Counter()
        self._moments: Moments = np.zeros((3, 3))
        self._pixels = np.zeros(256, np.int64)
        self._images = np.zeros(256, np.int64)
        self._around = np.zeros(256, np.int64)

    def add_image(self, size: tuple[int, int], moments: Moments) -> None:
        """Count an image by its height and width in pixels, and its moments."""
        self._sizes[f"{size[1]}x{size[0]}"] += 1
        self._moments = self._moments + moments

    def add_mask(self, counts: Counts) -> None:
        """Count a mask by how many pixels have each value."""
        self._masks += 1
        self._pixels += counts
        self._images += counts > 0
        self._around += np.where(counts > 0, counts[:IGNORE_INDEX].sum(), 0)

    def figures(self) -> Figures:
        """Return what follows from the counts; with nothing counted all is 0."""
        pixels = np.maximum(self._moments[0], 1)
        mean = self._moments[1] / pixels
        std = np.sqrt(np.maximum(self._moments[2] / pixels - mean**2, 0))
        return Figures(
            images=self._sizes.total(),
            masks=self._masks,
            sizes=dict(self._sizes.most_common()),
            classes=self._class_figures(),
            labelled=float(self._pixels[:IGNORE_INDEX].sum() / max(self._pixels.sum(), 1)),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )

    def _class_figures(self) -> tuple[ClassFigures, ...]:
        total = max(int(self._pixels[:IGNORE_INDEX].sum()), 1)
        frequencies = self._pixels / np.maximum(self._around, 1)
        middle = median(
            [float(value) for value in frequencies[: len(self._classes)] if value > 0] or [0.0]
        )
        return tuple(
            ClassFigures(
                name=entry.name,
                pixels=pixels,
                share=pixels / total,
                images=int(self._images[index]),
                weight=inverse_log(pixels / total) if pixels else None,
                median_weight=middle / float(frequencies[index]) if pixels else None,
            )
            for index, entry in enumerate(self._classes)
            for pixels in [int(self._pixels[index])]
        )


def moments(image: Image) -> Moments:
    """Sum up an image's colors: (3, 3) as `Moments` says."""
    mean, deviation = (values.ravel()[::-1] / 255 for values in cv2.meanStdDev(image))
    pixels = image.shape[0] * image.shape[1]
    return np.stack([np.full(3, float(pixels)), pixels * mean, pixels * (deviation**2 + mean**2)])


def count(mask: Mask) -> Counts:
    """Count how many pixels have each value: (256,)."""
    return np.bincount(mask.ravel(), minlength=256)


def inverse_log(share: float) -> float:
    """Weigh a class by its share of the labeled pixels, in [0, 1], as ENet does (Paszke et al. 2016, section 5.2)."""
    return 1 / log(ENET + share)
