"""What is drawn of an answered frame: colors over it, beside it, or what is cut out of it."""

from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np

from segdeploy.card import LabelClass
from segdeploy.overlay import Painter, side_by_side, table
from segdeploy.pictures import Picture
from segdeploy.pixels import resize
from segdeploy.scores import IGNORED, Mask

MASK = "mask"
COLOR = "color"
CONFIDENCE = "confidence"
OVERLAY = "overlay"
SIDE = "side"
CUTOUT = "cutout"
JSONL = "jsonl"
GEOJSON = "geojson"
COCO = "coco"
RLE = "rle"
KINDS = (OVERLAY, MASK, COLOR, CONFIDENCE, SIDE, CUTOUT, JSONL, GEOJSON, COCO, RLE)
"""What can be kept."""


class Drawing:
    """What is wanted of each answered frame, and how it looks; several threads may use one.

    Attributes:
        classes: Classes with the colors that they are drawn in, in the order of the masks' indices.
        kinds: Which of `KINDS` are kept.
        films: Those of them that become a film where the source is one.
    """

    def __init__(
        self,
        classes: Sequence[LabelClass],
        kinds: Collection[str] = (OVERLAY,),
        *,
        opacity: float = 0.5,
        legend: bool = True,
        contours: bool = False,
        only: Collection[int] | None = None,
        background: Picture | None = None,
    ) -> None:
        """Prepare the colors.

        Args:
            classes: Classes in the order of the masks' indices.
            kinds: Which of `KINDS` are kept.
            opacity: Share of the color in the overlay, in [0, 1].
            legend: Whether the classes' names stand in the overlay.
            contours: Whether the regions' edges are drawn in the full colors.
            only: Classes that are kept; all others count as not labelled. None for all.
            background: What is behind a cutout, stretched to its size; transparent where None.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        self.classes = tuple(classes)
        self.kinds = tuple(kinds)
        self.films = {OVERLAY, SIDE} | ({CUTOUT} if background is not None else set())
        self._painter = Painter(classes, opacity=opacity, legend=legend, contours=contours, only=only)
        kept = np.arange(256, dtype=np.uint8)
        kept[[index for index in range(256) if only is not None and index not in only]] = IGNORED
        self._kept = kept if only is not None else None
        self._opaque = table(range(len(self.classes)))
        self._background = background
        self._overlay = not {OVERLAY, SIDE}.isdisjoint(kinds)

    @property
    def with_confidence(self) -> bool:
        """Whether the network's confidence is wanted."""
        return CONFIDENCE in self.kinds

    @property
    def draws(self) -> bool:
        """Whether anything is drawn."""
        return self._overlay or CUTOUT in self.kinds

    def select(self, mask: Mask) -> Mask:
        """Give the mask with those classes alone that are kept; all others become not labelled."""
        return mask if self._kept is None else np.asarray(cv2.LUT(mask, self._kept), dtype=np.uint8)

    def draw(self, picture: Picture, mask: Mask) -> Mapping[str, Picture]:
        """Draw what is wanted, by kind.

        Args:
            picture: (H, W, 3) uint8 blue-green-red.
            mask: Classes that are kept, (H, W) uint8.

        Returns:
            For `OVERLAY` (H, W, 3), for `SIDE` the picture and its overlay beside it, (H, 2 W, 3), for `CUTOUT` the kept classes alone,
            (H, W, 4) with opacity or (H, W, 3) before the background.
        """
        drawn: dict[str, Picture] = {}
        if self._overlay:
            drawn[OVERLAY] = self._painter.paint(picture, mask)
        if SIDE in self.kinds:
            drawn[SIDE] = side_by_side(picture, drawn[OVERLAY])
        if CUTOUT in self.kinds:
            drawn[CUTOUT] = self._cut_out(picture, mask)
        return drawn

    def _cut_out(self, picture: Picture, mask: Mask) -> Picture:
        opaque = cv2.LUT(mask, self._opaque)
        if self._background is None:
            return np.dstack([picture, opaque])
        behind = resize(self._background, len(picture), width=picture.shape[1]).copy()
        return np.asarray(cv2.copyTo(picture, opaque, dst=behind), dtype=np.uint8)
