"""Whether a mask was turned with its picture, where the picture's file asks viewers to turn it."""

import cv2
import numpy as np
from PIL import Image

from segdeploy.pictures import Picture
from segdeploy.scores import Mask

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes stored pixels upright, for each EXIF orientation but 1 (EXIF 2.32, section 4.6.4, tag 274)."""

MARGIN = 1.25
"""How much better a turned mask must lie on the picture's edges, before it is believed."""


def lies_turned(picture: Picture, mask: Mask, orientation: int) -> bool:
    """Tell whether a mask fits the stored pixels instead of the upright picture.

    The sizes tell where a picture was turned by a quarter. Elsewhere its edges do: the boundaries of the right mask lie on them.

    Args:
        picture: The upright picture, (H, W, 3) uint8.
        mask: Classes as the mask's file has them, (h, w) uint8.
        orientation: EXIF's number in the picture's file.
    """
    if orientation not in TURNS:
        return False
    turned = np.asarray(Image.fromarray(mask).transpose(TURNS[orientation]))
    if mask.shape != picture.shape[:2] or turned.shape != mask.shape:
        return turned.shape == picture.shape[:2]
    edges = outlines(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
    return edge_strength(edges, turned) > MARGIN * edge_strength(edges, mask)


def edge_strength(edges: Mask, mask: Mask) -> float:
    """Give the mean strength of a picture's edges under a mask's boundaries; 0 where the mask has none.

    Args:
        edges: Strength of the picture's edges, (H, W) uint8.
        mask: Classes, (H, W) uint8.
    """
    boundary = outlines(mask) > 0
    return float(edges[boundary].mean()) if boundary.any() else 0.0


def outlines(plane: Mask) -> Mask:
    """Give for each pixel how far the values around it lie apart, (H, W) uint8."""
    return np.asarray(cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), dtype=np.uint8)
