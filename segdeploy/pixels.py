"""Between pictures and numbers: sizes, batches, and masks from logits."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.card import InputSpec
from segdeploy.errors import ModelError
from segdeploy.pictures import Picture
from segdeploy.scores import Mask

Batch = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


def resize(picture: Picture, height: int, *, width: int) -> Picture:
    """Bring a picture to another size: the one way, in training and in use.

    It is halved by 2x2 means while it is at least twice too large, and enlarged or shrunk bilinearly from there.
    """
    rows, columns = picture.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and rows % 2 == columns % 2 == 0:
        rows, columns = rows // 2, columns // 2
        picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    if (rows, columns) == (height, width):
        return picture
    far = rows >= 2 * height and columns >= 2 * width
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR), dtype=np.uint8)


def resize_mask(mask: Mask, height: int, *, width: int) -> Mask:
    """Bring a mask to another size; each pixel takes the class of the nearest."""
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def to_batch(pictures: Sequence[Picture], spec: InputSpec) -> Batch:
    """Bring pictures of any sizes into one batch, (N, H, W, 3) uint8 red-green-blue, of the network's size."""
    batch = np.empty((len(pictures), spec.height, spec.width, 3), np.uint8)
    for picture, place in zip(pictures, batch, strict=True):
        height, width = fitted(spec, picture.shape[0], width=picture.shape[1])
        if (height, width) != (spec.height, spec.width):
            place[:] = np.rint(np.multiply(spec.mean, 255)).clip(0, 255).astype(np.uint8)
        place[:height, :width] = cv2.cvtColor(resize(picture, height, width=width), cv2.COLOR_BGR2RGB)
    return batch


def fitted(spec: InputSpec, height: int, *, width: int) -> tuple[int, int]:
    """Give the height and the width that a picture takes within the network's input, from its top left corner."""
    if spec.fit == "stretch":
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width)
    return max(1, min(spec.height, round(height * scale))), max(1, min(spec.width, round(width * scale)))


def to_mask(logits: Logits, height: int, width: int) -> Mask:
    """Turn the network's answer into a mask of the picture's own size."""
    return _to_mask(logits, height, width, (float(logits.shape[2]), float(logits.shape[3])))


def answer_mask(logits: Logits, spec: InputSpec, *, height: int, width: int) -> Mask:
    """Turn the network's answer to one picture into a mask of that picture's size, undoing how it was fitted."""
    rows, columns = fitted(spec, height, width=width)
    valid = (rows * logits.shape[2] / spec.height, columns * logits.shape[3] / spec.width)
    return _to_mask(logits, height, width, valid)


def _to_mask(logits: Logits, height: int, width: int, valid: tuple[float, float]) -> Mask:
    if not np.isfinite(logits).all():
        msg = "the network answered with numbers that are not finite; its weights or its precision cannot be used"
        raise ModelError(msg)
    planes = logits[0]
    top, bottom, down = _places(planes.shape[1], valid[0], height)
    left, right, across = _places(planes.shape[2], valid[1], width)
    wide = planes[:, :, left] * (1 - across) + planes[:, :, right] * across
    mask = np.empty((height, width), np.uint8)
    for row in range(height):
        mask[row] = (wide[:, top[row]] * (1 - down[row]) + wide[:, bottom[row]] * down[row]).argmax(0)
    return mask


def _places(size: int, valid: float, pixels: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Give the two neighbours of each pixel's centre and the weight of the second, in float32 as torch does."""
    scale = np.float32(valid) / np.float32(pixels)
    centre = np.maximum(scale * (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(centre.astype(np.intp), size - 1)
    return first, np.minimum(first + 1, size - 1), np.minimum(centre - first.astype(np.float32), np.float32(1))
