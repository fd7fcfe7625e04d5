"""Augmentation of an image and its mask: random scale and crop, flip, color jitter, blur."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Image, Mask
from segdeploy.card import COLORS
from segdeploy.imaging.preprocess import by_channels, resize, resize_mask

from .bands import input_spec
from .recipe import Recipe

RGB = Image
"""An image in the order in which a network takes it: usually red, green, blue."""

Matrix = npt.NDArray[np.float64]

LUMA = np.array([0.114, 0.587, 0.299])
"""Weights of blue, green, red in the luma (ITU-R BT.601, section 2.5.1)."""

MEAN_STRIDE = 8
"""The mean brightness is that of every eighth row."""

MIN_SIGMA, MAX_SIGMA = 0.3, 1.5
"""Range of the standard deviation of a blur, in pixels of the network's input."""

CROP_TRIES = 10
"""Crops that are tried for one that no class dominates, as in mmsegmentation's `RandomCrop`."""

SHARE_STRIDE = 4
"""Every fourth row and column is counted to see whether a class dominates a crop."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """One change of an image's colors and sharpness.

    Attributes:
        brightness: Factor of all values.
        contrast: Factor of the distance from the mean brightness.
        saturation: Factor of the distance from gray.
        blue: Factor of blue.
        green: Factor of green.
        red: Factor of red.
        hue: Shift of the hue, as a share of the whole circle.
        blur: Standard deviation of the blur, in pixels; 0 for none.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    blue: float = 1.0
    green: float = 1.0
    red: float = 1.0
    hue: float = 0.0
    blur: float = 0.0

    def to_numbers(self) -> tuple[float, ...]:
        """Return the values in the order above."""
        return astuple(self)

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> Self:
        """Return the jitter of what `to_numbers` returned."""
        return cls(**dict(zip((field.name for field in fields(cls)), numbers, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of an image, in pixels of the image; it may reach beyond the image's edges."""

    top: int
    left: int
    height: int
    width: int


def sample_rng(recipe: Recipe, epoch: int, *, index: int) -> np.random.Generator:
    """Return the random generator of a sample in an epoch.

    It depends on the seed, the epoch and the index alone, so that it is the same in every process
    and in a resumed run.
    """
    return np.random.default_rng((recipe.seed, epoch, index))


class Augmentation:
    """Random changes of an image and its mask, as a recipe describes them."""

    def __init__(self, recipe: Recipe) -> None:
        """Take the strengths of a recipe, and the size of the images that the network trains on."""
        self._recipe = recipe
        self._height, self._width = recipe.train_size
        self._shares = tuple(
            part / whole for part, whole in zip(recipe.train_size, recipe.imgsz, strict=True)
        )
        spec = input_spec(recipe)
        self.is_color = spec.is_color
        self._padding = spec.neutral[::-1] if spec.is_color else spec.neutral

    def apply(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
        """Return an image and its mask, augmented.

        Args:
            image: (H, W, 3) uint8, blue-green-red.
            mask: (H, W) uint8; 255 is not labeled.
            rng: Random generator of the sample.

        Returns:
            Image and mask of the size that the recipe trains on, in arrays of their own.
        """
        image, mask = self.crop_and_flip(image, mask, rng)
        jitter = self.draw_jitter(rng)
        return apply_jitter(image, jitter) if self.is_color else blur(image, jitter.blur), mask

    def apply_to_rgb(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[RGB, Mask]:
        """Return what `apply` returns, the image red-green-blue as the network takes it.

        Bands that are no colors are as the network takes them already, and only blurred: what a
        factor of their numbers means depends on what they measure.
        """
        image, mask = self.crop_and_flip(image, mask, rng)
        jitter = self.draw_jitter(rng)
        return apply_jitter_to_rgb(image, jitter) if self.is_color else blur(
            image, jitter.blur
        ), mask

    def crop_and_flip(
        self, image: Image, mask: Mask, rng: np.random.Generator
    ) -> tuple[Image, Mask]:
        """Return a random crop of an image and its mask, flipped or not; colors stay."""
        image, mask = self.crop_and_resize(self.choose_crop(mask, rng), image, mask)
        if rng.random() < self._recipe.flip:
            # In place where the array is our own by now: fresh memory costs more than the flip.
            image = by_channels(image, _flipped)
            cv2.flip(mask, 1, dst=mask)
        return image, mask

    def draw_jitter(self, rng: np.random.Generator) -> ColorJitter:
        """Return a random change of colors; a strength of 0 leaves the image exactly as it is."""
        color, hue = self._recipe.color, self._recipe.hue
        brightness, contrast, saturation = rng.uniform(1 - color, 1 + color, 3).tolist()
        blue, green, red = rng.uniform(1 - color / 3, 1 + color / 3, 3).tolist()
        shift = float(rng.uniform(-hue, hue))
        blurs = rng.random() < self._recipe.blur
        return ColorJitter(
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            blue=blue,
            green=green,
            red=red,
            hue=shift,
            blur=float(rng.uniform(MIN_SIGMA, MAX_SIGMA)) if blurs else 0.0,
        )

    def choose_crop(self, mask: Mask, rng: np.random.Generator) -> Crop:
        """Return the first of ten random crops that no class dominates, or the last."""
        height, width = mask.shape
        crop = self.draw_crop(height, width, rng)
        largest = self._recipe.max_share
        if largest == 1 or (crop.height >= height and crop.width >= width):
            return crop
        for _ in range(CROP_TRIES - 1):
            if largest_share(mask, crop) < largest:
                break
            top = _between(0, height - crop.height, rng)
            crop = replace(crop, top=top, left=_between(0, width - crop.width, rng))
        return crop

    def draw_crop(self, height: int, width: int, rng: np.random.Generator) -> Crop:
        """Return a random crop of an image of the given size.

        At a scale of 1 it is the whole image, at 2 a quarter, at 1/2 four times its area; with the
        recipe's `crop`, that share of it. Scales are drawn so that halving is as likely as
        doubling.
        """
        low, high = (math.log(bound) for bound in self._recipe.scale)
        scale = math.exp(rng.uniform(low, high))
        rows, columns = (
            max(1, round(side * (share / scale)))
            for side, share in zip((height, width), self._shares, strict=True)
        )
        top = _between(0, height - rows, rng)
        left = _between(0, width - columns, rng)
        return Crop(top=top, left=left, height=rows, width=columns)

    def crop_and_resize(self, crop: Crop, image: Image, mask: Mask) -> tuple[Image, Mask]:
        """Return a crop of image and mask at the size that is trained on.

        It is cut before it is resized. Beyond the image's edges it is padded with the mean color,
        not labeled.
        """
        down, across = self._height / crop.height, self._width / crop.width
        top, left = max(crop.top, 0), max(crop.left, 0)
        bottom = min(crop.top + crop.height, image.shape[0])
        right = min(crop.left + crop.width, image.shape[1])
        above = min(round((top - crop.top) * down), self._height - 1)
        before = min(round((left - crop.left) * across), self._width - 1)
        rows = max(1, round((bottom - crop.top) * down) - above)
        columns = max(1, round((right - crop.left) * across) - before)
        image = resize(image[top:bottom, left:right], rows, width=columns)
        mask = resize_mask(mask[top:bottom, left:right], rows, width=columns)
        borders = above, self._height - above - rows, before, self._width - before - columns
        return (image, mask) if not any(borders) else self._pad(image, mask, borders)

    def _pad(
        self, image: Image, mask: Mask, borders: tuple[int, int, int, int]
    ) -> tuple[Image, Mask]:
        """Return image and mask with borders above, below, left and right."""
        constant = cv2.BORDER_CONSTANT
        padding = self._padding
        if len(padding) == len(COLORS):
            padded = cv2.copyMakeBorder(image, *borders, constant, value=padding)
        else:
            above, below, before, after = borders
            widths = ((above, below), (before, after), (0, 0))
            padded = np.pad(image, widths)
            padded[:] = np.asarray(padding, image.dtype)
            rows, columns = image.shape[:2]
            padded[above : above + rows, before : before + columns] = image
        labels = cv2.copyMakeBorder(mask, *borders, constant, value=IGNORE_INDEX)
        return np.asarray(padded, image.dtype), np.asarray(labels, dtype=np.uint8)


def largest_share(mask: Mask, crop: Crop) -> float:
    """Return the largest share of a class among the labeled pixels of a crop; 1 without any."""
    rows = slice(max(crop.top, 0), crop.top + crop.height, SHARE_STRIDE)
    columns = slice(max(crop.left, 0), crop.left + crop.width, SHARE_STRIDE)
    counts = np.bincount(mask[rows, columns].ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def _between(first: int, second: int, rng: np.random.Generator) -> int:
    return int(rng.integers(min(first, second), max(first, second), endpoint=True))


def apply_jitter(image: Image, jitter: ColorJitter) -> Image:
    """Return an image with its colors changed, by one matrix, and blurred."""
    return _transformed(image, _color_matrix(image, jitter), jitter.blur)


def apply_jitter_to_rgb(image: Image, jitter: ColorJitter) -> RGB:
    """Return what `apply_jitter` returns, red-green-blue; the swap is part of the matrix."""
    return _transformed(image, _color_matrix(image, jitter)[::-1].copy(), jitter.blur)


def _color_matrix(image: Image, jitter: ColorJitter) -> Matrix:
    """Return what turns blue, green, red and 1 into the changed blue, green and red, (3, 4)."""
    middle = sum(cv2.mean(image[::MEAN_STRIDE])[:3]) / 3 * jitter.brightness
    # A saturation below 1 mixes every channel with the luma.
    saturation = jitter.saturation * np.eye(3) + (1 - jitter.saturation) * LUMA
    balance = np.array([jitter.blue, jitter.green, jitter.red])
    matrix = np.empty((3, 4))
    matrix[:, :3] = (saturation @ hue_rotation(jitter.hue)) * (
        jitter.brightness * jitter.contrast * balance
    )
    matrix[:, 3] = middle * (1 - jitter.contrast)
    return matrix


def _transformed(image: Image, matrix: Matrix, sigma: float) -> Image:
    return blur(np.asarray(cv2.transform(image, matrix), image.dtype), sigma)


def blur(image: Image, sigma: float) -> Image:
    """Return an image blurred by a Gaussian, in an array that may be changed."""
    if not sigma:
        # A cached image belongs to all epochs.
        return image if image.flags.writeable else image.copy()
    size = (blur_kernel(sigma),) * 2

    def change(part: Image) -> Image:
        border = cv2.BORDER_REFLECT_101
        return np.asarray(cv2.GaussianBlur(part, size, sigma, borderType=border), part.dtype)

    return by_channels(image, change)


def _flipped(image: Image) -> Image:
    """Return an image flipped, in place where the array is our own by now.

    Fresh memory costs more than the flip.
    """
    return np.asarray(cv2.flip(image, 1, dst=image if image.flags.writeable else None), image.dtype)


def hue_rotation(share: float) -> Matrix:
    """Return the (3, 3) rotation of colors about the gray axis, by a share of the circle."""
    if not share:
        return np.eye(3)
    angle = 2 * math.pi * share
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3).
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return (
        math.cos(angle) * np.eye(3)
        + (1 - math.cos(angle)) / 3 * np.ones((3, 3))
        + math.sin(angle) * cross
    )


def blur_kernel(sigma: float) -> int:
    """Return the side of a blur's kernel, in pixels: three standard deviations on either side."""
    return 2 * math.ceil(3 * sigma) + 1
