"""How far two ways of answering the same images agree, label by label."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.metrics.segmentation import optional_floats

NEAR = 3
"""Pixels from a boundary within which a label counts as near it."""

LEAST_AGREEMENT = 0.9
"""Share of equal labels without which no score passes: what is right by other labels is another network, and where nothing is right the
score tells nothing."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How a file was proven against the network that it was made from.

    Attributes:
        agreement: Share of the pixels with the same label, in [0, 1].
        boundary_agreement: The same, within 3 pixels of a boundary of the reference's mask.
        class_agreement: The same, for the pixels of each class of the reference, in channel order;
            None where it never occurs.
        largest_difference: Largest difference between two logits or probabilities; None of a file
            that gives classes alone.
        miou: mIoU of the file where there is truth, in [0, 1].
        reference_miou: mIoU of the reference on the same images.
        images: How many images were answered.
        source: Where the images came from, for example "camvid val".
        reference: What the file was compared with, for example "torch 2.9.0 cpu float32".
        gate: The smallest agreement that passes, in [0, 1].
        max_miou_drop: How much lower than the reference's the mIoU may be, in [0, 1], where that is
            the gate instead, beside LEAST_AGREEMENT; else None.
        device: What answered for the file, where it tells with the kind of numbers that it computed
            in, for example "openvino CPU f32"; "" where nobody wrote it down.
    """

    agreement: float
    boundary_agreement: float
    class_agreement: tuple[float | None, ...]
    largest_difference: float | None
    miou: float | None
    reference_miou: float | None
    images: int
    source: str
    reference: str
    gate: float
    max_miou_drop: float | None = None
    device: str = ""

    @property
    def against(self) -> str:
        """What the file was compared with, in a word or two.

        PyTorch, or the foreign file that was adopted.
        """
        return "PyTorch" if self.reference.startswith("torch") else "the original"

    @property
    def passed(self) -> bool:
        """Whether the file is good enough; a number that is none never is."""
        if self.max_miou_drop is None or self.miou is None or self.reference_miou is None:
            return self.agreement >= self.gate
        return (
            self.reference_miou - self.miou <= self.max_miou_drop
            and self.agreement >= LEAST_AGREEMENT
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        A missing or unknown key, or what is no number, is a KeyError, TypeError or ValueError.
        """
        numbers = {
            name: float(values[name]) for name in ("agreement", "boundary_agreement", "gate")
        }
        # The last one is absent in a card of the first version.
        largest, miou, reference_miou, drop = optional_floats(
            (
                values["largest_difference"],
                values["miou"],
                values["reference_miou"],
                values.get("max_miou_drop"),
            )
        )
        return cls(
            **{
                **values,
                **numbers,
                "class_agreement": optional_floats(values["class_agreement"]),
                "largest_difference": largest,
                "miou": miou,
                "reference_miou": reference_miou,
                "max_miou_drop": drop,
                "pictures": int(values["pictures"]),
                "source": str(values["source"]),
                "reference": str(values["reference"]),
                "device": str(values.get("device", "")),
            }
        )


class Agreement:
    """Counts of pixels on which two answers have the same label."""

    def __init__(self, classes: int) -> None:
        """Start with no pixel counted.

        Args:
            classes: Number of classes, K.
        """
        self._same = np.zeros(classes, dtype=np.int64)
        self._seen = np.zeros(classes, dtype=np.int64)
        self._near_same = 0
        self._near_seen = 0

    def add(self, answer: Mask, reference: Mask) -> float:
        """Count one image and give the share of its pixels that agree.

        Args:
            answer: Labels to judge, (H, W) uint8.
            reference: Labels to be met, of the same size.
        """
        assert answer.shape == reference.shape, "both answer the same image"
        same = answer == reference
        classes = len(self._seen)
        self._seen += np.bincount(reference.ravel(), minlength=classes)
        self._same += np.bincount(reference[same], minlength=classes)
        near = near_boundary(reference)
        self._near_seen += int(np.count_nonzero(near))
        self._near_same += int(np.count_nonzero(near & same))
        return float(same.mean())

    @property
    def overall(self) -> float:
        """Share of all pixels that agree; 1 with nothing counted."""
        return share(int(self._same.sum()), int(self._seen.sum()))

    @property
    def near(self) -> float:
        """Share of the pixels near a boundary that agree."""
        return share(self._near_same, self._near_seen)

    @property
    def by_class(self) -> tuple[float | None, ...]:
        """Share for each class of the reference; None where it never occurs."""
        pairs = zip(self._same.tolist(), self._seen.tolist(), strict=True)
        return tuple(same / seen if seen else None for same, seen in pairs)


def share(part: int, whole: int) -> float:
    """Return part / whole, and 1 for nothing of nothing."""
    return part / whole if whole else 1.0


def near_boundary(mask: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which pixels have another class within 3 pixels: (H, W) bool."""
    window = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)
    return np.asarray(cv2.dilate(mask, window) != cv2.erode(mask, window))
