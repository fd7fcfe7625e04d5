"""Sprites of house fronts: walls, windows, doors and shops."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segdeploy.datasets.synthetic.canvas import Sprite
from segdeploy.datasets.synthetic.drawing import Sketch, fractal
from segdeploy.datasets.synthetic.lighting import Color, brightened

DENSITY = 20
STYLES = 24
"""Number of different houses; each occurs in many tints."""
WALLS: tuple[Color, ...] = (
    (92, 104, 164), (110, 128, 178), (150, 182, 206), (178, 200, 214), (186, 196, 200),
    (140, 168, 202), (104, 150, 196), (164, 172, 160), (122, 126, 150), (196, 206, 216),
)  # fmt: skip
ACCENTS: tuple[Color, ...] = (
    (60, 50, 150),
    (120, 80, 40),
    (60, 96, 40),
    (50, 120, 190),
    (60, 60, 60),
    (130, 60, 90),
)
LIT: Color = (120, 205, 255)


@dataclass(frozen=True, kw_only=True)
class Facade:
    """A house seen from the street.

    Attributes:
        width: Width, in meters.
        height: Height of the eaves, in meters.
        roof: Height of the roof over the eaves, in meters; 0 where it is flat.
        tiles: Color of the roof.
        day: The front in daylight.
        lights: The lights at night; transparent elsewhere.
        end: The side wall.
    """

    width: float
    height: float
    roof: float
    tiles: Color
    day: Sprite
    lights: Sprite
    end: Sprite


@lru_cache(maxsize=STYLES)
def facade(style: int) -> Facade:
    """Draw one of the houses."""
    random = np.random.default_rng([1, style])
    bay, bays = random.uniform(2.6, 3.6), int(random.integers(3, 6))
    floors, story, ground = (
        int(random.integers(2, 6)),
        random.uniform(2.9, 3.4),
        random.uniform(3.4, 4.2),
    )
    width, height = bay * bays, ground + floors * story + 0.6
    wall = WALLS[style % len(WALLS)]
    sheet, lights = Sketch(width, height, density=DENSITY), Sketch(width, height, density=DENSITY)
    sheet.rectangle(-width, -1, width, height + 1, wall)
    _texture(sheet, brick=style % 3 == 0, random=random)
    _stories(
        sheet,
        lights,
        wall,
        random=random,
        bay=bay,
        bays=bays,
        floors=floors,
        story=story,
        ground=ground,
    )
    _ground_floor(sheet, lights, random=random, bay=bay, bays=bays, ground=ground)
    trim = brightened(wall, 1.22)
    sheet.rectangle(-width, ground - 0.12, width, ground + 0.14, trim)
    sheet.rectangle(-width, height - 0.5, width, height, trim)
    sheet.rectangle(-width, height - 0.62, width, height - 0.5, brightened(wall, 0.6))
    sheet.shade(np.linspace(1.06, 0.88, 16)[:, None].repeat(2, 1))
    end = Sketch(10, height, density=DENSITY / 2)
    end.rectangle(-10, -1, 10, height + 1, brightened(wall, 0.8))
    _texture(end, brick=False, random=random)
    for row in range(floors):
        _window(end, None, 0.5, ground + row * story + 0.9, 0.9, 1.4, wall, random=random)
    return Facade(
        width=width,
        height=height,
        roof=float(random.choice([0, 2.2, 3.2])),
        tiles=((60, 66, 128), (86, 82, 80), (66, 84, 150))[style % 3],
        day=sheet.finish(),
        lights=lights.finish(),
        end=end.finish(),
    )


def _texture(sheet: Sketch, *, brick: bool, random: np.random.Generator) -> None:
    height, width = sheet.sheet.shape[:2]
    gain = 1 + 0.035 * fractal(height, width, random=random, octaves=5)
    if brick:
        tall, wide = max(height // 120, 4), 12
        rows, columns = np.arange(height) // tall, np.arange(width)
        shift = (rows % 2) * (wide // 2)
        bricks = random.normal(0, 0.055, (rows[-1] + 1, width // wide + 2))
        gain += bricks[rows[:, None], (columns[None] + shift[:, None]) // wide]
        gain[np.arange(height) % tall == 0] *= 0.92
    sheet.shade(gain)


def _stories(
    sheet: Sketch,
    lights: Sketch,
    wall: Color,
    *,
    random: np.random.Generator,
    bay: float,
    bays: int,
    floors: int,
    story: float,
    ground: float,
) -> None:
    wide, tall = bay * random.uniform(0.36, 0.55), story * random.uniform(0.5, 0.62)
    balconies = random.random() < 0.3
    for floor in range(floors):
        for number in range(bays):
            x, y = (number + 0.5 - bays / 2) * bay, ground + floor * story + (story - tall) * 0.55
            _window(sheet, lights, x, y, wide, tall, wall, random=random)
            if balconies and number % 2 == floor % 2:
                sheet.rectangle(x - wide * 0.75, y - 0.15, x + wide * 0.75, y, (150, 152, 156))
                for bar in np.arange(-0.7, 0.75, 0.16):
                    sheet.rectangle(
                        x + bar * wide - 0.02, y, x + bar * wide + 0.03, y + 0.75, (60, 60, 62)
                    )
                sheet.rectangle(x - wide * 0.75, y + 0.72, x + wide * 0.75, y + 0.8, (52, 52, 54))


def _window(
    sheet: Sketch,
    lights: Sketch | None,
    x: float,
    y: float,
    wide: float,
    tall: float,
    wall: Color,
    *,
    random: np.random.Generator,
) -> None:
    left, right, top = x - wide / 2, x + wide / 2, y + tall
    sheet.rectangle(left - 0.14, y - 0.16, right + 0.14, top + 0.14, brightened(wall, 1.18))
    sheet.rectangle(left - 0.2, y - 0.24, right + 0.2, y - 0.12, brightened(wall, 0.72))
    sheet.rectangle(left, y, right, top, (232, 234, 236))
    glass = random.uniform(0.7, 1.25)
    sheet.rectangle(
        left + 0.07, y + 0.07, right - 0.07, top - 0.07, (104 * glass, 88 * glass, 74 * glass)
    )
    slope = wide * 0.45
    shine = (164 * glass, 148 * glass, 130 * glass)
    sheet.polygon(
        [
            (left + 0.07, top - 0.07),
            (left + 0.07 + slope, top - 0.07),
            (left + 0.07, y + tall * 0.4),
        ],
        shine,
    )
    if random.random() < 0.3:
        sheet.rectangle(
            left + 0.07, y + 0.07, left + 0.07 + wide * 0.2, top - 0.07, (190, 200, 206)
        )
    sheet.rectangle(x - 0.035, y, x + 0.035, top, (226, 228, 230))
    sheet.rectangle(left, y + tall * 0.62, right, y + tall * 0.62 + 0.06, (226, 228, 230))
    if lights is not None and random.random() < 0.42:
        bright = random.uniform(0.55, 1.0)
        for start, end in ((left + 0.07, x - 0.035), (x + 0.035, right - 0.07)):
            lights.rectangle(start, y + 0.07, end, top - 0.07, brightened(LIT, bright))


def _ground_floor(
    sheet: Sketch,
    lights: Sketch,
    *,
    random: np.random.Generator,
    bay: float,
    bays: int,
    ground: float,
) -> None:
    accent = ACCENTS[int(random.integers(len(ACCENTS)))]
    door, shop = int(random.integers(bays)), random.random() < 0.65
    width = bay * bays
    sheet.rectangle(-width / 2, 0, width / 2, 0.5, (104, 106, 108))
    if shop:
        sheet.rectangle(-width / 2 + 0.2, ground - 0.85, width / 2 - 0.2, ground - 0.2, accent)
        for x in np.arange(-width * 0.25, width * 0.25, 0.42):
            sheet.rectangle(
                x, ground - 0.68, x + random.uniform(0.16, 0.34), ground - 0.4, (226, 236, 240)
            )
        lights.rectangle(-width * 0.25, ground - 0.68, width * 0.25, ground - 0.4, (150, 190, 220))
    for number in range(bays):
        left, right = (number - bays / 2) * bay + 0.3, (number + 1 - bays / 2) * bay - 0.3
        middle = (left + right) / 2
        if number == door:
            sheet.rectangle(middle - 0.62, 0, middle + 0.62, 2.55, (206, 210, 214))
            sheet.rectangle(middle - 0.5, 0, middle + 0.5, 2.1, brightened(accent, 0.8))
            sheet.rectangle(middle - 0.5, 2.15, middle + 0.5, 2.45, (96, 84, 72))
            lights.rectangle(middle - 0.5, 2.15, middle + 0.5, 2.45, LIT)
        elif shop:
            sheet.rectangle(left - 0.05, 0.4, right + 0.05, ground - 0.95, (60, 62, 66))
            sheet.rectangle(left + 0.05, 0.5, right - 0.05, ground - 1.05, (118, 108, 96))
            sheet.polygon(
                [(left + 0.05, ground - 1.05), (middle, ground - 1.05), (left + 0.05, 1.1)],
                (168, 158, 146),
            )
            goods: list[Color] = [
                (blue, green, red) for blue, green, red in random.uniform(60, 200, (3, 3)).tolist()
            ]
            for number, color in enumerate(goods):
                start = left + 0.2 + number * (right - left - 0.4) / 3
                sheet.rectangle(start, 0.5, start + 0.4, random.uniform(0.9, 1.5), color)
            _shop_light(lights, left + 0.05, 0.5, right - 0.05, ground - 1.05, goods=goods)
        else:
            _window(
                sheet,
                lights,
                middle,
                1.0,
                min(right - left, 1.5),
                1.6,
                (170, 176, 180),
                random=random,
            )


def _shop_light(
    lights: Sketch, left: float, bottom: float, right: float, top: float, *, goods: list[Color]
) -> None:
    for step in range(6):
        bright = 0.55 + 0.08 * step
        low, high = (bottom + (top - bottom) * part / 6 for part in (step, step + 1))
        lights.rectangle(left, low, right, high, brightened((110, 184, 236), bright))
    for number, color in enumerate(goods):
        start = left + 0.15 + number * (right - left - 0.3) / 3
        lights.rectangle(
            start, bottom, start + 0.4, bottom + 0.4 + color[0] / 260, brightened(color, 0.7)
        )
