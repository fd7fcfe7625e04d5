"""A sample changed by chance: what the network sees of it in one epoch."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from segdeploy.pictures import Picture
from segdeploy.pixels import resize, resize_mask
from segdeploy.scores import IGNORED, Mask

from .recipe import Recipe

GREY = np.array([0.114, 0.587, 0.299])
"""Shares of blue, green, red in the brightness that is seen (ITU-R BT.601, section 2.5.1)."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a picture that is seen, in pixels of the picture; it may reach beyond its edges."""

    top: int
    left: int
    height: int
    width: int


def chance(recipe: Recipe, epoch: int, *, index: int) -> np.random.Generator:
    """Give what decides on a sample in an epoch, whichever process asks and whatever was asked before."""
    return np.random.default_rng((recipe.seed, epoch, index))


def augment(image: Picture, mask: Mask, recipe: Recipe, random: np.random.Generator) -> tuple[Picture, Mask]:
    """Cut, mirror and tint a picture, and its mask with it.

    Args:
        image: (H, W, 3) uint8, blue-green-red.
        mask: (H, W) uint8; 255 is not labelled.
        recipe: Says how much is changed, and the size of the answer.
        random: Where chance comes from.

    Returns:
        Picture and mask of the recipe's `imgsz`, in arrays of their own.
    """
    window = draw_window(image.shape[0], image.shape[1], recipe, random)
    image, mask = look_through(window, image, mask, recipe)
    mirrored = random.random() < recipe.flip
    image = tint(image, recipe.color, random)
    if mirrored:
        # In place, since both are arrays of their own by now, and fresh memory costs more than the swap.
        cv2.flip(image, 1, dst=image)
        cv2.flip(mask, 1, dst=mask)
    return image, mask


def draw_window(height: int, width: int, recipe: Recipe, random: np.random.Generator) -> Window:
    """Choose what is seen of a picture of the given size: at an enlargement of 1 all of it, at 2 a quarter, at a half four times its area.

    Enlargements are drawn so that halving is as likely as doubling.
    """
    low, high = (math.log(bound) for bound in recipe.scale)
    enlargement = math.exp(random.uniform(low, high))
    rows, columns = max(1, round(height / enlargement)), max(1, round(width / enlargement))
    top = _between(0, height - rows, random)
    left = _between(0, width - columns, random)
    return Window(top=top, left=left, height=rows, width=columns)


def _between(one: int, other: int, random: np.random.Generator) -> int:
    return int(random.integers(min(one, other), max(one, other), endpoint=True))


def look_through(window: Window, image: Picture, mask: Mask, recipe: Recipe) -> tuple[Picture, Mask]:
    """Bring the window's part of picture and mask to `imgsz`; beyond the edges is the mean color, and not labelled.

    The part is cut before it changes size, so that nothing is computed that is not seen.
    """
    height, width = recipe.imgsz
    down, across = height / window.height, width / window.width
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = min(window.top + window.height, image.shape[0]), min(window.left + window.width, image.shape[1])
    first_row, first_column = min(round((top - window.top) * down), height - 1), min(round((left - window.left) * across), width - 1)
    rows = max(1, round((bottom - window.top) * down) - first_row)
    columns = max(1, round((right - window.left) * across) - first_column)
    picture = resize(image[top:bottom, left:right], rows, width=columns)
    truth = resize_mask(mask[top:bottom, left:right], rows, width=columns)
    around = first_row, height - first_row - rows, first_column, width - first_column - columns
    if not any(around):
        return picture, truth
    mean = np.rint(np.multiply(recipe.mean[::-1], 255)).clip(0, 255).tolist()
    picture = np.asarray(cv2.copyMakeBorder(picture, *around, cv2.BORDER_CONSTANT, value=mean), dtype=np.uint8)
    return picture, np.asarray(cv2.copyMakeBorder(truth, *around, cv2.BORDER_CONSTANT, value=IGNORED), dtype=np.uint8)


def tint(image: Picture, amount: float, random: np.random.Generator) -> Picture:
    """Change brightness, contrast, the colors' balance and saturation, each by up to `amount`, by one matrix."""
    brightness, contrast, saturation = random.uniform(1 - amount, 1 + amount, 3)
    balance = random.uniform(1 - amount / 3, 1 + amount / 3, 3)
    middle = float(np.mean(cv2.mean(image)[:3])) * brightness
    # A row of the mean's shares mixes the grey in, which is what a saturation of less than 1 does.
    mixed = saturation * np.eye(3) + (1 - saturation) * GREY
    matrix = np.column_stack([mixed * (brightness * contrast * balance), np.full(3, middle * (1 - contrast))])
    return np.asarray(cv2.transform(image, matrix), dtype=np.uint8)
