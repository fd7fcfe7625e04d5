"""Between pictures and numbers: sizes, batches, and masks from logits."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.card import InputSpec, Output
from segdeploy.confidence import Confidence, largest_probability, softmax_confidence
from segdeploy.enlarge import Planes, enlarged_mask
from segdeploy.errors import ModelError
from segdeploy.pictures import Picture
from segdeploy.scores import Mask

Batch = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
NetworkAnswer = Logits | Mask
"""What a network gives: logits, probabilities (N, K, h, w) float32, or the classes themselves, (N, H, W) uint8 of its input's size."""


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


def to_mask_and_confidence(logits: Logits, height: int, width: int) -> tuple[Mask, Confidence]:
    """Turn the network's answer into a mask as `to_mask` does, and tell how sure it is of each pixel.

    Returns:
        The mask; and the probability of the class that won each pixel, softmax of its enlarged logits, (height, width) uint8: 255 times
        the probability to the nearest whole number.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = checked_planes(logits)
    covered = (planes.shape[1], planes.shape[2])
    mask = enlarged_mask(planes, height, width=width, covered=covered)
    return mask, softmax_confidence(planes, height, width=width, covered=covered)


def answer_mask(answer: NetworkAnswer, spec: InputSpec, *, height: int, width: int) -> Mask:
    """Turn the network's answer to one picture into a mask of that picture's size, undoing how it was fitted.

    Logits and probabilities are enlarged before the best class is taken. Classes can only be repeated or left out.

    Args:
        answer: Answer for one picture: (1, K, h, w) float32, K classes, or classes, (1, H, W) uint8 of the network's input.
        spec: How the picture was fitted into the network's input.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.

    Raises:
        ModelError: The answer holds NaN or infinity.
    """
    if answer.ndim == 3:
        rows, columns = fitted(spec, height, width=width)
        return resize_mask(np.asarray(answer[0, :rows, :columns], dtype=np.uint8), height, width=width)
    planes = checked_planes(np.asarray(answer, dtype=np.float32))
    return enlarged_mask(planes, height, width=width, covered=_covered(planes, spec, height, width))


def answer_confidence(answer: NetworkAnswer, spec: InputSpec, *, output: Output, height: int, width: int) -> Confidence:
    """Tell how sure the network is of the class of each pixel of one picture, (height, width) uint8: 255 times its probability.

    Args:
        answer: Answer for one picture, (1, K, h, w) float32.
        spec: How the picture was fitted into the network's input.
        output: What the network answers, as its card says.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.

    Raises:
        ModelError: The answer holds NaN or infinity, or classes alone.
    """
    if output == "classes":
        msg = "this file answers classes and keeps no probabilities; export it with --output logits"
        raise ModelError(msg)
    planes = checked_planes(np.asarray(answer, dtype=np.float32))
    confidence = softmax_confidence if output == "logits" else largest_probability
    return confidence(planes, height, width=width, covered=_covered(planes, spec, height, width))


def _covered(planes: Planes, spec: InputSpec, height: int, width: int) -> tuple[float, float]:
    """Give how many rows and columns of an answer are a picture's own, and no padding's."""
    rows, columns = fitted(spec, height, width=width)
    return planes.shape[1] * rows / spec.height, planes.shape[2] * columns / spec.width


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
