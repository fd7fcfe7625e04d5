"""A sample changed by chance: what the network sees of it in one epoch."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from segdeploy.pictures import Picture
from segdeploy.pixels import resize, resize_mask
from segdeploy.scores import IGNORED, Mask

from .recipe import Recipe
from .tint import RGB, apply_tint, apply_tint_to_rgb, draw_tint

PLACES = 10
"""Places that are tried for a crop without a class that fills it, as in mmsegmentation's `RandomCrop`."""

STEP = 4
"""Of so many rows and columns one is counted, to see whether a class fills a crop."""


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
    """Cut, mirror, tint and blur a picture, and its mask with it.

    Args:
        image: (H, W, 3) uint8, blue-green-red.
        mask: (H, W) uint8; 255 is not labelled.
        recipe: Says how much is changed, and the size of the answer.
        random: Where chance comes from.

    Returns:
        Picture and mask of the size that the recipe trains on, in arrays of their own.
    """
    image, mask = move(image, mask, recipe, random)
    return apply_tint(image, draw_tint(recipe, random)), mask


def augment_to_rgb(image: Picture, mask: Mask, recipe: Recipe, random: np.random.Generator) -> tuple[RGB, Mask]:
    """Change a picture as `augment` does, and give it red-green-blue, as the network takes it."""
    image, mask = move(image, mask, recipe, random)
    return apply_tint_to_rgb(image, draw_tint(recipe, random)), mask


def move(image: Picture, mask: Mask, recipe: Recipe, random: np.random.Generator) -> tuple[Picture, Mask]:
    """Cut and mirror a picture and its mask; the colors stay as they are."""
    window = choose_window(mask, recipe, random)
    image, mask = look_through(window, image, mask, recipe)
    if random.random() < recipe.flip:
        # In place where the array is our own by now, since fresh memory costs more than the swap.
        image = np.asarray(cv2.flip(image, 1, dst=image if image.flags.writeable else None), dtype=np.uint8)
        cv2.flip(mask, 1, dst=mask)
    return image, mask


def choose_window(mask: Mask, recipe: Recipe, random: np.random.Generator) -> Window:
    """Choose what is seen of a picture: at the last of ten places, or the first that no class fills beyond `max_share`."""
    height, width = mask.shape
    window = draw_window(height, width, recipe, random)
    if recipe.max_share == 1 or (window.height >= height and window.width >= width):
        return window
    for _ in range(PLACES - 1):
        if largest_share(mask, window) < recipe.max_share:
            break
        top, left = _between(0, height - window.height, random), _between(0, width - window.width, random)
        window = replace(window, top=top, left=left)
    return window


def largest_share(mask: Mask, window: Window) -> float:
    """Give the largest share that a class has among the labelled pixels of a window; 1 where nothing is labelled."""
    rows = slice(max(window.top, 0), window.top + window.height, STEP)
    columns = slice(max(window.left, 0), window.left + window.width, STEP)
    counts = np.bincount(mask[rows, columns].ravel(), minlength=IGNORED + 1)[:IGNORED]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def draw_window(height: int, width: int, recipe: Recipe, random: np.random.Generator) -> Window:
    """Choose what is seen of a picture of the given size: at an enlargement of 1 all of it, at 2 a quarter, at a half four times its area.

    With a `crop` it is the crop's share of that. Enlargements are drawn so that halving is as likely as doubling.
    """
    low, high = (math.log(bound) for bound in recipe.scale)
    enlargement = math.exp(random.uniform(low, high))
    part = [seen / whole / enlargement for seen, whole in zip(recipe.seen, recipe.imgsz, strict=True)]
    rows, columns = max(1, round(height * part[0])), max(1, round(width * part[1]))
    top = _between(0, height - rows, random)
    left = _between(0, width - columns, random)
    return Window(top=top, left=left, height=rows, width=columns)


def _between(one: int, other: int, random: np.random.Generator) -> int:
    return int(random.integers(min(one, other), max(one, other), endpoint=True))


def look_through(window: Window, image: Picture, mask: Mask, recipe: Recipe) -> tuple[Picture, Mask]:
    """Bring the window's part of picture and mask to the size that is trained on; beyond the edges is the mean color, and not labelled.

    The part is cut before it changes size, so that nothing is computed that is not seen.
    """
    height, width = recipe.seen
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
