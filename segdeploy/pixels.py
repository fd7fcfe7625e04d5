"""Between pictures and numbers: sizes, batches, and masks from logits."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.card import InputSpec
from segdeploy.enlarge import Planes, enlarged_mask
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
        picture = np.asarray(cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
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
    """Turn the network's answer into a mask of another size, bilinearly, the first of equally good classes.

    The logits are enlarged before the best class is taken: taking it first would leave stairs along every edge. The labels are those of
    torch's `interpolate(logits, (height, width), mode="bilinear", align_corners=False).argmax(1)`, but for ties within float32.

    Args:
        logits: Answer for one picture, (1, K, h, w) float32, K classes.
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.

    Returns:
        Mask, (height, width), each value the index of a class.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = checked_planes(logits)
    return enlarged_mask(planes, height, width=width, covered=(planes.shape[1], planes.shape[2]))


def answer_mask(logits: Logits, spec: InputSpec, *, height: int, width: int) -> Mask:
    """Turn the network's answer to one picture into a mask of that picture's size, undoing how it was fitted.

    Args:
        logits: Answer for one picture, (1, K, h, w) float32, K classes.
        spec: How the picture was fitted into the network's input.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = checked_planes(logits)
    rows, columns = fitted(spec, height, width=width)
    covered = (planes.shape[1] * rows / spec.height, planes.shape[2] * columns / spec.width)
    return enlarged_mask(planes, height, width=width, covered=covered)


def checked_planes(logits: Logits) -> Planes:
    """Give the planes of one answer, (K, h, w), of which each number is finite.

    Raises:
        ModelError: One is not.
    """
    # The sum is finite only if all are, and costs a fraction of looking at each; only a sum that overflows needs the second look.
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(logits.sum())
    if suspicious and not np.isfinite(logits).all():
        msg = "the network answered with NaN or infinity; try another precision or device, or train it again"
        raise ModelError(msg)
    return np.ascontiguousarray(logits[0], dtype=np.float32)
