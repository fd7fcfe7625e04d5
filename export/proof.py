"""Whether a file answers real pictures as the network does that it was made from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from segdeploy.backends.base import Backend, Batch, NetworkAnswer
from segdeploy.card import InputSpec, ModelCard
from segdeploy.parity import Agreement, Parity
from segdeploy.pictures import Picture
from segdeploy.pixels import to_batch
from segdeploy.predictor import Predictor
from segdeploy.scores import ConfusionMatrix, Mask

from .evidence import Evidence

GATES = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.99, "int8": 0.98}
"""Smallest share of equal labels with which a file passes, by its precision; int8 is judged by mIoU instead where there is truth."""

WORST = 5
"""How many of the pictures with the lowest agreement are kept."""


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A picture on which a file and its reference differ.

    Attributes:
        picture: (H, W, 3) uint8, blue-green-red.
        mask: The file's mask, (H, W) uint8.
        expected: The reference's mask.
        agreement: Share of equal labels, in [0, 1].
        batch: The picture as the network saw it, (1, H, W, 3) uint8.
    """

    picture: Picture
    mask: Mask
    expected: Mask
    agreement: float
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a proof found.

    Attributes:
        parity: How far the file and the reference agree.
        worst: The pictures on which they agree least, the worst first; the first one stands for all in the search for the cause.
    """

    parity: Parity
    worst: Sequence[Differing]


class Recording:
    """A backend that keeps its last answer, and may stand for another size of a dynamic file."""

    def __init__(self, backend: Backend, card: ModelCard) -> None:
        """Wrap a backend.

        Args:
            backend: What answers.
            card: Its card, with the size at which it is to be asked.
        """
        self._backend = backend
        self.card = card
        self.last: NetworkAnswer = np.empty((0, 0, 0, 0), np.float32)

    @property
    def device(self) -> str:
        """What runs it."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer a batch, and keep the answer."""
        self.last = self._backend.run(batch)
        return self.last


def prove(
    backend: Backend, reference: Backend, *, evidence: Evidence, max_miou_drop: float | None = None, on_step: Callable[[str], None]
) -> Proof:
    """Ask a file and its reference the same pictures, each at its own size, and compare label by label.

    Args:
        backend: The file, as it will be used.
        reference: The network as PyTorch runs it, in float32, with the same kind of answer.
        evidence: Pictures; a dynamic file is asked each of them at three sizes of the network.
        max_miou_drop: How much lower the file's mIoU may be, in [0, 1], where that shall be the gate; None for the share of labels.
        on_step: Called after each comparison, with the share of labels that agree.
    """
    classes = len(backend.card.classes)
    agreement = Agreement(classes)
    counts, reference_counts = ConfusionMatrix(classes), ConfusionMatrix(classes)
    largest = 0.0
    worst: list[Differing] = []
    for card, index in _questions(backend.card, len(evidence)):
        picture, truth = evidence[index]
        asked, known = Recording(backend, card), Recording(reference, card)
        mask, expected = Predictor(asked).mask(picture), Predictor(known).mask(picture)
        share = agreement.add(mask, expected)
        # Not max: it would lose a difference that is no number.
        largest = float(np.maximum(largest, np.abs(np.subtract(asked.last, known.last, dtype=np.float32)).max()))
        if truth is not None:
            counts.add(mask, truth)
            reference_counts.add(expected, truth)
        found = Differing(picture=picture, mask=mask, expected=expected, agreement=share, batch=to_batch([picture], card.input))
        worst = sorted([*worst, found], key=lambda one: one.agreement)[:WORST]
        on_step(f"{share:.3%}")
    scored = counts.counts.any()
    parity = Parity(
        agreement=agreement.overall,
        boundary_agreement=agreement.near,
        class_agreement=agreement.by_class,
        largest_difference=None if backend.card.output == "classes" else largest,
        miou=counts.scores().miou if scored else None,
        reference_miou=reference_counts.scores().miou if scored else None,
        pictures=len(evidence),
        source=evidence.source,
        reference=f"{reference.device.replace('torch', f'torch {torch.__version__}')} float32",
        gate=GATES[backend.card.precision],
        max_miou_drop=max_miou_drop,
        device=backend.device,
    )
    return Proof(parity=parity, worst=worst)


def questions(card: ModelCard, pictures: int) -> int:
    """How many comparisons a proof takes."""
    return pictures * len(sizes(card.input))


def _questions(card: ModelCard, pictures: int) -> Iterator[tuple[ModelCard, int]]:
    for height, width in sizes(card.input):
        sized = replace(card, input=replace(card.input, height=height, width=width))
        yield from ((sized, index) for index in range(pictures))


def sizes(spec: InputSpec) -> list[tuple[int, int]]:
    """Give the sizes at which a file must answer: the usual one, and where it is dynamic an odd and an upright one.

    An exporter may freeze a branch of the network at the size that it saw, without a word; only other sizes show it.
    """
    usual = (spec.height, spec.width)
    if not spec.dynamic:
        return [usual]
    odd = (_odd(spec.height * 3 // 4, spec.stride), _odd(spec.width // 2, spec.stride))
    return list(dict.fromkeys([usual, odd, (spec.width, _odd(spec.height // 2, spec.stride))]))


def _odd(side: int, stride: int) -> int:
    """Give an odd multiple of the stride near a side."""
    return (side // stride | 1) * stride
