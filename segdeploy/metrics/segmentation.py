"""Metrics of masks: count them against labels (mIoU, Dice, boundary IoU) or another model's."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.errors import DataError
from segdeploy.metrics.scores import Scores

BAND_SHARE = 0.02
"""Width of the band along a boundary, as a share of the image's diagonal (Cheng et al. 2021,
section 5)."""


class ConfusionMatrix:
    """Counts of the labeled pixels, by label (row) and by predicted class (column)."""

    def __init__(self, classes: int, *, unlabeled: int = 0) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
            unlabeled: How many more classes may be predicted that no label has: always wrong, and
                without a score of their own.
        """
        self._classes = classes
        self.counts = np.zeros((classes + unlabeled, classes + unlabeled), dtype=np.int64)

    def add(self, mask: Mask, labels: Mask) -> None:
        """Count one mask.

        Args:
            mask: Predicted classes, (H, W) uint8, each below K.
            labels: True classes of the same size; 255 is left out.

        Raises:
            DataError: The sizes differ, or a labeled pixel's label or prediction is not below K;
                nothing is counted then.
        """
        if mask.shape != labels.shape:
            msg = (
                f"the predicted mask is {mask.shape} and the labels are {labels.shape}; both must"
                " have the image's size"
            )
            raise DataError(msg)
        # Counted over all values of 8 bits, so that a class too large is found instead of falling
        # into the cell of another one.
        pairs = np.bincount(
            (labels.astype(np.intp) << 8 | mask).ravel(), minlength=256 * 256
        ).reshape(256, 256)
        pairs[IGNORE_INDEX] = 0
        classes = len(self.counts)
        for name, occurs in (("labels hold", pairs.any(1)), ("predicted mask holds", pairs.any(0))):
            largest = int(np.flatnonzero(occurs)[-1]) if occurs.any() else 0
            if largest >= classes:
                msg = (
                    f"the {name} class {largest} and there are classes 0 to {classes - 1};"
                    " check the list of classes"
                )
                raise DataError(msg)
        self.counts += pairs[:classes, :classes]

    def scores(self) -> Scores:
        """Return the scores of all that was counted; with nothing counted all are 0."""
        intersection = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - intersection
        intersection, union = intersection[: self._classes], union[: self._classes]
        total = int(self.counts.sum())
        occurs = union > 0
        iou = np.divide(intersection, union, out=np.zeros_like(intersection), where=occurs)
        dice = 2 * iou / (1 + iou)
        return Scores(
            miou=float(iou[occurs].mean()) if occurs.any() else 0.0,
            pixel_accuracy=float(intersection.sum() / total) if total else 0.0,
            dice=float(dice[occurs].mean()) if occurs.any() else 0.0,
            iou=tuple(
                float(value) if there else None for value, there in zip(iou, occurs, strict=True)
            ),
            pixels=total,
        )


class BoundaryMatrix:
    """Counts of the pixels near the boundaries of each class (Cheng et al. 2021, Boundary IoU).

    The band of a class (section 4) holds its own pixels that lie within 2% of the image's diagonal
    of a pixel of another class; the image's border counts as one, as in the authors' code. The
    score is the bands' intersection over their union.
    """

    def __init__(self, classes: int) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
        """
        self._intersection = np.zeros(classes, np.int64)
        self._union = np.zeros(classes, np.int64)

    def add(self, mask: Mask, labels: Mask) -> None:
        """Count one mask.

        Args:
            mask: Predicted classes, (H, W) uint8, each below K.
            labels: True classes of the same size; 255 is left out.
        """
        # Unlabeled regions have the same edges in both, and none between classes within them.
        mask = np.where(labels == IGNORE_INDEX, labels, mask)
        classes = len(self._union)
        ours, theirs = (
            boundary_band(one, band_width(one)) & (one != IGNORE_INDEX) for one in (mask, labels)
        )
        both = np.bincount(labels[ours & theirs & (mask == labels)], minlength=classes)
        self._intersection += both
        self._union += (
            np.bincount(mask[ours], minlength=classes)
            + np.bincount(labels[theirs], minlength=classes)
            - both
        )

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Boundary IoU of each class in [0, 1], in channel order; None where it never occurs."""
        pairs = zip(self._intersection.tolist(), self._union.tolist(), strict=True)
        return tuple(both / either if either else None for both, either in pairs)


def band_width(mask: Mask) -> int:
    """Return the width of the band for masks of this size, in pixels, at least one."""
    return max(1, round(BAND_SHARE * math.hypot(*mask.shape)))


def boundary_band(mask: Mask, width: int) -> npt.NDArray[np.bool_]:
    """Return which pixels have another class, or the image's border, nearby: (H, W) bool.

    All classes are found at once: a window holds several classes where its largest index is not its
    smallest.

    Args:
        mask: (H, W) uint8.
        width: How near, in pixels: the window is a square of 2 * width + 1.
    """
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    # Unlabeled pixels have the border's value, and OpenCV leaves out what lies beyond the array.
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(IGNORE_INDEX,))
    return np.asarray(cv2.dilate(framed, window) != cv2.erode(framed, window))[1:-1, 1:-1]


NEAR = 3
"""Pixels from a boundary within which a label counts as near it."""


class Agreement:
    """Counts of the pixels on which two masks have the same label."""

    def __init__(self, classes: int) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
        """
        self._same = np.zeros(classes, dtype=np.int64)
        self._counted = np.zeros(classes, dtype=np.int64)
        self._near_same = 0
        self._near_counted = 0

    def add(self, mask: Mask, reference: Mask) -> float:
        """Count one image and return the share of its pixels that agree.

        Args:
            mask: Labels to check, (H, W) uint8.
            reference: Labels that they should be, of the same size.
        """
        assert mask.shape == reference.shape, "both are masks of one image"
        same = mask == reference
        classes = len(self._counted)
        self._counted += np.bincount(reference.ravel(), minlength=classes)
        self._same += np.bincount(reference[same], minlength=classes)
        near = near_boundary(reference)
        self._near_counted += int(np.count_nonzero(near))
        self._near_same += int(np.count_nonzero(near & same))
        return float(same.mean())

    @property
    def overall(self) -> float:
        """Share of all pixels that agree; 1 with nothing counted."""
        return share(int(self._same.sum()), int(self._counted.sum()))

    @property
    def near(self) -> float:
        """Share of the pixels near a boundary that agree."""
        return share(self._near_same, self._near_counted)

    @property
    def by_class(self) -> tuple[float | None, ...]:
        """Share for each class of the reference; None where it never occurs."""
        pairs = zip(self._same.tolist(), self._counted.tolist(), strict=True)
        return tuple(same / counted if counted else None for same, counted in pairs)


def share(part: int, whole: int) -> float:
    """Return part / whole, and 1 for nothing of nothing."""
    return part / whole if whole else 1.0


def near_boundary(mask: Mask) -> npt.NDArray[np.bool_]:
    """Return which pixels have another class within 3 pixels: (H, W) bool."""
    window = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)
    return np.asarray(cv2.dilate(mask, window) != cv2.erode(mask, window))
