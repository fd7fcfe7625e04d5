"""Scores of written masks, the worst images, and whether classes match."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.backends.loading import read_card
from segdeploy.card import LabelClass, ModelCard
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import MissingExtraError, ModelError
from segdeploy.imaging.io import read_ids
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.preprocess import resize, resize_mask
from segdeploy.inference.evaluation import other_name
from segdeploy.metrics.agreement import Agreement, share
from segdeploy.metrics.segmentation import BoundaryMatrix, ConfusionMatrix

from ..results.report import Report
from ..results.row import Accuracy, Labels
from .worker import answer_name

WORST = 2
"""How many images of each row are named and shown."""


class CandidateEvaluator:
    """Counts one row's masks."""

    def __init__(self, classes: int) -> None:
        """Start with no image counted.

        Args:
            classes: Number of classes, K.
        """
        self._matrix = ConfusionMatrix(classes)
        self._boundaries = BoundaryMatrix(classes)
        self._agreement = Agreement(classes)
        self._likeness: dict[str, tuple[float, float]] = {}

    def add(self, name: str, mask: Mask, *, truth: Mask, reference: Mask | None) -> None:
        """Count the mask of an image of that name, all (H, W) uint8 of its size."""
        self._matrix.add(mask, truth)
        self._boundaries.add(mask, truth)
        labelled = truth != IGNORE_INDEX
        right = share(
            int(np.count_nonzero((mask == truth) & labelled)), int(np.count_nonzero(labelled))
        )
        self._likeness[name] = (
            1.0 if reference is None else self._agreement.add(mask, reference),
            right,
        )

    def accuracy(self, *, compared: bool) -> Accuracy:
        """Return what was counted; `compared` says whether there was a reference."""
        return Accuracy(
            scores=self._matrix.scores(),
            boundaries=self._boundaries.iou,
            labels=Labels.of(self._agreement) if compared else None,
            worst=tuple(sorted(self._likeness, key=lambda name: self._likeness[name])[:WORST]),
        )


def judge(
    answers: Mapping[str, Path], dataset: Dataset, indices: Sequence[int], *, reference: str | None
) -> dict[str, Accuracy]:
    """Score each row's masks at the images' own size.

    Args:
        answers: Folder of each row's masks, by the row's name.
        dataset: The split that was answered.
        indices: The images that were answered.
        reference: Name of the row whose labels the others are compared with; None or a name that is
            not there for no comparison.
    """
    judges = {name: CandidateEvaluator(len(dataset.classes)) for name in answers}
    for index in indices:
        truth = dataset[index].mask
        masks = {name: read_ids(folder / answer_name(index)) for name, folder in answers.items()}
        for name, mask in masks.items():
            judges[name].add(
                dataset.names[index], mask, truth=truth, reference=masks.get(reference or "")
            )
    return {name: one.accuracy(compared=reference in answers) for name, one in judges.items()}


def read_cards(artifacts: Sequence[Path]) -> Mapping[Path, ModelCard]:
    """Read the cards of the artifacts that have one: any other is a row that fails, not the end."""
    found = {}
    for path in artifacts:
        with suppress(ModelError, MissingExtraError):
            found[path] = read_card(path)
    return found


def first_card(artifacts: Sequence[Path]) -> ModelCard:
    """Read the card of the first artifact that has one.

    Raises:
        ModelError: None of them has one.
    """
    return next(iter(read_cards(artifacts).values()), None) or read_card(artifacts[-1])


def check_classes(artifacts: Sequence[Path], reference: Path | None) -> None:
    """Refuse to compare the labels of networks that know other classes, or know them in another order.

    Args:
        artifacts: The files.
        reference: The one that the others are compared with; None for none.

    Raises:
        ModelError: An artifact's classes have other names than the reference's.
    """
    names = {
        path: [entry.name for entry in card.classes] for path, card in read_cards(artifacts).items()
    }
    for path, found in names.items():
        if found != names.get(reference or path, found):
            msg = (
                f"{path} knows {', '.join(found)} and {reference}"
                f" {', '.join(names[reference or path])}; measure them one by one"
            )
            raise ModelError(msg)


def other_names(artifacts: Sequence[Path], given: Sequence[LabelClass]) -> tuple[str, ...]:
    """Say of which artifacts classes are compared with the data's of another name, a sentence for all that differ alike."""
    told: dict[str, list[str]] = {}
    for path, card in read_cards(artifacts).items():
        told.setdefault(other_name(card.classes, given), []).append(path.name)
    return tuple(f"{', '.join(names)}: {sentence}." for sentence, names in told.items() if sentence)


MOST = 6
"""Images in a report at most, so that it can be sent by mail."""

WIDEST = 800
"""Pixels; a wider image is made smaller."""

QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One image, seen twice.

    Attributes:
        row: Name of the row.
        image: Name of the image.
        against: What it is compared with: the reference's name, or "truth".
        same: Share of the labeled pixels that are alike, in [0, 1].
        left: As the reference or the truth has it, a JPEG.
        right: As the row has it, a JPEG.
    """

    row: str
    picture: str
    against: str
    same: float
    left: bytes
    right: bytes


def gallery(
    report: Report, answers: Mapping[str, Path], dataset: Dataset, indices: Sequence[int]
) -> tuple[Pair, ...]:
    """Paint the worst images of each row beside the reference.

    Of the reference alone, its worst beside the truth.

    Args:
        report: It names the worst images.
        answers: Folder of each row's masks, by the row's name.
        dataset: The split that was answered.
        indices: The images that were answered.
    """
    base = answers.get(report.reference or "")
    places = {dataset.names[index]: index for index in indices}
    others = [pair for pair in report.measured if pair[0].name != report.reference] or list(
        report.measured
    )
    # First the worst image of each row, then the second worst, so that none is left out for
    # another's second.
    wanted = [
        (row.name, figures.accuracy.worst[rank])
        for rank in range(MOST)
        for row, figures in others
        if figures.accuracy is not None and rank < len(figures.accuracy.worst)
    ]
    painter = Painter(dataset.classes, opacity=0.6, legend=False)
    found = []
    for name, picture in wanted[:MOST]:
        sample = dataset[places[picture]]
        mask = read_ids(answers[name] / answer_name(places[picture]))
        compared = (
            None
            if base is None or name == report.reference
            else read_ids(base / answer_name(places[picture]))
        )
        against = "truth" if compared is None else report.reference or ""
        left, right, same = painted(
            sample.image, sample.mask if compared is None else compared, mask, painter=painter
        )
        found.append(
            Pair(row=name, picture=picture, against=against, same=same, left=left, right=right)
        )
    return tuple(found)


def painted(
    image: Image, left: Mask, right: Mask, *, painter: Painter
) -> tuple[bytes, bytes, float]:
    """Paint one image twice, no wider than `WIDEST`, and tell the share of the left one's labeled pixels that are alike.

    Args:
        image: (H, W, 3) uint8 blue-green-red.
        left: Classes of its size, (H, W) uint8; 255 is left out.
        right: Classes that are compared with them.
        painter: Lays the colors over.
    """
    labelled = left != IGNORE_INDEX
    same = share(int(np.count_nonzero((left == right) & labelled)), int(np.count_nonzero(labelled)))
    height, width = image.shape[:2]
    if width > WIDEST:
        height, width = max(1, round(height * WIDEST / width)), WIDEST
        image = resize(image, height, width=width)
        left, right = (resize_mask(mask, height, width=width) for mask in (left, right))
    return to_jpeg(painter.paint(image, left)), to_jpeg(painter.paint(image, right)), same


def to_jpeg(picture: Image) -> bytes:
    """Compress an image, (H, W, 3) uint8 blue-green-red."""
    done, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes any image as JPEG"
    return np.asarray(written).tobytes()
