"""Which values of masks stand for classes, and which are only mixtures at edges that a drawing program has smoothed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.datasets.truth import Color
from segdeploy.pictures import Picture
from segdeploy.scores import Mask

PURE = 0.25
"""Share of a class's pixels that have no other value around them; of a mixture, which lies along an edge, hardly one has."""

EVEN = 0.5
"""Share of the pixels of masks that have no other value around them."""

SPAN = 100
"""Greys between which others are mixtures lie farther apart than ids, which are counted from 0, do."""


@dataclass(frozen=True)
class Values:
    """What masks hold.

    Attributes:
        pixels: How many pixels have each value, a color, red, green and blue, or a grey thrice.
        even: How many of them have no other value around them; a mixture at an edge has none.
    """

    pixels: Counter[Color] = field(default_factory=Counter)
    even: Counter[Color] = field(default_factory=Counter)

    def add(self, mask: Mask | Picture) -> None:
        """Count a mask, (H, W) of numbers or (H, W, 3) blue-green-red."""
        edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        if mask.ndim == 2:
            _count_greys(self.pixels, mask.ravel())
            _count_greys(self.even, mask[~edges])
            return
        codes = (cv2.cvtColor(mask, cv2.COLOR_BGR2BGRA).view(np.uint32)[:, :, 0] & 0xFFFFFF).astype(np.int32)
        _count_colors(self.pixels, codes.ravel())
        _count_colors(self.even, codes[~edges.any(axis=2)])

    def are_even(self) -> bool:
        """Tell whether there are areas, as in masks, and no shades all over, as in photographs."""
        return self.even.total() >= EVEN * self.pixels.total()

    def without_mixtures(self) -> list[Color] | None:
        """Give the values that stand for classes, sorted; None where the others do not look like mixtures of them."""
        pure = sorted(value for value, count in self.pixels.items() if self.even[value] >= PURE * count)
        mixed = sorted(self.pixels.keys() - set(pure))
        if len(pure) < 2 or not self.are_even():
            return None
        if any(len(set(color)) > 1 for color in self.pixels):
            return pure if len(mixed) > 2 * len(pure) else None
        many = len(mixed) >= max(2, len(pure)) and pure[-1][0] - pure[0][0] >= SPAN
        return pure if many and pure[0] < mixed[0] and mixed[-1] < pure[-1] else None


def reach_between(greys: Iterable[int]) -> int:
    """Give the distance in which every grey between the least and the greatest of these has one of them, as three equal channels."""
    ordered = sorted(greys)
    gap = max(high - low for low, high in pairwise(ordered))
    return ceil(sqrt(3) * gap / 2)


def _count_greys(counter: Counter[Color], numbers: Mask) -> None:
    counter.update({(grey, grey, grey): count for grey, count in enumerate(np.bincount(numbers).tolist()) if count})


def _count_colors(counter: Counter[Color], codes: npt.NDArray[np.int32]) -> None:
    """Count numbers of 24 bits, of which red's are the highest."""
    numbers, counts = np.unique(codes, return_counts=True)
    found = zip(numbers.tolist(), counts.tolist(), strict=True)
    counter.update({(number >> 16, number >> 8 & 255, number & 255): count for number, count in found})
