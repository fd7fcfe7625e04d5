"""The ground: road, markings, curbs, pavement and grass, as one texture in perspective."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask
from segdeploy.datasets.synthetic.camera import Camera, Floats
from segdeploy.datasets.synthetic.canvas import Canvas, tables
from segdeploy.datasets.synthetic.drawing import PAVEMENT, ROAD, TREE, fractal
from segdeploy.datasets.synthetic.lighting import Light

LENGTH = 48.0
"""Length of the texture along the street, in meters; it repeats after that."""
CROSSING = 20.0
"""Position of the pedestrian crossing, in meters."""
REACH = 16.0
"""Half of the texture's width, in meters."""
UNSEEN = 0.02
"""Share of haze in a color below which it is not drawn."""
ACROSS = 32
"""Pixels per meter across the street."""
ALONG = 20
"""Pixels per meter along the street."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Widths of the parts of a street.

    Attributes:
        road: Half of the road's width, in meters.
        pavement: Width of each pavement, in meters.
        style: Seed of the ground's appearance.
    """

    road: float
    pavement: float
    style: int

    @property
    def crossing(self) -> bool:
        """Whether there is a pedestrian crossing."""
        return self.style % 2 == 1

    @property
    def line(self) -> float:
        """Distance of the buildings from the middle, in meters."""
        return self.road + self.pavement


@lru_cache(maxsize=16)
def strip(layout: Layout) -> list[Mask]:
    """Return the ground from above, and coarser copies (mipmaps) for the distance.

    Each copy is four times coarser than the one before along the street, and two times across it,
    as perspective does: the angle to the ground falls with the distance.
    """
    random = np.random.default_rng([7, layout.style])
    height, width = round(LENGTH * ALONG), round(2 * REACH * ACROSS)
    sheet = np.zeros((height, width, 3), np.float32)
    x = np.abs((np.arange(width) + 0.5) / ACROSS - REACH)
    _asphalt(sheet, layout, random)
    _marks(sheet, layout, random)
    beside = x > layout.road
    sheet[:, beside] = _paving(height, width, random)[:, beside]
    sheet[:, (x > layout.road) & (x < layout.road + 0.22)] = np.array(
        [176, 178, 180]
    ) + random.normal(0, 5, 3)
    stones = (np.arange(height) % ALONG == 0)[:, None] & (beside & (x < layout.road + 0.22))[None]
    sheet[stones] *= 0.7
    sheet[:, (x > layout.road - 0.18) & ~beside] *= 0.8
    outside = x > layout.line
    grass = (
        np.array([52, 112, 84])
        * (1 + 0.1 * fractal(height, width, random=random, octaves=7))[..., None]
    )
    sheet[:, outside] = grass[:, outside]
    level = sheet.clip(0, 255).astype(np.uint8)
    levels = [_joined(level)]
    for _ in range(4):
        rows, columns = level.shape[:2]
        level = np.asarray(
            cv2.resize(level, (columns // 2, max(rows // 4, 2)), interpolation=cv2.INTER_AREA),
            np.uint8,
        )
        levels.append(_joined(level))
    return levels


def _joined(level: Mask) -> Mask:
    """Add the last row before the first and the first after the last, so that it can repeat."""
    return np.concatenate([level[-1:], level, level[:1]])


def _asphalt(sheet: np.ndarray, layout: Layout, random: np.random.Generator) -> None:
    height, width = sheet.shape[:2]
    shade = random.uniform(82, 112)
    grain = random.normal(0, 5, (height, width)).astype(np.float32) + 4 * _endless(
        fractal(height, width, random=random, octaves=5)
    )
    sheet[:] = np.array([shade * 1.02, shade, shade * 0.99]) + grain[..., None]
    x = (np.arange(width) + 0.5) / ACROSS - REACH
    for track in (-2.5, -1.0, 1.0, 2.5):
        sheet *= (1 - 0.07 * np.exp(-(((x - track) / 0.3) ** 2)))[None, :, None]
    for _ in range(5):
        left, top = random.integers(0, width), random.integers(0, height - 60)
        sheet[top : top + random.integers(20, 60), left : left + random.integers(30, 90)] *= (
            random.uniform(0.8, 0.93)
        )
    for _ in range(6):
        path = np.cumsum(
            random.normal(0, 9, (14, 2)) + random.normal(0, 5, 2), axis=0
        ) + random.uniform(0, (width, height))
        color = (shade * 0.62,) * 3
        cv2.polylines(sheet, [path.astype(np.int32)], False, color, 1, cv2.LINE_AA)  # noqa: FBT003
    for _ in range(2):
        middle = (
            int(width / 2 + random.uniform(-0.7, 0.7) * layout.road * ACROSS),
            int(random.uniform(40, height - 40)),
        )
        cv2.ellipse(
            sheet,
            middle,
            (ACROSS // 3, ALONG // 3),
            0,
            0,
            360,
            (shade * 0.55,) * 3,
            cv2.FILLED,
            cv2.LINE_AA,
        )
        cv2.ellipse(
            sheet, middle, (ACROSS // 3, ALONG // 3), 0, 0, 360, (shade * 0.8,) * 3, 2, cv2.LINE_AA
        )


def _endless(noise: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Blend the last rows into the first, so that there is no seam where the texture repeats."""
    overlap = len(noise) // 4
    share = np.linspace(0, 1, overlap, dtype=np.float32)[:, None]
    noise[-overlap:] += share * (noise[:1] - noise[-1:])
    return noise


def _marks(sheet: np.ndarray, layout: Layout, random: np.random.Generator) -> None:
    height, width = sheet.shape[:2]
    wear = (228 + 8 * fractal(height, width, random=random, octaves=6))[..., None]

    def paint(left: float, right: float, start: float, end: float) -> None:
        columns = slice(round((REACH + left) * ACROSS), round((REACH + right) * ACROSS))
        rows = slice(round(start * ALONG), round(end * ALONG))
        sheet[rows, columns] = 0.12 * sheet[rows, columns] + 0.88 * wear[rows, columns]

    for start in np.arange(0, LENGTH, 6.0):
        if not (layout.crossing and CROSSING - 3 < start < CROSSING + 3):
            paint(-0.08, 0.08, start, start + 3.0)
    for start in np.arange(0, LENGTH, 1.0):
        if not (layout.crossing and CROSSING - 1 < start < CROSSING + 4):
            for edge in (2.2 - layout.road, layout.road - 2.2):
                paint(edge - 0.06, edge + 0.06, start, start + 0.5)
    if layout.crossing:
        for left in np.arange(-layout.road + 0.4, layout.road - 0.5, 1.0):
            paint(left, left + 0.55, CROSSING, CROSSING + 3.0)


def _paving(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    slab = random.choice([12, 16, 20])
    base = np.array([[150, 158, 164], [138, 146, 160], [158, 164, 176]][int(random.integers(3))])
    rows, columns = np.arange(height) // slab, np.arange(width) // slab
    tones = random.normal(0, 7, (height // slab + 1, width // slab + 2))
    sheet = base + tones[rows][:, columns][..., None] + random.normal(0, 3, (height, width, 1))
    sheet[np.arange(height) % slab == 0] *= 0.84
    sheet[:, np.arange(width) % slab == 0] *= 0.84
    return np.asarray(sheet, np.float32)


def paint_ground(canvas: Canvas, camera: Camera, light: Light, layout: Layout) -> None:
    """Paint the ground below the horizon."""
    first, ahead, left, step = camera.ground()
    canvas.image[:first] = light.horizon
    _label(canvas.mask[first:], layout, left, step)
    levels = strip(layout)
    detail = np.clip(np.log2(np.maximum(ACROSS * step, 1.0)), 0, len(levels) - 1.001)
    # The rows nearest to the camera need the finest level only; each of the others lies between two
    # levels.
    bands = np.where(detail > 0, detail.astype(int), -1)
    pixels = np.arange(camera.width, dtype=np.float32) + np.float32(0.5)
    for band in np.unique(bands):
        rows = np.flatnonzero(bands == band)
        x = np.multiply.outer(step[rows].astype(np.float32), pixels) + left[rows, None].astype(
            np.float32
        )
        z = camera.z + ahead[rows]
        colors = _sample_level(levels[max(band, 0)], x, z)
        if band >= 0:
            share = _columns(detail[rows] - band, camera.width)
            colors = np.asarray(
                cv2.blendLinear(_sample_level(levels[band + 1], x, z), colors, share, 1 - share),
                np.uint8,
            )
        canvas.image[first + rows[0] : first + rows[-1] + 1] = _haze(colors, ahead[rows], light)


def _label(mask: Mask, layout: Layout, left: Floats, step: Floats) -> None:
    """Label the ground by the class at the center of each pixel."""
    columns = np.arange(mask.shape[1], dtype=np.int32)
    mask[:] = TREE
    for reach, label in ((layout.line, PAVEMENT), (layout.road, ROAD)):
        start, end = (
            np.ceil((edge - left) / step - 0.5).clip(0, mask.shape[1]).astype(np.int32)[:, None]
            for edge in (-reach, reach)
        )
        mask[(columns >= start) & (columns < end)] = label


def _sample_level(level: Mask, x: npt.NDArray[np.float32], z: Floats) -> Mask:
    """Return the texture's colors at x (rows, W) and z (rows,), in meters.

    Beyond its sides, the edge is repeated.
    """
    # A row is doubled at both ends of the texture, see `_joined`.
    height, width = level.shape[0] - 2, level.shape[1]
    columns = (x + np.float32(REACH)) * np.float32(width / (2 * REACH)) - np.float32(0.5)
    rows = _columns(np.mod(z, LENGTH) * (height / LENGTH) + 0.5, x.shape[1])
    return np.asarray(
        cv2.remap(level, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _haze(colors: Mask, ahead: Floats, light: Light) -> Mask:
    clear = np.asarray(cv2.LUT(colors, tables(light.tone(0.0))[0]), np.uint8)
    # Haze below UNSEEN is invisible, and would have to be computed for most of the image.
    air = np.maximum(1.0 - np.exp(-ahead / light.haze) - UNSEEN, 0.0)
    rows = int(np.count_nonzero(air))
    if rows:
        share = _columns(air[:rows], colors.shape[1])
        clear[:rows] = cv2.blendLinear(
            np.full_like(clear[:rows], light.horizon), clear[:rows], share, 1 - share
        )
    return clear


def _columns(rows: Floats, width: int) -> npt.NDArray[np.float32]:
    return np.repeat(rows.astype(np.float32)[:, None], width, axis=1)
