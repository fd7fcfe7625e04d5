"""A pinhole camera that follows the bends of a street."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEAR = 1.0
"""Distance from the camera, in meters, at which objects are clipped."""


@dataclass(frozen=True, kw_only=True)
class Bend:
    """The bends of a street: its middle follows a sine wave.

    Attributes:
        reach: Amplitude of the wave, in meters.
        length: Wavelength over two pi, in meters.
        phase: Phase of the wave, in radians.
    """

    reach: float = 0.0
    length: float = 65.0
    phase: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Position of the camera, and the projection of the world onto the image.

    The world's x axis points to the right from the middle of the street, y up from the ground, z
    along the street.

    Attributes:
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        x: Position across the street, in meters.
        z: Position along the street, in meters.
        eye: Height over the ground, in meters.
        bend: Bends of the street.
    """

    height: int
    width: int
    x: float
    z: float
    eye: float = 1.5
    bend: Bend = Bend()

    @property
    def focal(self) -> float:
        """Focal length, in pixels."""
        return 1.45 * self.height

    @property
    def horizon(self) -> float:
        """Row of the horizon, in pixels from the top."""
        return 0.55 * self.height

    @cached_property
    def _course(self) -> tuple[float, float]:
        """Value and slope of the wave at the camera."""
        angle = self.z / self.bend.length + self.bend.phase
        return math.sin(angle), math.cos(angle)

    def middle(self, z: float) -> float:
        """Return the offset of the street's middle to the right at `z`, in meters.

        It is measured from the direction in which the camera looks.
        """
        height, slope = self._course
        bend = self.bend
        return bend.reach * (
            math.sin(z / bend.length + bend.phase) - height - slope * (z - self.z) / bend.length
        )

    def middles(self, z: Floats) -> Floats:
        """Return the offsets of the street's middle at many positions, as `middle`."""
        height, slope = self._course
        bend = self.bend
        return np.asarray(
            bend.reach
            * (np.sin(z / bend.length + bend.phase) - height - slope * (z - self.z) / bend.length)
        )

    def scale(self, z: float) -> float:
        """Return the pixels per meter at a position along the street."""
        return self.focal / max(z - self.z, NEAR)

    def spot(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the column and row of one point in meters."""
        ahead = max(z - self.z, NEAR)
        across = x + self.middle(z) - self.x
        return (
            self.width / 2 + self.focal * across / ahead,
            self.horizon + self.focal * (self.eye - y) / ahead,
        )

    def project(self, points: npt.ArrayLike) -> Floats:
        """Return the columns and rows, (n, 2), of points (x, y, z) in meters, (n, 3)."""
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
        """Return where each row of the image shows the ground.

        Returns:
            First row of ground; for each row from there: the distance ahead, the x of its left
            edge, and the distance from one pixel to the next, all in meters.
        """
        first = math.floor(self.horizon) + 1
        ahead = np.asarray(
            self.focal * self.eye / (np.arange(first, self.height) + 0.5 - self.horizon), np.float64
        )
        step = ahead / self.focal
        return first, ahead, self.x - self.middles(self.z + ahead) - step * self.width / 2, step
