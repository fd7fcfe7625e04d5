"""The ways in which files keep truth.

Numbers, colors, one channel, black and white, or beside the image.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.datasets.index import Pair
from segdeploy.errors import DataError
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.imaging.palettes import Color

Table = tuple[int, ...]
"""For each number in 0 ... 255 the class that it means, 255 for what is not labeled, or
`FOREIGN`."""

FOREIGN = -1

FLAT = 16
MOST_FOREIGN = 0.5
"""Share of truth beside an image that may lie farther than `FLAT` from every class's color.

Measured on right halves: of painted truth at 256x256 9 to 34%, as JPEG of quality 95 to 30; of
photographs of streets and cars 60% and more in 99 of 100.
"""


def table(classes: Mapping[int, int], *, ignored: Iterable[int] = (IGNORE_INDEX,)) -> Table:
    """Make a table of what each number in a file means.

    Args:
        classes: Class by number.
        ignored: Numbers that are not labeled; every number that is in neither is foreign.
    """
    meant = {**dict.fromkeys(ignored, IGNORE_INDEX), **classes}
    return tuple(meant.get(number, FOREIGN) for number in range(256))


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Numbers in a gray or palette image.

    Attributes:
        table: What each number means.
    """

    table: Table

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the numbers; raises DataError where a number means none."""
        path = _mask_of(pair)
        return look_up(read_ids(path), self.table, path)


@dataclass(frozen=True, kw_only=True)
class RedChannel:
    """Numbers in the red channel of a color image.

    Attributes:
        table: What each number means.
    """

    table: Table

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the numbers; raises DataError where a number means none."""
        path = _mask_of(pair)
        return look_up(np.ascontiguousarray(read_image(path)[:, :, 2]), self.table, path)


@dataclass(frozen=True, kw_only=True)
class Binary:
    """Background and one thing: 0 and 1, or 0 and 255, in whatever kind of image."""

    def read(self, pair: Pair) -> Mask:
        """Return 0 and 1; raises DataError where there is a third number or the image is colored."""
        path = _mask_of(pair)
        numbers = _grey(path)
        highest = int(numbers.max())
        if highest not in {0, 1, 255}:
            msg = (
                f"{path} holds the number {highest}; a mask of two classes holds 0 and 1, or 0"
                " and 255"
            )
            raise DataError(msg)
        return look_up(numbers, table({0: 0, highest: int(highest > 0)}, ignored=()), path)


@dataclass(frozen=True, kw_only=True)
class Colors:
    """Colors in an image.

    Attributes:
        table: Color and class, 255 for what is not labeled.
        reach: How far a color may be from the nearest one of the table, as the root of the squared
            differences.
        strict: Whether a color that is too far from all is an error, instead of not labeled.
    """

    table: tuple[tuple[Color, int], ...]
    reach: int = 0
    strict: bool = False

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the colors.

        Raises DataError where one means none and that is an error.
        """
        path = _mask_of(pair)
        return self.classify(read_image(path), path)

    def classify(self, image: Image, path: Path) -> Mask:
        """Return the classes of the colors of an image that was read from `path`."""
        mask = _nearest(image, self.table, self.reach)
        if self.strict and (foreign := mask == _UNKNOWN).any():
            blue, green, red = image[foreign][0]
            msg = (
                f"{path} holds the color ({red}, {green}, {blue}), which is no class's, on"
                f" {foreign.sum()} pixels; name it in classes.toml, and save masks as PNG"
            )
            raise DataError(msg)
        mask[mask == _UNKNOWN] = IGNORE_INDEX
        return mask

    def foreign(self, image: Image, *, reach: int) -> float:
        """Return the share of an image's pixels whose color is farther than `reach` from every one of the table, in [0, 1]."""
        return float((_nearest(image, self.table, reach) == _UNKNOWN).mean())


@dataclass(frozen=True, kw_only=True)
class RightHalf:
    """Colors in the right half of a file whose left half is the image.

    Attributes:
        colors: Reads the half.
    """

    colors: Colors

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the colors of the right half.

        Raises DataError where it is a photograph.
        """
        path = _mask_of(pair)
        right = halves(path)[1]
        # A sixteenth of the pixels tells as much; those in the middle of JPEG's cells of 8 are the
        # least mixed.
        some = np.ascontiguousarray(right[2::4, 2::4]) if min(right.shape[:2]) > 2 else right
        if (share := self.colors.foreign(some, reach=FLAT)) > MOST_FOREIGN:
            msg = (
                f"{share:.0%} of the right half of {path} has no class's color, so that it is a"
                " photograph and no truth; choose the dataset that lies there with --dataset"
            )
            raise DataError(msg)
        return self.colors.classify(right, path)


def read_left_half(path: Path) -> Image:
    """Read the image of a file that holds image and truth side by side."""
    return halves(path)[0]


def halves(path: Path) -> tuple[Image, Image]:
    """Read a file that holds two images of one size side by side.

    Raises DataError where its width is odd.
    """
    both = read_image(path)
    half, rest = divmod(both.shape[1], 2)
    if rest:
        msg = (
            f"{path} is {both.shape[1]} pixels wide; image and truth side by side make an even"
            " number"
        )
        raise DataError(msg)
    return np.ascontiguousarray(both[:, :half]), np.ascontiguousarray(both[:, half:])


def look_up(numbers: Mask, meaning: Table, path: Path) -> Mask:
    """Replace each number by the class that it means.

    Raises DataError, with the number, where it means none.
    """
    classes = np.array(meaning, dtype=np.int16)
    # To look up twice takes a fifth of the time of counting the numbers.
    foreign = np.asarray(cv2.LUT(numbers, (classes == FOREIGN).astype(np.uint8)))
    if cv2.countNonZero(foreign):
        allowed = ", ".join(map(str, np.flatnonzero(classes != FOREIGN)[:40]))
        msg = (
            f"{path} holds the id {numbers[foreign > 0].min()}, which is no class; ids are"
            f" {allowed}"
        )
        raise DataError(msg)
    return np.asarray(cv2.LUT(numbers, classes.astype(np.uint8)), dtype=np.uint8)


_UNKNOWN = 254
"""Stands for a color that is no class's; a card has up to 254 classes where colors are truth."""


def _nearest(image: Image, colors: tuple[tuple[Color, int], ...], reach: int) -> Mask:
    """Return the class of the nearest color at each pixel, `_UNKNOWN` where all are farther than `reach`."""
    codes = (cv2.cvtColor(image, cv2.COLOR_BGR2BGRA).view(np.uint32)[:, :, 0] & 0xFFFFFF).astype(
        np.int32
    )
    return np.asarray(_color_cube(colors, reach)[codes], dtype=np.uint8)


# Two datasets that are learned from together, of which each may ask for two.
@lru_cache(maxsize=4)
def _color_cube(colors: tuple[tuple[Color, int], ...], reach: int) -> npt.NDArray[np.uint8]:
    """Return the class of every color at its number red * 65536 + green * 256 + blue, (16777216,) uint8.

    Only the surroundings of each color are visited, so that it takes a quarter of a second once and
    nothing an image.
    """
    cube = np.full((256, 256, 256), _UNKNOWN, np.uint8)
    nearest = np.full(cube.shape if reach else (), reach * reach + 1, np.uint32)
    for color, index in colors:
        box = tuple(slice(max(0, value - reach), value + reach + 1) for value in color)
        if not reach:
            cube[box] = index
            continue
        offsets = (
            np.arange(part.start, min(part.stop, 256), dtype=np.int64) - value
            for part, value in zip(box, color, strict=True)
        )
        red, green, blue = np.ix_(*offsets)
        distance = (red * red + green * green + blue * blue).astype(np.uint32)
        closer = distance < nearest[box]
        cube[box][closer] = index
        nearest[box][closer] = distance[closer]
    return cube.ravel()


def _grey(path: Path) -> Mask:
    """Read numbers from a gray, palette or colorless color image."""
    try:
        return read_ids(path)
    except DataError:
        image = read_image(path)
        if (image != image[:, :, :1]).any():
            raise
        return np.ascontiguousarray(image[:, :, 0])


def _mask_of(pair: Pair) -> Path:
    assert pair.mask is not None, "a pair without truth is not read"
    return pair.mask
