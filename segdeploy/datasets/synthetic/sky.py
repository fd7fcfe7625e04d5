"""The sky, and the distant town and trees at the horizon."""

from functools import lru_cache

import cv2
import numpy as np

from segdeploy.datasets.synthetic.camera import Camera
from segdeploy.datasets.synthetic.canvas import Canvas, Sprite
from segdeploy.datasets.synthetic.drawing import BUILDING, SKY, TREE, Sketch, fractal
from segdeploy.datasets.synthetic.lighting import Light

COARSER = 3
"""Downsampling factor of the sky, which has no fine detail."""
SKYLINE_WIDTH = 1200.0
SKYLINE_HEIGHT = 44.0
SKYLINE_DISTANCE = 330.0
"""Distance of the skyline, in meters; it never comes closer."""


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    return fractal(512, 1024, random=np.random.default_rng(11), octaves=6)


def paint_sky(canvas: Canvas, camera: Camera, light: Light, *, time: float) -> None:
    """Paint the sky above the horizon; the clouds drift with the time in seconds."""
    rows = int(np.floor(camera.horizon)) + 1
    height, width = max(rows // COARSER, 1), max(camera.width // COARSER, 1)
    up = (camera.horizon - (np.arange(height) + 0.5) * rows / height) / camera.focal
    up = np.maximum(up, 0.004)[:, None].astype(np.float32)
    across = (((np.arange(width) + 0.5) * camera.width / width - camera.width / 2) / camera.focal)[
        None
    ].astype(np.float32)
    share = np.broadcast_to((1 - np.exp(-up * 5.0))[..., None], (height, width, 1))
    sky = (np.array(light.horizon) * (1 - share) + np.array(light.zenith) * share).astype(
        np.float32
    )
    _add_sun(sky, up, across, light)
    _add_clouds(sky, up, across, light, time=time)
    fine = cv2.resize(
        sky.clip(0, 255).astype(np.uint8), (camera.width, rows), interpolation=cv2.INTER_LINEAR
    )
    canvas.image[:rows] = fine
    canvas.mask[:rows] = SKY
    if light.night == 1.0:
        _add_stars(canvas, rows)


def _add_sun(sky: np.ndarray, up: np.ndarray, across: np.ndarray, light: Light) -> None:
    if light.sun == 0 or abs(light.azimuth) > 1:
        return
    apart = np.hypot(across - np.tan(light.azimuth), up - np.tan(light.elevation))
    glow = 0.75 * np.exp(-apart * 5) + 2.5 * np.exp(-((apart / 0.035) ** 2))
    sky += glow[..., None] * np.array([90, 150, 190], np.float32)


def _add_clouds(
    sky: np.ndarray, up: np.ndarray, across: np.ndarray, light: Light, *, time: float
) -> None:
    noise = _noise()
    depth = 1.0 / (up + 0.12)
    columns = across * depth * 130 + 512 + 1.5 * time + 400 * np.sin(light.azimuth * 5)
    rows = np.broadcast_to(depth * 60 + 90, columns.shape)
    thick = cv2.remap(
        noise,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    share = np.clip((thick + 3.2 * light.cover - 1.9) * 0.75, 0, 0.9) * np.clip(up * 14, 0.25, 1)
    body = 1 - 0.1 * np.clip(thick - 0.4, 0, 2)
    sky += share[..., None] * (np.array(light.cloud, np.float32) * body[..., None] - sky)


def _add_stars(canvas: Canvas, rows: int) -> None:
    random = np.random.default_rng(5)
    width = canvas.mask.shape[1]
    for column, row, bright in zip(
        random.uniform(0, 1, 60),
        random.uniform(0, 0.8, 60),
        random.uniform(50, 170, 60),
        strict=True,
    ):
        pixel = canvas.image[int(row * rows), int(column * width)]
        pixel[:] = np.maximum(pixel, np.uint8(bright))


@lru_cache(maxsize=4)
def _skyline(style: int) -> tuple[Sprite, Sprite]:
    random = np.random.default_rng([3, style])
    town = Sketch(SKYLINE_WIDTH, SKYLINE_HEIGHT, density=2)
    left = -SKYLINE_WIDTH / 2
    while left < SKYLINE_WIDTH / 2:
        width, height = random.uniform(9, 26), random.uniform(14, 30) * random.choice([1, 1, 1.35])
        tone = random.uniform(0.75, 1.1)
        town.rectangle(left, 0, left + width, height, (120 * tone, 126 * tone, 136 * tone))
        for x in np.arange(left + 1.5, left + width - 2, 3.0):
            for y in np.arange(3, height - 2.5, 3.5):
                town.rectangle(x, y, x + 1.3, y + 1.7, (86 * tone, 80 * tone, 76 * tone))
        left += width * random.uniform(0.8, 1.2)
    wood = Sketch(SKYLINE_WIDTH, SKYLINE_HEIGHT, density=2)
    for _ in range(700):
        x, size = random.uniform(-0.5, 0.5) * SKYLINE_WIDTH, random.uniform(2.5, 6)
        tone = random.uniform(0.7, 1.15)
        wood.ellipse(
            x,
            random.uniform(0, 7) + 3 * np.sin(x / 40),
            size,
            size * 1.1,
            (48 * tone, 92 * tone, 74 * tone),
        )
    return town.finish(), wood.finish()


def paint_skyline(canvas: Canvas, camera: Camera, light: Light, *, style: int) -> None:
    """Paint the distant town and the trees before it, where the street ends."""
    town, wood = _skyline(style % 4)
    tone = light.tone(min(SKYLINE_DISTANCE, 1.1 * light.haze))
    scale = camera.focal / SKYLINE_DISTANCE
    slope = camera.middle(camera.z + 60.0) / 60.0
    middle = camera.width / 2 + 0.5 * slope * camera.focal
    for sprite, label, row in ((town, BUILDING, 0.0), (wood, TREE, 1.0)):
        canvas.place(sprite, middle, camera.horizon + 1 + row, scale=scale, label=label, tone=tone)
