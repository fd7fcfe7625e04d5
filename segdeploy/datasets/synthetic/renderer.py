"""Render a street as the camera sees it: ground, sky, shadows, objects, then the weather.

Objects are painted from far to near.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from segdeploy.datasets.synthetic import world as street
from segdeploy.datasets.synthetic.buildings import facade
from segdeploy.datasets.synthetic.camera import NEAR, Camera
from segdeploy.datasets.synthetic.canvas import Canvas, Sprite
from segdeploy.datasets.synthetic.drawing import (
    BICYCLIST,
    BUILDING,
    FENCE,
    PEDESTRIAN,
    POLE,
    SIGN,
    TREE,
)
from segdeploy.datasets.synthetic.effects import paint_shadows, paint_weather
from segdeploy.datasets.synthetic.furniture import (
    HEDGE_HEIGHT,
    LAMP_HEIGHT,
    LAMP_REACH,
    SIGN_POST,
    bollard,
    fence,
    hedge,
    lamp,
    post,
    sign,
    traffic_light,
    tree,
)
from segdeploy.datasets.synthetic.ground import paint_ground
from segdeploy.datasets.synthetic.lighting import Color, Light, brightened
from segdeploy.datasets.synthetic.people import rider, walker
from segdeploy.datasets.synthetic.sky import paint_sky, paint_skyline
from segdeploy.datasets.synthetic.vehicle_bodies import Body
from segdeploy.datasets.synthetic.vehicles import lamps, paint_vehicle, vehicle_style
from segdeploy.datasets.synthetic.world import StreetObject, World

FULL_HEIGHT = 240
"""Rows of an image from which on a larger one shows smaller objects."""
HOUSE_DEPTH = 10.0
"""Length of a house away from the street, in meters."""
RIDGE_OFFSET = 1.3
"""Distance of a roof's ridge behind the wall under it, in meters."""
POOL_RADIUS = 3.6
"""Radius of a lamp's light on the ground, in meters."""
LAMPLIGHT: Color = (110, 185, 235)
HEAD_LIGHT: Color = (210, 235, 250)
TAIL_LIGHT: Color = (40, 30, 230)


@dataclass(frozen=True)
class Stage:
    """What painting an object needs: the canvas, the camera and the light."""

    canvas: Canvas
    camera: Camera
    light: Light

    def is_too_small(self, z: float, size: float, *, pixels: float) -> bool:
        """Return whether `size` meters take too few pixels to be recognized.

        Such an object is left out of image and mask. An image of fewer than 240 rows shows the same
        objects as one of 240.
        """
        return size * self.camera.scale(z) < pixels * min(1.0, self.camera.height / FULL_HEIGHT)

    def place(
        self,
        sprite: Sprite,
        item: StreetObject,
        *,
        label: int,
        lift: float = 0.0,
        size: float = 1.0,
        mirrored: bool = False,
    ) -> None:
        """Show an upright sprite at an object's position, `lift` meters over the ground."""
        if item.z < self.camera.z + NEAR:
            return
        column, row = self.camera.spot(item.x, lift, item.z)
        tone = self.light.tone(item.z - self.camera.z)
        self.canvas.place(
            sprite,
            column,
            row,
            scale=self.camera.scale(item.z) * size,
            label=label,
            tone=tone,
            mirrored=mirrored,
        )


def paint(world: World, height: int, width: int, *, time: float = 0.0) -> Canvas:
    """Return the image and mask of a street after `time` seconds of the drive."""
    camera = world.camera(height, width, time=time)
    objects = world.objects(time)
    canvas = Canvas(height, width)
    paint_ground(canvas, camera, world.light, world.layout)
    paint_sky(canvas, camera, world.light, time=time)
    paint_skyline(canvas, camera, world.light, style=world.layout.style)
    paint_shadows(canvas, camera, world.light, objects)
    stage = Stage(canvas, camera, world.light)
    if world.light.night:
        _lamp_pools(stage, objects)
    for item in objects:
        paint_object(item, stage)
    paint_weather(canvas, camera, world.light, random=world.random_at(time))
    return canvas


@singledispatch
def paint_object(item: StreetObject, stage: Stage) -> None:
    """Paint one object over the canvas."""
    raise NotImplementedError(type(item).__name__)


def _wall(
    stage: Stage, x: float, near: float, far: float, height: float
) -> tuple[np.ndarray, tuple[float, float]] | None:
    """Return the corners of a wall along the street, and the share of it before the camera."""
    start = max(near, stage.camera.z + NEAR)
    if start >= far:
        return None
    spot = stage.camera.spot
    corners = np.array(
        [spot(x, height, start), spot(x, height, far), spot(x, 0, far), spot(x, 0, start)]
    )
    share = (start - near) / (far - near)
    if x > stage.camera.x:
        return corners[[1, 0, 3, 2]], (0.0, 1.0 - share)
    return corners, (share, 1.0)


@paint_object.register
def _(item: street.House, stage: Stage) -> None:
    house = facade(item.style)
    if item.exposed and item.near > stage.camera.z + NEAR:
        _house_end(item, stage)
    if house.roof:
        _roof(item, stage)
    wall = _wall(stage, item.x, item.near, item.z, house.height)
    if wall is None:
        return
    corners, span = wall
    tone = stage.light.tone(
        (max(item.near, stage.camera.z) + item.z) / 2 - stage.camera.z, tint=item.tint
    )
    stage.canvas.surface(house.day, corners, label=BUILDING, tone=tone, span=span)
    if stage.light.night:
        unchanged = np.eye(3, 4, dtype=np.float32)
        stage.canvas.surface(
            house.lights,
            corners,
            label=BUILDING,
            tone=unchanged,
            span=span,
            opacity=stage.light.night,
        )


def _house_end(item: street.House, stage: Stage) -> None:
    """Paint the wall that faces the camera."""
    house, spot = facade(item.style), stage.camera.spot
    outer = item.x + math.copysign(HOUSE_DEPTH, item.x)
    left, right = min(item.x, outer), max(item.x, outer)
    corners = [(left, house.height), (right, house.height), (right, 0.0), (left, 0.0)]
    flat = np.array([spot(x, y, item.near) for x, y in corners])
    stage.canvas.surface(
        house.end,
        flat,
        label=BUILDING,
        tone=stage.light.tone(item.near - stage.camera.z, tint=item.tint),
    )


def _roof(item: street.House, stage: Stage) -> None:
    """Paint the slope over the street, and the gable that faces the camera."""
    house, spot = facade(item.style), stage.camera.spot
    start, low, high = (
        max(item.near, stage.camera.z + NEAR),
        house.height,
        house.height + house.roof,
    )
    if start >= item.z:
        return
    out = math.copysign(1.0, item.x)
    ridge, outer = item.x + out * RIDGE_OFFSET, item.x + out * HOUSE_DEPTH
    distance = start - stage.camera.z
    if start == item.near:
        end = [
            (item.x, low, start),
            (ridge, high, start),
            (outer - out * RIDGE_OFFSET, high, start),
            (outer, low, start),
        ]
        stage.canvas.fill(
            np.array([spot(*point) for point in end]),
            stage.light.seen(brightened(house.tiles, 0.75), distance=distance),
            label=BUILDING,
        )
    slope = [
        (item.x, low, start),
        (item.x, low, item.z),
        (ridge, high, item.z),
        (ridge, high, start),
    ]
    stage.canvas.fill(
        np.array([spot(*point) for point in slope]),
        stage.light.seen(house.tiles, distance=distance),
        label=BUILDING,
    )


@paint_object.register
def _(item: street.Fence, stage: Stage) -> None:
    sprite, height = fence(item.style)
    if stage.is_too_small(item.z, height, pixels=14):
        return
    wall = _wall(stage, item.x, item.near, item.z, height)
    if wall is not None:
        stage.canvas.surface(
            sprite,
            wall[0],
            label=FENCE,
            tone=stage.light.tone(max(item.near - stage.camera.z, 0)),
            span=wall[1],
        )


@paint_object.register
def _(item: street.Hedge, stage: Stage) -> None:
    if stage.is_too_small(item.z, HEDGE_HEIGHT, pixels=24):
        return
    wall = _wall(stage, item.x, item.near, item.z, HEDGE_HEIGHT)
    if wall is not None:
        tone = stage.light.tone(max(item.near - stage.camera.z, 0))
        stage.canvas.surface(hedge(item.style), wall[0], label=TREE, tone=tone, span=wall[1])


@paint_object.register
def _(item: street.Tree, stage: Stage) -> None:
    if not stage.is_too_small(item.z, 7.0, pixels=40):
        stage.place(tree(item.style), item, label=TREE, mirrored=item.x > 0)


@paint_object.register
def _(item: street.Lamp, stage: Stage) -> None:
    if stage.is_too_small(item.z, 0.42, pixels=6):
        return
    stage.place(lamp(item.style), item, label=POLE, mirrored=item.x > 0)
    if stage.light.night:
        _lamp_light(item, stage)


def _lamp_light(item: street.Lamp, stage: Stage) -> None:
    x = item.x - math.copysign(LAMP_REACH, item.x)
    scale = stage.camera.scale(item.z)
    column, row = stage.camera.spot(x, LAMP_HEIGHT - 0.16, item.z)
    stage.canvas.glow(
        column,
        row,
        across=1.4 * scale,
        up=1.4 * scale,
        color=brightened(LAMPLIGHT, stage.light.night),
    )


def _lamp_pools(stage: Stage, objects: Sequence[StreetObject]) -> None:
    """Paint the light of street lamps on the ground."""
    for item in objects:
        if isinstance(item, street.Lamp) and item.z > stage.camera.z + POOL_RADIUS + NEAR:
            x = item.x - math.copysign(LAMP_REACH, item.x)
            column, near = stage.camera.spot(x, 0, item.z - POOL_RADIUS)
            far = stage.camera.spot(x, 0, item.z + POOL_RADIUS)[1]
            across = POOL_RADIUS * stage.camera.scale(item.z)
            stage.canvas.glow(
                column,
                (near + far) / 2,
                across=across,
                up=(near - far) / 2,
                color=brightened(LAMPLIGHT, 0.4 * stage.light.night),
            )


@paint_object.register
def _(item: street.Bollard, stage: Stage) -> None:
    if not stage.is_too_small(item.z, 0.42, pixels=8):
        stage.place(bollard(item.style), item, label=POLE)


@paint_object.register
def _(item: street.Sign, stage: Stage) -> None:
    if stage.is_too_small(item.z, 1.0, pixels=16):
        return
    stage.place(post(SIGN_POST), item, label=POLE)
    stage.place(sign(item.style), item, label=SIGN, lift=SIGN_POST - 0.6, size=1.1)


@paint_object.register
def _(item: street.TrafficLight, stage: Stage) -> None:
    if stage.is_too_small(item.z, 0.66, pixels=12):
        return
    stage.place(post(SIGN_POST), item, label=POLE)
    stage.place(traffic_light(item.state), item, label=SIGN, lift=SIGN_POST - 0.2)


@paint_object.register
def _(item: street.Walker, stage: Stage) -> None:
    if not stage.is_too_small(item.z, 1.75, pixels=26):
        stage.place(walker(item.style, item.phase, facing=item.facing), item, label=PEDESTRIAN)


@paint_object.register
def _(item: street.Rider, stage: Stage) -> None:
    if not stage.is_too_small(item.z, 1.8, pixels=34):
        stage.place(rider(item.style, item.phase, facing=item.facing), item, label=BICYCLIST)


@paint_object.register
def _(item: street.Vehicle, stage: Stage) -> None:
    if stage.is_too_small(item.z, 1.5, pixels=13):
        return
    body, paint = vehicle_style(item.style)
    paint_vehicle(
        stage.canvas,
        stage.camera,
        stage.light,
        body=body,
        paint=paint,
        pose=item.pose,
    )
    if stage.light.night and item.z > stage.camera.z + body.length / 2 + NEAR:
        _vehicle_lights(item, body, stage)


def _vehicle_lights(item: street.Vehicle, body: Body, stage: Stage) -> None:
    """Paint the lights of a moving vehicle."""
    if not item.moving:
        return
    scale = stage.camera.scale(item.z)
    radius, color = (0.5, TAIL_LIGHT) if item.heading > 0 else (0.95, HEAD_LIGHT)
    for column, row in lamps(stage.camera, body=body, pose=item.pose):
        stage.canvas.glow(
            column,
            row,
            across=radius * scale,
            up=radius * scale,
            color=brightened(color, stage.light.night),
        )
