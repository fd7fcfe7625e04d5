"""What can be wrong with one mask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.checks.finding import Finding, error, warning
from segdeploy.errors import DataError
from segdeploy.imaging.io import DAMAGE, read_image

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that make rows of columns."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The beginning of an image's file.

    Attributes:
        form: Pillow's name of the format, for example "PNG".
        mode: Pillow's name of the kind of pixels, for example "RGB", "L" for gray, "P" for a
            palette.
        height: Height of the stored pixels.
        width: Width of the stored pixels.
        orientation: How EXIF says that they are turned, 1 for not at all, to 8.
    """

    form: str
    mode: str
    height: int
    width: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the image as it is seen."""
        return (
            (self.width, self.height) if self.orientation in SIDEWAYS else (self.height, self.width)
        )


def read_header(path: Path) -> Header | None:
    """Read the beginning of a file; None where it is no image."""
    try:
        with PillowImage.open(path) as image:
            # Pillow decodes a whole PNG in search of EXIF behind the pixels, where none is.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if has_exif else 1
            width, height = image.size
            return Header(
                form=image.format or "",
                mode=image.mode,
                height=height,
                width=width,
                orientation=int(orientation),
            )
    except DAMAGE:
        return None


TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""What makes stored pixels upright, for each EXIF orientation but 1 (EXIF 2.32, section 4.6.4, tag
274)."""


MARGIN = 1.25
"""How much better a turned mask must lie on the image's edges, before it is believed."""


def lies_turned(picture: Image, mask: Mask, orientation: int) -> bool:
    """Return whether a mask fits the stored pixels instead of the upright image.

    The sizes tell where an image was turned by a quarter. Elsewhere its edges do: the boundaries
    of the right mask lie on them.

    Args:
        image: The upright image, (H, W, 3) uint8.
        mask: Classes as the mask's file has them, (h, w) uint8.
        orientation: EXIF's number in the image's file.
    """
    if orientation not in TURNS:
        return False
    turned = np.asarray(PillowImage.fromarray(mask).transpose(TURNS[orientation]))
    if mask.shape != picture.shape[:2] or turned.shape != mask.shape:
        return turned.shape == picture.shape[:2]
    edges = outlines(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
    return edge_strength(edges, turned) > MARGIN * edge_strength(edges, mask)


def edge_strength(edges: Mask, mask: Mask) -> float:
    """Return the mean strength of an image's edges under a mask's boundaries.

    0 where the mask has none.

    Args:
        edges: Strength of the image's edges, (H, W) uint8.
        mask: Classes, (H, W) uint8.
    """
    boundary = outlines(mask) > 0
    return float(edges[boundary].mean()) if boundary.any() else 0.0


def outlines(plane: Mask) -> Mask:
    """Return for each pixel how far the values around it lie apart, (H, W) uint8."""
    return np.asarray(
        cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), dtype=np.uint8
    )


SHOWN = 6
"""Colors that are named in a sentence; the rest is counted."""


def offer(path: Path, classes: Sequence[LabelClass]) -> str:
    """Say what the colors of a mask may mean.

    The class of the same color, or that the three channels hold one number.

    Args:
        path: A colored mask that can be decoded.
        classes: Classes in the order of the masks' indices.
    """
    with PillowImage.open(path) as image:
        found = sorted(image.convert("RGB").getcolors(1 << 24) or [], reverse=True)
    colors = [color for _, color in found if isinstance(color, tuple)]
    if all(len(set(color)) == 1 for color in colors):
        return (
            "its three channels are alike; if they hold the class ids, save one of them as a"
            " gray PNG"
        )
    names = {entry.color: entry.name for entry in classes}
    lines = [
        f"({red}, {green}, {blue}) = {names.get((red, green, blue), 'no class')}"
        for red, green, blue in colors[:SHOWN]
    ]
    rest = f" and {len(colors) - SHOWN} more" if len(colors) > SHOWN else ""
    return (
        f"its colors, the most frequent first, are {'; '.join(lines)}{rest}; write them into"
        " classes.toml for the dataset 'folder'"
    )


def by_palette(path: Path, classes: Sequence[LabelClass]) -> Mask:
    """Read a palette image by its colors instead of its numbers.

    A color that is no class's becomes 255.

    Args:
        path: A palette image that can be decoded.
        classes: Classes in the order of the masks' indices.
    """
    with PillowImage.open(path) as image:
        table = np.full(256, IGNORE_INDEX, np.uint8)
        for number, index in _meant(image, classes).items():
            table[number] = index
        return np.asarray(table[np.asarray(image)], dtype=np.uint8)


def remap(path: Path, classes: Sequence[LabelClass]) -> str:
    """Say which number of a palette image has which class's color."""
    with PillowImage.open(path) as image:
        used = set(np.unique(np.asarray(image)).tolist())
        meant = {
            number: index for number, index in _meant(image, classes).items() if number in used
        }
    lines = [
        f"{number} has the color of {classes[index].name} ({index})"
        for number, index in list(meant.items())[:SHOWN]
    ]
    return (
        f"{', '.join(lines)}; save the class ids as gray PNG, or give their numbers in classes.toml"
        " for the dataset 'folder'"
    )


def _meant(image: PillowImage.Image, classes: Sequence[LabelClass]) -> dict[int, int]:
    """Return for each number of a palette whose color is a class's the class."""
    indices = {entry.color: index for index, entry in enumerate(classes)}
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3).tolist()
    return {
        number: indices[red, green, blue]
        for number, (red, green, blue) in enumerate(palette)
        if (red, green, blue) in indices
    }


GRAY = frozenset({"1", "L", "I", "I;16"})
"""Pillow's modes of one number a pixel."""

MOST = 0.5
"""Share of the pixels that is more than chance."""


def why_unread(path: Path, sentence: str, classes: Sequence[LabelClass]) -> Finding:
    """Find out why the truth in a file cannot be used.

    Args:
        path: File of the truth.
        sentence: What reading it said.
        classes: Classes in the order of the masks' indices.
    """
    header = read_header(path)
    if header is None or not _decodes(path):
        return error("unreadable", path, sentence)
    if header.form == "JPEG":
        return error(
            "jpeg mask",
            path,
            f"{path} is a JPEG, which blurs class ids; save masks as PNG ({sentence})",
        )
    if header.mode not in GRAY | {"P"}:
        return error(
            "colored mask",
            path,
            f"{path} holds colors where class ids were meant; {offer(path, classes)}",
        )
    return error("out of range", path, sentence)


def _decodes(path: Path) -> bool:
    try:
        read_image(path)
    except DataError:
        return False
    return True


def mask_faults(
    path: Path, mask: Mask, picture: Image, *, image: Path, classes: Sequence[LabelClass]
) -> Iterator[Finding]:
    """Find what is wrong with a mask that could be read.

    Args:
        path: File of the mask.
        mask: What it holds, (h, w) uint8.
        image: Its image, upright, (H, W, 3) uint8.
        image: File of the image.
        classes: Classes in the order of the masks' indices.
    """
    yield from _shape_faults(path, mask, picture, image)
    if not (mask != IGNORE_INDEX).any():
        yield warning(
            "nothing labeled",
            path,
            f"{path} labels no pixel; the network learns nothing from it: label it or leave it out",
        )
    header = read_header(path)
    if header is not None and header.form == "JPEG" and path != image:
        yield _jpeg_fault(
            path, meant=header.mode not in GRAY and float((mask != IGNORE_INDEX).mean()) > MOST
        )
    if header is not None and header.mode == "P" and _contradicts(by_palette(path, classes), mask):
        what = f"{path} is a palette image whose colors are the classes' and whose numbers are not"
        yield error("palette", path, f"{what}: {remap(path, classes)}")


def _shape_faults(path: Path, mask: Mask, picture: Image, image: Path) -> Iterator[Finding]:
    header = read_header(image)
    if header is not None and lies_turned(picture, mask, header.orientation):
        yield turned(path, image, header.orientation)
    elif mask.shape != picture.shape[:2]:
        yield other_size(path, mask.shape, picture.shape)


def turned(path: Path, image: Path, orientation: int) -> Finding:
    """Report of a mask that fits its image only as it is stored."""
    what = f"{image} is shown turned (EXIF orientation {orientation}) and its mask {path} is not"
    return error(
        "turned", path, f"{what}; turn the mask too, or save the image upright and without EXIF"
    )


def other_size(path: Path, found: Sequence[int], wanted: Sequence[int]) -> Finding:
    """Report of a mask of another height and width than its image."""
    return error(
        "size",
        path,
        f"{path} is {found[1]}x{found[0]} but its image is {wanted[1]}x{wanted[0]}; make both the"
        " same size",
    )


def _jpeg_fault(path: Path, *, meant: bool) -> Finding:
    """Report of a JPEG: colors survive it where the layout takes the nearest class, ids never do."""
    if meant:
        return warning(
            "jpeg mask",
            path,
            f"{path} is a JPEG, whose colors are only nearly the classes'; save masks as PNG if"
            " you can",
        )
    return error(
        "jpeg mask",
        path,
        f"{path} is a JPEG, which blurs classes into each other; save masks as PNG",
    )


def _contradicts(by_color: Mask, mask: Mask) -> bool:
    """Return whether at least two classes' colors are in a palette, and most of their pixels have another class by number."""
    if by_color.shape != mask.shape:
        return False
    known = by_color != IGNORE_INDEX
    return (
        len(np.unique(by_color[known])) > 1
        and float((by_color[known] != mask[known]).mean()) > MOST
    )
