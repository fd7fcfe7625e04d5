"""Many small pictures on one, each with its truth over it and its name below, and the classes' colors at the end."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segdeploy.card import LabelClass
from segdeploy.datasets.sample import Sample
from segdeploy.overlay import BACKGROUND, Painter
from segdeploy.pictures import Picture
from segdeploy.pixels import resize, resize_mask

GAP = 10
LETTERS = 14
LINE = 22
INK = (225, 225, 225)
FRAME = (120, 120, 120)
UNLABELLED = LabelClass(name="not labelled", color=(0, 0, 0))


def contact_sheet(samples: Sequence[Sample], classes: Sequence[LabelClass], *, columns: int, width: int, opacity: float) -> Picture:
    """Lay out samples in rows.

    Args:
        samples: Pictures with truth and name, one or more; they may differ in size.
        classes: Classes in the order of the masks' indices.
        columns: Samples in a row.
        width: Width of each, in pixels; a wider picture is made smaller, a smaller one larger.
        opacity: Share of the classes' colors over the picture, in [0, 1].

    Returns:
        (H, W, 3) uint8 blue-green-red.
    """
    painter = Painter(classes, opacity=opacity, legend=False)
    tiles = [_tile(sample, painter, width) for sample in samples]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    whole = GAP + min(columns, len(tiles)) * (width + GAP)
    sheet = np.vstack([_row(row, whole) for row in rows] + [_legend((*classes, UNLABELLED), whole)])
    return np.asarray(cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _tile(sample: Sample, painter: Painter, width: int) -> Image.Image:
    """Paint one sample with its name below, red-green-blue."""
    height = max(1, round(sample.image.shape[0] * width / sample.image.shape[1]))
    painted = painter.paint(resize(sample.image, height, width=width), resize_mask(sample.mask, height, width=width))
    tile = Image.new("RGB", (width, height + LINE), BACKGROUND)
    tile.paste(Image.fromarray(cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)))
    font = ImageFont.load_default(LETTERS)
    ImageDraw.Draw(tile).text((0, height + LINE // 2), _shortened(sample.name, font, width), font=font, fill=INK, anchor="lm")
    return tile


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Leave out the beginning of a name that is too long: frames differ in their ends."""
    start = next(start for start in range(len(name) + 1) if font.getlength(name[start:]) <= width)
    return f"…{name[start + 1 :]}" if start else name


def _row(tiles: Sequence[Image.Image], width: int) -> Picture:
    row = Image.new("RGB", (width, GAP + max(tile.height for tile in tiles)), BACKGROUND)
    for place, tile in enumerate(tiles):
        row.paste(tile, (GAP + place * (tile.width + GAP), GAP))
    return np.asarray(row)


def _legend(classes: Sequence[LabelClass], width: int) -> Picture:
    """Write the classes one after the other, in as many lines as they need."""
    font = ImageFont.load_default(LETTERS)
    places, x, line = [], GAP, 0
    for entry in classes:
        advance = LINE + round(font.getlength(entry.name)) + LINE
        if x > GAP and x + advance > width:
            x, line = GAP, line + 1
        places.append((x, GAP + line * LINE + LINE // 2))
        x += advance
    image = Image.new("RGB", (width, 2 * GAP + (line + 1) * LINE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for entry, (left, middle) in zip(classes, places, strict=True):
        draw.rectangle((left, middle - LETTERS // 2, left + LETTERS, middle + LETTERS // 2), fill=entry.color, outline=FRAME)
        draw.text((left + LINE, middle), entry.name, font=font, fill=INK, anchor="lm")
    return np.asarray(image)
