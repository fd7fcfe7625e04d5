"""An image and its mask, painted together by one geometry.

Everything is painted as a coverage in 0 ... 255 of each pixel. The image takes that share of the
new color; the mask takes the class where at least half of the pixel is covered. So both have the
same edge.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask

Patch = npt.NDArray[np.uint8]
"""(h, w, 4) uint8: blue, green, red, each times the coverage, then the coverage."""
Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

HALF = 128
SHIFT = 4
"""cv2 takes points in sixteenths of a pixel."""
FARTHEST = 20000 << SHIFT
"""cv2's fixed numbers overflow with points that are further away."""


RAMP = np.arange(256, dtype=np.float32)[:, None]


def tables(tone: Matrix) -> tuple[Patch, Patch]:
    """Turn a tone of `Light.tone` into cv2's tables, (1, 256, 3) each.

    What becomes of a color, and what the air adds to a coverage.
    """
    lit = np.minimum(RAMP * tone.diagonal() + 0.5, 255).astype(np.uint8)
    return lit[None], np.minimum(RAMP * tone[:, 3] + 0.5, 255).astype(np.uint8)[None]


def points_of(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Turn points (n, 2) in pixels, 0 being the left edge of the first, into what cv2's drawing takes."""
    centered = (np.asarray(points, dtype=np.float64) - 0.5) * (1 << SHIFT)
    return np.rint(np.minimum(np.maximum(centered, -FARTHEST), FARTHEST)).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Sprite:
    """A flat thing, drawn once and shown at many sizes.

    Attributes:
        patch: How it looks.
        density: Pixels of the patch per meter.
    """

    patch: Patch
    density: float

    @cached_property
    def levels(self) -> list[Patch]:
        """The patch, and halves of it, so that a far thing does not flicker."""
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
        """Whether no pixel lets through what is behind."""
        return bool(cv2.minMaxLoc(cv2.extractChannel(self.patch, 3))[0] == 255)

    def level(self, scale: float) -> Patch:
        """Return the smallest patch that is still as fine as `scale`, in pixels per meter."""
        halvings = int(np.log2(max(self.density / scale, 1.0)) + 0.2)
        return self.levels[min(halvings, len(self.levels) - 1)]


@dataclass(frozen=True)
class Box:
    """A part of the image, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


class Canvas:
    """What is painted on."""

    def __init__(self, height: int, width: int) -> None:
        """Start with black and nothing labeled.

        Args:
            height: In pixels.
            width: In pixels.
        """
        self.image: Image = np.zeros((height, width, 3), np.uint8)
        self.mask: Mask = np.full((height, width), 255, np.uint8)

    def around(self, left: float, top: float, right: float, bottom: float) -> Box | None:
        """Return the whole pixels of a part of the image; None where that is nothing."""
        height, width = self.mask.shape
        box = Box(
            max(math.floor(left), 0),
            max(math.floor(top), 0),
            min(math.ceil(right), width),
            min(math.ceil(bottom), height),
        )
        return box if box.left < box.right and box.top < box.bottom else None

    def box(self, points: Floats) -> Box | None:
        """Return the part of the image around points (n, 2); None where that is nothing."""
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
        """Show a sprite upright, the middle of its lower edge at a point of the image.

        Args:
            sprite: What to show.
            column: In pixels.
            row: In pixels.
            scale: Pixels per meter at its distance.
            label: Class of the mask.
            tone: From `Light.tone`.
            mirrored: Whether left and right change places.
        """
        patch = sprite.level(scale)
        height, width = patch.shape[:2]
        ratio = scale * sprite.patch.shape[0] / sprite.density / height
        shown = (width * ratio, height * ratio)
        box = self.around(column - shown[0] / 2, row - shown[1], column + shown[0] / 2, row)
        if box is None:
            return
        sign = -1.0 if mirrored else 1.0
        # cv2's pixel centers lie at whole numbers, ours at halves.
        shift_x = column - sign * shown[0] / 2 - box.left + sign * ratio / 2 - 0.5
        shift_y = row - shown[1] - box.top + ratio / 2 - 0.5
        turn = np.array([[sign * ratio, 0, shift_x], [0, ratio, shift_y]])
        seen = np.asarray(cv2.warpAffine(patch, turn, box.size, flags=cv2.INTER_LINEAR), np.uint8)
        self.blend(seen, box, label=label, tone=tone)

    def blend(self, patch: Patch, box: Box, *, label: int, tone: Matrix) -> None:
        """Lay a patch of the box's size over the image, and its class over the mask."""
        coverage = cv2.extractChannel(patch, 3)
        part = self.image[box.top : box.bottom, box.left : box.right]
        left = cv2.multiply(
            part, cv2.cvtColor(cv2.bitwise_not(coverage), cv2.COLOR_GRAY2BGR), scale=1 / 255
        )
        lit, air = tables(tone)
        seen = cv2.LUT(cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR), lit)
        if air.any():
            seen = cv2.add(seen, cv2.LUT(cv2.cvtColor(coverage, cv2.COLOR_GRAY2BGR), air))
        cv2.add(seen, left, dst=part)
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
        """Stretch a sprite over a flat quadrangle in perspective.

        Args:
            sprite: What to show.
            corners: Upper left, upper right, lower right, lower left, (4, 2) in pixels.
            label: Class of the mask.
            tone: From `Light.tone`.
            span: Which part of the sprite's width, in [0, 1], lies between the left and the right
                corners.
            opacity: How much it hides of what is behind, in [0, 1].
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
        turn = cv2.getPerspectiveTransform(source, target.astype(np.float32))
        seen = np.asarray(
            cv2.warpPerspective(
                patch, turn, box.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ),
            np.uint8,
        )
        coverage = np.zeros(seen.shape[:2], np.uint8)
        cv2.fillConvexPoly(
            coverage, points_of(corners - (box.left, box.top)), 255 * opacity, cv2.LINE_AA, SHIFT
        )
        self._cut(seen, coverage, box, solid=sprite.solid, label=label, tone=tone)

    def _cut(
        self, seen: Patch, coverage: Mask, box: Box, *, solid: bool, label: int, tone: Matrix
    ) -> None:
        if not solid:
            cut = np.asarray(cv2.multiply(seen, cv2.merge([coverage] * 4), scale=1 / 255), np.uint8)
            self.blend(cut, box, label=label, tone=tone)
            return
        share = coverage.astype(np.float32) * np.float32(1 / 255)
        part = self.image[box.top : box.bottom, box.left : box.right]
        lit, air = tables(tone)
        part[:] = cv2.blendLinear(
            cv2.LUT(
                cv2.cvtColor(seen, cv2.COLOR_BGRA2BGR),
                cv2.add(lit, np.repeat(air[:, -1:], 256, axis=1)),
            ),
            part,
            share,
            1 - share,
        )
        self.mask[box.top : box.bottom, box.left : box.right][coverage >= HALF] = label

    def fill(self, points: Floats, color: tuple[float, float, float], *, label: int) -> None:
        """Fill a polygon (n, 2) in pixels with one color as the camera sees it."""
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
        """Add a soft light of two radii in pixels to the image.

        The mask stays, since light is no thing.
        """
        box = self.around(column - across, row - up, column + across, row + up)
        if box is None or across < 1:
            return
        columns = (np.arange(box.left, box.right, dtype=np.float32) + 0.5 - column) / across
        rows = (np.arange(box.top, box.bottom, dtype=np.float32) + 0.5 - row) / up
        share = np.maximum(1 - rows[:, None] ** 2 - columns[None] ** 2, 0) ** 3
        part = self.image[box.top : box.bottom, box.left : box.right]
        cv2.add(part, (share[..., None] * np.array(color, np.float32)).astype(np.uint8), dst=part)
