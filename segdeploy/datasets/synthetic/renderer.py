"""Paint a street as the camera sees it.

Sky, ground, shadows, things from far to near, then the air between.
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
from segdeploy.datasets.synthetic.effects import paint_air, paint_shade
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
from segdeploy.datasets.synthetic.lighting import Color, Light, times
from segdeploy.datasets.synthetic.people import rider, walker
from segdeploy.datasets.synthetic.sky import paint_sky, paint_skyline
from segdeploy.datasets.synthetic.vehicles import BODIES, PAINTS, Body, lamps, paint_vehicle
from segdeploy.datasets.synthetic.world import Thing, World, vehicle_look

FULL = 240
"""Rows of an image from which on a larger one shows more."""
END = 10.0
"""Length of a house away from the street, in meters."""
EAVES = 1.3
"""How far a roof's ridge lies behind the wall under it, in meters."""
POOL = 3.6
"""Radius of the light of a lamp on the ground, in meters."""
LAMPLIGHT: Color = (110, 185, 235)
HEAD_LIGHT: Color = (210, 235, 250)
TAIL_LIGHT: Color = (40, 30, 230)


@dataclass(frozen=True)
class Stage:
    """What painting a thing needs: where to, from where, in what light."""

    canvas: Canvas
    camera: Camera
    light: Light

    def too_small(self, z: float, size: float, *, pixels: float) -> bool:
        """Return whether something of `size` meters would take too few pixels to be named.

        It is left out of image and mask.

        An image of fewer than 240 rows shows what one of 240 shows, only coarser.
        """
        return size * self.camera.scale(z) < pixels * min(1.0, self.camera.height / FULL)

    def stand(
        self,
        sprite: Sprite,
        thing: Thing,
        *,
        label: int,
        lift: float = 0.0,
        size: float = 1.0,
        mirrored: bool = False,
    ) -> None:
        """Show an upright sprite at a thing's place, `lift` meters over the ground."""
        if thing.z < self.camera.z + NEAR:
            return
        column, row = self.camera.spot(thing.x, lift, thing.z)
        tone = self.light.tone(thing.z - self.camera.z)
        self.canvas.place(
            sprite,
            column,
            row,
            scale=self.camera.scale(thing.z) * size,
            label=label,
            tone=tone,
            mirrored=mirrored,
        )


def paint(world: World, height: int, width: int, *, time: float = 0.0) -> Canvas:
    """Paint what the camera sees after `time` seconds."""
    camera = world.camera(height, width, time=time)
    things = world.things(time)
    canvas = Canvas(height, width)
    paint_ground(canvas, camera, world.light, world.layout)
    paint_sky(canvas, camera, world.light, time=time)
    paint_skyline(canvas, camera, world.light, look=world.layout.look)
    paint_shade(canvas, camera, world.light, things)
    stage = Stage(canvas, camera, world.light)
    if world.light.night:
        _pools(stage, things)
    for thing in things:
        paint_thing(thing, stage)
    paint_air(canvas, camera, world.light, random=world.random_at(time))
    return canvas


@singledispatch
def paint_thing(thing: Thing, stage: Stage) -> None:
    """Paint one thing over what is there."""
    raise NotImplementedError(type(thing).__name__)


def _wall(
    stage: Stage, x: float, near: float, far: float, height: float
) -> tuple[np.ndarray, tuple[float, float]] | None:
    """Return the corners of an upright surface along the street, and which part of it is not behind the camera."""
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


@paint_thing.register
def _(thing: street.House, stage: Stage) -> None:
    house = facade(thing.look)
    if thing.exposed and thing.near > stage.camera.z + NEAR:
        _house_end(thing, stage)
    if house.roof:
        _roof(thing, stage)
    found = _wall(stage, thing.x, thing.near, thing.z, house.height)
    if found is None:
        return
    corners, span = found
    tone = stage.light.tone(
        (max(thing.near, stage.camera.z) + thing.z) / 2 - stage.camera.z, tint=thing.tint
    )
    stage.canvas.surface(house.day, corners, label=BUILDING, tone=tone, span=span)
    if stage.light.night:
        itself = np.eye(3, 4, dtype=np.float32)
        stage.canvas.surface(
            house.lights, corners, label=BUILDING, tone=itself, span=span, opacity=stage.light.night
        )


def _house_end(thing: street.House, stage: Stage) -> None:
    """Paint the wall that faces the camera."""
    house, spot = facade(thing.look), stage.camera.spot
    outer = thing.x + math.copysign(END, thing.x)
    left, right = min(thing.x, outer), max(thing.x, outer)
    corners = [(left, house.height), (right, house.height), (right, 0.0), (left, 0.0)]
    flat = np.array([spot(x, y, thing.near) for x, y in corners])
    stage.canvas.surface(
        house.end,
        flat,
        label=BUILDING,
        tone=stage.light.tone(thing.near - stage.camera.z, tint=thing.tint),
    )


def _roof(thing: street.House, stage: Stage) -> None:
    """Paint the slope over the street, and the slope over the wall that faces the camera."""
    house, spot = facade(thing.look), stage.camera.spot
    start, low, high = (
        max(thing.near, stage.camera.z + NEAR),
        house.height,
        house.height + house.roof,
    )
    if start >= thing.z:
        return
    out = math.copysign(1.0, thing.x)
    ridge, outer = thing.x + out * EAVES, thing.x + out * END
    distance = start - stage.camera.z
    if start == thing.near:
        end = [
            (thing.x, low, start),
            (ridge, high, start),
            (outer - out * EAVES, high, start),
            (outer, low, start),
        ]
        stage.canvas.fill(
            np.array([spot(*point) for point in end]),
            stage.light.seen(times(house.tiles, 0.75), distance=distance),
            label=BUILDING,
        )
    slope = [
        (thing.x, low, start),
        (thing.x, low, thing.z),
        (ridge, high, thing.z),
        (ridge, high, start),
    ]
    stage.canvas.fill(
        np.array([spot(*point) for point in slope]),
        stage.light.seen(house.tiles, distance=distance),
        label=BUILDING,
    )


@paint_thing.register
def _(thing: street.Fence, stage: Stage) -> None:
    sprite, height = fence(thing.look)
    if stage.too_small(thing.z, height, pixels=14):
        return
    found = _wall(stage, thing.x, thing.near, thing.z, height)
    if found is not None:
        stage.canvas.surface(
            sprite,
            found[0],
            label=FENCE,
            tone=stage.light.tone(max(thing.near - stage.camera.z, 0)),
            span=found[1],
        )


@paint_thing.register
def _(thing: street.Hedge, stage: Stage) -> None:
    if stage.too_small(thing.z, HEDGE_HEIGHT, pixels=24):
        return
    found = _wall(stage, thing.x, thing.near, thing.z, HEDGE_HEIGHT)
    if found is not None:
        tone = stage.light.tone(max(thing.near - stage.camera.z, 0))
        stage.canvas.surface(hedge(thing.look), found[0], label=TREE, tone=tone, span=found[1])


@paint_thing.register
def _(thing: street.Tree, stage: Stage) -> None:
    if not stage.too_small(thing.z, 7.0, pixels=40):
        stage.stand(tree(thing.look), thing, label=TREE, mirrored=thing.x > 0)


@paint_thing.register
def _(thing: street.Lamp, stage: Stage) -> None:
    if stage.too_small(thing.z, 0.42, pixels=6):
        return
    stage.stand(lamp(thing.look), thing, label=POLE, mirrored=thing.x > 0)
    if stage.light.night:
        _lamp_light(thing, stage)


def _lamp_light(thing: street.Lamp, stage: Stage) -> None:
    x = thing.x - math.copysign(LAMP_REACH, thing.x)
    scale = stage.camera.scale(thing.z)
    column, row = stage.camera.spot(x, LAMP_HEIGHT - 0.16, thing.z)
    stage.canvas.glow(
        column, row, across=1.4 * scale, up=1.4 * scale, color=times(LAMPLIGHT, stage.light.night)
    )


def _pools(stage: Stage, things: Sequence[Thing]) -> None:
    """Paint the light of the lamps on the ground."""
    for thing in things:
        if isinstance(thing, street.Lamp) and thing.z > stage.camera.z + POOL + NEAR:
            x = thing.x - math.copysign(LAMP_REACH, thing.x)
            column, near = stage.camera.spot(x, 0, thing.z - POOL)
            far = stage.camera.spot(x, 0, thing.z + POOL)[1]
            across = POOL * stage.camera.scale(thing.z)
            stage.canvas.glow(
                column,
                (near + far) / 2,
                across=across,
                up=(near - far) / 2,
                color=times(LAMPLIGHT, 0.4 * stage.light.night),
            )


@paint_thing.register
def _(thing: street.Bollard, stage: Stage) -> None:
    if not stage.too_small(thing.z, 0.42, pixels=8):
        stage.stand(bollard(thing.look), thing, label=POLE)


@paint_thing.register
def _(thing: street.Sign, stage: Stage) -> None:
    if stage.too_small(thing.z, 1.0, pixels=16):
        return
    stage.stand(post(SIGN_POST), thing, label=POLE)
    stage.stand(sign(thing.look), thing, label=SIGN, lift=SIGN_POST - 0.6, size=1.1)


@paint_thing.register
def _(thing: street.TrafficLight, stage: Stage) -> None:
    if stage.too_small(thing.z, 0.66, pixels=12):
        return
    stage.stand(post(SIGN_POST), thing, label=POLE)
    stage.stand(traffic_light(thing.state), thing, label=SIGN, lift=SIGN_POST - 0.2)


@paint_thing.register
def _(thing: street.Walker, stage: Stage) -> None:
    if not stage.too_small(thing.z, 1.75, pixels=26):
        stage.stand(walker(thing.look, thing.phase, facing=thing.facing), thing, label=PEDESTRIAN)


@paint_thing.register
def _(thing: street.Rider, stage: Stage) -> None:
    if not stage.too_small(thing.z, 1.8, pixels=34):
        stage.stand(rider(thing.look, thing.phase, facing=thing.facing), thing, label=BICYCLIST)


@paint_thing.register
def _(thing: street.Vehicle, stage: Stage) -> None:
    if stage.too_small(thing.z, 1.5, pixels=13):
        return
    body, color = vehicle_look(thing.look)
    paint_vehicle(
        stage.canvas,
        stage.camera,
        stage.light,
        body=BODIES[body],
        paint=PAINTS[color],
        pose=thing.pose,
    )
    if stage.light.night and thing.z > stage.camera.z + BODIES[body].length / 2 + NEAR:
        _beams(thing, BODIES[body], stage)


def _beams(thing: street.Vehicle, body: Body, stage: Stage) -> None:
    """Paint the shine of the lamps of a vehicle that is on its way."""
    if not thing.moving:
        return
    scale = stage.camera.scale(thing.z)
    radius, color = (0.5, TAIL_LIGHT) if thing.heading > 0 else (0.95, HEAD_LIGHT)
    for column, row in lamps(stage.camera, body=body, pose=thing.pose):
        stage.canvas.glow(
            column,
            row,
            across=radius * scale,
            up=radius * scale,
            color=times(color, stage.light.night),
        )
