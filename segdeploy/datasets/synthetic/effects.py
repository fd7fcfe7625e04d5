"""Weather and shadows: they change the image, never the mask."""

import math
from collections.abc import Iterable, Sequence
from functools import singledispatch

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.datasets.synthetic import world as street
from segdeploy.datasets.synthetic.buildings import facade
from segdeploy.datasets.synthetic.camera import Camera
from segdeploy.datasets.synthetic.canvas import SHIFT, Canvas, points_of
from segdeploy.datasets.synthetic.drawing import ROAD
from segdeploy.datasets.synthetic.furniture import LAMP_HEIGHT, SIGN_POST
from segdeploy.datasets.synthetic.lighting import Light
from segdeploy.datasets.synthetic.vehicles import vehicle_style
from segdeploy.datasets.synthetic.world import StreetObject

DROPS = 170


def paint_weather(
    canvas: Canvas, camera: Camera, light: Light, *, random: np.random.Generator
) -> None:
    """Add reflections, rain and glare to the image, as the light has them."""
    if light.wet:
        _mirror(canvas, camera, light)
    if light.rain:
        _rain(canvas, light, random)
    if light.glare:
        _glare(canvas, camera, light)


def _mirror(canvas: Canvas, camera: Camera, light: Light) -> None:
    first = int(np.floor(camera.horizon)) + 1
    rows = camera.height - first
    above = canvas.image[max(first - rows, 0) : first][::-1]
    if len(above) < rows:
        above = np.asarray(
            cv2.copyMakeBorder(above, 0, rows - len(above), 0, 0, cv2.BORDER_REPLICATE), np.uint8
        )
    small = cv2.resize(
        above, (max(camera.width // 4, 1), max(rows // 8, 1)), interpolation=cv2.INTER_AREA
    )
    blurred = cv2.resize(
        cv2.blur(small, (3, 3)), (camera.width, rows), interpolation=cv2.INTER_LINEAR
    )
    part = canvas.image[first:]
    wet = cv2.addWeighted(part, 1 - 0.55 * light.wet, blurred, light.wet, 0)
    cv2.copyTo(wet, (canvas.mask[first:] == ROAD).astype(np.uint8), part)


def _rain(canvas: Canvas, light: Light, random: np.random.Generator) -> None:
    height, width = canvas.mask.shape
    streaks = np.zeros((height, width), np.uint8)
    starts = random.uniform((-0.05, -0.1), (1.05, 1.0), (DROPS, 2)) * (width, height)
    lengths = random.uniform(0.025, 0.09, DROPS) * height
    ends = starts + np.stack([-0.16 * lengths, lengths], axis=1)
    lines = np.stack([starts, ends], axis=1).astype(np.int32)
    thickness = max(height // 480, 1)
    is_closed = False
    cv2.polylines(streaks, list(lines), is_closed, 255 * light.rain, thickness, cv2.LINE_AA)
    cv2.addWeighted(
        canvas.image, 1.0, cv2.cvtColor(streaks, cv2.COLOR_GRAY2BGR), 0.16, 0, dst=canvas.image
    )


def _glare(canvas: Canvas, camera: Camera, light: Light) -> None:
    height, width = (max(side // 4, 1) for side in canvas.mask.shape)
    column = camera.width / 2 + camera.focal * np.tan(light.azimuth)
    row = camera.horizon - camera.focal * np.tan(light.elevation)
    rows = (np.arange(height, dtype=np.float32) * 4 + 2 - row)[:, None] / camera.height
    columns = (np.arange(width, dtype=np.float32) * 4 + 2 - column)[None] / camera.height
    apart = np.hypot(rows, columns)
    glow = light.glare * (70 * np.exp(-2.2 * apart) + 130 * np.exp(-((apart / 0.12) ** 2)))
    veil = (glow[..., None] * np.array([0.72, 0.9, 1.0], np.float32)).clip(0, 255).astype(np.uint8)
    cv2.add(
        canvas.image,
        cv2.resize(veil, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR),
        dst=canvas.image,
    )


SHADOW_DISTANCE = 60.0
"""Distance up to which shadows are drawn, in meters."""
LONGEST_SHADOW = 2.4
"""Longest shadow in the sun, in heights of the object."""
CONTACT_LIGHT = 0.42
"""Share of the light that is left under a vehicle."""

FENCE_HEIGHT = 1.4
"""Height of a fence that casts a shadow, in meters."""

CIRCLE = [(math.cos(number * math.pi / 6), math.sin(number * math.pi / 6)) for number in range(12)]

GroundPoint = tuple[float, float]
"""x and z on the ground, in meters."""


def paint_shadows(
    canvas: Canvas, camera: Camera, light: Light, objects: Iterable[StreetObject]
) -> None:
    """Darken the ground where objects block the light."""
    first = int(np.floor(camera.horizon)) + 1
    shade: Mask = np.full((camera.height - first, camera.width), 255, np.uint8)
    near = [item for item in objects if item.z < camera.z + SHADOW_DISTANCE]
    if light.sun:
        beam = _sunbeam(light)
        _fill(
            shade,
            camera,
            [shape for item in near for shape in sun_shadow(item, *beam)],
            first=first,
            left=1 - light.sun,
        )
    _fill(
        shade,
        camera,
        [shape for item in near for shape in contact_shadow(item)],
        first=first,
        left=CONTACT_LIGHT,
    )
    soft = 2 * (camera.height // 160) + 1
    shade = np.asarray(cv2.blur(shade, (soft, soft)), np.uint8)
    part = canvas.image[first:]
    cv2.multiply(part, cv2.cvtColor(shade, cv2.COLOR_GRAY2BGR), dst=part, scale=1 / 255)


def _sunbeam(light: Light) -> GroundPoint:
    length = min(1 / np.tan(light.elevation), LONGEST_SHADOW)
    return -float(np.sin(light.azimuth)) * length, -float(np.cos(light.azimuth)) * length


def _fill(
    shade: Mask, camera: Camera, shapes: list[Sequence[GroundPoint]], *, first: int, left: float
) -> None:
    if not shapes:
        return
    x, z = np.array([spot for shape in shapes for spot in shape]).T
    pixels = points_of(camera.project(np.stack([x, np.zeros_like(x), z], axis=1)) - (0, first))
    start = 0
    for shape in shapes:
        cv2.fillPoly(shade, [pixels[start : start + len(shape)]], 255 * left, cv2.LINE_AA, SHIFT)
        start += len(shape)


def _wall_shadow(
    item: street.LongObject, height: float, across: float, along: float
) -> list[Sequence[GroundPoint]]:
    shift_x, shift_z = across * height, along * height
    return [
        [
            (item.x, item.near),
            (item.x, item.z),
            (item.x + shift_x, item.z + shift_z),
            (item.x + shift_x, item.near + shift_z),
        ]
    ]


def _strip(
    item: StreetObject, height: float, width: float, across: float, along: float
) -> list[Sequence[GroundPoint]]:
    """Return the shadow of an upright, slim object."""
    x, z, half = item.x, item.z, width / 2
    return [
        [
            (x - half, z),
            (x + half, z),
            (x + half + across * height, z + along * height),
            (x - half + across * height, z + along * height),
        ]
    ]


def _round(x: float, z: float, across: float, along: float) -> Sequence[GroundPoint]:
    return [(x + across * cosine, z + along * sine) for cosine, sine in CIRCLE]


@singledispatch
def sun_shadow(
    item: StreetObject,  # noqa: ARG001 - the default is no shadow
    across: float,  # noqa: ARG001
    along: float,  # noqa: ARG001
) -> list[Sequence[GroundPoint]]:
    """Return the polygons on the ground from which an object blocks the sun.

    Args:
        item: The object.
        across: Offset to the right of the shadow of 1 meter of height, in meters.
        along: The same along the street.
    """
    return []


@sun_shadow.register
def _(item: street.House, across: float, along: float) -> list[Sequence[GroundPoint]]:
    return _wall_shadow(item, facade(item.style).height, across, along)


@sun_shadow.register
def _(item: street.Fence, across: float, along: float) -> list[Sequence[GroundPoint]]:
    return _wall_shadow(item, FENCE_HEIGHT, across, along)


@sun_shadow.register
def _(item: street.Tree, across: float, along: float) -> list[Sequence[GroundPoint]]:
    crown = _round(
        item.x + 4.2 * across,
        item.z + 4.2 * along,
        1.9 + 0.4 * abs(across),
        1.9 + 0.4 * abs(along),
    )
    return [*_strip(item, 3.5, 0.4, across, along), crown]


@sun_shadow.register
def _(item: street.Lamp, across: float, along: float) -> list[Sequence[GroundPoint]]:
    return _strip(item, LAMP_HEIGHT, 0.22, across, along)


@sun_shadow.register
def _(
    item: street.Sign | street.TrafficLight, across: float, along: float
) -> list[Sequence[GroundPoint]]:
    return [
        *_strip(item, SIGN_POST, 0.16, across, along),
        _round(item.x + 2.5 * across, item.z + 2.5 * along, 0.45, 0.45),
    ]


@sun_shadow.register
def _(item: street.Person, across: float, along: float) -> list[Sequence[GroundPoint]]:
    return _strip(item, 1.7, 0.42, across, along)


@sun_shadow.register
def _(item: street.Vehicle, across: float, along: float) -> list[Sequence[GroundPoint]]:
    body, _ = vehicle_style(item.style)
    base = np.array(_footprint(item)[0])
    shifted = base + 0.85 * body.height * np.array([across, along])
    hull = cv2.convexHull(np.concatenate([base, shifted]).astype(np.float32))[:, 0]
    return [[(float(x), float(z)) for x, z in hull]]


@singledispatch
def contact_shadow(
    item: StreetObject,  # noqa: ARG001 - the default is no shadow
) -> list[Sequence[GroundPoint]]:
    """Return the polygons on the ground that are dark in any light, under an object."""
    return []


@contact_shadow.register
def _(item: street.Person) -> list[Sequence[GroundPoint]]:
    return [_round(item.x, item.z, 0.3, 0.3)]


@contact_shadow.register
def _(
    item: street.Tree | street.Lamp | street.Bollard | street.Sign,
) -> list[Sequence[GroundPoint]]:
    return [_round(item.x, item.z, 0.28, 0.28)]


@contact_shadow.register
def _footprint(item: street.Vehicle) -> list[Sequence[GroundPoint]]:
    body, _ = vehicle_style(item.style)
    half, reach = body.half * 1.02, body.length / 2
    return [
        [
            (item.x - half, item.z - reach),
            (item.x + half, item.z - reach),
            (item.x + half, item.z + reach),
            (item.x - half, item.z + reach),
        ]
    ]
