"""Masks made visible."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.pictures import Picture
from segdeploy.pixels import resize
from segdeploy.scores import Mask


def palette(classes: Sequence[LabelClass]) -> Picture:
    """Give the color of each value of a mask, (256, 1, 3) blue-green-red; what is no class is black."""
    colors = np.zeros((256, 1, 3), np.uint8)
    for index, entry in enumerate(classes):
        colors[index, 0] = entry.color[::-1]
    return colors


def colorize(mask: Mask, classes: Sequence[LabelClass]) -> Picture:
    """Give each pixel the color of its class, (H, W, 3) uint8 blue-green-red; what is not labelled is black."""
    return np.asarray(cv2.applyColorMap(mask, palette(classes)), dtype=np.uint8)


def side_by_side(*pictures: Picture) -> Picture:
    """Put pictures beside each other, each brought to the first one's height."""
    height = len(pictures[0])
    return np.hstack([resize(one, height, width=max(1, round(one.shape[1] * height / len(one)))) for one in pictures])


class Painter:
    """Lays the classes' colors over pictures, with a legend in the corner."""

    def __init__(self, classes: Sequence[LabelClass], *, opacity: float = 0.5, legend: bool = True) -> None:
        """Prepare the colors.

        Args:
            classes: Classes in the order of the masks' indices.
            opacity: Share of the color, in [0, 1]: 0 gives the picture, 1 the colors alone.
            legend: Whether the classes' names stand in the top left corner.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        if not 0 <= opacity <= 1:
            msg = f"the opacity is {opacity}; it must be within 0 and 1"
            raise ConfigError(msg)
        self._classes = tuple(classes)
        self._palette = palette(classes)
        self._opacity = opacity
        self._legend = legend
        self._patches: dict[tuple[int, int], Picture] = {}

    def paint(self, picture: Picture, mask: Mask) -> Picture:
        """Give a new picture with the colors laid over it.

        Args:
            picture: (H, W, 3) uint8 blue-green-red.
            mask: Classes, (H, W) uint8.
        """
        colors = cv2.applyColorMap(mask, self._palette)
        painted = np.asarray(cv2.addWeighted(picture, 1 - self._opacity, colors, self._opacity, 0, dst=colors), dtype=np.uint8)
        if self._legend:
            patch = self._patch(*mask.shape)
            painted[: patch.shape[0], : patch.shape[1]] = patch
        return painted

    def _patch(self, height: int, width: int) -> Picture:
        """Give the legend for pictures of one size, drawn once."""
        if (height, width) not in self._patches:
            self._patches = {(height, width): draw_legend(self._classes, height, width=width)}
        return self._patches[height, width]


def draw_legend(classes: Sequence[LabelClass], height: int, *, width: int) -> Picture:
    """Draw the names and colors of the classes, in as many columns as a picture of that size needs.

    Letters are a fortieth of the picture's height, at least 10 pixels; classes for which there is no room are left out.

    Returns:
        (h, w, 3) uint8 blue-green-red, no larger than the picture.
    """
    letters = max(10, height // 45)
    font = ImageFont.load_default(letters)
    line = round(letters * 1.5)
    rows = max(0, min(len(classes), (height - letters) // line))
    column = line + letters // 2 + round(max(font.getlength(entry.name) for entry in classes))
    columns = min(-(-len(classes) // rows), max(0, (width - letters) // column)) if rows else 0
    if not columns:
        return np.zeros((0, 0, 3), np.uint8)
    rows = min(rows, -(-len(classes) // columns))
    image = Image.new("RGB", (columns * column + letters // 2, rows * line + letters // 2), (24, 24, 24))
    draw = ImageDraw.Draw(image)
    for index, entry in enumerate(classes[: rows * columns]):
        x, y = letters // 2 + index // rows * column, letters // 4 + index % rows * line
        draw.rectangle((x, y + line // 2 - letters // 2, x + letters, y + line // 2 + letters // 2), fill=entry.color)
        draw.text((x + line, y + line // 2), entry.name, font=font, fill=(235, 235, 235), anchor="lm")
    return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), dtype=np.uint8)
