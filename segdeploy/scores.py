"""How good masks are: a confusion matrix, and the scores that follow from it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segdeploy.errors import DataError

IGNORED = 255
"""Value of a mask's pixel that is not labelled, and never counted."""

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a set of masks, each in [0, 1]; a class that never occurs has None.

    Attributes:
        miou: Mean over the classes that occur (in truth or answer) of intersection over union.
        pixel_accuracy: Share of the labelled pixels that are right.
        dice: Mean over the same classes of twice the intersection over the sum (F1).
        iou: Intersection over union of each class, in channel order.
        pixels: How many labelled pixels were counted.
    """

    miou: float
    pixel_accuracy: float
    dice: float
    iou: tuple[float | None, ...]
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Give the scores as values that JSON knows."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; a missing or unknown key, or what is no number, is a KeyError, TypeError or ValueError."""
        numbers = {name: float(values[name]) for name in ("miou", "pixel_accuracy", "dice")}
        return cls(**{**values, **numbers, "iou": optional_floats(values["iou"]), "pixels": int(values["pixels"])})


def optional_floats(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Read numbers of which some may be missing."""
    return tuple(None if value is None else float(value) for value in values)


class ConfusionMatrix:
    """Counts of labelled pixels, truth by row and answer by column."""

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
            DataError: The sizes differ, or a labelled pixel's class or answer is not below K; nothing is counted then.
        """
        if answer.shape != truth.shape:
            msg = f"the answer is {answer.shape} and the truth {truth.shape}; both must have the picture's size"
            raise DataError(msg)
        # Counted over all that 8 bits can say, so that a class too large is seen instead of falling into another one's cell.
        pairs = np.bincount((truth.astype(np.intp) << 8 | answer).ravel(), minlength=256 * 256).reshape(256, 256)
        pairs[IGNORED] = 0
        classes = len(self.counts)
        for name, found in (("truth", pairs.any(1)), ("answer", pairs.any(0))):
            largest = int(np.flatnonzero(found)[-1]) if found.any() else 0
            if largest >= classes:
                msg = f"the {name} holds class {largest} and there are classes 0 to {classes - 1}; check the list of classes"
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
            iou=tuple(float(value) if there else None for value, there in zip(iou, occurs, strict=True)),
            pixels=total,
        )
