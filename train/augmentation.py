"""Random crop, flip, color jitter, blur."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.imaging.preprocess import resize, resize_mask

from .recipe import Recipe

RGB = npt.NDArray[np.uint8]
"""An image (H, W, 3) in the order in which a network takes it: red, green, blue."""

GRAY = np.array([0.114, 0.587, 0.299])
"""Shares of blue, green, red in the brightness that is seen (ITU-R BT.601, section 2.5.1)."""

SEEN = 8
"""Of so many rows one is counted for the mean brightness."""

DULLEST, SHARPEST = 1.5, 0.3
"""Largest and smallest deviation of the blur, in pixels of the network's input."""


@dataclass(frozen=True, kw_only=True)
class Tint:
    """One change of an image's colors.

    Attributes:
        brightness: Factor of all values.
        contrast: Factor of the distance from the mean brightness.
        saturation: Factor of the distance from gray.
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
        """Return the values in the order above."""
        return astuple(self)

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Read what `numbers` gave."""
        return cls(**dict(zip((field.name for field in fields(cls)), numbers, strict=True)))


def draw_tint(recipe: Recipe, random: np.random.Generator) -> Tint:
    """Draw a change; whatever the recipe switches off is exactly nothing."""
    brightness, contrast, saturation = random.uniform(
        1 - recipe.color, 1 + recipe.color, 3
    ).tolist()
    blue, green, red = random.uniform(1 - recipe.color / 3, 1 + recipe.color / 3, 3).tolist()
    hue = float(random.uniform(-recipe.hue, recipe.hue))
    blur = float(random.uniform(SHARPEST, DULLEST)) if random.random() < recipe.blur else 0.0
    return Tint(
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        blue=blue,
        green=green,
        red=red,
        hue=hue,
        blur=blur,
    )


def apply_tint(image: Image, tint: Tint) -> Image:
    """Change an image's colors, all by one matrix, and its sharpness."""
    return _mixed(image, _matrix(image, tint), tint.blur)


def apply_tint_to_rgb(image: Image, tint: Tint) -> RGB:
    """Change an image as `apply_tint` does, and give it red-green-blue.

    The matrix turns the order, which then costs nothing.
    """
    return _mixed(image, _matrix(image, tint)[::-1].copy(), tint.blur)


def _matrix(image: Image, tint: Tint) -> npt.NDArray[np.float64]:
    """Return what turns blue, green, red and 1 into the tinted blue, green and red, (3, 4)."""
    middle = sum(cv2.mean(image[::SEEN])[:3]) / 3 * tint.brightness
    # A row of the mean's shares mixes the gray in, which is what a saturation of less than 1 does.
    mixed = (tint.saturation * np.eye(3) + (1 - tint.saturation) * GRAY) @ turn(tint.hue)
    matrix = np.empty((3, 4))
    matrix[:, :3] = mixed * (
        tint.brightness * tint.contrast * np.array([tint.blue, tint.green, tint.red])
    )
    matrix[:, 3] = middle * (1 - tint.contrast)
    return matrix


def _mixed(image: Image, matrix: npt.NDArray[np.float64], blur: float) -> npt.NDArray[np.uint8]:
    changed = cv2.transform(image, matrix)
    if blur:
        changed = cv2.GaussianBlur(
            changed, (kernel(blur),) * 2, blur, borderType=cv2.BORDER_REFLECT_101
        )
    return np.asarray(changed, dtype=np.uint8)


def turn(share: float) -> npt.NDArray[np.float64]:
    """Return the matrix that turns the hue.

    The rotation of colors about the axis of the grays, which stay as they are.
    """
    if not share:
        return np.eye(3)
    angle = 2 * math.pi * share
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3).
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return (
        math.cos(angle) * np.eye(3)
        + (1 - math.cos(angle)) / 3 * np.ones((3, 3))
        + math.sin(angle) * across
    )


def kernel(blur: float) -> int:
    """Return the number of pixels in which a blur is computed: three deviations on either side."""
    return 2 * math.ceil(3 * blur) + 1


PLACES = 10
"""Places that are tried for a crop without a class that fills it, as in mmsegmentation's
`RandomCrop`."""

STEP = 4
"""Of so many rows and columns one is counted, to see whether a class fills a crop."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of an image that is seen, in pixels of the image.

    It may reach beyond its edges.
    """

    top: int
    left: int
    height: int
    width: int


def chance(recipe: Recipe, epoch: int, *, index: int) -> np.random.Generator:
    """Return what decides on a sample in an epoch, whichever process asks and whatever was asked before."""
    return np.random.default_rng((recipe.seed, epoch, index))


def augment(
    image: Image, mask: Mask, recipe: Recipe, random: np.random.Generator
) -> tuple[Image, Mask]:
    """Cut, mirror, tint and blur an image, and its mask with it.

    Args:
        image: (H, W, 3) uint8, blue-green-red.
        mask: (H, W) uint8; 255 is not labeled.
        recipe: Says how much is changed, and the size of the answer.
        random: Where chance comes from.

    Returns:
        Image and mask of the size that the recipe trains on, in arrays of their own.
    """
    image, mask = move(image, mask, recipe, random)
    return apply_tint(image, draw_tint(recipe, random)), mask


def augment_to_rgb(
    image: Image, mask: Mask, recipe: Recipe, random: np.random.Generator
) -> tuple[RGB, Mask]:
    """Change an image as `augment` does, and give it red-green-blue, as the network takes it."""
    image, mask = move(image, mask, recipe, random)
    return apply_tint_to_rgb(image, draw_tint(recipe, random)), mask


def move(
    image: Image, mask: Mask, recipe: Recipe, random: np.random.Generator
) -> tuple[Image, Mask]:
    """Cut and mirror an image and its mask; the colors stay as they are."""
    window = choose_window(mask, recipe, random)
    image, mask = look_through(window, image, mask, recipe)
    if random.random() < recipe.flip:
        # In place where the array is our own by now, since fresh memory costs more than the swap.
        image = np.asarray(
            cv2.flip(image, 1, dst=image if image.flags.writeable else None), dtype=np.uint8
        )
        cv2.flip(mask, 1, dst=mask)
    return image, mask


def choose_window(mask: Mask, recipe: Recipe, random: np.random.Generator) -> Window:
    """Choose what is seen of an image.

    At the last of ten places, or the first that no class fills beyond `max_share`.
    """
    height, width = mask.shape
    window = draw_window(height, width, recipe, random)
    if recipe.max_share == 1 or (window.height >= height and window.width >= width):
        return window
    for _ in range(PLACES - 1):
        if largest_share(mask, window) < recipe.max_share:
            break
        top, left = (
            _between(0, height - window.height, random),
            _between(0, width - window.width, random),
        )
        window = replace(window, top=top, left=left)
    return window


def largest_share(mask: Mask, window: Window) -> float:
    """Return the largest share that a class has among the labeled pixels of a window.

    1 where nothing is labeled.
    """
    rows = slice(max(window.top, 0), window.top + window.height, STEP)
    columns = slice(max(window.left, 0), window.left + window.width, STEP)
    counts = np.bincount(mask[rows, columns].ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def draw_window(height: int, width: int, recipe: Recipe, random: np.random.Generator) -> Window:
    """Choose what is seen of an image of the given size.

    At an enlargement of 1 all of it, at 2 a quarter, at a half four times its area.

    With a `crop` it is the crop's share of that. Enlargements are drawn so that halving is as
    likely as doubling.
    """
    low, high = (math.log(bound) for bound in recipe.scale)
    enlargement = math.exp(random.uniform(low, high))
    part = [
        seen / whole / enlargement for seen, whole in zip(recipe.seen, recipe.imgsz, strict=True)
    ]
    rows, columns = max(1, round(height * part[0])), max(1, round(width * part[1]))
    top = _between(0, height - rows, random)
    left = _between(0, width - columns, random)
    return Window(top=top, left=left, height=rows, width=columns)


def _between(one: int, other: int, random: np.random.Generator) -> int:
    return int(random.integers(min(one, other), max(one, other), endpoint=True))


def look_through(window: Window, image: Image, mask: Mask, recipe: Recipe) -> tuple[Image, Mask]:
    """Bring the window's part of image and mask to the size that is trained on.

    Beyond the edges is the mean color, and not labeled.

    The part is cut before it changes size, so that nothing is computed that is not seen.
    """
    height, width = recipe.seen
    down, across = height / window.height, width / window.width
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = (
        min(window.top + window.height, image.shape[0]),
        min(window.left + window.width, image.shape[1]),
    )
    first_row, first_column = (
        min(round((top - window.top) * down), height - 1),
        min(round((left - window.left) * across), width - 1),
    )
    rows = max(1, round((bottom - window.top) * down) - first_row)
    columns = max(1, round((right - window.left) * across) - first_column)
    picture = resize(image[top:bottom, left:right], rows, width=columns)
    truth = resize_mask(mask[top:bottom, left:right], rows, width=columns)
    around = first_row, height - first_row - rows, first_column, width - first_column - columns
    if not any(around):
        return picture, truth
    mean = np.rint(np.multiply(recipe.mean[::-1], 255)).clip(0, 255).tolist()
    picture = np.asarray(
        cv2.copyMakeBorder(picture, *around, cv2.BORDER_CONSTANT, value=mean), dtype=np.uint8
    )
    return picture, np.asarray(
        cv2.copyMakeBorder(truth, *around, cv2.BORDER_CONSTANT, value=IGNORE_INDEX), dtype=np.uint8
    )
