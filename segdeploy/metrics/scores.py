"""Values of metrics, as cards and reports store them: scores, and the proof of an export."""

from msgspec import Struct, field

LEAST_AGREEMENT = 0.9
"""Smallest share of equal labels with which a file can pass, whatever its score: below it the file
is a different network, or the score is meaningless."""


class Scores(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores of a set of masks, each in [0, 1]; a class that never occurs has None.

    Attributes:
        miou: Mean of the intersection over union of the classes that occur in labels or masks.
        pixel_accuracy: Share of the labeled pixels that are correct.
        dice: Mean over the same classes of twice the intersection over the sum (F1).
        iou: Intersection over union of each class, in channel order.
        pixels: How many labeled pixels were counted.
    """

    miou: float
    pixel_accuracy: float
    dice: float
    iou: tuple[float | None, ...]
    pixels: int


class Parity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file was proven against the network that it was exported from.

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
        """Short name of what the file was compared with: PyTorch, or the adopted file."""
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
