"""How two models differ over the same images: by class, by image, and where in the image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import Agreement, ConfusionMatrix

WORST = 8
"""How many of the images that differ most are kept with their masks."""

HEAT_MAP_SIZE = (90, 120)
"""Height and width of the heat map over all images, to which each is resized, whatever its size."""

Density = npt.NDArray[np.float32]
"""(h, w) float32: share of the pixels around each point that differ, in [0, 1]."""


class MaskPredictor(Protocol):
    """A model that segments one image after the other."""

    def mask(self, image: Image) -> Mask:
        """Return the class of every pixel, (H, W) uint8, at the image's own size."""
        ...


@dataclass(frozen=True, kw_only=True)
class ComparisonImage:
    """An image that both models segment.

    Attributes:
        name: Name of the image.
        image: (H, W, 3) uint8, blue-green-red.
        labels: Its ground truth, (H, W) uint8; None where there is none.
    """

    name: str
    image: Image
    labels: Mask | None


@dataclass(frozen=True, kw_only=True)
class ComparedImage:
    """An image with both masks.

    Attributes:
        source: The image.
        first: Mask of the first model, (H, W) uint8.
        second: Mask of the second model.
        differing: Share of the pixels with different labels, in [0, 1].
    """

    source: ComparisonImage
    first: Mask
    second: Mask
    differing: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two models differ.

    Attributes:
        differing: Share of all pixels with different labels, in [0, 1].
        near_boundaries: The same, within 3 pixels of a boundary of the first model's masks.
        by_class: The same, for the pixels of each class of the first model, in channel order; None
            where it never occurs.
        by_image: Name of each image, and the share of its pixels that differ, in the order of
            the images.
        exchanged: Pixels to which the first model gives the class of the row and the second that of
            the column, (K, K).
        scores: Scores of the first and of the second model, where the images are labeled.
        heat_map: Where in the images they differ, as a mean over all.
        worst: The images that differ most, the worst first.
    """

    differing: float
    near_boundaries: float
    by_class: tuple[float | None, ...]
    by_image: tuple[tuple[str, float], ...]
    exchanged: npt.NDArray[np.int64]
    scores: tuple[Scores, Scores] | None
    heat_map: Density
    worst: tuple[ComparedImage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        return {
            "differing": self.differing,
            "near_boundaries": self.near_boundaries,
            "by_class": list(self.by_class),
            "by_picture": dict(self.by_image),
            "exchanged": self.exchanged.tolist(),
            "miou": None if self.scores is None else [scores.miou for scores in self.scores],
        }


def compare(
    first: MaskPredictor,
    second: MaskPredictor,
    images: Iterable[ComparisonImage],
    *,
    classes: int,
    on_step: Callable[[str], None],
) -> Comparison:
    """Segment the same images with two models, and return how their masks differ.

    Args:
        first: The model that counts as the reference.
        second: The other model.
        images: One or more images; they are read one at a time.
        classes: Number of classes of both, K.
        on_step: Called after each image, with the share that differs.
    """
    agreement, exchanged = Agreement(classes), ConfusionMatrix(classes)
    matrices = ConfusionMatrix(classes), ConfusionMatrix(classes)
    heat_map, by_image = np.zeros(HEAT_MAP_SIZE, np.float32), []
    worst: list[ComparedImage] = []
    for source in images:
        one, other = first.mask(source.image), second.mask(source.image)
        differing = 1 - agreement.add(other, one)
        exchanged.add(other, one)
        different = (one != other).astype(np.float32)
        heat_map += cv2.resize(different, HEAT_MAP_SIZE[::-1], interpolation=cv2.INTER_AREA)
        by_image.append((source.name, differing))
        if source.labels is not None:
            matrices[0].add(one, source.labels)
            matrices[1].add(other, source.labels)
        worst.append(ComparedImage(source=source, first=one, second=other, differing=differing))
        worst = sorted(worst, key=lambda compared: -compared.differing)[:WORST]
        on_step(f"{differing:.3%}")
    has_scores = matrices[0].counts.any()
    return Comparison(
        differing=1 - agreement.overall,
        near_boundaries=1 - agreement.near,
        by_class=tuple(None if share is None else 1 - share for share in agreement.by_class),
        by_image=tuple(by_image),
        exchanged=exchanged.counts,
        scores=(matrices[0].scores(), matrices[1].scores()) if has_scores else None,
        heat_map=np.divide(heat_map, max(1, len(by_image)), dtype=np.float32),
        worst=tuple(compared for compared in worst if compared.differing),
    )


def difference_density(first: Mask, second: Mask) -> Density:
    """Return the share of different pixels around each pixel of two masks, (H, W).

    The window has a 30th of the longer side.
    """
    side = max(3, max(first.shape) // 30) | 1
    different = (first != second).astype(np.float32)
    return np.asarray(cv2.blur(different, (side, side)), dtype=np.float32)


def paint_density(density: Density, *, hottest: float) -> Image:
    """Return a density in colors, (h, w, 3) uint8: black for none, red, yellow for the hottest."""
    scaled = np.clip(density / max(hottest, 1e-6) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), dtype=np.uint8)
