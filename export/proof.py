"""Comparison of a file with its reference on real images, and the images of that comparison."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from msgspec import structs

from segdeploy.arrays import Batch, Image, Mask
from segdeploy.backends.base import Backend
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.datasets.registry import open_for_card
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.bands import reader_for
from segdeploy.imaging.contrast import view
from segdeploy.imaging.io import check_image, list_images, read_image, write_image
from segdeploy.imaging.overlay import Painter, side_by_side
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.metrics.scores import Parity
from segdeploy.metrics.segmentation import Agreement, ConfusionMatrix


class ProofImages(Protocol):
    """Images, some with a mask, read one at a time."""

    @property
    def source(self) -> str:
        """Where they come from, for example "camvid val"."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        """Read an image, and its mask where it has one in the network's classes.

        Raises:
            DataError: The file cannot be used.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DatasetSplit:
    """Samples of a dataset, evenly spaced.

    Attributes:
        source: Name of the dataset and the split.
        dataset: The split.
        indices: Indices of the samples.
        labeled: Whether the masks are used, because their classes are the network's.
    """

    source: str
    dataset: Dataset
    indices: Sequence[int]
    labeled: bool

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        sample = self.dataset[self.indices[index]]
        return sample.image, sample.mask if self.labeled else None


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Images without masks.

    Attributes:
        source: The files and folders that were named.
        paths: Path of each image.
        read: Reads an image as the network takes it.
    """

    source: str
    paths: Sequence[Path]
    read: Callable[[Path], Image] = read_image

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return self.read(self.paths[index]), None


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Some of other images.

    Attributes:
        images: All images.
        indices: Indices of the ones in the subset.
    """

    images: ProofImages
    indices: Sequence[int]

    @property
    def source(self) -> str:
        """Where they come from."""
        return self.images.source

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return self.images[self.indices[index]]


def open_proof_images(
    card: ModelCard,
    *,
    dataset: str | None,
    data: Path | None,
    files: Sequence[Path],
    most: int | None,
) -> ProofImages:
    """Open the images that a file is proven on.

    They are what was named; else the validation split of the training; for a network of unknown
    training synthetic streets.

    Args:
        card: The network's card.
        dataset: Name of a dataset; the training's where None.
        data: Folder of the dataset; the training's where None.
        files: Images, or folders of them, instead of a dataset.
        most: Largest number of images, evenly spaced; all where None.

    Raises:
        ConfigError: Both a dataset and files are named, or a folder without a dataset for a network
            of unknown training.
        DataError: What was named cannot be used, or the training's images are not there.
    """
    if files and (dataset or data):
        msg = "images and a dataset are named for the proof; give --verify, or --dataset and --data"
        raise ConfigError(msg)
    if files:
        paths = list_images(files)
        return ImageFiles(
            source=" ".join(map(str, files)),
            read=reader_for(card.input),
            paths=[paths[index] for index in evenly_spaced(len(paths), most)],
        )
    if dataset or data:
        return _open_split(card, dataset, data, most)
    if card.training is not None:
        try:
            return _open_split(card, None, None, most)
        except (ConfigError, DataError) as error:
            msg = (
                f"the images of {card.training.dataset} that the network was trained on are not"
                f" found ({error}); name images like them with --verify, or their folder with"
                " --dataset and --data"
            )
            raise DataError(msg) from error
    return _open_split(card, "streets", None, most)


def _open_split(
    card: ModelCard, dataset: str | None, data: Path | None, most: int | None
) -> DatasetSplit:
    name, split = open_for_card(card, dataset, data=data, split="val")
    same_classes = [label.name for label in card.classes] == [label.name for label in split.classes]
    indices = evenly_spaced(len(split), most)
    return DatasetSplit(source=f"{name} val", dataset=split, indices=indices, labeled=same_classes)


GATES = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.99, "int8": 0.98}
"""Smallest share of equal labels with which a file passes, by its precision; int8 passes by its
mIoU instead where there are masks."""

WORST = 5
"""Number of images with the lowest agreement that are drawn."""


@dataclass(frozen=True, kw_only=True)
class DifferingImage:
    """An image on which a file and its reference differ.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        mask: The file's mask, (H, W) uint8.
        expected: The reference's mask, (H, W) uint8.
        agreement: Share of equal labels, in [0, 1].
        batch: The image as the network's input, (1, H, W, 3) uint8 RGB.
    """

    image: Image
    mask: Mask
    expected: Mask
    agreement: float
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Result of a comparison.

    Attributes:
        parity: How far the file and the reference agree.
        worst: The images on which they agree least, the worst first; the search for the diverging
            layer runs on the first.
    """

    parity: Parity
    worst: Sequence[DifferingImage]


def prove(
    backend: Backend,
    reference: Backend,
    *,
    images: ProofImages,
    max_miou_drop: float | None = None,
    on_step: Callable[[str], None],
) -> Proof:
    """Run a file and its reference on the same images, and compare the masks at image size.

    Args:
        backend: The file, as it will be used.
        reference: The network in PyTorch, in float32, with the same kind of output.
        images: Images; a dynamic file runs on each of them at three input sizes.
        max_miou_drop: How much lower the file's mIoU may be, in [0, 1], if that is the gate; None
            for the share of equal labels.
        on_step: Called after each comparison, with the share of equal labels.
    """
    classes = len(backend.card.classes)
    agreement = Agreement(classes)
    scores, reference_scores = ConfusionMatrix(classes), ConfusionMatrix(classes)
    largest = 0.0
    worst: list[DifferingImage] = []
    for spec, index in _comparisons(backend.card.input, len(images)):
        image, labels = images[index]
        compared, difference = _compare(backend, reference, image, spec=spec)
        agreement.add(compared.mask, compared.expected)
        # numpy's maximum keeps NaN, which max() may drop.
        largest = float(np.maximum(largest, difference))
        if labels is not None:
            scores.add(compared.mask, labels)
            reference_scores.add(compared.expected, labels)
        worst = sorted([*worst, compared], key=lambda differing: differing.agreement)[:WORST]
        on_step(f"{compared.agreement:.3%}")
    labeled = scores.counts.any()
    parity = Parity(
        agreement=agreement.overall,
        boundary_agreement=agreement.near,
        class_agreement=agreement.by_class,
        largest_difference=None if backend.card.output == "classes" else largest,
        miou=scores.scores().miou if labeled else None,
        reference_miou=reference_scores.scores().miou if labeled else None,
        images=len(images),
        source=images.source,
        reference=f"{reference.device.replace('torch', f'torch {torch.__version__}')} float32",
        gate=GATES[backend.card.precision],
        max_miou_drop=max_miou_drop,
        device=backend.device,
    )
    return Proof(parity=parity, worst=worst)


def _compare(
    backend: Backend, reference: Backend, image: Image, *, spec: InputSpec
) -> tuple[DifferingImage, float]:
    """Return the masks of an image, and the largest difference of the two outputs."""
    check_image(image, spec)
    batch = to_batch([image], spec)
    output, expected_output = backend.run(batch), reference.run(batch)
    mask, expected = (
        output_to_mask(values, spec, height=image.shape[0], width=image.shape[1])
        for values in (output, expected_output)
    )
    agreement = float((mask == expected).mean())
    compared = DifferingImage(
        image=view(image, spec), mask=mask, expected=expected, agreement=agreement, batch=batch
    )
    difference = np.abs(np.subtract(output, expected_output, dtype=np.float32)).max()
    return compared, float(difference)


def count_comparisons(card: ModelCard, images: int) -> int:
    """Return the number of comparisons of a proof."""
    return images * len(input_sizes(card.input))


def _comparisons(spec: InputSpec, images: int) -> Iterator[tuple[InputSpec, int]]:
    for height, width in input_sizes(spec):
        sized = structs.replace(spec, height=height, width=width)
        yield from ((sized, index) for index in range(images))


def input_sizes(spec: InputSpec) -> list[tuple[int, int]]:
    """Return the (height, width) at which a file is proven.

    The card's size; for a dynamic file also an odd one and an upright one. An exporter may freeze a
    branch of the network at the size of its example without a warning, and only other sizes show
    that.
    """
    usual = (spec.height, spec.width)
    if not spec.dynamic:
        return [usual]
    odd = (
        _odd_multiple(spec.height * 3 // 4, spec.stride),
        _odd_multiple(spec.width // 2, spec.stride),
    )
    upright = (spec.width, _odd_multiple(spec.height // 2, spec.stride))
    return list(dict.fromkeys([usual, odd, upright]))


def _odd_multiple(side: int, stride: int) -> int:
    """Return an odd multiple of the stride near a side."""
    return (side // stride | 1) * stride


DIFFERENCE_COLOR = (255, 0, 255)
"""Color of a pixel whose labels differ, BGR: no usual palette has it."""


def write_worst(
    folder: Path, worst: Sequence[DifferingImage], classes: Sequence[LabelClass]
) -> list[Path]:
    """Write a PNG for each image: the image, the reference's mask, the file's, the difference.

    Args:
        folder: Folder of the PNGs; created if it is missing.
        worst: The images, the worst first.
        classes: Classes in the order of the masks' indices.
    """
    painter = Painter(classes, opacity=0.6, legend=False)
    paths = []
    for number, differing in enumerate(worst, start=1):
        masks = (differing.expected, differing.mask)
        overlays = (painter.paint(differing.image, mask) for mask in masks)
        paths.append(folder / f"worst-{number}.png")
        difference = _draw_difference(differing)
        write_image(paths[-1], side_by_side(differing.image, *overlays, difference))
    return paths


def _draw_difference(differing: DifferingImage) -> Image:
    """Return the darkened image with each pixel marked whose labels differ."""
    marked = np.asarray(cv2.convertScaleAbs(differing.image, alpha=0.4), dtype=np.uint8)
    marked[differing.mask != differing.expected] = DIFFERENCE_COLOR
    return marked
