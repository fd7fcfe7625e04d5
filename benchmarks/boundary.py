"""Boundary IoU: how well the edges are found, whatever the size of the regions."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.scores import IGNORED, Mask

RATIO = 0.02
"""Width of the band along a boundary, as a share of the picture's diagonal (Cheng et al. 2021, section 5)."""

Edges = npt.NDArray[np.bool_]


class BoundaryMatrix:
    """Counts the pixels near the boundaries of each class (Cheng et al. 2021, Boundary IoU, section 4).

    The band of a class holds its own pixels that lie within 2% of the picture's diagonal of a pixel that is not of it; the picture's
    border is such a pixel too, as in the authors' code. The score is the bands' intersection over their union.
    """

    def __init__(self, classes: int) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
        """
        self._both = np.zeros(classes, np.int64)
        self._either = np.zeros(classes, np.int64)

    def add(self, answer: Mask, truth: Mask) -> None:
        """Count one mask.

        Args:
            answer: Predicted classes, (H, W) uint8, each below K.
            truth: True classes of the same size; 255 is left out.
        """
        # What is not labelled lies between the same classes in both, so that its edges are the same.
        answer = np.where(truth == IGNORED, truth, answer)
        classes = len(self._both)
        bands = [band(mask, reach(mask)) & (mask != IGNORED) for mask in (answer, truth)]
        both = np.bincount(truth[bands[0] & bands[1] & (answer == truth)], minlength=classes)
        self._both += both
        self._either += np.bincount(answer[bands[0]], minlength=classes) + np.bincount(truth[bands[1]], minlength=classes) - both

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Boundary IoU of each class in [0, 1], in channel order; None where it never occurs."""
        pairs = zip(self._both.tolist(), self._either.tolist(), strict=True)
        return tuple(both / either if either else None for both, either in pairs)


def reach(mask: Mask) -> int:
    """Give the width of the band for masks of this size, in pixels, at least one."""
    return max(1, round(RATIO * math.hypot(*mask.shape)))


def band(mask: Mask, reach: int) -> Edges:
    """Tell which pixels have another class, or the picture's border, within so many pixels (in a square around them): (H, W) bool.

    All classes are found at once: a window holds several classes where its largest index is not its smallest.
    """
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # Nothing labelled has the border's value, and OpenCV leaves out what lies beyond it.
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(IGNORED,))
    return np.asarray(cv2.dilate(framed, window) != cv2.erode(framed, window))[1:-1, 1:-1]
