"""Resize, letterbox, image -> uint8 batch."""

from collections.abc import Sequence

import cv2
import numpy as np

from segdeploy.arrays import Batch, Image, Mask
from segdeploy.card import InputSpec


def resize(image: Image, height: int, *, width: int) -> Image:
    """Bring an image to another size: the one way, in training and in use.

    It is halved by 2x2 means while it is at least twice too large, and enlarged or shrunk
    bilinearly from there.
    """
    rows, columns = image.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and rows % 2 == columns % 2 == 0:
        rows, columns = rows // 2, columns // 2
        image = np.asarray(
            cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    if (rows, columns) == (height, width):
        return image
    far = rows >= 2 * height and columns >= 2 * width
    return np.asarray(
        cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR
        ),
        dtype=np.uint8,
    )


def resize_mask(mask: Mask, height: int, *, width: int) -> Mask:
    """Bring a mask to another size; each pixel takes the class of the nearest."""
    return np.asarray(
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8
    )


def to_batch(images: Sequence[Image], spec: InputSpec) -> Batch:
    """Bring images of any sizes into one batch, (N, H, W, 3) uint8 red-green-blue, of the network's size."""
    batch = np.empty((len(images), spec.height, spec.width, 3), np.uint8)
    for image, place in zip(images, batch, strict=True):
        height, width = fitted(spec, image.shape[0], width=image.shape[1])
        if (height, width) != (spec.height, spec.width):
            place[:] = np.rint(np.multiply(spec.mean, 255)).clip(0, 255).astype(np.uint8)
        place[:height, :width] = cv2.cvtColor(resize(image, height, width=width), cv2.COLOR_BGR2RGB)
    return batch


def fitted(spec: InputSpec, height: int, *, width: int) -> tuple[int, int]:
    """Return the height and the width that an image takes within the network's input, from its top left corner."""
    if spec.fit == "stretch":
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width)
    return max(1, min(spec.height, round(height * scale))), max(
        1, min(spec.width, round(width * scale))
    )
