"""Bodies of cars, vans and buses: a side view extruded to the width, as flat faces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from segdeploy.datasets.synthetic.camera import Floats
from segdeploy.datasets.synthetic.lighting import Color, brightened

GLASS: Color = (86, 74, 62)
TIRE: Color = (34, 33, 32)

Point = tuple[float, float, float]
"""(across, up, along) in meters: from the middle, from the ground, from the rear."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """The side view of a vehicle, and its widths.

    Attributes:
        outline: Ten points from the lower rear over the roof to the lower front, as (along, up) in
            meters; numbers 3 and 4 are the foot and top of the rear window, 5 and 6 the top and
            foot of the windshield.
        half: Half of the width of the body, in meters.
        roof: Half of the width of the roof, in meters.
        wheel: Radius of the wheels, in meters.
        pillars: Positions of the pillars between side windows, as shares of their length.
    """

    outline: tuple[tuple[float, float], ...]
    half: float
    roof: float
    wheel: float = 0.33
    pillars: tuple[float, ...] = (0.5,)

    @property
    def length(self) -> float:
        """Length from the rear to the front, in meters."""
        return max(along for along, _ in self.outline)

    @property
    def height(self) -> float:
        """Height from the ground to the roof, in meters."""
        return max(up for _, up in self.outline)

    def width_at(self, number: int) -> float:
        """Return half of the width at one point of the outline, in meters."""
        if number in {4, 5}:
            return self.roof
        return self.half * (0.93 if number in {0, 1, 8, 9} else 0.97)


SEDAN = Body(
    outline=(
        (0.05, 0.3), (0, 0.68), (0.08, 0.96), (0.5, 1.0), (1.15, 1.43),
        (2.4, 1.45), (3.2, 0.98), (4.2, 0.8), (4.4, 0.58), (4.35, 0.28),
    ),
    half=0.9,
    roof=0.62,
)  # fmt: skip
HATCHBACK = Body(
    outline=(
        (0.05, 0.3), (0, 0.7), (0.06, 0.98), (0.1, 1.02), (0.5, 1.48),
        (2.2, 1.5), (3.0, 1.0), (3.75, 0.84), (3.95, 0.6), (3.9, 0.28),
    ),
    half=0.88,
    roof=0.62,
)  # fmt: skip
OFFROADER = Body(
    outline=(
        (0.05, 0.36), (0, 0.82), (0.05, 1.1), (0.1, 1.14), (0.45, 1.7),
        (2.6, 1.72), (3.35, 1.14), (4.3, 0.98), (4.5, 0.68), (4.45, 0.34),
    ),
    half=0.95,
    roof=0.7,
    wheel=0.38,
)  # fmt: skip
VAN = Body(
    outline=(
        (0.05, 0.36), (0, 0.8), (0.02, 1.1), (0.04, 1.2), (0.14, 2.05),
        (3.7, 2.1), (4.5, 1.2), (5.1, 1.0), (5.25, 0.7), (5.2, 0.34),
    ),
    half=1.0,
    roof=0.88,
    wheel=0.36,
    pillars=(0.36, 0.7),
)  # fmt: skip
BUS = Body(
    outline=(
        (0.05, 0.4), (0, 0.9), (0.01, 1.2), (0.02, 1.3), (0.08, 2.75),
        (8.7, 2.8), (8.95, 1.2), (9, 1.1), (9.02, 0.8), (8.95, 0.36),
    ),
    half=1.2,
    roof=1.14,
    wheel=0.48,
    pillars=(0.18, 0.36, 0.54, 0.72, 0.88),
)  # fmt: skip
BODIES = (SEDAN, HATCHBACK, OFFROADER, VAN, BUS)
BODY_SHARES = (0.3, 0.3, 0.2, 0.15, 0.05)
"""Probability of each body."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A flat part of a vehicle.

    Attributes:
        points: Its corners.
        color: Its own color, or a factor of the vehicle's paint.
        culled: Whether it is not drawn when the camera sees its back.
    """

    points: Sequence[Point]
    color: Color | float
    culled: bool = False


@lru_cache(maxsize=len(BODIES) * 8)
def faces(body: Body, side: int, heading: int, *, night: bool) -> tuple[list[Face], Floats]:
    """Return the faces of a vehicle in the order in which they are painted, and their points.

    Args:
        body: Body of the vehicle.
        side: Flank that the camera sees, 1 for the right one, -1 for the left one.
        heading: 1 where the camera sees the rear, -1 where it sees the front.
        night: Whether its lamps shine.

    Returns:
        The faces, and all of their points in that order, (n, 3).
    """
    strips = [face for number in range(len(body.outline) - 1) for face in _strip(body, number)]
    if heading > 0:
        strips.reverse()
    else:
        # The vehicle is mirrored along the street instead of rotated, and so are the corners of its
        # faces.
        strips = [replace(face, points=face.points[::-1]) for face in strips]
    parts = [*_underside(body, heading), *strips]
    parts += _end(body, rear=heading > 0, night=night)
    parts += _flank(body, side)
    return parts, np.array([point for face in parts for point in face.points])


def _across(
    half: float,
    bottom: tuple[float, float],
    top: tuple[float, float],
    *,
    upper: float | None = None,
) -> list[Point]:
    """Return a face across the width; its lower and upper edges are (along, up)."""
    other = half if upper is None else upper
    return [
        (-half, bottom[1], bottom[0]),
        (half, bottom[1], bottom[0]),
        (other, top[1], top[0]),
        (-other, top[1], top[0]),
    ]


def _underside(body: Body, heading: int) -> list[Face]:
    along = 0.2 + body.wheel * 1.2 if heading > 0 else body.length - 0.2 - body.wheel * 1.2
    low, half = body.outline[0][1], body.half
    tires = []
    for inner, outer in ((-0.96, -0.7), (0.7, 0.96)):
        left, right = inner * half, outer * half
        tires.append(
            Face(
                points=[
                    (left, 0, along),
                    (right, 0, along),
                    (right, 0.5, along),
                    (left, 0.5, along),
                ],
                color=TIRE,
            )
        )
    return [
        *tires,
        Face(points=_across(half * 0.8, (along, 0.16), (along, low + 0.1)), color=(26, 26, 26)),
    ]


def _strip(body: Body, number: int) -> list[Face]:
    """Return the part between two points of the outline across the width, and its window."""
    bottom, top = body.outline[number], body.outline[number + 1]
    first, second = body.width_at(number), body.width_at(number + 1)
    slope = abs(top[0] - bottom[0]) / float(np.hypot(top[0] - bottom[0], top[1] - bottom[1]))
    quad = _across(first, bottom, top, upper=second)
    shell = Face(points=quad, color=0.78 + 0.34 * slope, culled=True)
    if number not in {3, 5}:
        return [shell]
    inner = np.array(quad)
    middle = inner.mean(0)
    inner = middle + (inner - middle) * (0.88, 0.82, 0.82)
    glass = Face(points=_points(inner), color=brightened(GLASS, 0.9 + 0.4 * slope), culled=True)
    low, high = (inner[:2], inner[[3, 2]]) if number == 3 else (inner[[3, 2]], inner[:2])
    shine = np.stack(
        [low[0] + (high[0] - low[0]) * 0.6, low[1] + (high[1] - low[1]) * 0.3, high[1], high[0]]
    )
    shine = shine if number == 3 else shine[::-1]
    reflection = Face(
        points=_points(shine), color=brightened(GLASS, 1.45 + 0.5 * slope), culled=True
    )
    # Strips are painted from the far end to the near one; the caller reverses the list where the
    # camera sees the rear.
    return [reflection, glass, shell] if number == 3 else [shell, glass, reflection]


def _points(array: Floats) -> list[Point]:
    return [(float(across), float(up), float(along)) for across, up, along in array]


def _end(body: Body, *, rear: bool, night: bool) -> list[Face]:
    outline = body.outline if rear else body.outline[::-1]
    along = outline[1][0] + (-0.01 if rear else 0.01)
    low, middle, half = outline[0][1], outline[1][1], body.half * 0.93

    def plate(left: float, right: float, bottom: float, top: float, color: Color | float) -> Face:
        return Face(
            points=[
                (left, bottom, along),
                (right, bottom, along),
                (right, top, along),
                (left, top, along),
            ],
            color=color,
        )

    parts = [
        plate(-half, half, low, low + 0.16, 0.42),
        plate(-0.26, 0.26, low + 0.15, low + 0.28, (225, 232, 236)),
    ]
    bottom, top = (middle - 0.16, middle + 0.06) if rear else (middle - 0.12, middle + 0.08)
    color: Color = ((40, 32, 186), (236, 238, 238))[not rear]
    if night:
        color = ((80, 66, 255), (255, 255, 255))[not rear]
    for sign in (-1, 1):
        inner, outer = sorted((sign * half * 0.64, sign * half * 0.98))
        parts += [
            plate(inner, outer, bottom, top, color),
            plate(inner, outer, bottom, bottom + 0.05, brightened(color, 0.7)),
        ]
    if rear:
        return [*parts, plate(-half * 0.6, half * 0.6, middle + 0.02, middle + 0.045, 0.55)]
    return [*parts, plate(-half * 0.55, half * 0.55, middle - 0.12, middle + 0.02, (40, 38, 38))]


def _flank(body: Body, side: int) -> list[Face]:
    half, outline = body.half * 0.97, body.outline
    belt, rear, front = outline[3][1], outline[3][0], outline[6][0]

    def wall(points: Sequence[tuple[float, float]], color: Color | float) -> Face:
        return Face(points=[(side * half, up, along) for along, up in points], color=color)

    lower = (0, 1, 2, 3, 6, 7, 8, 9)
    parts = [
        Face(
            points=[
                (side * body.width_at(number), outline[number][1], outline[number][0])
                for number in lower
            ],
            color=0.92,
        )
    ]
    parts.append(
        wall([(0.2, 0.3), (body.length - 0.2, 0.3), (body.length - 0.1, 0.46), (0.1, 0.46)], 0.55)
    )
    parts.append(
        wall(
            [
                (0.1, belt - 0.12),
                (front + 0.4, belt - 0.12),
                (front + 0.3, belt - 0.06),
                (0.1, belt - 0.06),
            ],
            1.2,
        )
    )
    parts += _cabin(body, side, half)
    for along in (rear + (front - rear) * share for share in body.pillars):
        parts.append(
            wall([(along, 0.46), (along + 0.03, 0.46), (along + 0.03, belt), (along, belt)], 0.6)
        )
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    for along in (0.19 * body.length, 0.81 * body.length):
        for size, color in (
            (1.22, (24, 24, 24)),
            (1.0, TIRE),
            (0.62, (152, 152, 154)),
            (0.5, (98, 98, 100)),
            (0.16, (172, 172, 174)),
        ):
            radius = body.wheel * size
            rim = [
                (along + radius * np.cos(angle), max(body.wheel + radius * np.sin(angle), 0.0))
                for angle in angles
            ]
            parts.append(wall(rim, color))
    return parts


def _cabin(body: Body, side: int, half: float) -> list[Face]:
    widths = {3: half, 4: body.roof, 5: body.roof, 6: half}
    corners = np.array(
        [
            (side * widths[number], body.outline[number][1], body.outline[number][0])
            for number in (3, 4, 5, 6)
        ]
    )
    parts = [Face(points=_points(corners), color=0.98)]
    low, high, far_high, far_low = corners
    cuts = (0.04, *body.pillars, 0.97)
    for start, end in pairwise(cuts):
        window = []
        for share, foot in (
            (start + 0.02, 0.08),
            (start + 0.02, 0.88),
            (end - 0.02, 0.88),
            (end - 0.02, 0.08),
        ):
            bottom, top = low + (far_low - low) * share, high + (far_high - high) * share
            window.append(bottom + (top - bottom) * foot)
        glass = np.array(window)
        shine = np.stack(
            [glass[1], glass[2], glass[2] * 0.55 + glass[3] * 0.45, glass[1] * 0.8 + glass[0] * 0.2]
        )
        parts += [
            Face(points=_points(glass), color=brightened(GLASS, 1.1)),
            Face(points=_points(shine), color=brightened(GLASS, 1.6)),
        ]
    return parts
