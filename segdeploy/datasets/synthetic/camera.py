"""A pinhole camera that follows the bends of a street."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEAR = 1.0
"""What stands closer to the camera than this, in meters, is cut."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """How the middle of the street swings to the sides: a wave.

    Attributes:
        reach: Half of the wave's swing, in meters.
        length: Length of the wave over two pi, in meters.
        phase: Start of the wave, in radians.
    """

    reach: float = 0.0
    length: float = 65.0
    phase: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where the camera stands, and how the world falls onto the image.

    The world's x runs to the right of the middle of the street, y up from the ground, z along the
    street.

    Attributes:
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        x: Place across the street, in meters.
        z: Place along the street, in meters.
        eye: Height over the ground, in meters.
        bend: How the street swings.
    """

    height: int
    width: int
    x: float
    z: float
    eye: float = 1.5
    bend: Bend = Bend()

    @property
    def focal(self) -> float:
        """Size in pixels of a meter at a distance of a meter."""
        return 1.45 * self.height

    @property
    def horizon(self) -> float:
        """Row at which the ground ends, in pixels from the top."""
        return 0.55 * self.height

    @cached_property
    def _course(self) -> tuple[float, float]:
        """Where the wave stands at the camera, and how it goes on from there."""
        angle = self.z / self.bend.length + self.bend.phase
        return math.sin(angle), math.cos(angle)

    def middle(self, z: float) -> float:
        """Return how far right of the camera's own direction the middle of the street lies at a place, in meters."""
        height, slope = self._course
        bend = self.bend
        return bend.reach * (
            math.sin(z / bend.length + bend.phase) - height - slope * (z - self.z) / bend.length
        )

    def middles(self, z: Floats) -> Floats:
        """Report the same of many places."""
        height, slope = self._course
        bend = self.bend
        return np.asarray(
            bend.reach
            * (np.sin(z / bend.length + bend.phase) - height - slope * (z - self.z) / bend.length)
        )

    def scale(self, z: float) -> float:
        """Pixels per meter at a place along the street."""
        return self.focal / max(z - self.z, NEAR)

    def spot(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the pixel, as column and row, of one point in meters."""
        ahead = max(z - self.z, NEAR)
        across = x + self.middle(z) - self.x
        return (
            self.width / 2 + self.focal * across / ahead,
            self.horizon + self.focal * (self.eye - y) / ahead,
        )

    def project(self, points: npt.ArrayLike) -> Floats:
        """Return the pixels, (n, 2) as column and row, of points (n, 3) as x, y, z in meters."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        ahead = np.maximum(z - self.z, NEAR)
        across = x + self.middles(z) - self.x
        return np.stack(
            [
                self.width / 2 + self.focal * across / ahead,
                self.horizon + self.focal * (self.eye - y) / ahead,
            ],
            axis=1,
        )

    def ground(self) -> tuple[int, Floats, Floats, Floats]:
        """Find the ground under every row of the image.

        Returns:
            First row of ground; for each row from there: how far ahead it is, which x its left edge
            shows, and how far it is from one pixel to the next, all in meters.
        """
        first = math.floor(self.horizon) + 1
        ahead = np.asarray(
            self.focal * self.eye / (np.arange(first, self.height) + 0.5 - self.horizon), np.float64
        )
        step = ahead / self.focal
        return first, ahead, self.x - self.middles(self.z + ahead) - step * self.width / 2, step
