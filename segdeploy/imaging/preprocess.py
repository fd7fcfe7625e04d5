"""Resize, letterbox, image -> uint8 batch."""

from collections.abc import Sequence

import cv2
import numpy as np

from segdeploy.arrays import Batch, Mask, Picture
from segdeploy.card import InputSpec


def resize(picture: Picture, height: int, *, width: int) -> Picture:
    """Bring a picture to another size: the one way, in training and in use.

    It is halved by 2x2 means while it is at least twice too large, and enlarged or shrunk bilinearly from there.
    """
    rows, columns = picture.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and rows % 2 == columns % 2 == 0:
        rows, columns = rows // 2, columns // 2
        picture = np.asarray(
            cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    if (rows, columns) == (height, width):
        return picture
    far = rows >= 2 * height and columns >= 2 * width
    return np.asarray(
        cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR
        ),
        dtype=np.uint8,
    )


def resize_mask(mask: Mask, height: int, *, width: int) -> Mask:
    """Bring a mask to another size; each pixel takes the class of the nearest."""
    return np.asarray(
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8
    )


def to_batch(pictures: Sequence[Picture], spec: InputSpec) -> Batch:
    """Bring pictures of any sizes into one batch, (N, H, W, 3) uint8 red-green-blue, of the network's size."""
    batch = np.empty((len(pictures), spec.height, spec.width, 3), np.uint8)
    for picture, place in zip(pictures, batch, strict=True):
        height, width = fitted(spec, picture.shape[0], width=picture.shape[1])
        if (height, width) != (spec.height, spec.width):
            place[:] = np.rint(np.multiply(spec.mean, 255)).clip(0, 255).astype(np.uint8)
        place[:height, :width] = cv2.cvtColor(
            resize(picture, height, width=width), cv2.COLOR_BGR2RGB
        )
    return batch


def fitted(spec: InputSpec, height: int, *, width: int) -> tuple[int, int]:
    """Give the height and the width that a picture takes within the network's input, from its top left corner."""
    if spec.fit == "stretch":
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width)
    return max(1, min(spec.height, round(height * scale))), max(
        1, min(spec.width, round(width * scale))
    )
