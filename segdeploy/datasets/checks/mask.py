"""What can be wrong with one mask: size, orientation, file format, colors, palette."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.checks.finding import Finding, error, warning
from segdeploy.errors import DataError
from segdeploy.imaging.header import DAMAGE, SIDEWAYS, UPRIGHT, open_image, orientation_of
from segdeploy.imaging.io import read_image

GRAY = frozenset({"1", "L", "I", "I;16"})
"""Pillow's modes of one value per pixel."""

MARGIN = 1.25
"""How much better a turned mask must fit the image's edges to be reported."""

MOST = 0.5
"""Share of the pixels above which a match is not a coincidence."""

SHOWN = 6
"""Colors that a message names; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of an image file.

    Attributes:
        form: Pillow's name of the format, for example "PNG".
        mode: Pillow's name of the kind of pixels, for example "RGB", "L" for gray, "P" for a
            palette.
        height: Height of the stored pixels.
        width: Width of the stored pixels.
        orientation: EXIF's orientation, 1 (upright) to 8.
    """

    form: str
    mode: str
    height: int
    width: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the image as it is shown."""
        if self.orientation in SIDEWAYS:
            return self.width, self.height
        return self.height, self.width


def read_header(path: Path) -> Header | None:
    """Read the header of a file; None where it is not an image."""
    try:
        with open_image(path) as image:
            width, height = image.size
            return Header(
                form=image.format or "",
                mode=image.mode,
                height=height,
                width=width,
                orientation=orientation_of(image),
            )
    except DAMAGE:
        return None


def unreadable_mask(path: Path, sentence: str, classes: Sequence[LabelClass]) -> Finding:
    """Return why a mask file cannot be read.

    Args:
        path: File of the mask.
        sentence: Message of the error that reading it raised.
        classes: Classes in the order of the masks' indices.
    """
    header = read_header(path)
    if header is None or not _decodes(path):
        return error("unreadable", path, sentence)
    if header.form == "JPEG":
        text = f"{path} is a JPEG, which blurs class ids; save masks as PNG ({sentence})"
        return error("jpeg mask", path, text)
    if header.mode not in GRAY | {"P"}:
        text = f"{path} holds colors instead of class ids; {explain_colors(path, classes)}"
        return error("colored mask", path, text)
    return error("out of range", path, sentence)


def _decodes(path: Path) -> bool:
    try:
        read_image(path)
    except DataError:
        return False
    return True


def mask_faults(
    path: Path, mask: Mask, image: Image, *, image_path: Path, classes: Sequence[LabelClass]
) -> Iterator[Finding]:
    """Find what is wrong with a mask that could be read.

    Args:
        path: File of the mask.
        mask: Its classes, (h, w) uint8.
        image: Its image, upright, (H, W, 3) uint8.
        image_path: File of the image.
        classes: Classes in the order of the masks' indices.
    """
    yield from _size_faults(path, mask, image, image_path)
    if not (mask != IGNORE_INDEX).any():
        yield warning(
            "nothing labeled",
            path,
            f"{path} labels no pixel, so nothing is learned from it: label it or leave it out",
        )
    header = read_header(path)
    if header is None:
        return
    if header.form == "JPEG" and path != image_path:
        by_color = header.mode not in GRAY and float((mask != IGNORE_INDEX).mean()) > MOST
        yield jpeg_fault(path, by_color=by_color)
    if header.mode == "P" and _contradicts(classes_by_palette(path, classes), mask):
        what = f"{path} is a palette image whose colors are the classes' and whose ids are not"
        yield error("palette", path, f"{what}: {explain_palette(path, classes)}")


def jpeg_fault(path: Path, *, by_color: bool) -> Finding:
    """Return the finding for a mask stored as JPEG.

    Args:
        path: File of the mask.
        by_color: Whether the mask is read by the nearest color, which JPEG hardly harms; ids it
            always does.
    """
    if by_color:
        text = (
            f"{path} is a JPEG, whose colors are only nearly the classes'; save masks as PNG if"
            " you can"
        )
        return warning("jpeg mask", path, text)
    text = f"{path} is a JPEG, which blurs classes into each other; save masks as PNG"
    return error("jpeg mask", path, text)


def _size_faults(path: Path, mask: Mask, image: Image, image_path: Path) -> Iterator[Finding]:
    header = read_header(image_path)
    if header is not None and fits_stored_pixels(image, mask, header.orientation):
        yield orientation_fault(path, image_path, header.orientation)
    elif mask.shape != image.shape[:2]:
        yield size_fault(path, mask.shape, image.shape)


def orientation_fault(path: Path, image_path: Path, orientation: int) -> Finding:
    """Return the finding for a mask that fits its image only as it is stored."""
    what = (
        f"{image_path} is shown turned (EXIF orientation {orientation}) and its mask {path} is not"
    )
    text = f"{what}; turn the mask too, or save the image upright and without EXIF"
    return error("turned", path, text)


def size_fault(path: Path, size: Sequence[int], image_size: Sequence[int]) -> Finding:
    """Return the finding for a mask whose (height, width) is not its image's."""
    text = (
        f"{path} is {size[1]}x{size[0]} but its image is {image_size[1]}x{image_size[0]}; make"
        " both the same size"
    )
    return error("size", path, text)


def fits_stored_pixels(image: Image, mask: Mask, orientation: int) -> bool:
    """Return whether a mask fits the stored pixels instead of the upright image.

    The sizes decide where the image was turned by 90 degrees. Elsewhere its edges do: the
    boundaries of the right mask lie on them.

    Args:
        image: The upright image, (H, W, 3) uint8.
        mask: Classes as the mask's file has them, (h, w) uint8.
        orientation: EXIF orientation of the image's file.
    """
    if orientation not in UPRIGHT:
        return False
    turned = np.asarray(PillowImage.fromarray(mask).transpose(UPRIGHT[orientation]))
    if mask.shape != image.shape[:2] or turned.shape != mask.shape:
        return turned.shape == image.shape[:2]
    edges = _gradient(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
    return _edge_strength(edges, turned) > MARGIN * _edge_strength(edges, mask)


def _edge_strength(edges: Mask, mask: Mask) -> float:
    """Return the mean of an image's gradient on a mask's boundaries, 0 where it has none."""
    boundary = _gradient(mask) > 0
    return float(edges[boundary].mean()) if boundary.any() else 0.0


def _gradient(plane: Mask) -> Mask:
    """Return the range of the values in the 3x3 neighborhood of each pixel, (H, W) uint8."""
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, kernel), dtype=np.uint8)


def explain_colors(path: Path, classes: Sequence[LabelClass]) -> str:
    """Return what the colors of a mask may stand for, as the end of a message.

    The class of the same color each, or that the three channels hold one id.

    Args:
        path: A colored mask that can be decoded.
        classes: Classes in the order of the masks' indices.
    """
    image = read_image(path)
    if (image == image[:, :, :1]).all():
        return (
            "its three channels are alike; if they hold the class ids, save one of them as a"
            " gray PNG"
        )
    codes, counts = np.unique(
        cv2.cvtColor(image, cv2.COLOR_BGR2BGRA).view(np.uint32) & 0xFFFFFF, return_counts=True
    )
    names = {entry.color: entry.name for entry in classes}
    colors = [
        (code >> 16, code >> 8 & 255, code & 255)
        for code in codes[np.argsort(counts, kind="stable")[: -SHOWN - 1 : -1]].tolist()
    ]
    meanings = [
        f"({red}, {green}, {blue}) = {names.get((red, green, blue), 'no class')}"
        for red, green, blue in colors
    ]
    rest = f" and {len(codes) - SHOWN} more" if len(codes) > SHOWN else ""
    return (
        f"its colors, the most frequent first, are {'; '.join(meanings)}{rest}; write them into"
        " classes.toml for the dataset 'folder'"
    )


def explain_palette(path: Path, classes: Sequence[LabelClass]) -> str:
    """Return which ids of a palette image have which class's color, as the end of a message."""
    with open_image(path) as image:
        used = set(np.unique(np.asarray(image)).tolist())
        by_id = _classes_of_palette(image, classes)
    meanings = [
        f"{number} has the color of {classes[index].name} ({index})"
        for number, index in by_id.items()
        if number in used
    ]
    return (
        f"{', '.join(meanings[:SHOWN])}; save the class ids as gray PNG, or give their numbers in"
        " classes.toml for the dataset 'folder'"
    )


def classes_by_palette(path: Path, classes: Sequence[LabelClass]) -> Mask:
    """Return the classes of a palette image by its colors instead of its ids.

    Args:
        path: A palette image that can be decoded.
        classes: Classes in the order of the masks' indices.

    Returns:
        (H, W) uint8, 255 for a color that belongs to no class.
    """
    with open_image(path) as image:
        table = np.full(256, IGNORE_INDEX, np.uint8)
        for number, index in _classes_of_palette(image, classes).items():
            table[number] = index
        return np.asarray(table[np.asarray(image)], dtype=np.uint8)


def _classes_of_palette(image: PillowImage.Image, classes: Sequence[LabelClass]) -> dict[int, int]:
    """Return the class of each id of a palette whose color is a class's."""
    indices = {entry.color: index for index, entry in enumerate(classes)}
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3).tolist()
    return {
        number: indices[red, green, blue]
        for number, (red, green, blue) in enumerate(palette)
        if (red, green, blue) in indices
    }


def _contradicts(by_color: Mask, mask: Mask) -> bool:
    """Return whether most pixels have another class by color than by id.

    False where fewer than two classes' colors occur.
    """
    if by_color.shape != mask.shape:
        return False
    known = by_color != IGNORE_INDEX
    if len(np.unique(by_color[known])) < 2:
        return False
    return float((by_color[known] != mask[known]).mean()) > MOST
