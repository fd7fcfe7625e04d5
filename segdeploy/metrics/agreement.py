"""How far the masks of two models agree, pixel by pixel, and the proof that an export rests on."""

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from segdeploy.arrays import Mask

NEAR = 3
"""Pixels from a boundary within which a label counts as near it."""

LEAST_AGREEMENT = 0.9
"""Share of equal labels without which no score passes: what is right by other labels is another
network, and where nothing is right the score says nothing."""


class Parity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file was proven against the network that it was made from.

    Attributes:
        agreement: Share of the pixels with the same label, in [0, 1].
        boundary_agreement: The same, within 3 pixels of a boundary of the reference's mask.
        class_agreement: The same, for the pixels of each class of the reference, in channel order;
            None where it never occurs.
        largest_difference: Largest difference between two logits or probabilities; None of a file
            that returns classes alone.
        miou: mIoU of the file where the images are labeled, in [0, 1].
        reference_miou: mIoU of the reference on the same images.
        images: How many images were compared; "pictures" in JSON.
        source: Where the images came from, for example "camvid val".
        reference: What the file was compared with, for example "torch 2.9.0 cpu float32".
        gate: The smallest agreement that passes, in [0, 1].
        max_miou_drop: How much lower than the reference's the mIoU may be, in [0, 1], where that is
            the gate instead, beside LEAST_AGREEMENT; else None.
        device: What ran the file, where the runtime reports it with the kind of numbers that it
            computed in, for example "openvino CPU f32"; "" where it is not known.
    """

    agreement: float
    boundary_agreement: float
    class_agreement: tuple[float | None, ...]
    largest_difference: float | None
    miou: float | None
    reference_miou: float | None
    images: int = field(name="pictures")
    source: str
    reference: str
    gate: float
    # Absent in a card of the first version, as the next.
    max_miou_drop: float | None = None
    device: str = ""

    @property
    def against(self) -> str:
        """What the file was compared with, in a word or two: PyTorch, or the adopted file."""
        return "PyTorch" if self.reference.startswith("torch") else "the original"

    @property
    def passed(self) -> bool:
        """Whether the file is good enough; with NaN it never is."""
        if self.max_miou_drop is None or self.miou is None or self.reference_miou is None:
            return self.agreement >= self.gate
        return (
            self.reference_miou - self.miou <= self.max_miou_drop
            and self.agreement >= LEAST_AGREEMENT
        )


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
