"""Accuracy of the written masks, the images that differ most, and whether classes match."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass, ModelCard
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.imaging.io import read_ids, to_jpeg
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.preprocess import resize, resize_mask
from segdeploy.inference.evaluation import class_name_warning
from segdeploy.metrics.segmentation import Agreement, BoundaryMatrix, ConfusionMatrix, share

from ..results.report import Report
from ..results.row import Accuracy, LabelAgreement
from .worker import mask_name

WORST = 2
"""How many images of each row are named and shown."""


class MaskEvaluator:
    """Scores the masks of one row, image by image."""

    def __init__(self, classes: int) -> None:
        """Start with no image counted.

        Args:
            classes: Number of classes, K.
        """
        self._matrix = ConfusionMatrix(classes)
        self._boundaries = BoundaryMatrix(classes)
        self._agreement = Agreement(classes)
        self._closeness: dict[str, tuple[float, float]] = {}

    def add(self, name: str, mask: Mask, *, label: Mask, reference: Mask | None) -> None:
        """Count the mask of an image.

        Args:
            name: Name of the image.
            mask: The mask of the row, (H, W) uint8.
            label: The mask of the dataset, of the same size; 255 is not counted.
            reference: The mask of the reference, of the same size; None without one.
        """
        self._matrix.add(mask, label)
        self._boundaries.add(mask, label)
        agreement = 1.0 if reference is None else self._agreement.add(mask, reference)
        self._closeness[name] = (agreement, share_equal(mask, label))

    def accuracy(self, *, compared: bool) -> Accuracy:
        """Return the scores; `compared` says whether there was a reference."""
        return Accuracy(
            scores=self._matrix.scores(),
            boundaries=self._boundaries.iou,
            labels=LabelAgreement.of(self._agreement) if compared else None,
            worst=tuple(sorted(self._closeness, key=lambda name: self._closeness[name])[:WORST]),
        )


def share_equal(mask: Mask, label: Mask) -> float:
    """Return the share of the labeled pixels that have the same class in both, in [0, 1]."""
    labeled = label != IGNORE_INDEX
    equal = int(np.count_nonzero((mask == label) & labeled))
    return share(equal, int(np.count_nonzero(labeled)))


def score_masks(
    folders: Mapping[str, Path], dataset: Dataset, indices: Sequence[int], *, reference: str | None
) -> dict[str, Accuracy]:
    """Score each row's masks at the images' own size.

    Args:
        folders: Folder of each row's masks, by the row's name.
        dataset: The split that was segmented.
        indices: The images that were segmented.
        reference: Name of the row that the others are compared with; there is no comparison if it
            is None or has no masks.
    """
    evaluators = {name: MaskEvaluator(len(dataset.classes)) for name in folders}
    for index in indices:
        label = dataset[index].mask
        masks = {name: read_ids(folder / mask_name(index)) for name, folder in folders.items()}
        for name, mask in masks.items():
            evaluators[name].add(
                dataset.names[index], mask, label=label, reference=masks.get(reference or "")
            )
    return {
        name: evaluator.accuracy(compared=reference in folders)
        for name, evaluator in evaluators.items()
    }


def read_cards(artifacts: Sequence[Path]) -> Mapping[Path, ModelCard]:
    """Read the cards of the artifacts that have one; the others become rows that fail."""
    cards = {}
    for path in artifacts:
        with suppress(ModelError, MissingExtraError):
            cards[path] = read_card(path)
    return cards


def first_card(artifacts: Sequence[Path]) -> ModelCard:
    """Read the card of the first artifact that has one.

    Raises:
        ModelError: None of them has one.
    """
    return next(iter(read_cards(artifacts).values()), None) or read_card(artifacts[-1])


def check_classes(artifacts: Sequence[Path], reference: Path | None) -> None:
    """Refuse to compare networks with other classes, or with the same ones in another order.

    Args:
        artifacts: The files.
        reference: The one that the others are compared with; None for none.

    Raises:
        ModelError: An artifact's classes have other names than the reference's.
    """
    classes = {
        path: [entry.name for entry in card.classes] for path, card in read_cards(artifacts).items()
    }
    for path, names in classes.items():
        if names != classes.get(reference or path, names):
            msg = (
                f"the classes of {path} are {', '.join(names)} and those of {reference}"
                f" {', '.join(classes[reference or path])}; measure them one by one"
            )
            raise ModelError(msg)


def other_names(artifacts: Sequence[Path], classes: Sequence[LabelClass]) -> tuple[str, ...]:
    """Return a sentence for each difference between the artifacts' class names and the dataset's.

    Artifacts with the same difference share a sentence.
    """
    differing: dict[str, list[str]] = {}
    for path, card in read_cards(artifacts).items():
        differing.setdefault(class_name_warning(card.classes, classes), []).append(path.name)
    return tuple(
        f"{', '.join(names)}: {sentence}." for sentence, names in differing.items() if sentence
    )


MOST_PAIRS = 6
"""Largest number of images in a report, so that it can be sent by e-mail."""

MAX_WIDTH = 800
"""Largest width of an image in a report, in pixels; wider ones are downscaled."""

QUALITY = 82
"""Quality of the JPEGs."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One image with two masks.

    Attributes:
        row: Name of the row.
        image: Name of the image.
        against: What its mask is compared with: the reference's name, or "ground truth".
        same: Share of the labeled pixels that are equal, in [0, 1].
        left: Overlay of the reference's mask or the dataset's, a JPEG.
        right: Overlay of the row's mask, a JPEG.
    """

    row: str
    image: str
    against: str
    same: float
    left: bytes
    right: bytes


def worst_pairs(
    report: Report, folders: Mapping[str, Path], dataset: Dataset, indices: Sequence[int]
) -> tuple[Pair, ...]:
    """Draw the worst images of each row beside the reference.

    A report of the reference alone shows its worst images beside the dataset's masks.

    Args:
        report: It names the worst images.
        folders: Folder of each row's masks, by the row's name.
        dataset: The split that was segmented.
        indices: The images that were segmented.
    """
    index_of = {dataset.names[index]: index for index in indices}
    painter = Painter(dataset.classes, opacity=0.6, legend=False)
    reference_folder = folders.get(report.reference or "")
    pairs = []
    for row, image in _worst_images(report)[:MOST_PAIRS]:
        index = index_of[image]
        sample = dataset[index]
        against, left = "ground truth", sample.mask
        if reference_folder is not None and row != report.reference:
            against = report.reference or ""
            left = read_ids(reference_folder / mask_name(index))
        mask = read_ids(folders[row] / mask_name(index))
        overlays = draw_overlays(sample.image, left, mask, painter=painter)
        pairs.append(
            Pair(
                row=row,
                image=image,
                against=against,
                same=share_equal(mask, left),
                left=overlays[0],
                right=overlays[1],
            )
        )
    return tuple(pairs)


def _worst_images(report: Report) -> list[tuple[str, str]]:
    """Return names of rows and images: the worst image of each row, then the second worst."""
    others = [pair for pair in report.measured if pair[0].name != report.reference]
    return [
        (row.name, result.accuracy.worst[rank])
        for rank in range(MOST_PAIRS)
        for row, result in others or report.measured
        if result.accuracy is not None and rank < len(result.accuracy.worst)
    ]


def draw_overlays(
    image: Image, left: Mask, right: Mask, *, painter: Painter
) -> tuple[bytes, bytes]:
    """Return the overlays of two masks as JPEGs, no wider than `MAX_WIDTH`.

    Args:
        image: (H, W, 3) uint8 BGR.
        left: (H, W) uint8 class indices.
        right: The same.
        painter: Draws the overlays.
    """
    height, width = image.shape[:2]
    if width > MAX_WIDTH:
        height, width = max(1, round(height * MAX_WIDTH / width)), MAX_WIDTH
        image = resize(image, height, width=width)
        left, right = (resize_mask(mask, height, width=width) for mask in (left, right))
    first, second = (to_jpeg(painter.paint(image, mask), quality=QUALITY) for mask in (left, right))
    return first, second
