"""The pictures on which a file and its reference differ most, drawn so that a person sees where."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from segdeploy.card import LabelClass
from segdeploy.overlay import Painter, side_by_side
from segdeploy.pictures import Picture, write_picture

from .proof import Differing

MARK = (255, 0, 255)
"""Color of a pixel on which they differ, blue-green-red: no usual class has it."""


def write_worst(folder: Path, worst: Sequence[Differing], classes: Sequence[LabelClass]) -> list[Path]:
    """Write one PNG for each picture: the picture itself, the reference's mask, the file's, and where they differ.

    Args:
        folder: Where they go; made if it is missing.
        worst: The pictures, the worst first.
        classes: Classes in the order of the masks' indices.
    """
    painter = Painter(classes, opacity=0.6, legend=False)
    paths = []
    for number, one in enumerate(worst, start=1):
        overlays = (painter.paint(one.picture, mask) for mask in (one.expected, one.mask))
        paths.append(folder / f"worst-{number}.png")
        write_picture(paths[-1], side_by_side(one.picture, *overlays, _marked(one)))
    return paths


def _marked(one: Differing) -> Picture:
    """Darken the picture, and mark each pixel whose labels differ."""
    marked = np.asarray(cv2.convertScaleAbs(one.picture, alpha=0.4), dtype=np.uint8)
    marked[one.mask != one.expected] = MARK
    return marked
