"""Cars, vans and buses as bodies in space: a side view, drawn out to the width."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.datasets.street.camera import Camera, Floats
from segdeploy.datasets.street.canvas import SHIFT, Box, Canvas, Patch, points_of
from segdeploy.datasets.street.labels import CAR
from segdeploy.datasets.street.light import Color, Light

PAINTS: tuple[Color, ...] = (
    (40, 36, 176), (186, 182, 178), (60, 54, 50), (148, 92, 44), (220, 222, 222), (96, 96, 100), (46, 128, 206), (84, 104, 52), (130, 60, 40), (70, 170, 220),
)  # fmt: skip
GLASS: Color = (82, 70, 58)
TYRE: Color = (34, 33, 32)


@dataclass(frozen=True, kw_only=True)
class Body:
    """The outline of a vehicle from the side, from the lower rear over the roof to the lower front.

    Attributes:
        outline: Ten points as meters from the rear and meters over the ground; the fourth and fifth are the
            foot and top of the rear window, the sixth and seventh the top and foot of the windscreen.
        half: Half of the width of the body, in meters.
        roof: Half of the width of the roof, in meters.
        wheel: Radius of the wheels, in meters.
        pillars: Where the side windows are parted, as shares of their length.
    """

    outline: tuple[tuple[float, float], ...]
    half: float
    roof: float
    wheel: float = 0.33
    pillars: tuple[float, ...] = (0.5,)

    @property
    def length(self) -> float:
        """From the rear to the front, in meters."""
        return max(along for along, _ in self.outline)

    @property
    def height(self) -> float:
        """From the ground to the roof, in meters."""
        return max(up for _, up in self.outline)


BODIES: tuple[tuple[float, Body], ...] = (
    (4, Body(outline=((0.05, 0.3), (0, 0.68), (0.08, 0.96), (0.5, 1.0), (1.15, 1.43), (2.4, 1.45), (3.2, 0.98), (4.2, 0.8), (4.4, 0.58), (4.35, 0.28)), half=0.9, roof=0.62)),
    (4, Body(outline=((0.05, 0.3), (0, 0.7), (0.06, 0.98), (0.1, 1.02), (0.5, 1.48), (2.2, 1.5), (3.0, 1.0), (3.75, 0.84), (3.95, 0.6), (3.9, 0.28)), half=0.88, roof=0.62)),
    (3, Body(outline=((0.05, 0.36), (0, 0.82), (0.05, 1.1), (0.1, 1.14), (0.45, 1.7), (2.6, 1.72), (3.35, 1.14), (4.3, 0.98), (4.5, 0.68), (4.45, 0.34)), half=0.95, roof=0.7, wheel=0.38)),
    (2, Body(outline=((0.05, 0.36), (0, 0.8), (0.02, 1.1), (0.04, 1.2), (0.14, 2.05), (3.7, 2.1), (4.5, 1.2), (5.1, 1.0), (5.25, 0.7), (5.2, 0.34)), half=1.0, roof=0.88, wheel=0.36, pillars=(0.36, 0.7))),
    (1, Body(outline=((0.05, 0.4), (0, 0.9), (0.01, 1.2), (0.02, 1.3), (0.08, 2.95), (9.7, 3.0), (9.95, 1.2), (10, 1.1), (10.02, 0.8), (9.95, 0.36)), half=1.22, roof=1.16, wheel=0.48, pillars=(0.18, 0.36, 0.54, 0.72, 0.88))),
)  # fmt: skip
"""Each kind of vehicle, with how often it comes beside the others."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a vehicle stands.

    Attributes:
        x: Middle across the street, in meters.
        z: Middle along the street, in meters.
        heading: 1 where it goes as the camera does, -1 where it comes.
    """

    x: float
    z: float
    heading: int


class _Modeller:
    """Fills faces of one vehicle on a sheet finer than the picture."""

    def __init__(self, camera: Camera, body: Body, pose: Pose) -> None:
        self.camera, self.body, self.pose = camera, body, pose
        corners = [(side * body.half, up, along) for side in (-1, 1) for up in (0.0, body.height) for along in (0.0, body.length)]
        self.hull = self.pixels(np.array(corners))
        scale = camera.scale(pose.z)
        self.finer = 4 if scale * body.height < 90 else 2  # noqa: PLR2004 - near ones are large enough for less

    def pixels(self, points: npt.ArrayLike) -> Floats:
        """Turn points as (across, up, along), in meters of the vehicle, into pixels of the picture."""
        across, up, along = np.asarray(points, dtype=np.float64).T
        z = self.pose.z + self.pose.heading * (along - self.body.length / 2)
        return self.camera.project(np.stack([self.pose.x + across, up, z], axis=1))

    def start(self, box: Box) -> None:
        self.origin = np.array([box.left, box.top])
        width, height = box.size
        self.sheet: Patch = np.zeros((height * self.finer, width * self.finer, 4), np.uint8)

    def face(self, points: npt.ArrayLike, color: Color) -> None:
        fine = (self.pixels(points) - self.origin) * self.finer
        cv2.fillPoly(self.sheet, [points_of(fine)], (*color, 255), cv2.LINE_8, SHIFT)

    def finish(self) -> Patch:
        height, width = self.sheet.shape[:2]
        return np.asarray(cv2.resize(self.sheet, (width // self.finer, height // self.finer), interpolation=cv2.INTER_AREA))


def _times(color: Color, share: float) -> Color:
    return min(color[0] * share, 255), min(color[1] * share, 255), min(color[2] * share, 255)


def paint_vehicle(canvas: Canvas, camera: Camera, light: Light, *, body: Body, paint: Color, pose: Pose) -> None:
    """Paint one vehicle; what lies behind the camera is left out."""
    if pose.z - body.length / 2 < camera.z + 1.8:
        return
    model = _Modeller(camera, body, pose)
    box = canvas.box(model.hull)
    if box is None:
        return
    model.start(box)
    middle = camera.x - camera.bend.at(np.array([pose.z]), start=camera.z)[0]
    side = 1 if pose.x < middle else -1
    _wheels_behind(model)
    strips = range(len(body.outline) - 1)
    for number in reversed(strips) if pose.heading > 0 else strips:
        _strip(model, number, paint)
    _end(model, paint, light)
    _flank(model, side, paint)
    canvas.blend(model.finish(), box, label=CAR, tone=light.tone(max(pose.z - camera.z, 0)))


def _half(body: Body, number: int) -> float:
    if number in (4, 5):
        return body.roof
    return body.half * (0.93 if number in (0, 1, 8, 9) else 0.97 if number in (2, 3, 6, 7) else 1.0)


def _wheels_behind(model: _Modeller) -> None:
    body = model.body
    along = 0.2 if model.pose.heading > 0 else body.length - 0.2
    wheel = body.wheel * 2.4
    along += model.pose.heading * wheel * 0.5
    for start, end in ((-0.96, -0.7), (0.7, 0.96)):
        left, right = start * body.half, end * body.half
        model.face([(left, 0, along), (right, 0, along), (right, 0.5, along), (left, 0.5, along)], TYRE)
    low = body.outline[0][1]
    model.face([(-body.half * 0.8, 0.16, along), (body.half * 0.8, 0.16, along), (body.half * 0.8, low + 0.1, along), (-body.half * 0.8, low + 0.1, along)], (26, 26, 26))


def _strip(model: _Modeller, number: int, paint: Color) -> None:
    body = model.body
    (start, low), (end, high) = body.outline[number], body.outline[number + 1]
    first, second = _half(body, number), _half(body, number + 1)
    quad = np.array([(-first, low, start), (first, low, start), (second, high, end), (-second, high, end)])
    if _area(model.pixels(quad)) >= 0:
        return
    up = abs(end - start) / max(np.hypot(end - start, high - low), 1e-6)
    model.face(quad, _times(paint, 0.8 + 0.35 * up))
    if number in (3, 5):
        inner = quad * 1.0
        inner[:, 0] *= 0.88
        middle = inner.mean(0)
        inner[:, 1:] = middle[1:] + (inner[:, 1:] - middle[1:]) * 0.84
        model.face(inner, _times(GLASS, 0.9 + 0.5 * up))
        shine = np.array([inner[0] * 0.2 + inner[3] * 0.8, inner[0] * 0.1 + inner[1] * 0.05 + inner[2] * 0.3 + inner[3] * 0.55, inner[2], inner[3]])
        model.face(shine, _times(GLASS, 1.5 + 0.5 * up))


def _area(points: Floats) -> float:
    x, y = points.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _end(model: _Modeller, paint: Color, light: Light) -> None:
    body = model.body
    rear = model.pose.heading > 0
    outline = body.outline if rear else body.outline[::-1]
    along = outline[1][0] + (-0.01 if rear else 0.01)
    low, middle = outline[0][1], outline[1][1]
    half = body.half * 0.93

    def plate(left: float, right: float, bottom: float, top: float, color: Color) -> None:
        model.face([(left, bottom, along), (right, bottom, along), (right, top, along), (left, top, along)], color)

    plate(-half, half, low, low + 0.16, _times(paint, 0.45))
    plate(-0.26, 0.26, low + 0.14, low + 0.27, (225, 232, 236))
    lamp_low, lamp_high = (middle - 0.16, middle + 0.06) if rear else (middle - 0.1, middle + 0.12)
    color: Color = (44, 34, 190) if rear else (232, 236, 238)
    if light.night:
        color = (70, 60, 255) if rear else (255, 255, 255)
    for sign in (-1, 1):
        inner, outer = sorted((sign * half * 0.64, sign * half * 0.98))
        plate(inner, outer, lamp_low, lamp_high, color)
        plate(inner, outer, lamp_low, lamp_low + 0.05, _times(color, 0.7))
    if rear:
        plate(-half * 0.6, half * 0.6, middle + 0.02, middle + 0.045, _times(paint, 0.55))
    else:
        plate(-half * 0.55, half * 0.55, middle - 0.14, middle + 0.02, (38, 36, 36))


def _flank(model: _Modeller, side: int, paint: Color) -> None:
    body = model.body
    half = body.half * 0.97
    points = body.outline
    lower = [points[number] for number in (0, 1, 2, 3, 6, 7, 8, 9)]
    model.face([(side * _half(body, number), up, along) for number, (along, up) in zip((0, 1, 2, 3, 6, 7, 8, 9), lower, strict=True)], _times(paint, 0.92))
    rear, front = points[3][0], points[6][0]
    belt = points[3][1]
    model.face([(side * half, 0.3, 0.2), (side * half, 0.3, body.length - 0.2), (side * half, 0.46, body.length - 0.1), (side * half, 0.46, 0.1)], _times(paint, 0.55))
    model.face([(side * half, belt - 0.12, 0.1), (side * half, belt - 0.12, front + 0.4), (side * half, belt - 0.06, front + 0.3), (side * half, belt - 0.06, 0.1)], _times(paint, 1.2))
    cabin = [(side * (half if number in (3, 6) else body.roof), points[number][1], points[number][0]) for number in (3, 4, 5, 6)]
    model.face(cabin, _times(paint, 0.98))
    cuts = (0.04, *body.pillars, 0.97)
    low, high = np.array(cabin[0]), np.array(cabin[1])
    far_low, far_high = np.array(cabin[3]), np.array(cabin[2])
    for start, end in zip(cuts, cuts[1:], strict=False):
        window = []
        for share, foot in ((start + 0.02, 0.08), (start + 0.02, 0.88), (end - 0.02, 0.88), (end - 0.02, 0.08)):
            bottom, top = low + (far_low - low) * share, high + (far_high - high) * share
            window.append(bottom + (top - bottom) * foot)
        model.face(window, _times(GLASS, 1.1))
        model.face([window[1], window[2], window[2] * 0.55 + window[3] * 0.45, window[1] * 0.8 + window[0] * 0.2], _times(GLASS, 1.6))
    for along in (rear + (front - rear) * share for share in body.pillars):
        model.face([(side * half, 0.46, along), (side * half, 0.46, along + 0.03), (side * half, belt, along + 0.03), (side * half, belt, along)], _times(paint, 0.6))
    for along in (0.19 * body.length, 0.81 * body.length):
        for size, color in ((1.22, (24, 24, 24)), (1.0, TYRE), (0.62, (150, 150, 152)), (0.5, (96, 96, 98)), (0.16, (170, 170, 172))):
            angles = np.linspace(0, 2 * np.pi, 22)
            center = body.wheel
            rim = np.stack([np.full(22, side * half * 1.005), center + body.wheel * size * np.sin(angles), along + body.wheel * size * np.cos(angles)], axis=1)
            rim[:, 1] = np.maximum(rim[:, 1], 0.0)
            model.face(rim, color)


def lamps(camera: Camera, *, body: Body, pose: Pose) -> Floats:
    """Give the pixels (2, 2) of the left and right lamp that the camera sees."""
    rear = pose.heading > 0
    along, up = body.outline[1] if rear else body.outline[8]
    model = _Modeller(camera, body, pose)
    return model.pixels([(-body.half * 0.75, up + 0.02, along), (body.half * 0.75, up + 0.02, along)])
