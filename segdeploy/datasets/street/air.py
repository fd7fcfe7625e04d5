"""What lies over the finished picture: the mirror of a wet road, rain, and a sun that dazzles."""

import cv2
import numpy as np

from segdeploy.datasets.street.camera import Camera
from segdeploy.datasets.street.canvas import Canvas
from segdeploy.datasets.street.labels import ROAD
from segdeploy.datasets.street.light import Light

DROPS = 170


def paint_air(canvas: Canvas, camera: Camera, light: Light, *, random: np.random.Generator) -> None:
    """Change the picture as the light's weather does; the mask stays."""
    if light.wet:
        _mirror(canvas, camera, light)
    if light.rain:
        _rain(canvas, light, random)
    if light.glare:
        _dazzle(canvas, camera, light)


def _mirror(canvas: Canvas, camera: Camera, light: Light) -> None:
    first = int(np.floor(camera.horizon)) + 1
    rows = camera.height - first
    above = canvas.picture[max(first - rows, 0) : first][::-1]
    if len(above) < rows:
        above = np.asarray(cv2.copyMakeBorder(above, 0, rows - len(above), 0, 0, cv2.BORDER_REPLICATE), np.uint8)
    small = cv2.resize(above, (max(camera.width // 4, 1), max(rows // 8, 1)), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.blur(small, (3, 3)), (camera.width, rows), interpolation=cv2.INTER_LINEAR)
    part = canvas.picture[first:]
    wet = cv2.addWeighted(part, 1 - 0.55 * light.wet, blurred, light.wet, 0)
    cv2.copyTo(wet, (canvas.mask[first:] == ROAD).astype(np.uint8), part)


def _rain(canvas: Canvas, light: Light, random: np.random.Generator) -> None:
    height, width = canvas.mask.shape
    streaks = np.zeros((height, width), np.uint8)
    starts = random.uniform((-0.05, -0.1), (1.05, 1.0), (DROPS, 2)) * (width, height)
    lengths = random.uniform(0.025, 0.09, DROPS) * height
    ends = starts + np.stack([-0.16 * lengths, lengths], axis=1)
    lines = np.stack([starts, ends], axis=1).astype(np.int32)
    cv2.polylines(streaks, list(lines), False, 255 * light.rain, max(height // 480, 1), cv2.LINE_AA)  # noqa: FBT003
    cv2.addWeighted(canvas.picture, 1.0, cv2.cvtColor(streaks, cv2.COLOR_GRAY2BGR), 0.16, 0, dst=canvas.picture)


def _dazzle(canvas: Canvas, camera: Camera, light: Light) -> None:
    height, width = (max(side // 4, 1) for side in canvas.mask.shape)
    column = camera.width / 2 + camera.focal * np.tan(light.azimuth)
    row = camera.horizon - camera.focal * np.tan(light.elevation)
    rows = (np.arange(height, dtype=np.float32) * 4 + 2 - row)[:, None] / camera.height
    columns = (np.arange(width, dtype=np.float32) * 4 + 2 - column)[None] / camera.height
    apart = np.hypot(rows, columns)
    glow = light.glare * (70 * np.exp(-2.2 * apart) + 130 * np.exp(-((apart / 0.12) ** 2)))
    veil = (glow[..., None] * np.array([0.72, 0.9, 1.0], np.float32)).clip(0, 255).astype(np.uint8)
    cv2.add(canvas.picture, cv2.resize(veil, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR), dst=canvas.picture)
