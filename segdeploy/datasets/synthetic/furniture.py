"""Sprites of street lamps, signs, posts, fences, trees and hedges."""

from functools import lru_cache

import numpy as np

from segdeploy.datasets.synthetic.canvas import Sprite
from segdeploy.datasets.synthetic.drawing import Sketch, fractal
from segdeploy.datasets.synthetic.lighting import Color, brightened

SIGNS = 8
FENCES = 4
FENCE_LENGTH = 6.0
LAMP_HEIGHT = 6.2
LAMP_REACH = 1.3
SIGN_POST = 2.5
WHITE: Color = (240, 240, 240)
RED: Color = (46, 40, 204)
BLUE: Color = (190, 96, 24)


def _tube(sheet: Sketch, x: float, bottom: float, top: float, width: float, color: Color) -> None:
    for start, end, bright in ((-0.5, 0.5, 0.8), (-0.4, 0.05, 1.1), (0.25, 0.5, 0.55)):
        sheet.rectangle(x + start * width, bottom, x + end * width, top, brightened(color, bright))


@lru_cache(maxsize=4)
def lamp(style: int) -> Sprite:
    """Draw a street lamp that leans to the right, `LAMP_HEIGHT` tall."""
    color = ((110, 114, 112), (76, 84, 78), (140, 142, 144), (96, 100, 108))[style % 4]
    sheet = Sketch(2 * LAMP_REACH + 0.8, LAMP_HEIGHT + 0.2, density=48)
    _tube(sheet, 0, 0, LAMP_HEIGHT - 0.6, 0.42, color)
    _tube(sheet, 0, 0, 1.1, 0.56, brightened(color, 0.92))
    arm = [
        (
            0.13 * np.sin(angle) + LAMP_REACH * (1 - np.cos(angle)) * 0.9,
            LAMP_HEIGHT - 0.75 + 0.7 * np.sin(angle),
        )
        for angle in np.linspace(0, 1.5, 8)
    ]
    sheet.stroke(arm, 0.32, color)
    sheet.ellipse(LAMP_REACH, LAMP_HEIGHT - 0.1, 0.46, 0.14, brightened(color, 0.8))
    sheet.ellipse(LAMP_REACH, LAMP_HEIGHT - 0.16, 0.36, 0.07, (214, 240, 250))
    return sheet.finish()


@lru_cache(maxsize=2)
def post(height: float) -> Sprite:
    """Draw a plain post."""
    sheet = Sketch(0.6, height, density=64)
    _tube(sheet, 0, 0, height, 0.34, (132, 136, 138))
    return sheet.finish()


@lru_cache(maxsize=2)
def bollard(style: int) -> Sprite:
    """Draw a bollard with a bright ring."""
    sheet = Sketch(0.6, 1.15, density=72)
    _tube(sheet, 0, 0, 1.05, 0.42, ((70, 74, 78), (96, 104, 106))[style % 2])
    sheet.ellipse(0, 1.03, 0.21, 0.1, (120, 124, 126))
    sheet.rectangle(-0.21, 0.72, 0.21, 0.88, (214, 220, 222))
    return sheet.finish()


@lru_cache(maxsize=SIGNS)
def sign(style: int) -> Sprite:
    """Draw the plate of a traffic sign."""
    sheet = Sketch(1.1, 1.1, density=80)
    kind = style % SIGNS
    if kind in (0, 1):
        sheet.ellipse(0, 0.55, 0.52, 0.52, WHITE)
        sheet.ellipse(0, 0.55, 0.5, 0.5, RED)
        sheet.ellipse(0, 0.55, 0.36, 0.36, WHITE)
        _digits(sheet, kind)
    elif kind in (2, 3):
        sheet.polygon([(-0.54, 0.06), (0.54, 0.06), (0, 1.04)], RED)
        sheet.polygon([(-0.34, 0.18), (0.34, 0.18), (0, 0.8)], WHITE)
        sheet.ellipse(0, 0.28, 0.06, 0.06, (30, 30, 30))
        sheet.stroke([(0, 0.42), (0.06 * (kind - 2), 0.6)], 0.1, (30, 30, 30))
    elif kind == 4:
        sheet.ellipse(0, 0.55, 0.52, 0.52, WHITE)
        sheet.ellipse(0, 0.55, 0.48, 0.48, BLUE)
        sheet.stroke([(0, 0.25), (0, 0.7)], 0.12, WHITE)
        sheet.polygon([(-0.22, 0.62), (0.22, 0.62), (0, 0.9)], WHITE)
    elif kind == 5:
        sheet.rectangle(-0.46, 0.08, 0.46, 1.02, WHITE)
        sheet.rectangle(-0.42, 0.12, 0.42, 0.98, BLUE)
        sheet.stroke([(-0.12, 0.24), (-0.12, 0.84)], 0.14, WHITE)
        sheet.ellipse(0.02, 0.68, 0.22, 0.2, WHITE)
        sheet.ellipse(0.02, 0.68, 0.1, 0.09, BLUE)
    elif kind == 6:
        angles = np.arange(8) * np.pi / 4 + np.pi / 8
        for size, color in ((0.54, WHITE), (0.5, RED)):
            sheet.polygon(
                [(size * np.cos(angle), 0.55 + size * np.sin(angle)) for angle in angles], color
            )
        sheet.rectangle(-0.34, 0.46, 0.34, 0.64, WHITE)
    else:
        for size, color in ((0.54, WHITE), (0.48, (40, 196, 250))):
            sheet.polygon([(0, 0.55 - size), (size, 0.55), (0, 0.55 + size), (-size, 0.55)], color)
    return sheet.finish()


def _digits(sheet: Sketch, kind: int) -> None:
    ink = (30, 30, 30)
    first = [(-0.02, 0.72), (-0.2, 0.72), (-0.2, 0.58), (-0.06, 0.56), (-0.06, 0.4), (-0.2, 0.4)]
    sheet.stroke(
        first if kind else [(-0.2, 0.72), (-0.06, 0.72), (-0.12, 0.56), (-0.05, 0.44), (-0.2, 0.4)],
        0.07,
        ink,
    )
    sheet.ellipse(0.13, 0.56, 0.12, 0.19, ink)
    sheet.ellipse(0.13, 0.56, 0.05, 0.12, WHITE)


@lru_cache(maxsize=3)
def traffic_light(state: int) -> Sprite:
    """Draw the head of a traffic light: 0 red, 1 amber, 2 green."""
    sheet = Sketch(0.7, 1.5, density=72)
    sheet.rectangle(-0.33, 0.02, 0.33, 1.48, (232, 236, 238))
    sheet.rectangle(-0.29, 0.06, 0.29, 1.44, (34, 36, 34))
    for number, color in enumerate(((60, 60, 250), (60, 190, 255), (110, 235, 90))):
        bright = 1.0 if number == state else 0.22
        sheet.ellipse(0, 1.2 - 0.45 * number, 0.18, 0.18, brightened(color, bright))
    return sheet.finish()


@lru_cache(maxsize=FENCES)
def fence(style: int) -> tuple[Sprite, float]:
    """Draw `FENCE_LENGTH` meters of a fence; return it and its height in meters.

    There are no gaps between boards or bars, as annotators label a fence as a whole.
    """
    random = np.random.default_rng([6, style])
    height = (2.0, 1.8, 2.2, 1.9)[style % FENCES]
    sheet = Sketch(FENCE_LENGTH, height, density=48)
    half = FENCE_LENGTH / 2
    kind = style % FENCES
    if kind == 0:
        _boards(sheet, height, 0.15, (72, 112, 158), random)
    elif kind == 1:
        _boards(sheet, height, 0.19, (206, 214, 218), random)
        for y in (0.3, 0.95):
            sheet.rectangle(-half, y, half, y + 0.09, (180, 188, 192))
    elif kind == 2:
        sheet.rectangle(-half, 0, half, height, (64, 78, 62))
        for x in np.arange(-half, half, 0.14):
            sheet.rectangle(x, 0, x + 0.05, height, (40, 50, 38))
            sheet.rectangle(x + 0.05, 0, x + 0.07, height, (104, 122, 100))
        for y in (0.12, height - 0.2):
            sheet.rectangle(-half, y, half, y + 0.09, (40, 50, 38))
    else:
        sheet.rectangle(-half, 0, half, height, (120, 132, 140))
        for y in np.arange(0.1, height, 0.34):
            sheet.rectangle(-half, y, half, y + 0.26, (150, 160, 166))
            sheet.rectangle(-half, y + 0.2, half, y + 0.26, (176, 184, 188))
        for x in (-half, -half / 2, 0.0, half / 2):
            sheet.rectangle(x, 0, x + 0.14, height, (98, 106, 112))
    sheet.shade(1 + 0.03 * fractal(64, 96, random=random))
    return sheet.finish(), height


def _boards(
    sheet: Sketch, height: float, width: float, color: Color, random: np.random.Generator
) -> None:
    for x in np.arange(-FENCE_LENGTH / 2, FENCE_LENGTH / 2, width):
        bright = random.uniform(0.85, 1.1)
        sheet.rectangle(x, 0, x + width, height, brightened(color, 0.55))
        sheet.rectangle(x, 0, x + width * 0.86, height, brightened(color, bright))


TREES = 10
LEAVES: tuple[Color, ...] = (
    (46, 118, 84),
    (40, 104, 66),
    (58, 132, 110),
    (52, 96, 60),
    (60, 142, 128),
)
BARK: Color = (58, 74, 92)
HEDGE_LENGTH = 12.0
HEDGE_HEIGHT = 3.4


@lru_cache(maxsize=TREES)
def tree(style: int) -> Sprite:
    """Draw a tree: trunk, branches, and leaves that are darker below and behind."""
    random = np.random.default_rng([2, style])
    height, spread = random.uniform(6.0, 8.6), random.uniform(1.7, 2.5)
    trunk, color = random.uniform(2.0, 2.5), LEAVES[style % len(LEAVES)]
    sheet = Sketch(spread * 2 + 1.4, height + 0.3, density=40)
    sheet.polygon([(-0.24, 0), (-0.15, trunk + 1), (0.15, trunk + 1), (0.24, 0)], BARK)
    sheet.polygon(
        [(0.02, 0), (0.04, trunk + 1), (0.15, trunk + 1), (0.24, 0)], brightened(BARK, 0.7)
    )
    for lean in random.uniform(-1.1, 1.1, 6):
        sheet.stroke(
            [(0, trunk * 0.8), (lean * 0.5, trunk + 0.9), (lean, trunk + 2.0)],
            0.12,
            brightened(BARK, 0.8),
        )
    middle, tall = (trunk + height) / 2, (height - trunk) / 2
    slim = 0.75 if style % 4 == 0 else 0.35
    for layer in range(5):
        for _ in range(420):
            angle, radius = (
                random.uniform(0, 2 * np.pi),
                np.sqrt(random.uniform(0, 1)) * (0.95 - 0.05 * layer),
            )
            up = np.sin(angle) * radius
            x = np.cos(angle) * radius * spread * (1 - slim * max(up, 0) * 0.7) - 0.06 * layer
            y = middle + up * tall + 0.07 * layer
            bright = (
                (0.46 + 0.17 * layer)
                * (0.88 + 0.26 * up)
                * (1 - 0.14 * x / spread)
                * random.uniform(0.86, 1.12)
            )
            size = random.uniform(0.11, 0.24) * (1.4 - 0.17 * layer)
            leaf = (color[0] * bright, min(color[1] * bright, 255), color[2] * bright)
            sheet.ellipse(
                x, y, size, size * random.uniform(0.55, 0.9), leaf, turn=random.uniform(0, 180)
            )
    return sheet.finish()


@lru_cache(maxsize=4)
def hedge(style: int) -> Sprite:
    """Draw a stretch of bushes, as long as `HEDGE_LENGTH`."""
    random = np.random.default_rng([4, style])
    color = LEAVES[style % len(LEAVES)]
    sheet = Sketch(HEDGE_LENGTH, HEDGE_HEIGHT, density=24)
    sheet.rectangle(-HEDGE_LENGTH, 0, HEDGE_LENGTH, HEDGE_HEIGHT * 0.7, brightened(color, 0.45))
    for layer in range(3):
        for x in random.uniform(-HEDGE_LENGTH / 2, HEDGE_LENGTH / 2, 840):
            y = random.uniform(0, HEDGE_HEIGHT * (0.86 + 0.08 * np.sin(x * 2.1 + style)))
            bright = (
                (0.55 + 0.18 * layer) * (0.7 + 0.35 * y / HEDGE_HEIGHT) * random.uniform(0.85, 1.15)
            )
            size = random.uniform(0.07, 0.2)
            sheet.ellipse(
                x, y, size, size * 0.75, brightened(color, bright), turn=random.uniform(0, 180)
            )
    return sheet.finish()
