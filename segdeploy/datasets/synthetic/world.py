"""What stands and moves along an endless street, all of it drawn from one seed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from segdeploy.datasets.synthetic.buildings import LOOKS, facade
from segdeploy.datasets.synthetic.camera import Bend, Camera, Floats
from segdeploy.datasets.synthetic.furniture import FENCE_LENGTH, FENCES, HEDGE_LENGTH, SIGNS, TREES
from segdeploy.datasets.synthetic.ground import CROSSING, LENGTH, Layout
from segdeploy.datasets.synthetic.lighting import Light, draw_light
from segdeploy.datasets.synthetic.people import PEOPLE, PHASES
from segdeploy.datasets.synthetic.vehicles import BODIES, PAINTS, SHARES, Pose

BLOCK = LENGTH
"""Length of the part of the street that one seed fills, in meters."""
SIGHT = 120.0
"""Nothing further away is drawn, in meters."""
BEHIND = 6.0
"""What stands so far behind the camera, in meters, may still reach into the image."""
SPEED = 8.0
"""Of the camera in a drive, in meters a second."""
ONCOMING, ONCOMING_COUNT = 14, 3
"""Purpose of the seed of the vehicles that come, and how many of them are in sight."""
PARKING = 2.2
"""Width of the lane of parked cars on each side, in meters."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something on the street.

    Attributes:
        x: Across the street from its middle, in meters.
        z: Along the street, in meters; where it ends, if it is long.
        look: Seed of how it looks.
    """

    x: float
    z: float
    look: int


@dataclass(frozen=True, kw_only=True)
class House(Thing):
    """A house; `z` is its far end, `near` the other.

    `exposed` is whether its wall there can be seen.
    """

    near: float
    exposed: bool
    tint: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Fence(Thing):
    """A piece of fence; `z` is its far end, `near` the other."""

    near: float


@dataclass(frozen=True, kw_only=True)
class Hedge(Thing):
    """A wall of bushes; `z` is its far end, `near` the other."""

    near: float


@dataclass(frozen=True, kw_only=True)
class Tree(Thing):
    """A tree."""


@dataclass(frozen=True, kw_only=True)
class Lamp(Thing):
    """A street lamp that leans over the road."""


@dataclass(frozen=True, kw_only=True)
class Bollard(Thing):
    """A short post."""


@dataclass(frozen=True, kw_only=True)
class Sign(Thing):
    """A traffic sign on a post."""


@dataclass(frozen=True, kw_only=True)
class TrafficLight(Thing):
    """A traffic light on a post; `state` is 0 red, 1 amber, 2 green."""

    state: int


@dataclass(frozen=True, kw_only=True)
class Walker(Thing):
    """A person on foot, at one of the phases of a step."""

    phase: int
    facing: bool


@dataclass(frozen=True, kw_only=True)
class Rider(Thing):
    """A person on a bicycle, at one of the phases of a turn of the pedals."""

    phase: int
    facing: bool


@dataclass(frozen=True, kw_only=True)
class Vehicle(Thing):
    """A car, a van or a bus."""

    heading: int
    moving: bool

    @property
    def pose(self) -> Pose:
        """Where it stands."""
        return Pose(x=self.x, z=self.z, heading=self.heading)


@dataclass(frozen=True)
class World:
    """A street.

    Attributes:
        seed: Numbers that say which street; equal numbers give the same street everywhere.
        weather: Name of its light, one of `light.WEATHERS`; drawn with the street where None.
    """

    seed: tuple[int, ...]
    weather: str | None = None

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, *(number & 0xFFFFFFFF for number in purpose)])

    def random_at(self, time: float) -> np.random.Generator:
        """Return random numbers for what changes from frame to frame, such as drops of rain."""
        return self._random(16, round(1000 * time))

    @cached_property
    def layout(self) -> Layout:
        """How wide the street is."""
        look = int(self._random(1).integers(10))
        return Layout(road=4.7 + 0.2 * (look % 4), pavement=4.2 + 0.4 * (look % 3), look=look)

    @cached_property
    def light(self) -> Light:
        """Daylight and weather."""
        return draw_light(self._random(2), self.weather)

    @cached_property
    def bend(self) -> Bend:
        """How the street swings."""
        random = self._random(3)
        return Bend(reach=float(random.uniform(-9, 9)), phase=float(random.uniform(0, 2 * np.pi)))

    @cached_property
    def start(self) -> float:
        """Where the camera starts, in meters."""
        return float(self._random(4).uniform(0, BLOCK))

    @property
    def lane(self) -> float:
        """Distance of the middle of each lane from the middle of the road, in meters."""
        return (self.layout.road - PARKING) / 2

    @property
    def course(self) -> float:
        """Where the camera drives, in meters.

        Nearer to the middle than others, so that it clears the riders.
        """
        return 0.72 * self.lane

    def camera(self, height: int, width: int, *, time: float) -> Camera:
        """Put the camera where it is after `time` seconds of the drive."""
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

    def things(self, time: float) -> list[Thing]:
        """Return everything in sight after `time` seconds, the farthest first."""
        place = self.start + SPEED * time
        found: list[Thing] = []
        for block in range(
            int(np.floor(place / BLOCK)) - 1, int(np.floor((place + SIGHT) / BLOCK)) + 1
        ):
            found.extend(self._block(block, time=time))
        found.extend(self._walkers(time))
        found.extend(self._riders(time))
        found.extend(self._traffic(time))
        seen = [thing for thing in found if place - BEHIND < thing.z < place + SIGHT]
        return sorted(
            seen, key=lambda thing: -thing.z - (0.0 if abs(thing.x) < self.layout.line else 0.3)
        )

    def _block(self, block: int, *, time: float) -> Iterator[Thing]:
        for side in (-1, 1):
            random = self._random(5, block, side)
            yield from self._lots(block * BLOCK, side, random)
            yield from self._kerb(block * BLOCK, side, random)
            if self.layout.crossing:
                state = (0, 0, 0, 2, 2, 2, 1)[int(time / 2 + 3 * block) % 7]
                x = side * (self.layout.road + 0.6)
                yield TrafficLight(x=x, z=block * BLOCK + CROSSING - 0.6, look=0, state=state)

    def _kerb(self, start: float, side: int, random: np.random.Generator) -> Iterator[Thing]:
        """Return what stands along one kerb of a block."""
        kerb, look = side * self.layout.road, self.layout.look
        shifts = random.random((3, 8)).tolist()
        looks = random.integers(1 << 30, size=(3, 8)).tolist()
        wanted = random.random((4, 8)).tolist()
        for number in range(3):
            yield Lamp(x=kerb + side * 0.55, z=start + 4 + 16 * number + 8 * (side > 0), look=look)
        for number in range(4):
            if wanted[0][number] < 0.75:
                yield Sign(
                    x=kerb + side * 0.75,
                    z=start + 1 + 12 * number + 4 * shifts[0][number],
                    look=looks[0][number] % SIGNS,
                )
            if wanted[1][number] < 0.6:
                yield Tree(
                    x=kerb + side * 0.95,
                    z=start + 7.5 + 12 * number + 3 * shifts[1][number],
                    look=looks[1][number] % TREES,
                )
        for number in range(8):
            if wanted[2][number] < 0.5:
                yield Bollard(
                    x=kerb + side * 0.45, z=start + 6 * number + 3 * shifts[2][number], look=look
                )
        for number in range(7):
            z = 3.2 + 6.4 * number
            if wanted[3][number] < 0.26 and not CROSSING - 4 < z < CROSSING + 7:
                yield Vehicle(
                    x=kerb - side, z=start + z, look=looks[2][number], heading=side, moving=False
                )

    def _lots(self, start: float, side: int, random: np.random.Generator) -> Iterator[Thing]:
        place, end, before = start, start + BLOCK, 0.0
        garden = int(random.integers(3))
        looks, tints = (
            random.integers(LOOKS, size=12).tolist(),
            random.uniform(0.88, 1.1, (12, 3)).tolist(),
        )
        for number, (look, (blue, green, red)) in enumerate(zip(looks, tints, strict=True)):
            width, height = facade(look).width, facade(look).height
            if place + width > end or number in (garden, garden + 2):
                stop = (
                    end
                    if place + width > end
                    else min(place + float(random.uniform(11.0, 16.0)), end)
                )
                yield from self._garden(place, stop, side, random)
                place, before = stop, 0.0
            else:
                tint = (blue, green, red)
                yield House(
                    x=side * self.layout.line,
                    z=place + width,
                    near=place,
                    look=look,
                    tint=tint,
                    exposed=height > before,
                )
                place, before = place + width, height
            if place >= end:
                return

    def _garden(
        self, start: float, end: float, side: int, random: np.random.Generator
    ) -> Iterator[Thing]:
        look, leaves = int(random.integers(FENCES)), int(random.integers(4))
        line = self.layout.line
        for near, far in _pieces(start, end, FENCE_LENGTH):
            yield Fence(x=side * line, z=far, near=near, look=look)
        for near, far in _pieces(start, end, HEDGE_LENGTH):
            yield Hedge(x=side * (line + 3.5), z=far + 0.2, near=near, look=leaves)
        for near, far in _pieces(start, end, 6.0):
            yield Tree(
                x=side * (line + random.uniform(1.2, 3.0)),
                z=float(random.uniform(near, far)),
                look=int(random.integers(TREES)),
            )

    def _slots(
        self, purpose: int, *, count: int, period: float, speed: float, time: float
    ) -> Iterator[tuple[float, list[float]]]:
        """Return places of things that move, evenly spread, and four numbers in [0, 1) that say how each looks.

        Whoever falls behind comes again ahead as another.
        """
        drawn: dict[int, list[list[float]]] = {}
        for slot, travelled in enumerate(
            self.travelled(purpose, count=count, period=period, speed=speed, time=np.array([time]))[
                :, 0
            ].tolist()
        ):
            lap = math.floor((travelled + BEHIND) / period)
            if lap not in drawn:
                drawn[lap] = self._random(purpose, 1, lap).random((count, 4)).tolist()
            yield self.start + SPEED * time + travelled - lap * period, drawn[lap][slot]

    def travelled(
        self, purpose: int, *, count: int, period: float, speed: float, time: Floats
    ) -> Floats:
        """Return how far ahead of the camera each of `count` things is, (count, times) in meters, not yet folded into the period."""
        offsets = (np.arange(count) + self._random(purpose).uniform(0, 0.7, count)) * period / count
        return np.asarray(offsets[:, None] + (speed - SPEED) * time[None])

    def _walkers(self, time: float) -> Iterator[Thing]:
        for purpose, speed in ((10, 1.3), (11, -1.3)):
            for z, (side, across, phase, look) in self._slots(
                purpose, count=18, period=54.0, speed=speed, time=time
            ):
                x = (1 if side < 0.5 else -1) * (
                    self.layout.road + 0.9 + across * (self.layout.pavement - 1.4)
                )
                yield Walker(
                    x=x,
                    z=z,
                    look=int(look * PEOPLE),
                    phase=int((time + phase) * PHASES) % PHASES,
                    facing=speed < 0,
                )

    def _riders(self, time: float) -> Iterator[Thing]:
        edge = self.layout.road - PARKING - 0.4
        for purpose, speed, side in ((12, 4.2, 1), (13, -4.2, -1)):
            for z, (across, phase, look, _) in self._slots(
                purpose, count=3, period=72.0, speed=speed, time=time
            ):
                turn = int((1.2 * time + phase) * PHASES) % PHASES
                yield Rider(
                    x=side * (edge + 0.2 * across),
                    z=z,
                    look=int(look * PEOPLE),
                    phase=turn,
                    facing=speed < 0,
                )

    def _traffic(self, time: float) -> Iterator[Thing]:
        for z, (look, _, _, _) in self._slots(
            ONCOMING, count=ONCOMING_COUNT, period=SIGHT, speed=-SPEED, time=time
        ):
            yield Vehicle(x=-self.lane, z=z, look=int(look * (1 << 30)), heading=-1, moving=True)
        random = self._random(15)
        if random.random() < 0.7:
            ahead = random.uniform(15, 34) + 2.5 * np.sin(time / 3 + random.uniform(0, 6))
            place = self.start + SPEED * time + ahead
            yield Vehicle(
                x=self.lane,
                z=float(place),
                look=int(random.integers(1 << 30)),
                heading=1,
                moving=True,
            )


def _pieces(start: float, end: float, length: float) -> Iterator[tuple[float, float]]:
    """Cut a stretch into equal pieces of about a length."""
    count = max(round((end - start) / length), 1)
    step = (end - start) / count
    return ((start + number * step, start + (number + 1) * step) for number in range(count))


@lru_cache(maxsize=1024)
def vehicle_look(look: int) -> tuple[int, int]:
    """Choose the body and the paint of a vehicle."""
    random = np.random.default_rng(look)
    return int(random.choice(len(BODIES), p=SHARES)), int(random.integers(len(PAINTS)))
