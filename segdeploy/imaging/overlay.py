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
CVAT = "cvat"
LABEL_STUDIO = "labelstudio"
VOC = "voc"
YOLO = "yolo"
ANNOTATIONS = (CVAT, LABEL_STUDIO, VOC, YOLO)
"""What annotation tools read, to correct it there."""

KINDS = (
    *(OVERLAY, MASK, COLOR, CONFIDENCE, SIDE, CUTOUT, JSONL, GEOJSON, COCO, RLE),
    *ANNOTATIONS,
)
"""What can be written of a frame, as `segdeploy run --save` names it."""

GPKG = "gpkg"
AREAS = "areas"
MAP_KINDS = (GPKG, AREAS)
"""What can be written of maps alone, which are segmented in tiles."""

BACKGROUND, TEXT = (24, 24, 24), (235, 235, 235)
"""Colors behind the legend and of its text, as red, green, blue."""

LETTERS = 10
"""Smallest height of the legend's text that can be read, in pixels."""

UNTINTED = ("background", "_background_", "bg")
"""Names of a first class that is all that no other class is."""

OPPOSITES = ("other", "others", "none", "no", "void", "class_0", "0")
"""Names of it that count in a set of two classes only."""

LEGEND_SHARE = 8
"""The legend covers at most one part of so many of the image."""

PATCHES = 64
"""Legends that are kept: a video has one for each set of classes that occur together."""

BAND = 64
"""Rows blended at once: few enough to stay in a core's cache."""


def background_index(classes: Sequence[LabelClass]) -> int | None:
    """Return the class that overlays leave as the image is; None where every class is painted."""
    name = classes[0].name.casefold()
    is_background = name in UNTINTED or (len(classes) == 2 and name in OPPOSITES)
    return 0 if is_background and len(classes) > 1 else None


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
            legend: Whether the names of the classes that occur are drawn in the top left corner.
            contours: Whether the regions' edges are drawn in the full colors.
            only: Classes that are painted; elsewhere the image stays as it is. None for all but
                the background.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        if not 0 <= opacity <= 1:
            msg = f"the opacity is {opacity}; it must be within 0 and 1"
            raise ConfigError(msg)
        background = background_index(classes)
        unpainted = {background} if only is None else set(range(256)) - set(only)
        self._classes = {
            index: entry for index, entry in enumerate(classes) if index not in unpainted
        }
        self._palette = palette(classes)
        self._halves = (np.add(self._palette, 1, dtype=np.uint16) >> 1).astype(np.uint8)
        self._opacity = opacity
        self._legend = legend
        self._contours = contours
        hidden = [index for index in unpainted if index is not None]
        self._hidden = table(hidden) if hidden else None
        self._patches: dict[tuple[int, int, tuple[int, ...]], Image] = {}

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
            patch = self._patch(mask)
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

    def _patch(self, mask: Mask) -> Image:
        """Return the legend of the classes in a mask, drawn once for each set of them."""
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        present = tuple(index for index in self._classes if counts[index])
        key = (*mask.shape, present)
        patch = self._patches.get(key)
        if patch is None:
            entries = [self._classes[index] for index in present]
            patch = draw_legend(entries, mask.shape[0], width=mask.shape[1])
            if len(self._patches) >= PATCHES:
                self._patches = {}
            self._patches[key] = patch
        return patch


def draw_legend(classes: Sequence[LabelClass], height: int, *, width: int) -> Image:
    """Draw the names and colors of classes, in columns within half of the image's width.

    Text has a 45th of the image's height, and fewer pixels where the legend would cover more than
    `LEGEND_SHARE` allows, but at least 10. Where there is still no room for all classes, the last
    line says how many are left out; where there is none for a single line, there is no legend.

    Returns:
        (h, w, 3) uint8 blue-green-red.
    """
    for letters in range(max(LETTERS, height // 45), LETTERS - 1, -1):
        font = ImageFont.load_default(letters)
        lengths = [font.getlength(entry.name) for entry in classes]
        counts = [len(classes)] if letters > LETTERS else range(len(classes), 0, -1)
        for count in counts:
            rest = f"+ {len(classes) - count}" if count < len(classes) else ""
            longest = max([*lengths[:count], font.getlength(rest)], default=0)
            line, margin = round(letters * 1.5), letters // 2
            cell = line, line + margin + round(longest)
            grid = _grid(count + bool(rest), cell=cell, margin=margin, size=(height, width))
            if grid is not None:
                return _draw_entries(classes[:count], rest, grid=grid, cell=cell, letters=letters)
    return np.zeros((0, 0, 3), np.uint8)


def _draw_entries(
    classes: Sequence[LabelClass],
    rest: str,
    *,
    grid: tuple[int, int],
    cell: tuple[int, int],
    letters: int,
) -> Image:
    """Draw the entries of a legend, column by column.

    Args:
        classes: Classes that are listed.
        rest: The last line, about those that are not; "" for none.
        grid: Numbers of rows and columns.
        cell: Height and width of an entry, in pixels.
        letters: Height of the text, in pixels.
    """
    (rows, columns), (line, column), margin = grid, cell, letters // 2
    image = PillowImage.new("RGB", (columns * column + margin, rows * line + margin), BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(letters)
    places = [
        (margin + index // rows * column, (margin + line) // 2 + index % rows * line)
        for index in range(len(classes) + 1)
    ]
    for (x, y), entry in zip(places, classes, strict=False):
        box = (x, y - letters // 2, x + letters, y + letters // 2)
        # A dark color needs an edge on the dark panel.
        draw.rectangle(box, fill=entry.color, outline=TEXT)
        draw.text((x + line, y), entry.name, font=font, fill=TEXT, anchor="lm")
    if rest:
        x, y = places[len(classes)]
        draw.text((x + line, y), rest, font=font, fill=TEXT, anchor="lm")
    return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _grid(
    count: int, *, cell: tuple[int, int], margin: int, size: tuple[int, int]
) -> tuple[int, int] | None:
    """Return rows and columns of a legend, as few columns as have room; None where none have.

    Args:
        count: Number of entries.
        cell: Height and width of an entry, in pixels.
        margin: Pixels around all.
        size: Height and width of the image, in pixels.
    """
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        height, width = rows * cell[0] + margin, columns * cell[1] + margin
        if columns > 1 and width > size[1] // 2:
            return None
        is_small = height * width * LEGEND_SHARE <= size[0] * size[1]
        if is_small and height <= size[0] and width <= size[1]:
            return rows, columns
    return None


class Renderer:
    """Draws what is written of each segmented frame; several threads may share one.

    Attributes:
        classes: Classes with the colors that they are drawn in, in the order of the masks' indices.
        kinds: Which of `KINDS` are written.
        video_kinds: The kinds that become a video where the source is one.
        min_area: Regions of fewer pixels are left out of their records.
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
        min_area: int = 1,
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
            min_area: Regions of fewer pixels are left out of their records.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        self.classes = tuple(classes)
        self.kinds = tuple(kinds)
        self.min_area = min_area
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
