"""Same labels as the reference on real images; the images; the worst drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from segdeploy.arrays import Image, Mask
from segdeploy.backends.base import Backend, Batch, NetworkOutput
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.datasets.registry import open_for
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import list_images, read_image, write_image
from segdeploy.imaging.overlay import Painter, side_by_side
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.agreement import Agreement, Parity
from segdeploy.metrics.segmentation import ConfusionMatrix


class ProofImages(Protocol):
    """Images, some with truth, read one at a time."""

    @property
    def source(self) -> str:
        """Where they come from, for example "camvid val"."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        """Read one image, and its truth where there is one.

        Raises DataError, with the file's name, where it cannot be used.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DatasetSplit:
    """Samples of a dataset, evenly spread.

    Attributes:
        source: Name of the dataset and the split.
        dataset: The split.
        indices: Which of its samples are taken.
        with_truth: Whether its classes are the network's, so that its masks can be counted.
    """

    source: str
    dataset: Dataset
    indices: Sequence[int]
    with_truth: bool

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        sample = self.dataset[self.indices[index]]
        return sample.image, sample.mask if self.with_truth else None


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Images without truth.

    Attributes:
        source: What was named.
        paths: Path of each image.
    """

    source: str
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return read_image(self.paths[index]), None


@dataclass(frozen=True, kw_only=True)
class Subset:
    """A few of other images.

    Attributes:
        evidence: The images.
        indices: Which of them are taken.
    """

    evidence: ProofImages
    indices: Sequence[int]

    @property
    def source(self) -> str:
        """Where they come from."""
        return self.evidence.source

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return self.evidence[self.indices[index]]


def gather(
    card: ModelCard,
    *,
    dataset: str | None,
    data: Path | None,
    files: Sequence[Path],
    most: int | None,
) -> ProofImages:
    """Choose what a file is proven on: what was named.

    Else the validation split it was trained with; else drawn streets.

    Args:
        card: The network's card.
        dataset: Name of a dataset; the one of the training where None.
        data: Folder of the dataset; the one of the training where None.
        files: Images, or folders of them, to be taken instead of a dataset.
        most: Largest number of images, more are thinned evenly; None for all.

    Raises:
        ConfigError: Both a dataset and files are named, or a folder for a network of unknown
            training.
        DataError: What was named cannot be used.
    """
    if files and (dataset or data):
        msg = "images and a dataset are named for the proof; give --verify, or --dataset and --data"
        raise ConfigError(msg)
    if files:
        paths = list_images(files)
        return ImageFiles(
            source=" ".join(map(str, files)),
            paths=[paths[index] for index in evenly_spaced(len(paths), most)],
        )
    if dataset or data:
        return _split(card, dataset, data, most)
    if card.training is not None:
        try:
            return _split(card, None, None, most)
        except (ConfigError, DataError):
            # The folder is gone, or the dataset was a plugin's: the proof goes on with images
            # that are always there.
            pass
    return _split(card, "streets", None, most)


def _split(
    card: ModelCard, dataset: str | None, data: Path | None, most: int | None
) -> DatasetSplit:
    name, split = open_for(card, dataset, data=data, split="val")
    known = [label.name for label in card.classes] == [label.name for label in split.classes]
    return DatasetSplit(
        source=f"{name} val", dataset=split, indices=evenly_spaced(len(split), most), with_truth=known
    )


GATES = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.99, "int8": 0.98}
"""Smallest share of equal labels with which a file passes, by its precision; int8 is judged by mIoU
instead where there is truth."""

WORST = 5
"""How many of the images with the lowest agreement are kept."""


@dataclass(frozen=True, kw_only=True)
class Differing:
    """An image on which a file and its reference differ.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red.
        mask: The file's mask, (H, W) uint8.
        expected: The reference's mask.
        agreement: Share of equal labels, in [0, 1].
        batch: The image as the network saw it, (1, H, W, 3) uint8.
    """

    picture: Image
    mask: Mask
    expected: Mask
    agreement: float
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a proof found.

    Attributes:
        parity: How far the file and the reference agree.
        worst: The images on which they agree least, the worst first; the first one stands for all
            in the search for the cause.
    """

    parity: Parity
    worst: Sequence[Differing]


class RecordingBackend:
    """A backend that keeps its last answer, and may stand for another size of a dynamic file."""

    def __init__(self, backend: Backend, card: ModelCard) -> None:
        """Wrap a backend.

        Args:
            backend: What answers.
            card: Its card, with the size at which it is to be asked.
        """
        self._backend = backend
        self.card = card
        self.last: NetworkOutput = np.empty((0, 0, 0, 0), np.float32)

    @property
    def device(self) -> str:
        """What runs it."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer a batch, and keep the answer."""
        self.last = self._backend.run(batch)
        return self.last


def prove(
    backend: Backend,
    reference: Backend,
    *,
    evidence: ProofImages,
    max_miou_drop: float | None = None,
    on_step: Callable[[str], None],
) -> Proof:
    """Ask a file and its reference the same images, each at its own size, and compare label by label.

    Args:
        backend: The file, as it will be used.
        reference: The network as PyTorch runs it, in float32, with the same kind of answer.
        evidence: Images; a dynamic file is asked each of them at three sizes of the network.
        max_miou_drop: How much lower the file's mIoU may be, in [0, 1], where that shall be the
            gate; None for the share of labels.
        on_step: Called after each comparison, with the share of labels that agree.
    """
    classes = len(backend.card.classes)
    agreement = Agreement(classes)
    counts, reference_counts = ConfusionMatrix(classes), ConfusionMatrix(classes)
    largest = 0.0
    worst: list[Differing] = []
    for card, index in _questions(backend.card, len(evidence)):
        picture, truth = evidence[index]
        asked, known = RecordingBackend(backend, card), RecordingBackend(reference, card)
        mask, expected = Predictor(asked).mask(picture), Predictor(known).mask(picture)
        share = agreement.add(mask, expected)
        # Not max: it would lose a difference that is no number.
        largest = float(
            np.maximum(largest, np.abs(np.subtract(asked.last, known.last, dtype=np.float32)).max())
        )
        if truth is not None:
            counts.add(mask, truth)
            reference_counts.add(expected, truth)
        found = Differing(
            picture=picture,
            mask=mask,
            expected=expected,
            agreement=share,
            batch=to_batch([picture], card.input),
        )
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
        images=len(evidence),
        source=evidence.source,
        reference=f"{reference.device.replace('torch', f'torch {torch.__version__}')} float32",
        gate=GATES[backend.card.precision],
        max_miou_drop=max_miou_drop,
        device=backend.device,
    )
    return Proof(parity=parity, worst=worst)


def questions(card: ModelCard, images: int) -> int:
    """How many comparisons a proof takes."""
    return images * len(sizes(card.input))


def _questions(card: ModelCard, images: int) -> Iterator[tuple[ModelCard, int]]:
    for height, width in sizes(card.input):
        sized = replace(card, input=replace(card.input, height=height, width=width))
        yield from ((sized, index) for index in range(images))


def sizes(spec: InputSpec) -> list[tuple[int, int]]:
    """Return the sizes at which a file must answer.

    The usual one, and where it is dynamic an odd and an upright one.

    An exporter may freeze a branch of the network at the size that it saw, without a word; only
    other sizes show it.
    """
    usual = (spec.height, spec.width)
    if not spec.dynamic:
        return [usual]
    odd = (_odd(spec.height * 3 // 4, spec.stride), _odd(spec.width // 2, spec.stride))
    return list(dict.fromkeys([usual, odd, (spec.width, _odd(spec.height // 2, spec.stride))]))


def _odd(side: int, stride: int) -> int:
    """Return an odd multiple of the stride near a side."""
    return (side // stride | 1) * stride


MARK = (255, 0, 255)
"""Color of a pixel on which they differ, blue-green-red: no usual class has it."""


def write_worst(
    folder: Path, worst: Sequence[Differing], classes: Sequence[LabelClass]
) -> list[Path]:
    """Write one PNG for each image.

    The image itself, the reference's mask, the file's, and where they differ.

    Args:
        folder: Where they go; made if it is missing.
        worst: The images, the worst first.
        classes: Classes in the order of the masks' indices.
    """
    painter = Painter(classes, opacity=0.6, legend=False)
    paths = []
    for number, one in enumerate(worst, start=1):
        overlays = (painter.paint(one.picture, mask) for mask in (one.expected, one.mask))
        paths.append(folder / f"worst-{number}.png")
        write_image(paths[-1], side_by_side(one.picture, *overlays, _marked(one)))
    return paths


def _marked(one: Differing) -> Image:
    """Darken the image, and mark each pixel whose labels differ."""
    marked = np.asarray(cv2.convertScaleAbs(one.picture, alpha=0.4), dtype=np.uint8)
    marked[one.mask != one.expected] = MARK
    return marked
