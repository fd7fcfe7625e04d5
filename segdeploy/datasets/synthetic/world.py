"""The objects along an endless street, all generated from one seed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segdeploy.datasets.synthetic.buildings import STYLES, facade
from segdeploy.datasets.synthetic.camera import Bend, Camera, Floats
from segdeploy.datasets.synthetic.furniture import FENCE_LENGTH, FENCES, HEDGE_LENGTH, SIGNS, TREES
from segdeploy.datasets.synthetic.ground import CROSSING, LENGTH, Layout
from segdeploy.datasets.synthetic.lighting import Light, draw_light
from segdeploy.datasets.synthetic.people import PEOPLE, PHASES
from segdeploy.datasets.synthetic.vehicles import Pose

BLOCK = LENGTH
"""Length of the part of the street that one seed generates, in meters."""
SIGHT = 120.0
"""Distance up to which objects are drawn, in meters."""
BEHIND = 6.0
"""Distance behind the camera, in meters, from which objects may still reach into the image."""
SPEED = 8.0
"""Speed of the camera in a drive, in meters per second."""
ONCOMING, ONCOMING_COUNT = 14, 3
"""Purpose in the seed of oncoming vehicles, and their number in sight."""
PARKING = 2.2
"""Width of the parking lane on each side, in meters."""


@dataclass(frozen=True, kw_only=True)
class StreetObject:
    """An object on the street.

    Attributes:
        x: Position across the street from its middle, in meters.
        z: Position along the street, in meters; the far end of a long object.
        style: Seed of its appearance.
    """

    x: float
    z: float
    style: int


@dataclass(frozen=True, kw_only=True)
class LongObject(StreetObject):
    """An object along the street, from `near` to `z`, in meters."""

    near: float


@dataclass(frozen=True, kw_only=True)
class House(LongObject):
    """A house; `exposed` is whether its near wall can be seen."""

    exposed: bool
    tint: tuple[float, float, float]


class Fence(LongObject):
    """A piece of fence."""


class Hedge(LongObject):
    """A row of bushes."""


class Tree(StreetObject):
    """A tree."""


class Lamp(StreetObject):
    """A street lamp that leans over the road."""


class Bollard(StreetObject):
    """A short post."""


class Sign(StreetObject):
    """A traffic sign on a post."""


@dataclass(frozen=True, kw_only=True)
class TrafficLight(StreetObject):
    """A traffic light on a post; `state` is 0 for red, 1 for amber, 2 for green."""

    state: int


@dataclass(frozen=True, kw_only=True)
class Person(StreetObject):
    """A person in motion.

    Attributes:
        phase: Phase of the step, or of the turn of the pedals.
        facing: Whether the person moves toward the camera.
    """

    phase: int
    facing: bool


class Walker(Person):
    """A pedestrian."""


class Rider(Person):
    """A cyclist."""


@dataclass(frozen=True, kw_only=True)
class Vehicle(StreetObject):
    """A car, a van or a bus; `heading` as in `Pose`."""

    heading: int
    moving: bool

    @property
    def pose(self) -> Pose:
        """Its position and direction."""
        return Pose(x=self.x, z=self.z, heading=self.heading)


@dataclass(frozen=True)
class World:
    """A street.

    Attributes:
        seed: Numbers that identify the street; equal numbers give the same street everywhere.
        weather: Name of its light, one of `lighting.WEATHERS`; drawn by the seed where None.
    """

    seed: tuple[int, ...]
    weather: str | None = None

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, *(number & 0xFFFFFFFF for number in purpose)])

    def random_at(self, time: float) -> np.random.Generator:
        """Return random numbers for what changes with each frame, such as raindrops."""
        return self._random(16, round(1000 * time))

    @cached_property
    def layout(self) -> Layout:
        """Widths of the street's parts."""
        style = int(self._random(1).integers(10))
        return Layout(road=4.7 + 0.2 * (style % 4), pavement=4.2 + 0.4 * (style % 3), style=style)

    @cached_property
    def light(self) -> Light:
        """Light and weather."""
        return draw_light(self._random(2), self.weather)

    @cached_property
    def bend(self) -> Bend:
        """The bends of the street."""
        random = self._random(3)
        return Bend(reach=float(random.uniform(-9, 9)), phase=float(random.uniform(0, 2 * np.pi)))

    @cached_property
    def start(self) -> float:
        """Initial position of the camera, in meters."""
        return float(self._random(4).uniform(0, BLOCK))

    @property
    def lane(self) -> float:
        """Distance of each lane's center from the middle of the road, in meters."""
        return (self.layout.road - PARKING) / 2

    @property
    def course(self) -> float:
        """Position of the camera across the street, in meters.

        It is nearer to the middle than other vehicles, to clear the cyclists.
        """
        return 0.72 * self.lane

    def camera(self, height: int, width: int, *, time: float) -> Camera:
        """Return the camera after `time` seconds of the drive."""
        sway = 0.12 * np.sin(0.7 * time + self.start)
        eye = 1.5 + 0.008 * np.sin(7.1 * time)
        return Camera(
            height=height,
            width=width,
            x=float(self.course + sway),
            z=self.start + SPEED * time,
            eye=float(eye),
            bend=self.bend,
        )

    def objects(self, time: float) -> list[StreetObject]:
        """Return all objects in sight after `time` seconds, the farthest first."""
        position = self.start + SPEED * time
        candidates: list[StreetObject] = []
        for block in range(
            int(np.floor(position / BLOCK)) - 1, int(np.floor((position + SIGHT) / BLOCK)) + 1
        ):
            candidates.extend(self._block(block, time=time))
        candidates.extend(self._walkers(time))
        candidates.extend(self._riders(time))
        candidates.extend(self._traffic(time))
        visible = [item for item in candidates if position - BEHIND < item.z < position + SIGHT]
        return sorted(
            visible, key=lambda item: -item.z - (0.0 if abs(item.x) < self.layout.line else 0.3)
        )

    def _block(self, block: int, *, time: float) -> Iterator[StreetObject]:
        for side in (-1, 1):
            random = self._random(5, block, side)
            yield from self._lots(block * BLOCK, side, random)
            yield from self._curb(block * BLOCK, side, random)
            if self.layout.crossing:
                state = (0, 0, 0, 2, 2, 2, 1)[int(time / 2 + 3 * block) % 7]
                x = side * (self.layout.road + 0.6)
                yield TrafficLight(x=x, z=block * BLOCK + CROSSING - 0.6, style=0, state=state)

    def _curb(self, start: float, side: int, random: np.random.Generator) -> Iterator[StreetObject]:
        """Return the objects along one curb of a block."""
        curb, style = side * self.layout.road, self.layout.style
        shifts = random.random((3, 8)).tolist()
        styles = random.integers(1 << 30, size=(3, 8)).tolist()
        chances = random.random((4, 8)).tolist()
        for number in range(3):
            yield Lamp(
                x=curb + side * 0.55, z=start + 4 + 16 * number + 8 * (side > 0), style=style
            )
        for number in range(4):
            if chances[0][number] < 0.75:
                yield Sign(
                    x=curb + side * 0.75,
                    z=start + 1 + 12 * number + 4 * shifts[0][number],
                    style=styles[0][number] % SIGNS,
                )
            if chances[1][number] < 0.6:
                yield Tree(
                    x=curb + side * 0.95,
                    z=start + 7.5 + 12 * number + 3 * shifts[1][number],
                    style=styles[1][number] % TREES,
                )
        for number in range(8):
            if chances[2][number] < 0.5:
                yield Bollard(
                    x=curb + side * 0.45, z=start + 6 * number + 3 * shifts[2][number], style=style
                )
        for number in range(7):
            z = 3.2 + 6.4 * number
            if chances[3][number] < 0.26 and not CROSSING - 4 < z < CROSSING + 7:
                yield Vehicle(
                    x=curb - side, z=start + z, style=styles[2][number], heading=side, moving=False
                )

    def _lots(self, start: float, side: int, random: np.random.Generator) -> Iterator[StreetObject]:
        near, end, before = start, start + BLOCK, 0.0
        garden = int(random.integers(3))
        styles, tints = (
            random.integers(STYLES, size=12).tolist(),
            random.uniform(0.88, 1.1, (12, 3)).tolist(),
        )
        for number, (style, (blue, green, red)) in enumerate(zip(styles, tints, strict=True)):
            width, height = facade(style).width, facade(style).height
            if near + width > end or number in (garden, garden + 2):
                stop = (
                    end
                    if near + width > end
                    else min(near + float(random.uniform(11.0, 16.0)), end)
                )
                yield from self._garden(near, stop, side, random)
                near, before = stop, 0.0
            else:
                tint = (blue, green, red)
                yield House(
                    x=side * self.layout.line,
                    z=near + width,
                    near=near,
                    style=style,
                    tint=tint,
                    exposed=height > before,
                )
                near, before = near + width, height
            if near >= end:
                return

    def _garden(
        self, start: float, end: float, side: int, random: np.random.Generator
    ) -> Iterator[StreetObject]:
        style, leaves = int(random.integers(FENCES)), int(random.integers(4))
        line = self.layout.line
        for near, far in _pieces(start, end, FENCE_LENGTH):
            yield Fence(x=side * line, z=far, near=near, style=style)
        for near, far in _pieces(start, end, HEDGE_LENGTH):
            yield Hedge(x=side * (line + 3.5), z=far + 0.2, near=near, style=leaves)
        for near, far in _pieces(start, end, 6.0):
            yield Tree(
                x=side * (line + random.uniform(1.2, 3.0)),
                z=float(random.uniform(near, far)),
                style=int(random.integers(TREES)),
            )

    def _slots(
        self, purpose: int, *, count: int, period: float, speed: float, time: float
    ) -> Iterator[tuple[float, list[float]]]:
        """Return positions of moving objects, evenly spread, and four numbers in [0, 1) for each.

        The numbers determine its appearance. Objects that fall behind reappear ahead as others.
        """
        drawn: dict[int, list[list[float]]] = {}
        distances = self.traveled(
            purpose, count=count, period=period, speed=speed, time=np.array([time])
        )
        for slot, distance in enumerate(distances[:, 0].tolist()):
            lap = math.floor((distance + BEHIND) / period)
            if lap not in drawn:
                drawn[lap] = self._random(purpose, 1, lap).random((count, 4)).tolist()
            yield self.start + SPEED * time + distance - lap * period, drawn[lap][slot]

    def traveled(
        self, purpose: int, *, count: int, period: float, speed: float, time: Floats
    ) -> Floats:
        """Return how far ahead of the camera each of `count` objects is, (count, times) in meters.

        The distances are not yet taken modulo the period.
        """
        offsets = (np.arange(count) + self._random(purpose).uniform(0, 0.7, count)) * period / count
        return np.asarray(offsets[:, None] + (speed - SPEED) * time[None])

    def _walkers(self, time: float) -> Iterator[StreetObject]:
        for purpose, speed in ((10, 1.3), (11, -1.3)):
            for z, (side, across, phase, style) in self._slots(
                purpose, count=18, period=54.0, speed=speed, time=time
            ):
                x = (1 if side < 0.5 else -1) * (
                    self.layout.road + 0.9 + across * (self.layout.pavement - 1.4)
                )
                yield Walker(
                    x=x,
                    z=z,
                    style=int(style * PEOPLE),
                    phase=int((time + phase) * PHASES) % PHASES,
                    facing=speed < 0,
                )

    def _riders(self, time: float) -> Iterator[StreetObject]:
        edge = self.layout.road - PARKING - 0.4
        for purpose, speed, side in ((12, 4.2, 1), (13, -4.2, -1)):
            for z, (across, phase, style, _) in self._slots(
                purpose, count=3, period=72.0, speed=speed, time=time
            ):
                turn = int((1.2 * time + phase) * PHASES) % PHASES
                yield Rider(
                    x=side * (edge + 0.2 * across),
                    z=z,
                    style=int(style * PEOPLE),
                    phase=turn,
                    facing=speed < 0,
                )

    def _traffic(self, time: float) -> Iterator[StreetObject]:
        for z, (style, _, _, _) in self._slots(
            ONCOMING, count=ONCOMING_COUNT, period=SIGHT, speed=-SPEED, time=time
        ):
            yield Vehicle(x=-self.lane, z=z, style=int(style * (1 << 30)), heading=-1, moving=True)
        random = self._random(15)
        if random.random() < 0.7:
            ahead = random.uniform(15, 34) + 2.5 * np.sin(time / 3 + random.uniform(0, 6))
            z = self.start + SPEED * time + ahead
            yield Vehicle(
                x=self.lane,
                z=float(z),
                style=int(random.integers(1 << 30)),
                heading=1,
                moving=True,
            )


def _pieces(start: float, end: float, length: float) -> Iterator[tuple[float, float]]:
    """Return the ends of equal pieces of about a length that fill a stretch."""
    count = max(round((end - start) / length), 1)
    step = (end - start) / count
    return ((start + number * step, start + (number + 1) * step) for number in range(count))
