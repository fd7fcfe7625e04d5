"""What can be wrong with one mask."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.checks.colors import by_palette, offer, remap
from segdeploy.checks.finding import Finding, error, warning
from segdeploy.checks.header import read_header
from segdeploy.checks.orientation import lies_turned
from segdeploy.errors import DataError
from segdeploy.pictures import Picture, read_picture
from segdeploy.scores import IGNORED, Mask

GREY = frozenset({"1", "L", "I", "I;16"})
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
        return error("jpeg mask", path, f"{path} is a JPEG, which blurs class ids; save masks as PNG ({sentence})")
    if header.mode not in GREY | {"P"}:
        return error("colored mask", path, f"{path} holds colors where class ids were meant; {offer(path, classes)}")
    return error("out of range", path, sentence)


def _decodes(path: Path) -> bool:
    try:
        read_picture(path)
    except DataError:
        return False
    return True


def mask_faults(path: Path, mask: Mask, picture: Picture, *, image: Path, classes: Sequence[LabelClass]) -> Iterator[Finding]:
    """Find what is wrong with a mask that could be read.

    Args:
        path: File of the mask.
        mask: What it holds, (h, w) uint8.
        picture: Its picture, upright, (H, W, 3) uint8.
        image: File of the picture.
        classes: Classes in the order of the masks' indices.
    """
    yield from _shape_faults(path, mask, picture, image)
    if not (mask != IGNORED).any():
        yield warning("nothing labelled", path, f"{path} labels no pixel; the network learns nothing from it: label it or leave it out")
    header = read_header(path)
    if header is not None and header.form == "JPEG" and path != image:
        yield _jpeg_fault(path, meant=header.mode not in GREY and float((mask != IGNORED).mean()) > MOST)
    if header is not None and header.mode == "P" and _contradicts(by_palette(path, classes), mask):
        what = f"{path} is a palette picture whose colors are the classes' and whose numbers are not"
        yield error("palette", path, f"{what}: {remap(path, classes)}")


def _shape_faults(path: Path, mask: Mask, picture: Picture, image: Path) -> Iterator[Finding]:
    header = read_header(image)
    if header is not None and lies_turned(picture, mask, header.orientation):
        yield turned(path, image, header.orientation)
    elif mask.shape != picture.shape[:2]:
        yield other_size(path, mask.shape, picture.shape)


def turned(path: Path, image: Path, orientation: int) -> Finding:
    """Tell of a mask that fits its picture only as it is stored."""
    what = f"{image} is shown turned (EXIF orientation {orientation}) and its mask {path} is not"
    return error("turned", path, f"{what}; turn the mask too, or save the picture upright and without EXIF")


def other_size(path: Path, found: Sequence[int], wanted: Sequence[int]) -> Finding:
    """Tell of a mask of another height and width than its picture."""
    return error("size", path, f"{path} is {found[1]}x{found[0]} but its picture is {wanted[1]}x{wanted[0]}; make both the same size")


def _jpeg_fault(path: Path, *, meant: bool) -> Finding:
    """Tell of a JPEG: colors survive it where the layout takes the nearest class, ids never do."""
    if meant:
        return warning("jpeg mask", path, f"{path} is a JPEG, whose colors are only nearly the classes'; save masks as PNG if you can")
    return error("jpeg mask", path, f"{path} is a JPEG, which blurs classes into each other; save masks as PNG")


def _contradicts(by_color: Mask, mask: Mask) -> bool:
    """Tell whether at least two classes' colors are in a palette, and most of their pixels have another class by number."""
    if by_color.shape != mask.shape:
        return False
    known = by_color != IGNORED
    return len(np.unique(by_color[known])) > 1 and float((by_color[known] != mask[known]).mean()) > MOST
