"""Drawing of masks: overlay, color mask, cutout, side by side, legend."""

from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.preprocess import resize

OVERLAY = "overlay"
MASK = "mask"
COLOR = "color"
CONFIDENCE = "confidence"
SIDE = "side"
CUTOUT = "cutout"
JSONL = "jsonl"
GEOJSON = "geojson"
COCO = "coco"
RLE = "rle"
KINDS = (OVERLAY, MASK, COLOR, CONFIDENCE, SIDE, CUTOUT, JSONL, GEOJSON, COCO, RLE)
"""What can be written of a frame, as `segdeploy run --save` names it."""

BACKGROUND = (24, 24, 24)
"""Color behind the legend, as red, green, blue."""

BAND = 64
"""Rows blended at once: few enough to stay in a core's cache."""


def palette(classes: Sequence[LabelClass]) -> Image:
    """Return the color of each value of a mask, (256, 1, 3) uint8 blue-green-red.

    Values that are not a class are black.
    """
    colors = np.zeros((256, 1, 3), np.uint8)
    for index, entry in enumerate(classes):
        colors[index, 0] = entry.color[::-1]
    return colors


def table(values: Collection[int]) -> Mask:
    """Return a table for `cv2.LUT`, (256,) uint8: 255 for these values of a mask, 0 for others."""
    selected = np.zeros(256, np.uint8)
    selected[list(values)] = 255
    return selected


def colorize(mask: Mask, classes: Sequence[LabelClass]) -> Image:
    """Return a mask in the colors of its classes, (H, W, 3) uint8 blue-green-red.

    Unlabeled pixels are black.
    """
    return np.asarray(cv2.applyColorMap(mask, palette(classes)), dtype=np.uint8)


def side_by_side(*images: Image) -> Image:
    """Return images beside each other, each resized to the height of the first."""
    height = len(images[0])
    return np.hstack(
        [
            resize(image, height, width=max(1, round(image.shape[1] * height / len(image))))
            for image in images
        ]
    )


class Painter:
    """Paints the classes' colors over images, with a legend in the corner.

    Several threads may share one.

    Example:
        ```python
        image, predictor = cv2.imread("street.jpg"), segdeploy.load("best.onnx")
        overlay = Painter(predictor.card.classes).paint(image, predictor.mask(image))
        ```
    """

    def __init__(
        self,
        classes: Sequence[LabelClass],
        *,
        opacity: float = 0.5,
        legend: bool = True,
        contours: bool = False,
        only: Collection[int] | None = None,
    ) -> None:
        """Prepare the colors.

        Args:
            classes: Classes in the order of the masks' indices.
            opacity: Share of the color, in [0, 1]: 0 is the image alone, 1 the colors alone.
            legend: Whether the classes' names are drawn in the top left corner.
            contours: Whether the regions' edges are drawn in the full colors.
            only: Classes that are painted; elsewhere the image stays as it is. None for all.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        if not 0 <= opacity <= 1:
            msg = f"the opacity is {opacity}; it must be within 0 and 1"
            raise ConfigError(msg)
        self._classes = [
            entry for index, entry in enumerate(classes) if only is None or index in only
        ]
        self._palette = palette(classes)
        self._halves = (self._palette + np.uint16(1) >> 1).astype(np.uint8)
        self._opacity = opacity
        self._legend = legend
        self._contours = contours
        self._hidden = (
            None if only is None else table([index for index in range(256) if index not in only])
        )
        self._patches: dict[tuple[int, int], Image] = {}

    def paint(self, image: Image, mask: Mask) -> Image:
        """Return a new image with the colors painted over it.

        Args:
            image: (H, W, 3) uint8 blue-green-red.
            mask: Classes, (H, W) uint8; unlabeled pixels are darkened, unless only some classes
                are painted.

        Raises:
            DataError: The mask has another size than the image.
        """
        if mask.shape != image.shape[:2]:
            msg = (
                f"the mask is {mask.shape} and its image {image.shape[:2]}; both must have one size"
            )
            raise DataError(msg)
        painted = self._blend(image, mask)
        hidden = None if self._hidden is None else cv2.LUT(mask, self._hidden)
        if hidden is not None:
            cv2.copyTo(image, hidden, dst=painted)
        if self._contours:
            edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
            edges = edges if hidden is None else cv2.subtract(edges, hidden)
            cv2.copyTo(cv2.applyColorMap(mask, self._palette), edges, dst=painted)
        if self._legend:
            patch = self._patch(*mask.shape)
            painted[: patch.shape[0], : patch.shape[1]] = patch
        return painted

    def _blend(self, image: Image, mask: Mask) -> Image:
        if self._opacity != 0.5:
            colors = cv2.applyColorMap(mask, self._palette)
            return np.asarray(
                cv2.addWeighted(image, 1 - self._opacity, colors, self._opacity, 0, dst=colors),
                dtype=np.uint8,
            )
        # Half of each, to the nearest, takes a fifth less time than `addWeighted`.
        painted = cv2.applyColorMap(mask, self._halves)
        for start in range(0, len(painted), BAND):
            band = painted[start : start + BAND]
            cv2.add(band, np.right_shift(image[start : start + BAND], np.uint8(1)), dst=band)
        return np.asarray(painted, dtype=np.uint8)

    def _patch(self, height: int, width: int) -> Image:
        """Return the legend for images of one size, drawn once."""
        if (height, width) not in self._patches:
            self._patches = {(height, width): draw_legend(self._classes, height, width=width)}
        return self._patches[height, width]


def draw_legend(classes: Sequence[LabelClass], height: int, *, width: int) -> Image:
    """Draw the names and colors of the classes, in columns within half of the image's width.

    Text has a 45th of the image's height, at least 10 pixels. Where there is no room for all
    classes, the last line says how many are left out; where there is none for a single line, there
    is no legend.

    Returns:
        (h, w, 3) uint8 blue-green-red, no larger than the image.
    """
    letters = max(10, height // 45)
    font = ImageFont.load_default(letters)
    line, margin = round(letters * 1.5), letters // 2
    entries = [(entry.name, entry.color) for entry in classes]
    column = line + margin + round(max(font.getlength(name) for name, _ in entries))
    rows, columns = (height - margin) // line, max(1, width // 2 // column)
    if rows < 1 or column + margin > width:
        return np.zeros((0, 0, 3), np.uint8)
    if len(entries) > rows * columns:
        shown = rows * columns - 1
        entries[shown:] = [(f"+ {len(entries) - shown}", BACKGROUND)]
    columns = -(-len(entries) // rows)
    rows = -(-len(entries) // columns)
    image = PillowImage.new("RGB", (columns * column + margin, rows * line + margin), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for index, (name, color) in enumerate(entries):
        x, y = margin + index // rows * column, (margin + line) // 2 + index % rows * line
        draw.rectangle((x, y - letters // 2, x + letters, y + letters // 2), fill=color)
        draw.text((x + line, y), name, font=font, fill=(235, 235, 235), anchor="lm")
    return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), dtype=np.uint8)


class Renderer:
    """Draws what is written of each segmented frame; several threads may share one.

    Attributes:
        classes: Classes with the colors that they are drawn in, in the order of the masks' indices.
        kinds: Which of `KINDS` are written.
        video_kinds: The kinds that become a video where the source is one.
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
        background: Image | None = None,
    ) -> None:
        """Prepare the colors.

        Args:
            classes: Classes in the order of the masks' indices.
            kinds: Which of `KINDS` are written.
            opacity: Share of the color in the overlay, in [0, 1].
            legend: Whether the classes' names are drawn in the overlay.
            contours: Whether the regions' edges are drawn in the full colors.
            only: Classes that are kept; all others become unlabeled. None for all.
            background: Image behind a cutout, stretched to its size; transparent where None.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        self.classes = tuple(classes)
        self.kinds = tuple(kinds)
        self.video_kinds = {OVERLAY, SIDE} | ({CUTOUT} if background is not None else set())
        self._painter = Painter(
            classes, opacity=opacity, legend=legend, contours=contours, only=only
        )
        kept = np.arange(256, dtype=np.uint8)
        kept[[index for index in range(256) if only is not None and index not in only]] = (
            IGNORE_INDEX
        )
        self._kept = kept if only is not None else None
        self._opaque = table(range(len(self.classes)))
        self._background = background
        self._overlay = not {OVERLAY, SIDE}.isdisjoint(kinds)

    @property
    def needs_confidence(self) -> bool:
        """Whether the confidence of each pixel is written."""
        return CONFIDENCE in self.kinds

    @property
    def draws(self) -> bool:
        """Whether `draw` returns anything."""
        return self._overlay or CUTOUT in self.kinds

    def select(self, mask: Mask) -> Mask:
        """Return the mask with the kept classes alone; all others become unlabeled."""
        return mask if self._kept is None else np.asarray(cv2.LUT(mask, self._kept), dtype=np.uint8)

    def draw(self, image: Image, mask: Mask) -> Mapping[str, Image]:
        """Return the drawn images by kind.

        Args:
            image: (H, W, 3) uint8 blue-green-red.
            mask: Classes, (H, W) uint8, as `select` returns them.

        Returns:
            For `OVERLAY` (H, W, 3), for `SIDE` the image and its overlay beside it, (H, 2 W, 3),
            for `CUTOUT` the kept classes alone, (H, W, 4) with opacity or (H, W, 3) in front of
            the background.
        """
        drawn: dict[str, Image] = {}
        if self._overlay:
            drawn[OVERLAY] = self._painter.paint(image, mask)
        if SIDE in self.kinds:
            drawn[SIDE] = side_by_side(image, drawn[OVERLAY])
        if CUTOUT in self.kinds:
            drawn[CUTOUT] = self._cut_out(image, mask)
        return drawn

    def _cut_out(self, image: Image, mask: Mask) -> Image:
        opaque = cv2.LUT(mask, self._opaque)
        if self._background is None:
            return np.dstack([image, opaque])
        behind = resize(self._background, len(image), width=image.shape[1]).copy()
        return np.asarray(cv2.copyTo(image, opaque, dst=behind), dtype=np.uint8)
