"""Logits -> mask and confidence at image size."""

from math import log

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Logits, Mask, NetworkOutput
from segdeploy.card import InputSpec, Output
from segdeploy.errors import ModelError
from segdeploy.imaging.preprocess import fitted, resize_mask
from segdeploy.imaging.upsample import Axis, Floats, Planes, axis, enlarge_plane, enlarged_mask

Confidence = npt.NDArray[np.uint8]
"""(H, W) uint8: 255 times the probability of the best class, to the nearest whole number."""

NEGLECTED = 0.005
"""What all neglected classes of a pixel together may change of 255 times the probability."""


def softmax_confidence(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Confidence:
    """Return the largest of the softmax of the enlarged logits, (height, width).

    A class is enlarged only in the rows of pixels where it counts: its largest corner of some cell
    must come near the largest of all classes' smallest corners. Computed in float32: a number that
    lies within 0.01 of a half may be rounded either way.

    Args:
        planes: (K, h, w) finite logits.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        covered: Rows and columns of logits that the image covers, from the top left corner.
    """
    rows = axis(planes.shape[1], covered[0], height)
    leads = _leads(planes)
    top = np.full((height, width), -np.inf, np.float32)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, 0, rows)
        if some.stop > some.start:
            cv2.max(
                top[some],
                enlarge_plane(plane, height, width=width, covered=covered)[some],
                dst=top[some],
            )
    total = np.zeros_like(top)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, log(NEGLECTED / (255 * len(planes))), rows)
        if some.stop > some.start:
            share = enlarge_plane(plane, height, width=width, covered=covered)[some]
            cv2.exp(cv2.subtract(share, top[some], dst=share), dst=share)
            cv2.add(total[some], share, dst=total[some])
    return np.asarray(cv2.divide(255.0, total, dtype=cv2.CV_8U), dtype=np.uint8)


def largest_probability(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Confidence:
    """Return the largest of the enlarged probabilities, (height, width), of a network that answers (K, h, w) probabilities."""
    top = np.zeros((height, width), np.float32)
    for plane in planes:
        cv2.max(top, enlarge_plane(plane, height, width=width, covered=covered), dst=top)
    return np.asarray(cv2.convertScaleAbs(top, alpha=255), dtype=np.uint8)


def _leads(planes: Planes) -> list[Floats]:
    """Give, for each class, how far its largest corner lies above the largest smallest one at best, in each row of cells, (h + 1,)."""
    kernel = np.ones((2, 2), np.uint8)
    # Beside one more row and column, a window of two by two that ends at a logit is the cell before
    # it.
    wider = [cv2.copyMakeBorder(plane, 0, 1, 0, 1, cv2.BORDER_REPLICATE) for plane in planes]
    floor = cv2.erode(wider[0], kernel, anchor=(1, 1))
    for plane in wider[1:]:
        cv2.max(floor, cv2.erode(plane, kernel, anchor=(1, 1)), dst=floor)
    above = (cv2.subtract(cv2.dilate(plane, kernel, anchor=(1, 1)), floor) for plane in wider)
    return [
        np.asarray(cv2.reduce(lead, 1, cv2.REDUCE_MAX).ravel(), dtype=np.float32) for lead in above
    ]


def _reached(lead: Floats, least: float, rows: Axis) -> slice:
    """Return the rows of pixels from the first cell to the last one where a class leads by at least so much; empty where none does."""
    cells = np.flatnonzero(lead >= least)
    if not len(cells):
        return slice(0, 0)
    return slice(
        int(np.searchsorted(rows.cell, cells[0], "left")),
        int(np.searchsorted(rows.cell, cells[-1], "right")),
    )


def to_mask(logits: Logits, height: int, width: int) -> Mask:
    """Turn the network's answer into a mask of another size, bilinearly, the first of equally good classes.

    The logits are enlarged before the best class is taken: taking it first would leave stairs along
    every edge. The labels are those of torch's `interpolate(logits, (height, width),
    mode="bilinear", align_corners=False).argmax(1)`, but for ties within float32.

    Args:
        logits: Answer for one image, (1, K, h, w) float32, K classes.
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
        The mask; and the probability of the class that won each pixel, softmax of its enlarged
        logits, (height, width) uint8: 255 times the probability to the nearest whole number.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = checked_planes(logits)
    covered = (planes.shape[1], planes.shape[2])
    mask = enlarged_mask(planes, height, width=width, covered=covered)
    return mask, softmax_confidence(planes, height, width=width, covered=covered)


def answer_mask(answer: NetworkOutput, spec: InputSpec, *, height: int, width: int) -> Mask:
    """Turn the network's answer to one image into a mask of that image's size, undoing how it was fitted.

    Logits and probabilities are enlarged before the best class is taken. Classes can only be
    repeated or left out.

    Args:
        answer: Answer for one image: (1, K, h, w) float32, K classes, or classes, (1, H, W) uint8
            of the network's input.
        spec: How the image was fitted into the network's input.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Raises:
        ModelError: The answer holds NaN or infinity.
    """
    if answer.ndim == 3:
        rows, columns = fitted(spec, height, width=width)
        return resize_mask(
            np.asarray(answer[0, :rows, :columns], dtype=np.uint8), height, width=width
        )
    planes = checked_planes(np.asarray(answer, dtype=np.float32))
    return enlarged_mask(planes, height, width=width, covered=_covered(planes, spec, height, width))


def answer_confidence(
    answer: NetworkOutput, spec: InputSpec, *, output: Output, height: int, width: int
) -> Confidence:
    """Return how sure the network is of the class of each pixel of one image, (height, width) uint8: 255 times its probability.

    Args:
        answer: Answer for one image, (1, K, h, w) float32.
        spec: How the image was fitted into the network's input.
        output: What the network answers, as its card says.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

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
    """Return how many rows and columns of an answer are an image's own, and no padding's."""
    rows, columns = fitted(spec, height, width=width)
    return planes.shape[1] * rows / spec.height, planes.shape[2] * columns / spec.width


def checked_planes(logits: Logits) -> Planes:
    """Return the planes of one answer, (K, h, w), of which each number is finite.

    Raises:
        ModelError: One is not.
    """
    # The sum is finite only if all are, and costs a fraction of looking at each; only a sum that
    # overflows needs the second look.
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(logits.sum())
    if suspicious and not np.isfinite(logits).all():
        msg = (
            "the network answered with NaN or infinity; try another precision or device, or train"
            " it again"
        )
        raise ModelError(msg)
    return np.ascontiguousarray(logits[0], dtype=np.float32)
