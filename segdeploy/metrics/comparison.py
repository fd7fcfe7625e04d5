"""How two networks differ on the same images: by class, by image, by place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask
from segdeploy.metrics.agreement import Agreement
from segdeploy.metrics.segmentation import ConfusionMatrix, Scores

SHOWN = 8
"""How many of the images that differ most are kept whole."""

MAP = (90, 120)
"""Height and width of the map of places; every image is brought to it, whatever its size."""

Density = npt.NDArray[np.float32]
"""(h, w) float32: share of the pixels around each place that differ, in [0, 1]."""


class MaskPredictor(Protocol):
    """What gives the mask of an image."""

    def mask(self, image: Image) -> Mask:
        """Return the class of every pixel, (H, W) uint8, at the image's own size."""
        ...


@dataclass(frozen=True, kw_only=True)
class ComparisonImage:
    """An image that both are asked.

    Attributes:
        name: Its name.
        image: (H, W, 3) uint8, blue-green-red.
        truth: Its true classes, (H, W) uint8; None where nobody knows.
    """

    name: str
    image: Image
    truth: Mask | None


@dataclass(frozen=True, kw_only=True)
class ComparedImage:
    """An image with both answers.

    Attributes:
        asked: The image.
        first: The first one's mask, (H, W) uint8.
        second: The second one's mask.
        differing: Share of the pixels with different labels, in [0, 1].
    """

    asked: ComparisonImage
    first: Mask
    second: Mask
    differing: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two networks differ.

    Attributes:
        differing: Share of all pixels with different labels, in [0, 1].
        near_boundaries: The same, within 3 pixels of a boundary of the first one's masks.
        by_class: The same, for the pixels of each class of the first one, in channel order; None
            where it never occurs.
        by_image: Name of each image, and the share of its pixels that differ, in the order of
            the images.
        exchanged: Pixels that the first one gives the class of the row and the second one that of
            the column, (K, K).
        scores: Scores of the first and of the second one, where there is truth.
        places: Where in the images they differ.
        shown: The images that differ most, the worst first.
    """

    differing: float
    near_boundaries: float
    by_class: tuple[float | None, ...]
    by_image: tuple[tuple[str, float], ...]
    exchanged: npt.NDArray[np.int64]
    scores: tuple[Scores, Scores] | None
    places: Density
    shown: tuple[ComparedImage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON knows them."""
        return {
            "differing": self.differing,
            "near_boundaries": self.near_boundaries,
            "by_class": list(self.by_class),
            "by_picture": dict(self.by_image),
            "exchanged": self.exchanged.tolist(),
            "miou": None if self.scores is None else [one.miou for one in self.scores],
        }


def compare(
    first: MaskPredictor,
    second: MaskPredictor,
    images: Iterable[ComparisonImage],
    *,
    classes: int,
    on_step: Callable[[str], None],
) -> Comparison:
    """Ask two networks the same images.

    Args:
        first: The one that counts as right.
        second: The other one.
        images: One or more images; they are read one at a time.
        classes: Number of classes of both, K.
        on_step: Called after each image, with the share that differs.
    """
    agreement, exchanged = Agreement(classes), ConfusionMatrix(classes)
    truths = ConfusionMatrix(classes), ConfusionMatrix(classes)
    places, by_image = np.zeros(MAP, np.float32), []
    shown: list[ComparedImage] = []
    for asked in images:
        one, other = first.mask(asked.image), second.mask(asked.image)
        differing = 1 - agreement.add(other, one)
        exchanged.add(other, one)
        places += cv2.resize(
            (one != other).astype(np.float32), MAP[::-1], interpolation=cv2.INTER_AREA
        )
        by_image.append((asked.name, differing))
        if asked.truth is not None:
            truths[0].add(one, asked.truth)
            truths[1].add(other, asked.truth)
        kept = [*shown, ComparedImage(asked=asked, first=one, second=other, differing=differing)]
        shown = sorted(kept, key=lambda one: -one.differing)[:SHOWN]
        on_step(f"{differing:.3%}")
    scored = truths[0].counts.any()
    return Comparison(
        differing=1 - agreement.overall,
        near_boundaries=1 - agreement.near,
        by_class=tuple(None if share is None else 1 - share for share in agreement.by_class),
        by_image=tuple(by_image),
        exchanged=exchanged.counts,
        scores=(truths[0].scores(), truths[1].scores()) if scored else None,
        places=np.divide(places, max(1, len(by_image)), dtype=np.float32),
        shown=tuple(one for one in shown if one.differing),
    )


def difference_density(first: Mask, second: Mask) -> Density:
    """Return how densely two masks differ around each pixel, (H, W), in a window of a 30th of the longer side."""
    side = max(3, max(first.shape) // 30) | 1
    return np.asarray(
        cv2.blur((first != second).astype(np.float32), (side, side)), dtype=np.float32
    )


def paint_density(heat: Density, *, hottest: float) -> Image:
    """Return a heat a color in each place.

    Black for none, by way of red to yellow for the hottest.
    """
    scaled = np.clip(heat / max(hottest, 1e-6) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), dtype=np.uint8)
