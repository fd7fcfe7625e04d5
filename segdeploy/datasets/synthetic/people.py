"""Sprites of pedestrians and cyclists, in the phases of their motion."""

from functools import lru_cache

import numpy as np

from segdeploy.datasets.synthetic.canvas import Sprite
from segdeploy.datasets.synthetic.drawing import Sketch
from segdeploy.datasets.synthetic.lighting import Color

PEOPLE = 40
PHASES = 12
"""Number of sprites per step."""
JACKETS: tuple[Color, ...] = (
    (40, 40, 190), (170, 70, 40), (60, 50, 50), (70, 120, 60), (120, 60, 130),
    (60, 150, 210), (210, 210, 206), (90, 60, 30), (110, 110, 150), (30, 110, 220),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (92, 62, 42),
    (48, 44, 42),
    (120, 96, 76),
    (80, 96, 112),
    (56, 50, 84),
)
SKINS: tuple[Color, ...] = ((150, 176, 226), (120, 150, 206), (78, 104, 160), (48, 68, 110))
HAIRS: tuple[Color, ...] = ((30, 38, 48), (40, 66, 104), (70, 130, 180), (140, 142, 146))
HELMETS: tuple[Color, ...] = ((230, 230, 228), (40, 40, 210), (60, 200, 230), (190, 110, 30))


def _dark(color: Color, share: float = 0.72) -> Color:
    return color[0] * share, color[1] * share, color[2] * share


@lru_cache(maxsize=PEOPLE * PHASES)
def walker(style: int, phase: int, *, facing: bool) -> Sprite:
    """Draw a person, 1.6 to 1.9 m tall, who walks to the camera (`facing`) or away from it."""
    random = np.random.default_rng([8, style])
    tall = random.uniform(0.9, 1.07)
    jacket, trousers = JACKETS[style % len(JACKETS)], TROUSERS[int(random.integers(len(TROUSERS)))]
    skin, hair = SKINS[int(random.integers(len(SKINS)))], HAIRS[int(random.integers(len(HAIRS)))]
    skirt, bag = random.random() < 0.25, random.random() < 0.4
    swing = np.sin(2 * np.pi * phase / PHASES)
    sheet = Sketch(1.0, 1.95, density=84)
    for side in (-1, 1):
        lift = max(side * swing, 0.0)
        hip, foot = side * 0.1, side * (0.12 + 0.03 * swing * side)
        color = _dark(trousers, 1.0 if side < 0 else 0.8)
        knee = (hip + side * 0.03, (0.5 + 0.05 * lift) * tall)
        ankle = (foot, (0.1 + 0.17 * lift) * tall)
        sheet.stroke([(hip, 0.9 * tall), knee], 0.19, color)
        sheet.stroke([knee, ankle], 0.15, skin if skirt else color)
        sheet.ellipse(foot + side * 0.015, ankle[1] - 0.04, 0.085, 0.055, (34, 34, 38))
    if skirt:
        sheet.polygon(
            [(-0.17, 0.95 * tall), (0.17, 0.95 * tall), (0.25, 0.52 * tall), (-0.25, 0.52 * tall)],
            trousers,
        )
    for side in (-1, 1):
        reach = side * swing * 0.06
        color = _dark(jacket, 0.92 if side < 0 else 0.66)
        hand = (side * 0.31, (0.86 - reach) * tall)
        sheet.stroke([(side * 0.22, 1.4 * tall), (side * 0.3, 1.14 * tall), hand], 0.13, color)
        sheet.ellipse(hand[0], hand[1] - 0.03, 0.055, 0.06, skin)
    torso = [(-0.25, 1.42), (-0.12, 1.5), (0.12, 1.5), (0.25, 1.42), (0.21, 0.9), (-0.21, 0.9)]
    sheet.polygon([(x, y * tall) for x, y in torso], jacket)
    sheet.polygon(
        [(x, y * tall) for x, y in ((0.06, 1.5), (0.25, 1.42), (0.21, 0.9), (0.1, 0.9))],
        _dark(jacket, 0.78),
    )
    if facing:
        sheet.polygon(
            [(x, y * tall) for x, y in ((-0.07, 1.5), (0.07, 1.5), (0, 1.34))], _dark(WHITE_SHIRT)
        )
    elif bag:
        sheet.ellipse(0, 1.2 * tall, 0.17, 0.22, _dark(JACKETS[(style + 3) % len(JACKETS)], 0.85))
    _head(sheet, 1.66 * tall, skin=skin, hair=hair, facing=facing)
    return sheet.finish()


WHITE_SHIRT: Color = (226, 228, 230)


def _head(sheet: Sketch, y: float, *, skin: Color, hair: Color, facing: bool) -> None:
    sheet.stroke([(0, y - 0.2), (0, y - 0.05)], 0.12, _dark(skin, 0.85))
    sheet.ellipse(0, y + 0.02, 0.125, 0.155, hair)
    if facing:
        sheet.ellipse(0, y - 0.02, 0.1, 0.125, skin)


@lru_cache(maxsize=PEOPLE * PHASES)
def rider(style: int, phase: int, *, facing: bool) -> Sprite:
    """Draw a cyclist, about 1.8 m tall, who rides to the camera (`facing`) or away from it."""
    random = np.random.default_rng([9, style])
    bright = ((40, 220, 235), (60, 140, 250), (90, 230, 120))
    jacket = bright[style % 3] if style % 2 else JACKETS[style % len(JACKETS)]
    skin, helmet = SKINS[int(random.integers(len(SKINS)))], HELMETS[style % len(HELMETS)]
    trousers, frame = TROUSERS[style % len(TROUSERS)], JACKETS[(style * 7 + 1) % len(JACKETS)]
    turn = 2 * np.pi * phase / PHASES
    sheet = Sketch(1.0, 1.95, density=84)
    sheet.ellipse(0, 0.36, 0.085, 0.36, (34, 34, 36))
    sheet.ellipse(0, 0.36, 0.03, 0.27, (120, 122, 126))
    sheet.stroke([(0, 0.5), (0, 1.02)], 0.1, frame)
    for side in (-1, 1):
        pedal = 0.34 + 0.16 * side * np.sin(turn)
        knee = (side * 0.2, 0.72 + 0.13 * side * np.sin(turn))
        sheet.stroke([(side * 0.12, 1.0), knee], 0.17, _dark(trousers, 1.0 if side < 0 else 0.8))
        sheet.stroke(
            [knee, (side * 0.16, pedal)], 0.13, _dark(trousers, 0.95 if side < 0 else 0.75)
        )
        sheet.ellipse(side * 0.17, pedal - 0.03, 0.08, 0.05, (40, 40, 44))
    if facing:
        sheet.ellipse(0, 0.9, 0.07, 0.07, (240, 250, 250))
    sheet.stroke([(-0.31, 1.06), (0.31, 1.06)], 0.06, (50, 50, 54))
    torso = [(-0.25, 1.4), (-0.1, 1.5), (0.1, 1.5), (0.25, 1.4), (0.19, 0.96), (-0.19, 0.96)]
    sheet.polygon(torso, jacket)
    sheet.polygon([(0.06, 1.5), (0.25, 1.4), (0.19, 0.96), (0.09, 0.96)], _dark(jacket, 0.8))
    for side in (-1, 1):
        arm = [(side * 0.23, 1.37), (side * 0.34, 1.2), (side * 0.3, 1.07)]
        sheet.stroke(arm, 0.11, _dark(jacket, 0.9 if side < 0 else 0.7))
    if not facing:
        sheet.rectangle(-0.2, 1.14, 0.2, 1.2, (236, 240, 240))
        sheet.ellipse(0, 0.8, 0.06, 0.06, (60, 50, 240))
    _head(sheet, 1.62, skin=skin, hair=_dark(skin, 0.6), facing=facing)
    sheet.ellipse(0, 1.7, 0.15, 0.11, helmet)
    sheet.ellipse(0.04, 1.69, 0.09, 0.07, _dark(helmet, 0.8))
    return sheet.finish()
