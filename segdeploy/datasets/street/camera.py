"""A pinhole camera that follows the bends of a street."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEAR = 1.6
"""What stands closer to the camera than this, in meters, is cut."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """How the middle of the street swings to the sides: a sum of two waves.

    Attributes:
        reach: Half of each wave's swing, in meters.
        length: Length of each wave over two pi, in meters.
        phase: Start of each wave, in radians.
    """

    reach: tuple[float, float] = (0.0, 0.0)
    length: tuple[float, float] = (70.0, 45.0)
    phase: tuple[float, float] = (0.0, 0.0)

    def at(self, along: Floats, *, start: float) -> Floats:
        """Tell how far right of the camera's own direction at `start` the middle lies, in meters."""
        total = np.zeros_like(along)
        for reach, length, phase in zip(self.reach, self.length, self.phase, strict=True):
            angle = start / length + phase
            total += reach * (np.sin(along / length + phase) - np.sin(angle) - np.cos(angle) * (along - start) / length)
        return total


    def one(self, along: float, *, start: float) -> float:
        """Tell the same of one place."""
        total = 0.0
        for reach, length, phase in zip(self.reach, self.length, self.phase, strict=True):
            angle = start / length + phase
            total += reach * (math.sin(along / length + phase) - math.sin(angle) - math.cos(angle) * (along - start) / length)
        return total


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where the camera stands, and how the world falls onto the picture.

    The world's x runs to the right of the middle of the street, y up from the ground, z along the street.

    Attributes:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
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
        return 1.1 * self.height

    @property
    def horizon(self) -> float:
        """Row at which the ground ends, in pixels from the top."""
        return 0.46 * self.height

    def scale(self, z: float) -> float:
        """Pixels per meter at a place along the street."""
        return self.focal / max(z - self.z, NEAR)

    def spot(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Give the pixel, as column and row, of one point in meters."""
        ahead = max(z - self.z, NEAR)
        across = x + self.bend.one(z, start=self.z) - self.x
        return self.width / 2 + self.focal * across / ahead, self.horizon + self.focal * (self.eye - y) / ahead

    def project(self, points: npt.ArrayLike) -> Floats:
        """Give the pixels, (n, 2) as column and row, of points (n, 3) as x, y, z in meters."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        ahead = np.maximum(z - self.z, NEAR)
        across = x + self.bend.at(z, start=self.z) - self.x
        return np.stack([self.width / 2 + self.focal * across / ahead, self.horizon + self.focal * (self.eye - y) / ahead], axis=1)

    def ground(self) -> tuple[int, Floats, Floats]:
        """Find the ground under every pixel.

        Returns:
            First row of ground, z of each row from there (rows,), and x of each pixel (rows, W), in meters.
        """
        first = int(np.floor(self.horizon)) + 1
        ahead = self.focal * self.eye / (np.arange(first, self.height) + 0.5 - self.horizon)
        z = self.z + ahead
        columns = np.arange(self.width) + 0.5 - self.width / 2
        middle = self.x - self.bend.at(z, start=self.z)
        return first, z, columns[None] * (ahead / self.focal)[:, None] + middle[:, None]
