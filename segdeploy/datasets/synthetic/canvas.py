"""An image and its mask, painted together with the same geometry.

Every shape is painted as a coverage of each pixel, 0 to 255. The image is blended by that share;
the mask takes the class where at least half of the pixel is covered. So both have the same edge.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask

Patch = npt.NDArray[np.uint8]
"""(h, w, 4) uint8: blue, green, red, premultiplied by the coverage, then the coverage."""
Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

HALF = 128
SHIFT = 4
"""Fractional bits of the coordinates that cv2 draws with: sixteenths of a pixel."""
FARTHEST = 20000 << SHIFT
"""Largest coordinate: cv2's fixed-point numbers overflow beyond it."""


RAMP = np.arange(256, dtype=np.float32)[:, None]


def tables(tone: Matrix) -> tuple[Patch, Patch]:
    """Return the lookup tables of a tone of `Light.tone`, (1, 256, 3) each.

    The first one maps a color, the second one a coverage to the haze that is added.
    """
    lit = np.minimum(RAMP * tone.diagonal() + 0.5, 255).astype(np.uint8)
    return lit[None], np.minimum(RAMP * tone[:, 3] + 0.5, 255).astype(np.uint8)[None]


def points_of(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Return points (n, 2) in pixels as cv2's fixed-point numbers; 0 is the left edge."""
    centered = (np.asarray(points, dtype=np.float64) - 0.5) * (1 << SHIFT)
    return np.rint(np.minimum(np.maximum(centered, -FARTHEST), FARTHEST)).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Sprite:
    """A flat object, drawn once and painted at many sizes.

    Attributes:
        patch: Its colors and coverage.
        density: Pixels of the patch per meter.
    """

    patch: Patch
    density: float

    @cached_property
    def levels(self) -> list[Patch]:
        """The patch and its halvings (mipmaps), so that a far object does not flicker."""
        levels = [self.patch]
        while min(levels[-1].shape[:2]) > 2:
            height, width = levels[-1].shape[:2]
            half = ((width + 1) // 2, (height + 1) // 2)
            levels.append(
                np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), np.uint8)
            )
        return levels

    @cached_property
    def solid(self) -> bool:
        """Whether every pixel is fully covered."""
        return bool(cv2.minMaxLoc(cv2.extractChannel(self.patch, 3))[0] == 255)

    def level(self, scale: float) -> Patch:
        """Return the smallest level with at least about `scale` pixels per meter."""
        halvings = int(np.log2(max(self.density / scale, 1.0)) + 0.2)
        return self.levels[min(halvings, len(self.levels) - 1)]


@dataclass(frozen=True)
class Box:
    """A rectangle of the image, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


class Canvas:
    """An image and its mask.

    Attributes:
        image: (height, width, 3) uint8, blue-green-red.
        mask: (height, width) uint8, class indices; 255 where nothing was painted.
    """

    def __init__(self, height: int, width: int) -> None:
        """Start with a black image and an unlabeled mask.

        Args:
            height: In pixels.
            width: In pixels.
        """
        self.image: Image = np.zeros((height, width, 3), np.uint8)
        self.mask: Mask = np.full((height, width), 255, np.uint8)

    def around(self, left: float, top: float, right: float, bottom: float) -> Box | None:
        """Return the pixels around a rectangle, clipped to the image; None where that is empty."""
        height, width = self.mask.shape
        box = Box(
            max(math.floor(left), 0),
            max(math.floor(top), 0),
            min(math.ceil(right), width),
            min(math.ceil(bottom), height),
        )
        return box if box.left < box.right and box.top < box.bottom else None

    def box(self, points: Floats) -> Box | None:
        """Return the rectangle of the image around points (n, 2); None where that is empty."""
        columns, rows = points.T.tolist()
        return self.around(min(columns), min(rows), max(columns), max(rows))

    def place(
        self,
        sprite: Sprite,
        column: float,
        row: float,
        *,
        scale: float,
        label: int,
        tone: Matrix,
        mirrored: bool = False,
    ) -> None:
        """Paint an upright sprite with the middle of its lower edge at a point of the image.

        Args:
            sprite: The sprite.
            column: Column of the point, in pixels.
            row: Row of the point, in pixels.
            scale: Pixels per meter at its distance.
            label: Class of the mask.
            tone: Color transform, from `Light.tone`.
            mirrored: Whether it is flipped horizontally.
        """
        patch = sprite.level(scale)
        height, width = patch.shape[:2]
        ratio = scale * sprite.patch.shape[0] / sprite.density / height
        size = (width * ratio, height * ratio)
        box = self.around(column - size[0] / 2, row - size[1], column + size[0] / 2, row)
        if box is None:
            return
        sign = -1.0 if mirrored else 1.0
        # cv2's pixel centers lie at whole numbers, ours at halves.
        shift_x = column - sign * size[0] / 2 - box.left + sign * ratio / 2 - 0.5
        shift_y = row - size[1] - box.top + ratio / 2 - 0.5
        transform = np.array([[sign * ratio, 0, shift_x], [0, ratio, shift_y]])
        warped = np.asarray(
            cv2.warpAffine(patch, transform, box.size, flags=cv2.INTER_LINEAR), np.uint8
        )
        self.blend(warped, box, label=label, tone=tone)

    def blend(self, patch: Patch, box: Box, *, label: int, tone: Matrix) -> None:
        """Blend a patch of the box's size over the image, and set its class in the mask."""
        coverage = cv2.extractChannel(patch, 3)
        part = self.image[box.top : box.bottom, box.left : box.right]
        left = cv2.multiply(
            part, cv2.cvtColor(cv2.bitwise_not(coverage), cv2.COLOR_GRAY2BGR), scale=1 / 255
        )
        lit, air = tables(tone)
        warped = cv2.LUT(cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR), lit)
        if air.any():
            warped = cv2.add(warped, cv2.LUT(cv2.cvtColor(coverage, cv2.COLOR_GRAY2BGR), air))
        cv2.add(warped, left, dst=part)
        self.mask[box.top : box.bottom, box.left : box.right][coverage >= HALF] = label

    def surface(
        self,
        sprite: Sprite,
        corners: Floats,
        *,
        label: int,
        tone: Matrix,
        span: tuple[float, float] = (0, 1),
        opacity: float = 1.0,
    ) -> None:
        """Paint a sprite onto a quadrilateral in perspective.

        Args:
            sprite: The sprite.
            corners: Upper left, upper right, lower right, lower left, (4, 2) in pixels.
            label: Class of the mask.
            tone: Color transform, from `Light.tone`.
            span: Part of the sprite's width, in [0, 1], between the left and the right corners.
            opacity: Opacity of the sprite, in [0, 1].
        """
        box = self.box(corners)
        if box is None:
            return
        tall = max(corners[3, 1] - corners[0, 1], corners[2, 1] - corners[1, 1], 1.0)
        patch = sprite.level(sprite.density * tall / sprite.patch.shape[0])
        height, width = patch.shape[:2]
        start, end = span[0] * width, span[1] * width
        source = np.array([[start, 0], [end, 0], [end, height], [start, height]], np.float32) - 0.5
        target = corners - (box.left + 0.5, box.top + 0.5)
        transform = cv2.getPerspectiveTransform(source, target.astype(np.float32))
        warped = np.asarray(
            cv2.warpPerspective(
                patch, transform, box.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ),
            np.uint8,
        )
        coverage = np.zeros(warped.shape[:2], np.uint8)
        cv2.fillConvexPoly(
            coverage, points_of(corners - (box.left, box.top)), 255 * opacity, cv2.LINE_AA, SHIFT
        )
        self._cut(warped, coverage, box, solid=sprite.solid, label=label, tone=tone)

    def _cut(
        self, warped: Patch, coverage: Mask, box: Box, *, solid: bool, label: int, tone: Matrix
    ) -> None:
        if not solid:
            cut = np.asarray(
                cv2.multiply(warped, cv2.merge([coverage] * 4), scale=1 / 255), np.uint8
            )
            self.blend(cut, box, label=label, tone=tone)
            return
        share = coverage.astype(np.float32) * np.float32(1 / 255)
        part = self.image[box.top : box.bottom, box.left : box.right]
        lit, air = tables(tone)
        part[:] = cv2.blendLinear(
            cv2.LUT(
                cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR),
                cv2.add(lit, np.repeat(air[:, -1:], 256, axis=1)),
            ),
            part,
            share,
            1 - share,
        )
        self.mask[box.top : box.bottom, box.left : box.right][coverage >= HALF] = label

    def fill(self, points: Floats, color: tuple[float, float, float], *, label: int) -> None:
        """Fill a polygon (n, 2) in pixels with one color, as warped by the camera."""
        box = self.box(points)
        if box is None:
            return
        coverage = np.zeros(box.size[::-1], np.uint8)
        cv2.fillPoly(coverage, [points_of(points - (box.left, box.top))], 255, cv2.LINE_AA, SHIFT)
        share = coverage.astype(np.float32) * np.float32(1 / 255)
        part = self.image[box.top : box.bottom, box.left : box.right]
        part[:] = cv2.blendLinear(np.full_like(part, color), part, share, 1 - share)
        self.mask[box.top : box.bottom, box.left : box.right][coverage >= HALF] = label

    def glow(
        self,
        column: float,
        row: float,
        *,
        across: float,
        up: float,
        color: tuple[float, float, float],
    ) -> None:
        """Add a soft light of two radii in pixels to the image, not to the mask."""
        box = self.around(column - across, row - up, column + across, row + up)
        if box is None or across < 1:
            return
        columns = (np.arange(box.left, box.right, dtype=np.float32) + 0.5 - column) / across
        rows = (np.arange(box.top, box.bottom, dtype=np.float32) + 0.5 - row) / up
        share = np.maximum(1 - rows[:, None] ** 2 - columns[None] ** 2, 0) ** 3
        part = self.image[box.top : box.bottom, box.left : box.right]
        cv2.add(part, (share[..., None] * np.array(color, np.float32)).astype(np.uint8), dst=part)
