"""Confusion matrix, mIoU, pixel accuracy, Dice, boundary IoU."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a set of masks, each in [0, 1]; a class that never occurs has None.

    Attributes:
        miou: Mean over the classes that occur (in truth or answer) of intersection over union.
        pixel_accuracy: Share of the labeled pixels that are right.
        dice: Mean over the same classes of twice the intersection over the sum (F1).
        iou: Intersection over union of each class, in channel order.
        pixels: How many labeled pixels were counted.
    """

    miou: float
    pixel_accuracy: float
    dice: float
    iou: tuple[float | None, ...]
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as values that JSON knows."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        A missing or unknown key, or what is no number, is a KeyError, TypeError or ValueError.
        """
        numbers = {name: float(values[name]) for name in ("miou", "pixel_accuracy", "dice")}
        return cls(
            **{
                **values,
                **numbers,
                "iou": optional_floats(values["iou"]),
                "pixels": int(values["pixels"]),
            }
        )


def optional_floats(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Read numbers of which some may be missing."""
    return tuple(None if value is None else float(value) for value in values)


class ConfusionMatrix:
    """Counts of labeled pixels, truth by row and answer by column."""

    def __init__(self, classes: int) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
        """
        self.counts = np.zeros((classes, classes), dtype=np.int64)

    def add(self, answer: Mask, truth: Mask) -> None:
        """Count one mask.

        Args:
            answer: Predicted classes, (H, W) uint8, each below K.
            truth: True classes of the same size; 255 is left out.

        Raises:
            DataError: The sizes differ, or a labeled pixel's class or answer is not below K;
                nothing is counted then.
        """
        if answer.shape != truth.shape:
            msg = (
                f"the answer is {answer.shape} and the truth {truth.shape}; both must have the"
                " image's size"
            )
            raise DataError(msg)
        # Counted over all that 8 bits can say, so that a class too large is seen instead of falling
        # into another one's cell.
        pairs = np.bincount(
            (truth.astype(np.intp) << 8 | answer).ravel(), minlength=256 * 256
        ).reshape(256, 256)
        pairs[IGNORE_INDEX] = 0
        classes = len(self.counts)
        for name, found in (("truth", pairs.any(1)), ("answer", pairs.any(0))):
            largest = int(np.flatnonzero(found)[-1]) if found.any() else 0
            if largest >= classes:
                msg = (
                    f"the {name} holds class {largest} and there are classes 0 to {classes - 1};"
                    " check the list of classes"
                )
                raise DataError(msg)
        self.counts += pairs[:classes, :classes]

    def scores(self) -> Scores:
        """Turn the counts into scores; with nothing counted all are 0."""
        hit = np.diag(self.counts).astype(np.float64)
        either = self.counts.sum(0) + self.counts.sum(1) - hit
        total = int(self.counts.sum())
        occurs = either > 0
        iou = np.divide(hit, either, out=np.zeros_like(hit), where=occurs)
        dice = 2 * iou / (1 + iou)
        return Scores(
            miou=float(iou[occurs].mean()) if occurs.any() else 0.0,
            pixel_accuracy=float(hit.sum() / total) if total else 0.0,
            dice=float(dice[occurs].mean()) if occurs.any() else 0.0,
            iou=tuple(
                float(value) if there else None for value, there in zip(iou, occurs, strict=True)
            ),
            pixels=total,
        )


RATIO = 0.02
"""Width of the band along a boundary, as a share of the image's diagonal (Cheng et al. 2021,
section 5)."""

Edges = npt.NDArray[np.bool_]


class BoundaryMatrix:
    """Counts the pixels near the boundaries of each class (Cheng et al. 2021, Boundary IoU, section 4).

    The band of a class holds its own pixels that lie within 2% of the image's diagonal of a pixel
    that is not of it; the image's border is such a pixel too, as in the authors' code. The score
    is the bands' intersection over their union.
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
        # What is not labeled lies between the same classes in both, so that its edges are the
        # same.
        answer = np.where(truth == IGNORE_INDEX, truth, answer)
        classes = len(self._both)
        bands = [band(mask, reach(mask)) & (mask != IGNORE_INDEX) for mask in (answer, truth)]
        both = np.bincount(truth[bands[0] & bands[1] & (answer == truth)], minlength=classes)
        self._both += both
        self._either += (
            np.bincount(answer[bands[0]], minlength=classes)
            + np.bincount(truth[bands[1]], minlength=classes)
            - both
        )

    @property
    def iou(self) -> tuple[float | None, ...]:
        """Boundary IoU of each class in [0, 1], in channel order; None where it never occurs."""
        pairs = zip(self._both.tolist(), self._either.tolist(), strict=True)
        return tuple(both / either if either else None for both, either in pairs)


def reach(mask: Mask) -> int:
    """Return the width of the band for masks of this size, in pixels, at least one."""
    return max(1, round(RATIO * math.hypot(*mask.shape)))


def band(mask: Mask, reach: int) -> Edges:
    """Return which pixels have another class, or the image's border, within so many pixels (in a square around them): (H, W) bool.

    All classes are found at once: a window holds several classes where its largest index is not its
    smallest.
    """
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # Nothing labeled has the border's value, and OpenCV leaves out what lies beyond it.
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(IGNORE_INDEX,))
    return np.asarray(cv2.dilate(framed, window) != cv2.erode(framed, window))[1:-1, 1:-1]
