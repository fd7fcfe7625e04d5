"""The pictures that differ most, painted as the reference and as the row saw them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segdeploy.datasets.sample import Dataset
from segdeploy.overlay import Painter
from segdeploy.parity import share
from segdeploy.pictures import Picture, read_ids
from segdeploy.pixels import resize, resize_mask
from segdeploy.scores import IGNORED, Mask

from .report import Report
from .row import answer_name

MOST = 6
"""Pictures in a report at most, so that it can be sent by mail."""

WIDEST = 800
"""Pixels; a wider picture is made smaller."""

QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One picture, seen twice.

    Attributes:
        row: Name of the row.
        picture: Name of the picture.
        against: What it is compared with: the reference's name, or "truth".
        same: Share of the labelled pixels that are alike, in [0, 1].
        left: As the reference or the truth has it, a JPEG.
        right: As the row has it, a JPEG.
    """

    row: str
    picture: str
    against: str
    same: float
    left: bytes
    right: bytes


def gallery(report: Report, answers: Mapping[str, Path], dataset: Dataset, indices: Sequence[int]) -> tuple[Pair, ...]:
    """Paint the worst pictures of each row beside the reference; of the reference alone, its worst beside the truth.

    Args:
        report: It names the worst pictures.
        answers: Folder of each row's masks, by the row's name.
        dataset: The split that was answered.
        indices: The pictures that were answered.
    """
    base = answers.get(report.reference or "")
    places = {dataset.names[index]: index for index in indices}
    others = [pair for pair in report.measured if pair[0].name != report.reference] or list(report.measured)
    # First the worst picture of each row, then the second worst, so that none is left out for another's second.
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
        compared = None if base is None or name == report.reference else read_ids(base / answer_name(places[picture]))
        against = "truth" if compared is None else report.reference or ""
        left, right, same = painted(sample.image, sample.mask if compared is None else compared, mask, painter=painter)
        found.append(Pair(row=name, picture=picture, against=against, same=same, left=left, right=right))
    return tuple(found)


def painted(image: Picture, left: Mask, right: Mask, *, painter: Painter) -> tuple[bytes, bytes, float]:
    """Paint one picture twice, no wider than `WIDEST`, and tell the share of the left one's labelled pixels that are alike.

    Args:
        image: (H, W, 3) uint8 blue-green-red.
        left: Classes of its size, (H, W) uint8; 255 is left out.
        right: Classes that are compared with them.
        painter: Lays the colors over.
    """
    labelled = left != IGNORED
    same = share(int(np.count_nonzero((left == right) & labelled)), int(np.count_nonzero(labelled)))
    height, width = image.shape[:2]
    if width > WIDEST:
        height, width = max(1, round(height * WIDEST / width)), WIDEST
        image = resize(image, height, width=width)
        left, right = (resize_mask(mask, height, width=width) for mask in (left, right))
    return to_jpeg(painter.paint(image, left)), to_jpeg(painter.paint(image, right)), same


def to_jpeg(picture: Picture) -> bytes:
    """Compress a picture, (H, W, 3) uint8 blue-green-red."""
    done, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV writes any picture as JPEG"
    return np.asarray(written).tobytes()
