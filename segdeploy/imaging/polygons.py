"""Masks from polygons and polygons from masks, exact to the pixel."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask

Ring = npt.NDArray[np.float64]
"""Corners of a closed outline, (n, 2), x and y in pixels; the center of the first pixel is at
(0.5, 0.5)."""

Corners = npt.NDArray[np.int32]
"""Corners of a closed outline on the edges of pixels, (n, 2), x and y in pixels from the top left
corner of the image. None occurs twice; the last one does not repeat the first."""


CROSSINGS = 1 << 20
"""Crossings of an outline and rows of pixels that are computed at once."""

MOST_CROSSINGS = 1 << 26
"""Crossings of one outline: a zigzag of some kilobytes would fill the memory of a high image."""


def fill_ring(mask: Mask, ring: Ring, value: int) -> None:
    """Write a value into every pixel whose center lies inside an outline, by the even-odd rule.

    OpenCV's fillPoly paints the pixels under the outline too: a square of 10 by 10 pixels gets 121
    of them. Here each row is cut at the outline, and every second stretch between cuts is inside.

    Args:
        mask: (H, W) uint8, written into.
        ring: The outline, which may leave the mask and cross itself.
        value: Value that is written.

    Raises:
        ValueError: The outline crosses rows too often.
    """
    _fill_rows(mask, ring, value, (0, len(mask)))


def _fill_rows(mask: Mask, ring: Ring, value: int, rows: tuple[int, int]) -> None:
    """Fill an outline from one row to the row before another."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    # An edge crosses a row if the row's middle lies between the ends of the edge.
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), *rows).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), *rows).astype(np.intp)
    count = last - first
    if (crossings := int(count.sum())) > MOST_CROSSINGS:
        msg = f"an outline of {len(ring)} corners crosses {crossings} rows of pixels"
        raise ValueError(msg)
    if crossings > CROSSINGS and rows[1] - rows[0] > 1:
        middle = sum(rows) // 2
        _fill_rows(mask, ring, value, (rows[0], middle))
        _fill_rows(mask, ring, value, (middle, rows[1]))
        return
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    at = x[edge] + (row + 0.5 - y[edge]) / (next_y[edge] - y[edge]) * (next_x[edge] - x[edge])
    column = np.clip(np.ceil(at - 0.5), 0, mask.shape[1]).astype(np.intp)
    order = np.lexsort((column, row))
    for line, start, stop in zip(
        row[order][::2].tolist(),
        column[order][::2].tolist(),
        column[order][1::2].tolist(),
        strict=True,
    ):
        mask[line, start:stop] = value


def circle_ring(center: tuple[float, float], edge: tuple[float, float]) -> Ring:
    """Return the outline of a circle through a point, with corners a pixel apart."""
    radius = float(np.hypot(edge[0] - center[0], edge[1] - center[1]))
    angles = np.linspace(0, 2 * np.pi, max(16, round(2 * np.pi * radius)), endpoint=False)
    return np.asarray(center) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygon:
    """One region: pixels of one class that touch each other at their sides.

    It is valid as OGC's Simple Features and RFC 7946 define it: no border crosses or touches
    itself, and two borders share single points at most.

    Attributes:
        index: Class.
        outline: Its outer border, counterclockwise where x points right and y up.
        holes: Borders of what is left out of it, clockwise.
    """

    index: int
    outline: Corners
    holes: tuple[Corners, ...]

    @property
    def area(self) -> int:
        """Area in pixels."""
        return round(_signed_area(self.outline) + sum(map(_signed_area, self.holes)))

    def one_ring(self) -> Corners:
        """Return the region as a single ring, for formats without holes.

        Each hole is joined to the ring by a path there and back, along a row and a column, so that
        it encloses nothing.
        """
        ring = self.outline
        for hole in self.holes:
            bend = np.array([[ring[0, 0], hole[0, 1]]], ring.dtype)
            ring = np.concatenate([ring, ring[:1], bend, hole, hole[:1], bend])
        return ring


def polygons(mask: Mask, classes: int, *, min_area: int = 1) -> list[Polygon]:
    """Find the regions of a mask.

    Args:
        mask: Classes, (H, W) uint8.
        classes: Number of classes, K; values from K on, such as 255, have no region.
        min_area: Regions of fewer pixels are left out.

    Returns:
        All regions, in the order of the classes.
    """
    return [
        polygon
        for index in range(classes)
        for polygon in _regions(mask, index)
        if min_area <= 1 or polygon.area >= min_area
    ]


def _regions(mask: Mask, index: int) -> Iterator[Polygon]:
    inside = cv2.inRange(mask, index, index)
    x, y, width, height = cv2.boundingRect(inside)
    if not width:
        return
    # OpenCV lets what it outlines touch at corners, and its holes at sides. So the outlines of the
    # region are those of holes in everything else, with a margin around it.
    outside = cv2.copyMakeBorder(
        255 - inside[y : y + height, x : x + width], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=255
    )
    # OpenCV's outlines go through the centers of pixels. In the mask at twice its size these lie a
    # quarter of an original pixel beside the original edges; half of them, rounded up, is the edge.
    twice = cv2.resize(outside, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST_EXACT)
    rings, hierarchy = cv2.findContours(twice, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    parents = hierarchy[0, :, 3].tolist()
    origin = np.array([x - 1, y - 1], np.int32)
    loops = [_loops(_corners(np.asarray(ring[:, 0], dtype=np.int32)) + origin) for ring in rings]
    holes: list[list[Corners]] = [[] for _ in rings]
    for parent, parts in zip(parents, loops, strict=True):
        if parent >= 0:
            holes[parent] += parts
    for number, parts in enumerate(loops):
        if _is_hole(number, parents):
            outline, *pockets = sorted(parts, key=_signed_area, reverse=True)
            yield Polygon(index=index, outline=outline, holes=(*pockets, *holes[number]))


def _is_hole(number: int, parents: list[int]) -> bool:
    """Return whether a ring is the border of a hole: the odd ones of those around each other."""
    depth = 0
    while (number := parents[number]) >= 0:
        depth += 1
    return depth % 2 == 1


def _loops(ring: Corners) -> list[Corners]:
    """Return the parts of a ring between the corners that it passes twice."""
    codes = (ring[:, 1].astype(np.int64) << 32 | ring[:, 0]).tolist()
    if len(set(codes)) == len(codes):
        return [ring]
    loops: list[Corners] = []
    passed: dict[int, int] = {}
    kept: list[int] = []
    for place, code in enumerate(codes):
        if code in passed:
            start = passed[code]
            loops.append(ring[kept[start:]])
            for removed in kept[start:]:
                del passed[codes[removed]]
            del kept[start:]
        passed[code] = len(kept)
        kept.append(place)
    return [*loops, ring[kept]]


def _corners(ring: Corners) -> Corners:
    """Return a ring of the doubled mask on the edges of pixels, only where it turns."""
    points = (ring + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return np.asarray(
        points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]], dtype=np.int32
    )


def _signed_area(ring: Corners) -> float:
    """Return the area of a ring, in pixels, negative for a hole's (the shoelace formula)."""
    x, y = ring.astype(np.int64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
