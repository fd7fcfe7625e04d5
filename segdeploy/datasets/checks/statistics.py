"""Statistics of a split: sizes, class balance, mean and standard deviation of the colors."""

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
from segdeploy.card import COLORS, LabelClass

Counts = npt.NDArray[np.int64]
"""(256,): how many pixels of a mask have each value."""

Moments = npt.NDArray[np.float64]
"""(3, 3): for red, green, blue in [0, 1] the number of pixels, the sum and the sum of the
squares."""

ENET = 1.02
"""Is added to a class's share before its logarithm is taken, so that weights stay within 1.4 and 50
(Paszke et al., ENet, 2016, section 5.2)."""


@dataclass(frozen=True, kw_only=True)
class ClassStatistics:
    """How often a class occurs.

    Attributes:
        name: Its name.
        pixels: How many pixels are labeled with it.
        share: Share of the labeled pixels, in [0, 1].
        images: In how many images it occurs.
        weight: A weight for its loss: 1 / ln(1.02 + share); None where it never occurs.
        median_weight: Another weight: the median of all classes' frequencies by its own (Eigen and
            Fergus, ICCV 2015, section 6.3.2); a frequency is the share among the labeled pixels of
            the images in which the class occurs.
    """

    name: str
    pixels: int
    share: float
    images: int
    weight: float | None
    median_weight: float | None


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Statistics of one split.

    Attributes:
        images: How many images could be read.
        masks: How many of them have a mask that could be read.
        sizes: How many images have each size, as "WIDTHxHEIGHT" in pixels, the most frequent
            first.
        classes: Statistics of each class, in channel order.
        labeled: Share of the pixels of all masks that are labeled, in [0, 1].
        mean: Mean of red, green, blue in [0, 1], or of each band as it is stored.
        std: Standard deviation, likewise.
    """

    images: int
    masks: int
    sizes: Mapping[str, int]
    classes: tuple[ClassStatistics, ...]
    labeled: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as `data stats --json` prints them."""
        return asdict(self)


class StatisticsAccumulator:
    """Counts that grow image by image, and the statistics that follow from them."""

    def __init__(self, classes: tuple[LabelClass, ...]) -> None:
        """Start with nothing counted.

        Args:
            classes: Classes in the order of the masks' indices.
        """
        self._classes = classes
        self._masks = 0
        self._sizes: Counter[str] = Counter()
        self._moments: Moments = np.zeros((3, 3))
        # By class: its pixels, the images that it occurs in, and the labeled pixels of those.
        self._pixels = np.zeros(256, np.int64)
        self._images = np.zeros(256, np.int64)
        self._pixels_of_images = np.zeros(256, np.int64)

    def add_image(self, size: tuple[int, int], moments: Moments) -> None:
        """Count an image by its height and width in pixels, and its moments."""
        # Zeros of three channels until the first image says how many there are.
        self._moments = self._moments + moments if self._sizes else moments
        self._sizes[f"{size[1]}x{size[0]}"] += 1

    def add_mask(self, counts: Counts) -> None:
        """Count a mask by how many pixels have each value."""
        self._masks += 1
        self._pixels += counts
        self._images += counts > 0
        self._pixels_of_images += np.where(counts > 0, counts[:IGNORE_INDEX].sum(), 0)

    def statistics(self) -> SplitStatistics:
        """Return the statistics; all are 0 where nothing was counted."""
        pixels = np.maximum(self._moments[0], 1)
        mean = self._moments[1] / pixels
        std = np.sqrt(np.maximum(self._moments[2] / pixels - mean**2, 0))
        return SplitStatistics(
            images=self._sizes.total(),
            masks=self._masks,
            sizes=dict(self._sizes.most_common()),
            classes=self._class_statistics(),
            labeled=float(self._pixels[:IGNORE_INDEX].sum() / max(self._pixels.sum(), 1)),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )

    def _class_statistics(self) -> tuple[ClassStatistics, ...]:
        total = max(int(self._pixels[:IGNORE_INDEX].sum()), 1)
        frequencies = (self._pixels / np.maximum(self._pixels_of_images, 1)).tolist()
        occurring = [value for value in frequencies[: len(self._classes)] if value > 0]
        middle = median(occurring or [0.0])
        return tuple(
            ClassStatistics(
                name=entry.name,
                pixels=pixels,
                share=pixels / total,
                images=images,
                weight=inverse_log(pixels / total) if pixels else None,
                median_weight=middle / frequency if pixels else None,
            )
            for entry, pixels, images, frequency in zip(
                self._classes,
                self._pixels.tolist(),
                self._images.tolist(),
                frequencies,
                strict=False,
            )
        )


def moments(image: Image, *, is_color: bool = True) -> Moments:
    """Return the sums over an image's colors, (3, 3) as `Moments` says.

    Of an image of other bands or bits they are (3, C), of the numbers as they are stored.

    Args:
        image: (H, W, C).
        is_color: Whether its channels are blue, green and red; they are turned round then.
    """
    pixels = image.shape[0] * image.shape[1]
    count = image.shape[2]
    if is_color and image.dtype == np.uint8 and count == len(COLORS):
        mean, deviation = (values.ravel()[::-1] / 255 for values in cv2.meanStdDev(image))
        valid = np.full(count, float(pixels))
    else:
        ordered = image[:, :, ::-1] if is_color else image
        numbers = ordered.reshape(pixels, count).astype(np.float64)
        finite = np.isfinite(numbers)
        valid = finite.sum(axis=0, dtype=np.float64)
        least = np.maximum(valid, 1)
        mean = np.where(finite, numbers, 0).sum(axis=0) / least
        deviation = np.sqrt(np.where(finite, (numbers - mean) ** 2, 0).sum(axis=0) / least)
    return np.stack([valid, valid * mean, valid * (deviation**2 + mean**2)])


def count(mask: Mask) -> Counts:
    """Return how many pixels have each value, (256,)."""
    return np.bincount(mask.ravel(), minlength=256)


def inverse_log(share: float) -> float:
    """Return ENet's weight of a class by its share of the labeled pixels, in [0, 1].

    Paszke et al., ENet, 2016, section 5.2.
    """
    return 1 / log(ENET + share)
