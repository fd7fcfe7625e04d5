"""How files store the classes of pixels: ids, one channel, two values, colors, or side by side.

Each class here is a `MaskFormat`, whose `read` turns the mask file of a pair into class indices.
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

IdTable = tuple[int, ...]
"""Class of each id in 0 ... 255: 255 for what is not labeled, `INVALID` for what is not a class."""

INVALID = -1
"""Class of an id that must not occur."""

UNKNOWN = 254
"""Class of a color that belongs to no class, inside this module; where masks are colors a card has
up to 254 classes, 0 ... 253."""

FLAT = 16
"""Distance from a class's color up to which a pixel of a mask beside its image is assigned to
it."""

MOST_UNKNOWN = 0.5
"""Share of a mask beside its image that may lie farther than `FLAT` from every class's color.

Measured on right halves: of masks at 256x256 9 to 34%, as JPEG of quality 95 to 30; of photographs
of streets and cars 60% and more in 99 of 100.
"""


def id_table(classes: Mapping[int, int], *, ignored: Iterable[int] = (IGNORE_INDEX,)) -> IdTable:
    """Return the table of what each id in a file means.

    Example:
        ```python
        Ids(table=id_table({0: 0, 7: 1}))  # 0 and 7 are classes, 255 is not labeled
        ```

    Args:
        classes: Class index by id.
        ignored: Ids that are not labeled; every id that is in neither is an error in a mask.
    """
    meanings = {**dict.fromkeys(ignored, IGNORE_INDEX), **classes}
    return tuple(meanings.get(number, INVALID) for number in range(256))


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Ids in a gray or palette image.

    Attributes:
        table: What each id means.
    """

    table: IdTable

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the ids; raises DataError where an id is not a class."""
        path = _mask_of(pair)
        return look_up(read_ids(path), self.table, path)


@dataclass(frozen=True, kw_only=True)
class RedChannel:
    """Ids in the red channel of a color image.

    Attributes:
        table: What each id means.
    """

    table: IdTable

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the ids; raises DataError where an id is not a class."""
        path = _mask_of(pair)
        return look_up(np.ascontiguousarray(read_image(path)[:, :, 2]), self.table, path)


@dataclass(frozen=True, kw_only=True)
class Binary:
    """Background and foreground as 0 and 1, or 0 and 255, in an image of any kind."""

    def read(self, pair: Pair) -> Mask:
        """Return 0 and 1; raises DataError where there is a third value or the image is colored."""
        path = _mask_of(pair)
        values = _read_gray(path)
        highest = int(values.max())
        if highest not in {0, 1, 255}:
            msg = (
                f"{path} holds the number {highest}; a mask of two classes holds 0 and 1, or 0"
                " and 255"
            )
            raise DataError(msg)
        return look_up(values, id_table({0: 0, highest: int(highest > 0)}, ignored=()), path)


@dataclass(frozen=True, kw_only=True)
class Colors:
    """Colors in an image.

    Attributes:
        table: Color (red, green, blue) and class, 255 for what is not labeled.
        reach: Largest distance from the nearest color of the table, as the root of the squared
            differences.
        strict: Whether a color farther from all is an error, instead of not labeled.
    """

    table: tuple[tuple[Color, int], ...]
    reach: int = 0
    strict: bool = False

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the colors; raises DataError for an unknown one if `strict`."""
        path = _mask_of(pair)
        return self.classify(read_image(path), path)

    def classify(self, image: Image, path: Path) -> Mask:
        """Return the classes of the colors of an image that was read from `path`."""
        mask = _nearest(image, self.table, self.reach)
        if self.strict and (unknown := mask == UNKNOWN).any():
            blue, green, red = image[unknown][0]
            msg = (
                f"{path} holds the color ({red}, {green}, {blue}), which belongs to no class, on"
                f" {unknown.sum()} pixels; name it in classes.toml, and save masks as PNG"
            )
            raise DataError(msg)
        mask[mask == UNKNOWN] = IGNORE_INDEX
        return mask

    def unknown_share(self, image: Image, *, reach: int) -> float:
        """Return the share of pixels farther than `reach` from every color, in [0, 1]."""
        return float((_nearest(image, self.table, reach) == UNKNOWN).mean())


@dataclass(frozen=True, kw_only=True)
class RightHalf:
    """Colors in the right half of a file whose left half is the image.

    Attributes:
        colors: Reads the half.
    """

    colors: Colors

    def read(self, pair: Pair) -> Mask:
        """Return the classes of the colors; raises DataError where the half is a photograph."""
        path = _mask_of(pair)
        right = halves(path)[1]
        # A sixteenth of the pixels is enough; those in the middle of JPEG's 8x8 blocks are the
        # least mixed.
        sample = np.ascontiguousarray(right[2::4, 2::4]) if min(right.shape[:2]) > 2 else right
        if (share := self.colors.unknown_share(sample, reach=FLAT)) > MOST_UNKNOWN:
            msg = (
                f"{share:.0%} of the right half of {path} has no class's color, so it is a"
                " photograph and no mask; choose the dataset that lies there with --dataset"
            )
            raise DataError(msg)
        return self.colors.classify(right, path)


def read_left_half(path: Path) -> Image:
    """Return the image of a file that holds image and mask side by side."""
    return halves(path)[0]


def halves(path: Path) -> tuple[Image, Image]:
    """Return the left and the right half of an image; raises DataError where its width is odd."""
    both = read_image(path)
    half, rest = divmod(both.shape[1], 2)
    if rest:
        msg = (
            f"{path} is {both.shape[1]} pixels wide; image and mask side by side make an even"
            " number"
        )
        raise DataError(msg)
    return np.ascontiguousarray(both[:, :half]), np.ascontiguousarray(both[:, half:])


def look_up(ids: Mask, table: IdTable, path: Path) -> Mask:
    """Return the class of each id.

    Args:
        ids: (H, W) uint8.
        table: What each id means.
        path: File of the ids, for messages.

    Raises:
        DataError: An id is not a class.
    """
    classes = np.array(table, dtype=np.int16)
    # Two lookups take a fifth of the time of counting the ids.
    invalid = np.asarray(cv2.LUT(ids, (classes == INVALID).astype(np.uint8)))
    if cv2.countNonZero(invalid):
        allowed = ", ".join(map(str, np.flatnonzero(classes != INVALID)[:40]))
        msg = (
            f"{path} holds the id {ids[invalid > 0].min()}, which is not a class; ids are {allowed}"
        )
        raise DataError(msg)
    return np.asarray(cv2.LUT(ids, classes.astype(np.uint8)), dtype=np.uint8)


def _nearest(image: Image, colors: tuple[tuple[Color, int], ...], reach: int) -> Mask:
    """Return the class of each pixel's nearest color, `UNKNOWN` where all are beyond `reach`."""
    codes = (cv2.cvtColor(image, cv2.COLOR_BGR2BGRA).view(np.uint32)[:, :, 0] & 0xFFFFFF).astype(
        np.int32
    )
    return np.asarray(_color_cube(colors, reach)[codes], dtype=np.uint8)


# Two datasets in one training, each with up to two tables.
@lru_cache(maxsize=4)
def _color_cube(colors: tuple[tuple[Color, int], ...], reach: int) -> npt.NDArray[np.uint8]:
    """Return the class of every color, at its code red * 65536 + green * 256 + blue.

    (16777216,) uint8. Only the surroundings of each color are visited: a quarter of a second once,
    and a lookup per image.
    """
    cube = np.full((256, 256, 256), UNKNOWN, np.uint8)
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


def _read_gray(path: Path) -> Mask:
    """Return the values of a gray, palette or colorless color image."""
    try:
        return read_ids(path)
    except DataError:
        image = read_image(path)
        if (image != image[:, :, :1]).any():
            raise
        return np.ascontiguousarray(image[:, :, 0])


def _mask_of(pair: Pair) -> Path:
    assert pair.mask is not None, "a pair without a mask is never read"
    return pair.mask
