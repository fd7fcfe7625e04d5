"""Paint cars, vans and buses into the image."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from segdeploy.datasets.synthetic.camera import Camera, Floats
from segdeploy.datasets.synthetic.canvas import SHIFT, Box, Canvas, Patch, points_of
from segdeploy.datasets.synthetic.drawing import CAR
from segdeploy.datasets.synthetic.lighting import Color, Light, brightened
from segdeploy.datasets.synthetic.vehicle_bodies import BODIES, BODY_SHARES, Body, Face, faces

PAINTS: tuple[Color, ...] = (
    (40, 36, 176), (186, 182, 178), (60, 54, 50), (148, 92, 44), (220, 222, 222),
    (96, 96, 100), (46, 128, 206), (84, 104, 52), (130, 60, 40), (70, 170, 220),
)  # fmt: skip
NEAREST = 1.2
"""A vehicle whose far end is closer to the camera than this, in meters, is not visible."""
FINE_HEIGHT = 90
"""Vehicles of up to this height in pixels are drawn at 4 times the image's resolution, else 2."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Position and direction of a vehicle.

    Attributes:
        x: Its center across the street, in meters.
        z: Its center along the street, in meters.
        heading: 1 if it drives away from the camera, -1 if toward it.
    """

    x: float
    z: float
    heading: int


@lru_cache(maxsize=1024)
def vehicle_style(style: int) -> tuple[Body, Color]:
    """Return the body and the paint of a vehicle by the seed of its appearance."""
    random = np.random.default_rng(style)
    body = int(random.choice(len(BODIES), p=BODY_SHARES))
    return BODIES[body], PAINTS[int(random.integers(len(PAINTS)))]


def _project(points: Floats, camera: Camera, body: Body, pose: Pose) -> Floats:
    """Return the pixels, (n, 2), of points of the vehicle, (n, 3)."""
    z = pose.z + pose.heading * (points[:, 2] - body.length / 2)
    return camera.project(np.stack([pose.x + points[:, 0], points[:, 1], z], axis=1))


def paint_vehicle(
    canvas: Canvas, camera: Camera, light: Light, *, body: Body, paint: Color, pose: Pose
) -> None:
    """Paint one vehicle; parts behind the camera lie outside the image."""
    if pose.z + body.length / 2 < camera.z + NEAREST:
        return
    middle = camera.x - camera.middle(pose.z)
    parts, points = faces(body, 1 if pose.x < middle else -1, pose.heading, night=light.night > 0)
    pixels = _project(points, camera, body, pose)
    box = canvas.box(pixels)
    if box is None:
        return
    finer = 4 if camera.scale(pose.z) * body.height < FINE_HEIGHT else 2
    patch = _draw(parts, (pixels - (box.left, box.top)) * finer, paint, box, finer=finer)
    canvas.blend(patch, box, label=CAR, tone=light.tone(pose.z - camera.z))


def _draw(parts: list[Face], pixels: Floats, paint: Color, box: Box, *, finer: int) -> Patch:
    width, height = box.size
    sheet: Patch = np.zeros((height * finer, width * finer, 4), np.uint8)
    corners = points_of(pixels)
    start = 0
    for face in parts:
        polygon = corners[start : start + len(face.points)]
        start += len(face.points)
        if face.culled and _faces_away(polygon):
            continue
        color = brightened(paint, face.color) if isinstance(face.color, float) else face.color
        cv2.fillPoly(sheet, [polygon], (*color, 255), cv2.LINE_8, SHIFT)
    return np.asarray(cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA))


def _faces_away(quad: np.ndarray) -> bool:
    """Return whether the camera sees the back of a face, by the winding of its corners."""
    (a, b), (c, d), (e, f), (g, h) = quad.tolist()
    return bool((e - a) * (h - d) - (g - c) * (f - b) >= 0)


def lamps(camera: Camera, *, body: Body, pose: Pose) -> Floats:
    """Return the pixels, (2, 2), of the left and right lamp on the visible end."""
    along, up = body.outline[1] if pose.heading > 0 else body.outline[8]
    return _project(
        np.array([(side * body.half * 0.75, up - 0.04, along) for side in (-1, 1)]),
        camera,
        body,
        pose,
    )
