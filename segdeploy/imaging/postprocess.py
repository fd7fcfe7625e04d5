"""From a network's output to the mask and the confidence, at the size of the image."""

from math import log

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Logits, Mask, NetworkOutput
from segdeploy.card import InputSpec, Output
from segdeploy.errors import ModelError
from segdeploy.imaging.preprocess import fitted_size, resize_mask
from segdeploy.imaging.upsample import (
    Axis,
    Floats,
    Planes,
    make_axis,
    upsample_plane,
    upsampled_mask,
)

Confidence = npt.NDArray[np.uint8]
"""(H, W) uint8: 255 times the probability of the best class, rounded."""

NEGLECTED = 0.005
"""How much all neglected classes of a pixel together may change 255 times the probability."""


def softmax_confidence(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Confidence:
    """Return the largest softmax of the upsampled logits, (height, width).

    A class is upsampled only in the rows of pixels where it counts: its largest corner of some cell
    must come near the largest of all classes' smallest corners. Computed in float32: a number
    within 0.01 of a half may be rounded either way.

    Args:
        planes: (K, h, w) finite logits.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        covered: Rows and columns of logits that the image covers, from the top left corner.
    """
    rows = make_axis(planes.shape[1], covered[0], height)
    leads = _leads(planes)
    top = np.full((height, width), -np.inf, np.float32)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, 0, rows)
        if some.stop > some.start:
            cv2.max(
                top[some],
                upsample_plane(plane, height, width=width, covered=covered)[some],
                dst=top[some],
            )
    total = np.zeros_like(top)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, log(NEGLECTED / (255 * len(planes))), rows)
        if some.stop > some.start:
            share = upsample_plane(plane, height, width=width, covered=covered)[some]
            cv2.exp(cv2.subtract(share, top[some], dst=share), dst=share)
            cv2.add(total[some], share, dst=total[some])
    return np.asarray(cv2.divide(255.0, total, dtype=cv2.CV_8U), dtype=np.uint8)


def largest_probability(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Confidence:
    """Return the largest of the upsampled (K, h, w) probabilities, (height, width)."""
    top = np.zeros((height, width), np.float32)
    for plane in planes:
        cv2.max(top, upsample_plane(plane, height, width=width, covered=covered), dst=top)
    return np.asarray(cv2.convertScaleAbs(top, alpha=255), dtype=np.uint8)


def _leads(planes: Planes) -> list[Floats]:
    """Return how far each class leads at best in each row of cells: K times (h + 1,).

    Its lead in a cell is its largest corner less the largest of all classes' smallest corners.
    """
    kernel = np.ones((2, 2), np.uint8)
    # With one more row and column on each side, a window of 2x2 that ends at a logit is the cell
    # before it.
    wider = [cv2.copyMakeBorder(plane, 0, 1, 0, 1, cv2.BORDER_REPLICATE) for plane in planes]
    floor = cv2.erode(wider[0], kernel, anchor=(1, 1))
    for plane in wider[1:]:
        cv2.max(floor, cv2.erode(plane, kernel, anchor=(1, 1)), dst=floor)
    above = (cv2.subtract(cv2.dilate(plane, kernel, anchor=(1, 1)), floor) for plane in wider)
    return [
        np.asarray(cv2.reduce(lead, 1, cv2.REDUCE_MAX).ravel(), dtype=np.float32) for lead in above
    ]


def _reached(lead: Floats, least: float, rows: Axis) -> slice:
    """Return the rows of pixels from the first to the last in which a class leads by so much."""
    cells = np.flatnonzero(lead >= least)
    if not len(cells):
        return slice(0, 0)
    return slice(
        int(np.searchsorted(rows.cell, cells[0], "left")),
        int(np.searchsorted(rows.cell, cells[-1], "right")),
    )


def to_mask(logits: Logits, height: int, width: int) -> Mask:
    """Return the mask of an image from its logits: the best class of every pixel, exactly.

    The logits are upsampled before the argmax: the other order would leave stairs along every
    edge. The labels are those of torch's `interpolate(logits, (height, width), mode="bilinear",
    align_corners=False).argmax(1)`, but for ties within float32.

    Args:
        logits: Logits of one image, (1, K, h, w) float32, K classes.
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.

    Returns:
        (height, width) uint8, the index of a class each.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = finite_planes(logits)
    return upsampled_mask(planes, height, width=width, covered=(planes.shape[1], planes.shape[2]))


def to_mask_and_confidence(logits: Logits, height: int, width: int) -> tuple[Mask, Confidence]:
    """Return the mask of an image as `to_mask` does, and the confidence of each of its pixels.

    Returns:
        The mask; and the confidence, (height, width) uint8: 255 times the softmax of the upsampled
        logits at the best class, rounded.

    Raises:
        ModelError: The logits hold NaN or infinity.
    """
    planes = finite_planes(logits)
    covered = (planes.shape[1], planes.shape[2])
    mask = upsampled_mask(planes, height, width=width, covered=covered)
    return mask, softmax_confidence(planes, height, width=width, covered=covered)


def output_to_mask(output: NetworkOutput, spec: InputSpec, *, height: int, width: int) -> Mask:
    """Return the mask of an image from the network's output, undoing how the image was fitted.

    Logits and probabilities are upsampled before the argmax. Classes can only be repeated or left
    out.

    Args:
        output: Output for one image: (1, K, h, w) float32, K classes, or classes, (1, H, W) uint8
            of the size of the network's input.
        spec: How the image was fitted into the network's input.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Raises:
        ModelError: The output holds NaN or infinity.
    """
    if output.ndim == 3:
        rows, columns = fitted_size(spec, height, width=width)
        return resize_mask(
            np.asarray(output[0, :rows, :columns], dtype=np.uint8), height, width=width
        )
    planes = finite_planes(np.asarray(output, dtype=np.float32))
    covered = _covered(planes, spec, height, width)
    return upsampled_mask(planes, height, width=width, covered=covered)


def output_to_confidence(
    output: NetworkOutput, spec: InputSpec, *, kind: Output, height: int, width: int
) -> Confidence:
    """Return the confidence of each pixel of an image, (height, width) uint8.

    Args:
        output: Output for one image, (1, K, h, w) float32.
        spec: How the image was fitted into the network's input.
        kind: What the network returns, as its card says.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Raises:
        ModelError: The output holds NaN or infinity, or classes alone.
    """
    planes = _planes_of(output, kind)
    confidence = softmax_confidence if kind == "logits" else largest_probability
    return confidence(planes, height, width=width, covered=_covered(planes, spec, height, width))


def planes_to_confidence(planes: Planes, *, kind: Output) -> Confidence:
    """Return the confidence of each pixel from planes of the image's own size, (H, W) uint8.

    Args:
        planes: (K, H, W) logits or probabilities.
        kind: Which of them they are.
    """
    top = planes.max(axis=0)
    if kind != "logits":
        return np.asarray(cv2.convertScaleAbs(top, alpha=255), dtype=np.uint8)
    total = np.zeros_like(top)
    for plane in planes:
        share = cv2.subtract(plane, top)
        cv2.add(total, cv2.exp(share, dst=share), dst=total)
    return np.asarray(cv2.divide(255.0, total, dtype=cv2.CV_8U), dtype=np.uint8)


def output_to_probabilities(
    output: NetworkOutput, spec: InputSpec, *, kind: Output, height: int, width: int
) -> npt.NDArray[np.float32]:
    """Return the probability of each class in each pixel of an image, (K, height, width) float32.

    Args:
        output: Output for one image, (1, K, h, w) float32.
        spec: How the image was fitted into the network's input.
        kind: What the network returns, as its card says.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Raises:
        ModelError: The output holds NaN or infinity, or classes alone.
    """
    planes = _planes_of(output, kind)
    covered = _covered(planes, spec, height, width)
    probabilities = np.empty((len(planes), height, width), np.float32)
    for plane, target in zip(planes, probabilities, strict=True):
        target[...] = upsample_plane(plane, height, width=width, covered=covered)
    if kind == "logits":
        probabilities -= probabilities.max(axis=0)
        np.exp(probabilities, out=probabilities)
        probabilities /= probabilities.sum(axis=0)
    return probabilities


def _planes_of(output: NetworkOutput, kind: Output) -> Planes:
    """Return the planes of one image's output, (K, h, w); raises ModelError where it has none."""
    if kind == "classes":
        msg = "this file returns classes without probabilities; export it with --output logits"
        raise ModelError(msg)
    return finite_planes(np.asarray(output, dtype=np.float32))


def _covered(planes: Planes, spec: InputSpec, height: int, width: int) -> tuple[float, float]:
    """Return how many rows and columns of an output belong to the image, not to its padding."""
    rows, columns = fitted_size(spec, height, width=width)
    return planes.shape[1] * rows / spec.height, planes.shape[2] * columns / spec.width


def finite_planes(logits: Logits) -> Planes:
    """Return the planes of one image's output, (K, h, w), and make sure that they are finite.

    Raises:
        ModelError: A number is NaN or infinity, or there are more classes than a mask can hold.
    """
    if logits.shape[1] > IGNORE_INDEX:
        msg = (
            f"the network returned {logits.shape[1]} classes, and a mask holds at most"
            f" {IGNORE_INDEX}; group them in training"
        )
        raise ModelError(msg)
    # The sum is finite only if all numbers are, and costs a fraction of checking each; only a sum
    # that overflows needs the second check.
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(logits.sum())
    if suspicious and not np.isfinite(logits).all():
        msg = (
            "the network returned NaN or infinity; try another precision or device, or train it"
            " again"
        )
        raise ModelError(msg)
    return np.ascontiguousarray(logits[0], dtype=np.float32)
