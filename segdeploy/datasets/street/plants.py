"""Trees and hedges."""

from functools import lru_cache

import numpy as np

from segdeploy.datasets.street.canvas import Sprite
from segdeploy.datasets.street.light import Color, times
from segdeploy.datasets.street.sketch import Sketch

TREES = 10
LEAVES: tuple[Color, ...] = ((46, 118, 84), (40, 104, 66), (58, 132, 110), (52, 96, 60), (60, 142, 128))
BARK: Color = (58, 74, 92)
HEDGE_LENGTH = 12.0
HEDGE_HEIGHT = 3.4


@lru_cache(maxsize=TREES)
def tree(look: int) -> Sprite:
    """Draw a tree: trunk, branches, and leaves that are darker below and behind."""
    random = np.random.default_rng([2, look])
    height, spread = random.uniform(6.0, 8.6), random.uniform(1.7, 2.5)
    trunk, color = random.uniform(2.0, 2.5), LEAVES[look % len(LEAVES)]
    sheet = Sketch(spread * 2 + 1.4, height + 0.3, density=40)
    sheet.polygon([(-0.24, 0), (-0.15, trunk + 1), (0.15, trunk + 1), (0.24, 0)], BARK)
    sheet.polygon([(0.02, 0), (0.04, trunk + 1), (0.15, trunk + 1), (0.24, 0)], times(BARK, 0.7))
    for lean in random.uniform(-1.1, 1.1, 6):
        sheet.stroke([(0, trunk * 0.8), (lean * 0.5, trunk + 0.9), (lean, trunk + 2.0)], 0.12, times(BARK, 0.8))
    middle, tall = (trunk + height) / 2, (height - trunk) / 2
    slim = 0.75 if look % 4 == 0 else 0.35
    for layer in range(5):
        for _ in range(420):
            angle, radius = random.uniform(0, 2 * np.pi), np.sqrt(random.uniform(0, 1)) * (0.95 - 0.05 * layer)
            up = np.sin(angle) * radius
            x = np.cos(angle) * radius * spread * (1 - slim * max(up, 0) * 0.7) - 0.06 * layer
            y = middle + up * tall + 0.07 * layer
            bright = (0.46 + 0.17 * layer) * (0.88 + 0.26 * up) * (1 - 0.14 * x / spread) * random.uniform(0.86, 1.12)
            size = random.uniform(0.11, 0.24) * (1.4 - 0.17 * layer)
            leaf = (color[0] * bright, min(color[1] * bright, 255), color[2] * bright)
            sheet.ellipse(x, y, size, size * random.uniform(0.55, 0.9), leaf, turn=random.uniform(0, 180))
    return sheet.finish()


@lru_cache(maxsize=4)
def hedge(look: int) -> Sprite:
    """Draw a stretch of bushes, as long as `HEDGE_LENGTH`."""
    random = np.random.default_rng([4, look])
    color = LEAVES[look % len(LEAVES)]
    sheet = Sketch(HEDGE_LENGTH, HEDGE_HEIGHT, density=24)
    sheet.rectangle(-HEDGE_LENGTH, 0, HEDGE_LENGTH, HEDGE_HEIGHT * 0.7, times(color, 0.45))
    for layer in range(3):
        for x in random.uniform(-HEDGE_LENGTH / 2, HEDGE_LENGTH / 2, 840):
            y = random.uniform(0, HEDGE_HEIGHT * (0.86 + 0.08 * np.sin(x * 2.1 + look)))
            bright = (0.55 + 0.18 * layer) * (0.7 + 0.35 * y / HEDGE_HEIGHT) * random.uniform(0.85, 1.15)
            size = random.uniform(0.07, 0.2)
            sheet.ellipse(x, y, size, size * 0.75, times(color, bright), turn=random.uniform(0, 180))
    return sheet.finish()
