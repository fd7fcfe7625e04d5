"""Paint a street as the camera sees it: sky, ground, shadows, things from far to near, then the air between."""

from dataclasses import dataclass
from functools import singledispatch

import cv2
import numpy as np

from segdeploy.datasets.street import world as street
from segdeploy.datasets.street.camera import NEAR, Camera
from segdeploy.datasets.street.canvas import Canvas, points_of, SHIFT
from segdeploy.datasets.street.facades import facade
from segdeploy.datasets.street.furniture import LAMP_HEIGHT, LAMP_REACH, SIGN_POST, bollard, fence, lamp, post, sign, traffic_light
from segdeploy.datasets.street.ground import paint_ground
from segdeploy.datasets.street.labels import BICYCLIST, BUILDING, FENCE, PEDESTRIAN, POLE, SIGN, TREE
from segdeploy.datasets.street.light import Light
from segdeploy.datasets.street.people import rider, walker
from segdeploy.datasets.street.plants import HEDGE_HEIGHT, hedge, tree
from segdeploy.datasets.street.sky import paint_sky, paint_skyline
from segdeploy.datasets.street.vehicles import BODIES, PAINTS, lamps, paint_vehicle
from segdeploy.datasets.street.world import Thing, World, vehicle_look


@dataclass(frozen=True)
class Stage:
    """What painting a thing needs: where to, from where, in what light."""

    canvas: Canvas
    camera: Camera
    light: Light

    def too_small(self, z: float, size: float, share: float) -> bool:
        """Tell whether something of `size` meters would take less than a share of the picture's height."""
        return size * self.camera.scale(z) < share * self.camera.height

    def stand(self, sprite: object, thing: Thing, *, label: int, lift: float = 0.0, size: float = 1.0, mirrored: bool = False) -> None:
        """Show an upright sprite at a thing's place, `lift` meters over the ground."""
        if thing.z < self.camera.z + NEAR:
            return
        column, row = self.camera.project([(thing.x, lift, thing.z)])[0]
        tone = self.light.tone(thing.z - self.camera.z)
        self.canvas.place(sprite, column, row, scale=self.camera.scale(thing.z) * size, label=label, tone=tone, mirrored=mirrored)


def paint(world: World, height: int, width: int, *, time: float = 0.0) -> Canvas:
    """Paint what the camera sees after `time` seconds."""
    camera = world.camera(height, width, time=time)
    things = world.things(time)
    canvas = Canvas(height, width)
    first, z, x = paint_ground(canvas, camera, world.light, world.layout)
    paint_sky(canvas, camera, world.light, time=time)
    paint_skyline(canvas, camera, world.light, look=world.layout.look)
    stage = Stage(canvas, camera, world.light)
    for thing in things:
        paint_thing(thing, stage)
    return canvas


@singledispatch
def paint_thing(thing: Thing, stage: Stage) -> None:
    """Paint one thing over what is there."""
    raise NotImplementedError(type(thing).__name__)


def _wall(stage: Stage, x: float, near: float, far: float, height: float) -> tuple[np.ndarray, tuple[float, float]] | None:
    """Give the corners of an upright surface along the street, and which part of it is not behind the camera."""
    start = max(near, stage.camera.z + NEAR)
    if start >= far:
        return None
    corners = stage.camera.project([(x, height, start), (x, height, far), (x, 0, far), (x, 0, start)])
    share = (start - near) / (far - near)
    if x > stage.camera.x:
        return corners[[1, 0, 3, 2]], (0.0, 1.0 - share)
    return corners, (share, 1.0)


@paint_thing.register
def _(thing: street.House, stage: Stage) -> None:
    house = facade(thing.look)
    light, camera = stage.light, stage.camera
    tone = light.tone(max((thing.near + thing.z) / 2 - camera.z, 4.0), tint=thing.tint)
    _house_end(thing, stage)
    found = _wall(stage, thing.x, thing.near, thing.z, house.height)
    if found is None:
        return
    corners, span = found
    if house.roof:
        top = camera.project([(thing.x, house.height, max(thing.near, camera.z + NEAR)), (thing.x, house.height, thing.z)])
        ridge = thing.x + np.sign(thing.x) * 1.6
        back = camera.project([(ridge, house.height + house.roof, max(thing.near, camera.z + NEAR)), (ridge, house.height + house.roof, thing.z)])
        stage.canvas.fill(np.stack([top[0], top[1], back[1], back[0]]), light.seen(house.tiles, distance=thing.z - camera.z), label=BUILDING)
    stage.canvas.surface(house.day, corners, label=BUILDING, tone=tone, span=span)
    if light.night:
        shine = np.eye(3, 4, dtype=np.float32) * min(light.night * 1.2, 1.0)
        stage.canvas.surface(house.lights, corners, label=BUILDING, tone=shine, span=span)


def _house_end(thing: street.House, stage: Stage) -> None:
    house = facade(thing.look)
    if thing.near < stage.camera.z + NEAR:
        return
    outer = thing.x + np.sign(thing.x) * 10.0
    height, near = house.height, thing.near
    corners = stage.camera.project([(thing.x, height, near), (outer, height, near), (outer, 0, near), (thing.x, 0, near)])
    if thing.x < 0:
        corners = corners[[1, 0, 3, 2]]
    stage.canvas.surface(house.end, corners, label=BUILDING, tone=stage.light.tone(near - stage.camera.z, tint=thing.tint))


@paint_thing.register
def _(thing: street.Fence, stage: Stage) -> None:
    sprite, height = fence(thing.look)
    found = _wall(stage, thing.x, thing.near, thing.z, height)
    if found is not None and not stage.too_small(thing.z, height, 0.02):
        stage.canvas.surface(sprite, found[0], label=FENCE, tone=stage.light.tone(max(thing.near - stage.camera.z, 0)), span=found[1])


@paint_thing.register
def _(thing: street.Hedge, stage: Stage) -> None:
    found = _wall(stage, thing.x, thing.near, thing.z, HEDGE_HEIGHT)
    if found is not None:
        tone = stage.light.tone(max(thing.near - stage.camera.z, 0))
        stage.canvas.surface(hedge(thing.look), found[0], label=TREE, tone=tone, span=found[1])


@paint_thing.register
def _(thing: street.Tree, stage: Stage) -> None:
    if not stage.too_small(thing.z, 7.0, 0.06):
        stage.stand(tree(thing.look), thing, label=TREE, mirrored=thing.x > 0)


@paint_thing.register
def _(thing: street.Lamp, stage: Stage) -> None:
    if stage.too_small(thing.z, 0.26, 0.007):
        return
    stage.stand(lamp(thing.look), thing, label=POLE, mirrored=thing.x > 0)
    if stage.light.night:
        x = thing.x - np.sign(thing.x) * LAMP_REACH
        column, row = stage.camera.project([(x, LAMP_HEIGHT - 0.16, thing.z)])[0]
        scale = stage.camera.scale(thing.z)
        stage.canvas.glow(column, row, radius=1.4 * scale, color=tuple(value * stage.light.night for value in (120, 190, 235)))


@paint_thing.register
def _(thing: street.Bollard, stage: Stage) -> None:
    if not stage.too_small(thing.z, 0.3, 0.011):
        stage.stand(bollard(thing.look), thing, label=POLE)


@paint_thing.register
def _(thing: street.Sign, stage: Stage) -> None:
    if stage.too_small(thing.z, 1.0, 0.032):
        return
    stage.stand(post(SIGN_POST), thing, label=POLE)
    stage.stand(sign(thing.look), thing, label=SIGN, lift=SIGN_POST - 0.55)


@paint_thing.register
def _(thing: street.TrafficLight, stage: Stage) -> None:
    if stage.too_small(thing.z, 0.66, 0.024):
        return
    stage.stand(post(SIGN_POST), thing, label=POLE)
    stage.stand(traffic_light(thing.state), thing, label=SIGN, lift=SIGN_POST - 0.2)


@paint_thing.register
def _(thing: street.Walker, stage: Stage) -> None:
    if not stage.too_small(thing.z, 1.75, 0.055):
        stage.stand(walker(thing.look, thing.phase, facing=thing.facing), thing, label=PEDESTRIAN)


@paint_thing.register
def _(thing: street.Rider, stage: Stage) -> None:
    if not stage.too_small(thing.z, 1.8, 0.055):
        stage.stand(rider(thing.look, thing.phase, facing=thing.facing), thing, label=BICYCLIST)


@paint_thing.register
def _(thing: street.Vehicle, stage: Stage) -> None:
    if stage.too_small(thing.z, 1.5, 0.02):
        return
    body, color = vehicle_look(thing.look)
    paint_vehicle(stage.canvas, stage.camera, stage.light, body=BODIES[body][1], paint=PAINTS[color], pose=thing.pose)
