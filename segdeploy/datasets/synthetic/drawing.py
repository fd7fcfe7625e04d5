"""Vector drawing of sprites, fractal noise, and the class indices."""

from collections.abc import Sequence

import cv2
import numpy as np

from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.synthetic.canvas import SHIFT, Sprite, points_of
from segdeploy.datasets.synthetic.lighting import Color

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(
    len(CLASSES)
)


SUPERSAMPLING = 2
"""Supersampling factor of the drawing, which gives smooth edges."""


class Sketch:
    """A transparent sheet to draw a sprite on.

    In meters; x is 0 in its middle, y is 0 at its lower edge and points up.
    """

    def __init__(self, width: float, height: float, *, density: float) -> None:
        """Start with an empty sheet.

        Args:
            width: Width, in meters.
            height: Height, in meters.
            density: Pixels per meter of the finished sprite.
        """
        self.density = density
        self.size = (max(round(width * density), 2), max(round(height * density), 2))
        self.sheet = np.zeros(
            (self.size[1] * SUPERSAMPLING, self.size[0] * SUPERSAMPLING, 4), np.uint8
        )

    def _pixels(self, points: Sequence[tuple[float, float]] | np.ndarray) -> np.ndarray:
        scale = self.density * SUPERSAMPLING
        flipped = np.asarray(points, dtype=np.float64) * (scale, -scale)
        return np.asarray(flipped + np.array([self.sheet.shape[1] / 2, self.sheet.shape[0]]))

    def polygon(self, points: Sequence[tuple[float, float]] | np.ndarray, color: Color) -> None:
        """Fill a polygon."""
        cv2.fillPoly(
            self.sheet, [points_of(self._pixels(points))], (*color, 255), cv2.LINE_8, SHIFT
        )

    def rectangle(self, left: float, bottom: float, right: float, top: float, color: Color) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], color)

    def ellipse(
        self, x: float, y: float, across: float, up: float, color: Color, *, turn: float = 0.0
    ) -> None:
        """Fill an ellipse with half axes `across` and `up`, turned by degrees."""
        middle = points_of(self._pixels([(x, y)]))[0]
        scale = self.density * SUPERSAMPLING * (1 << SHIFT)
        axes = (max(round(across * scale), 1), max(round(up * scale), 1))
        cv2.ellipse(
            self.sheet,
            (int(middle[0]), int(middle[1])),
            axes,
            -turn,
            0,
            360,
            (*color, 255),
            cv2.FILLED,
            cv2.LINE_8,
            SHIFT,
        )

    def stroke(
        self, points: Sequence[tuple[float, float]] | np.ndarray, width: float, color: Color
    ) -> None:
        """Draw a line with round ends, `width` in meters."""
        thick = max(round(width * self.density * SUPERSAMPLING), 1)
        cv2.polylines(
            self.sheet,
            [points_of(self._pixels(points))],
            False,  # noqa: FBT003
            (*color, 255),
            thick,
            cv2.LINE_8,
            SHIFT,
        )

    def shade(self, gain: np.ndarray) -> None:
        """Multiply the colors by factors (h, w) of any size, which are resized to the sheet."""
        fine = cv2.resize(
            gain.astype(np.float32), self.sheet.shape[1::-1], interpolation=cv2.INTER_LINEAR
        )
        self.sheet[..., :3] = np.clip(self.sheet[..., :3] * fine[..., None], 0, 255).astype(
            np.uint8
        )

    def finish(self) -> Sprite:
        """Return the drawing as a sprite, downsampled to its size."""
        return Sprite(
            np.asarray(cv2.resize(self.sheet, self.size, interpolation=cv2.INTER_AREA), np.uint8),
            self.density,
        )


def fractal(
    height: int, width: int, *, random: np.random.Generator, octaves: int = 4
) -> np.ndarray:
    """Return fractal noise, (height, width) float32 of mean 0 and a deviation of about 1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 2)
        grid = random.standard_normal(
            (
                max(cells * height // max(height, width), 2),
                max(cells * width // max(height, width), 2),
            )
        )
        fine = np.asarray(
            cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC),
            np.float32,
        )
        total += fine * np.float32(1.6**-octave)
    return total
