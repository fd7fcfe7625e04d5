"""How sure a network is of the best class of every pixel."""

from math import log

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.enlarge import Axis, Floats, Planes, axis, enlarge_plane

Confidence = npt.NDArray[np.uint8]
"""(H, W) uint8: 255 times the probability of the best class, to the nearest whole number."""

NEGLECTED = 0.005
"""What all neglected classes of a pixel together may change of 255 times the probability."""


def softmax_confidence(planes: Planes, height: int, *, width: int, covered: tuple[float, float]) -> Confidence:
    """Give the largest of the softmax of the enlarged logits, (height, width).

    A class is enlarged only in the rows of pixels where it counts: its largest corner of some cell must come near the largest of all
    classes' smallest corners. Computed in float32: a number that lies within 0.01 of a half may be rounded either way.

    Args:
        planes: (K, h, w) finite logits.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        covered: Rows and columns of logits that the picture covers, from the top left corner.
    """
    rows = axis(planes.shape[1], covered[0], height)
    leads = _leads(planes)
    top = np.full((height, width), -np.inf, np.float32)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, 0, rows)
        if some.stop > some.start:
            cv2.max(top[some], enlarge_plane(plane, height, width=width, covered=covered)[some], dst=top[some])
    total = np.zeros_like(top)
    for plane, lead in zip(planes, leads, strict=True):
        some = _reached(lead, log(NEGLECTED / (255 * len(planes))), rows)
        if some.stop > some.start:
            share = enlarge_plane(plane, height, width=width, covered=covered)[some]
            cv2.exp(cv2.subtract(share, top[some], dst=share), dst=share)
            cv2.add(total[some], share, dst=total[some])
    return np.asarray(cv2.divide(255.0, total, dtype=cv2.CV_8U), dtype=np.uint8)


def largest_probability(planes: Planes, height: int, *, width: int, covered: tuple[float, float]) -> Confidence:
    """Give the largest of the enlarged probabilities, (height, width), of a network that answers (K, h, w) probabilities."""
    top = np.zeros((height, width), np.float32)
    for plane in planes:
        cv2.max(top, enlarge_plane(plane, height, width=width, covered=covered), dst=top)
    return np.asarray(cv2.convertScaleAbs(top, alpha=255), dtype=np.uint8)


def _leads(planes: Planes) -> list[Floats]:
    """Give, for each class, how far its largest corner lies above the largest smallest one at best, in each row of cells, (h + 1,)."""
    kernel = np.ones((2, 2), np.uint8)
    # Beside one more row and column, a window of two by two that ends at a logit is the cell before it.
    wider = [cv2.copyMakeBorder(plane, 0, 1, 0, 1, cv2.BORDER_REPLICATE) for plane in planes]
    floor = cv2.erode(wider[0], kernel, anchor=(1, 1))
    for plane in wider[1:]:
        cv2.max(floor, cv2.erode(plane, kernel, anchor=(1, 1)), dst=floor)
    above = (cv2.subtract(cv2.dilate(plane, kernel, anchor=(1, 1)), floor) for plane in wider)
    return [np.asarray(cv2.reduce(lead, 1, cv2.REDUCE_MAX).ravel(), dtype=np.float32) for lead in above]


def _reached(lead: Floats, least: float, rows: Axis) -> slice:
    """Give the rows of pixels from the first cell to the last one where a class leads by at least so much; empty where none does."""
    cells = np.flatnonzero(lead >= least)
    if not len(cells):
        return slice(0, 0)
    return slice(int(np.searchsorted(rows.cell, cells[0], "left")), int(np.searchsorted(rows.cell, cells[-1], "right")))
