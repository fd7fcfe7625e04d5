"""Shadows, rain, reflections, glare."""

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
from segdeploy.datasets.synthetic.vehicles import BODIES
from segdeploy.datasets.synthetic.world import Thing, vehicle_look

DROPS = 170


def paint_air(canvas: Canvas, camera: Camera, light: Light, *, random: np.random.Generator) -> None:
    """Change the image as the light's weather does; the mask stays."""
    if light.wet:
        _mirror(canvas, camera, light)
    if light.rain:
        _rain(canvas, light, random)
    if light.glare:
        _dazzle(canvas, camera, light)


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
    cv2.polylines(streaks, list(lines), False, 255 * light.rain, max(height // 480, 1), cv2.LINE_AA)  # noqa: FBT003
    cv2.addWeighted(
        canvas.image, 1.0, cv2.cvtColor(streaks, cv2.COLOR_GRAY2BGR), 0.16, 0, dst=canvas.image
    )


def _dazzle(canvas: Canvas, camera: Camera, light: Light) -> None:
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


FAR = 60.0
"""Nobody sees the shadow of what is further away, in meters."""
LONGEST = 2.4
"""Longest shadow of the sun, in heights of the thing."""
UNDER = 0.42
"""What is left of the light under a vehicle."""

CIRCLE = [(math.cos(number * math.pi / 6), math.sin(number * math.pi / 6)) for number in range(12)]

Spot = tuple[float, float]
"""x and z on the ground, in meters."""


def paint_shade(canvas: Canvas, camera: Camera, light: Light, things: Iterable[Thing]) -> None:
    """Darken the ground where things keep light away.

    The mask stays, since a shadow is no thing.
    """
    first = int(np.floor(camera.horizon)) + 1
    shade: Mask = np.full((camera.height - first, camera.width), 255, np.uint8)
    near = [thing for thing in things if thing.z < camera.z + FAR]
    if light.sun:
        beam = _sunbeam(light)
        _fill(
            shade,
            camera,
            [shape for thing in near for shape in cast(thing, *beam)],
            first=first,
            left=1 - light.sun,
        )
    _fill(
        shade, camera, [shape for thing in near for shape in stand(thing)], first=first, left=UNDER
    )
    soft = 2 * (camera.height // 160) + 1
    shade = np.asarray(cv2.blur(shade, (soft, soft)), np.uint8)
    part = canvas.image[first:]
    cv2.multiply(part, cv2.cvtColor(shade, cv2.COLOR_GRAY2BGR), dst=part, scale=1 / 255)


def _sunbeam(light: Light) -> Spot:
    length = min(1 / np.tan(light.elevation), LONGEST)
    return -float(np.sin(light.azimuth)) * length, -float(np.cos(light.azimuth)) * length


def _fill(
    shade: Mask, camera: Camera, shapes: list[Sequence[Spot]], *, first: int, left: float
) -> None:
    if not shapes:
        return
    x, z = np.array([spot for shape in shapes for spot in shape]).T
    pixels = points_of(camera.project(np.stack([x, np.zeros_like(x), z], axis=1)) - (0, first))
    start = 0
    for shape in shapes:
        cv2.fillPoly(shade, [pixels[start : start + len(shape)]], 255 * left, cv2.LINE_AA, SHIFT)
        start += len(shape)


def _strip(
    thing: Thing, height: float, width: float, across: float, along: float
) -> list[Sequence[Spot]]:
    """Return the shadow of something upright and slim."""
    x, z, half = thing.x, thing.z, width / 2
    return [
        [
            (x - half, z),
            (x + half, z),
            (x + half + across * height, z + along * height),
            (x - half + across * height, z + along * height),
        ]
    ]


def _round(x: float, z: float, across: float, along: float) -> Sequence[Spot]:
    return [(x + across * cosine, z + along * sine) for cosine, sine in CIRCLE]


@singledispatch
def cast(thing: Thing, across: float, along: float) -> list[Sequence[Spot]]:  # noqa: ARG001 - what has none of its own casts none
    """Return the shapes on the ground from which a thing keeps the sun away.

    Args:
        thing: What stands there.
        across: Where the shadow of a meter's height ends, in meters to the right.
        along: The same along the street.
    """
    return []


@cast.register
def _(thing: street.House, across: float, along: float) -> list[Sequence[Spot]]:
    height = facade(thing.look).height
    shift_x, shift_z = across * height, along * height
    return [
        [
            (thing.x, thing.near),
            (thing.x, thing.z),
            (thing.x + shift_x, thing.z + shift_z),
            (thing.x + shift_x, thing.near + shift_z),
        ]
    ]


@cast.register
def _(thing: street.Fence, across: float, along: float) -> list[Sequence[Spot]]:
    shift_x, shift_z = across * 1.4, along * 1.4
    return [
        [
            (thing.x, thing.near),
            (thing.x, thing.z),
            (thing.x + shift_x, thing.z + shift_z),
            (thing.x + shift_x, thing.near + shift_z),
        ]
    ]


@cast.register
def _(thing: street.Tree, across: float, along: float) -> list[Sequence[Spot]]:
    crown = _round(
        thing.x + 4.2 * across,
        thing.z + 4.2 * along,
        1.9 + 0.4 * abs(across),
        1.9 + 0.4 * abs(along),
    )
    return [*_strip(thing, 3.5, 0.4, across, along), crown]


@cast.register
def _(thing: street.Lamp, across: float, along: float) -> list[Sequence[Spot]]:
    return _strip(thing, LAMP_HEIGHT, 0.22, across, along)


@cast.register
def _(
    thing: street.Sign | street.TrafficLight, across: float, along: float
) -> list[Sequence[Spot]]:
    return [
        *_strip(thing, SIGN_POST, 0.16, across, along),
        _round(thing.x + 2.5 * across, thing.z + 2.5 * along, 0.45, 0.45),
    ]


@cast.register
def _(thing: street.Walker | street.Rider, across: float, along: float) -> list[Sequence[Spot]]:
    return _strip(thing, 1.7, 0.42, across, along)


@cast.register
def _(thing: street.Vehicle, across: float, along: float) -> list[Sequence[Spot]]:
    body = BODIES[vehicle_look(thing.look)[0]]
    base = np.array(_footprint(thing)[0])
    shifted = base + 0.85 * body.height * np.array([across, along])
    hull = cv2.convexHull(np.concatenate([base, shifted]).astype(np.float32))[:, 0]
    return [[(float(x), float(z)) for x, z in hull]]


@singledispatch
def stand(
    thing: Thing,
) -> list[Sequence[Spot]]:  # noqa: ARG001 - what has none of its own darkens nothing
    """Return the shapes on the ground that are dark in any light, since a thing stands there."""
    return []


@stand.register
def _(thing: street.Walker | street.Rider) -> list[Sequence[Spot]]:
    return [_round(thing.x, thing.z, 0.3, 0.3)]


@stand.register
def _(thing: street.Tree | street.Lamp | street.Bollard | street.Sign) -> list[Sequence[Spot]]:
    return [_round(thing.x, thing.z, 0.28, 0.28)]


@stand.register
def _footprint(thing: street.Vehicle) -> list[Sequence[Spot]]:
    body = BODIES[vehicle_look(thing.look)[0]]
    half, reach = body.half * 1.02, body.length / 2
    return [
        [
            (thing.x - half, thing.z - reach),
            (thing.x + half, thing.z - reach),
            (thing.x + half, thing.z + reach),
            (thing.x - half, thing.z + reach),
        ]
    ]
