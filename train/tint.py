"""How the colors and the sharpness of a picture are changed by chance, and the change itself on a processor."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.pictures import Picture

from .recipe import Recipe

RGB = npt.NDArray[np.uint8]
"""A picture (H, W, 3) in the order in which a network takes it: red, green, blue."""

GREY = np.array([0.114, 0.587, 0.299])
"""Shares of blue, green, red in the brightness that is seen (ITU-R BT.601, section 2.5.1)."""

SEEN = 8
"""Of so many rows one is counted for the mean brightness."""

DULLEST, SHARPEST = 1.5, 0.3
"""Largest and smallest deviation of the blur, in pixels of the network's input."""


@dataclass(frozen=True, kw_only=True)
class Tint:
    """One change of a picture's colors.

    Attributes:
        brightness: Factor of all values.
        contrast: Factor of the distance from the mean brightness.
        saturation: Factor of the distance from grey.
        blue: Factor of blue.
        green: Factor of green.
        red: Factor of red.
        hue: Turn of the hue, as share of the whole circle.
        blur: Deviation of the blur, in pixels; 0 for none.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    blue: float = 1.0
    green: float = 1.0
    red: float = 1.0
    hue: float = 0.0
    blur: float = 0.0

    def numbers(self) -> tuple[float, ...]:
        """Give the values in the order above."""
        return astuple(self)

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Read what `numbers` gave."""
        return cls(**dict(zip((field.name for field in fields(cls)), numbers, strict=True)))


def draw_tint(recipe: Recipe, random: np.random.Generator) -> Tint:
    """Draw a change; whatever the recipe switches off is exactly nothing."""
    brightness, contrast, saturation = random.uniform(1 - recipe.color, 1 + recipe.color, 3).tolist()
    blue, green, red = random.uniform(1 - recipe.color / 3, 1 + recipe.color / 3, 3).tolist()
    hue = float(random.uniform(-recipe.hue, recipe.hue))
    blur = float(random.uniform(SHARPEST, DULLEST)) if random.random() < recipe.blur else 0.0
    return Tint(brightness=brightness, contrast=contrast, saturation=saturation, blue=blue, green=green, red=red, hue=hue, blur=blur)


def apply_tint(image: Picture, tint: Tint) -> Picture:
    """Change a picture's colors, all by one matrix, and its sharpness."""
    return _mixed(image, _matrix(image, tint), tint.blur)


def apply_tint_to_rgb(image: Picture, tint: Tint) -> RGB:
    """Change a picture as `apply_tint` does, and give it red-green-blue: the matrix turns the order, which then costs nothing."""
    return _mixed(image, _matrix(image, tint)[::-1].copy(), tint.blur)


def _matrix(image: Picture, tint: Tint) -> npt.NDArray[np.float64]:
    """Give what turns blue, green, red and 1 into the tinted blue, green and red, (3, 4)."""
    middle = sum(cv2.mean(image[::SEEN])[:3]) / 3 * tint.brightness
    # A row of the mean's shares mixes the grey in, which is what a saturation of less than 1 does.
    mixed = (tint.saturation * np.eye(3) + (1 - tint.saturation) * GREY) @ turn(tint.hue)
    matrix = np.empty((3, 4))
    matrix[:, :3] = mixed * (tint.brightness * tint.contrast * np.array([tint.blue, tint.green, tint.red]))
    matrix[:, 3] = middle * (1 - tint.contrast)
    return matrix


def _mixed(image: Picture, matrix: npt.NDArray[np.float64], blur: float) -> npt.NDArray[np.uint8]:
    changed = cv2.transform(image, matrix)
    if blur:
        changed = cv2.GaussianBlur(changed, (kernel(blur),) * 2, blur, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(changed, dtype=np.uint8)


def turn(share: float) -> npt.NDArray[np.float64]:
    """Give the matrix that turns the hue: the rotation of colors about the axis of the greys, which stay as they are."""
    if not share:
        return np.eye(3)
    angle = 2 * math.pi * share
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3).
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) / 3 * np.ones((3, 3)) + math.sin(angle) * across


def kernel(blur: float) -> int:
    """Give the number of pixels in which a blur is computed: three deviations on either side."""
    return 2 * math.ceil(3 * blur) + 1
