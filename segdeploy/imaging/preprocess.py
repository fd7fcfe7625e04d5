"""From images of any size to the batch that a network takes: resize, pad, change to RGB."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from PIL import Image as Pillow

from segdeploy.arrays import Batch, Image, Mask
from segdeploy.card import COLORS, InputSpec, Resample
from segdeploy.imaging.bands import neutralized

PILLOW_FILTERS: Mapping[str, Pillow.Resampling] = {
    "pillow-bilinear": Pillow.Resampling.BILINEAR,
    "pillow-bicubic": Pillow.Resampling.BICUBIC,
    "pillow-lanczos": Pillow.Resampling.LANCZOS,
}
"""Pillow's filters by the names of cards; torchvision's antialiased ones are the same."""


OPENCV_CHANNELS = 4
"""Channels of an image that OpenCV's means of areas and its borders take at most."""


def resize(image: Image, height: int, *, width: int) -> Image:
    """Resize an image, in training as in use.

    It is halved by means of 2x2 pixels while it is at least twice too large, and resized bilinearly
    from there.

    Args:
        image: (H, W, C) of any type.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
    """
    rows, columns = image.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and rows % 2 == columns % 2 == 0:
        rows, columns = rows // 2, columns // 2
        image = _resize(image, rows, width=columns, rule=cv2.INTER_AREA)
    if (rows, columns) == (height, width):
        return image
    far = rows >= 2 * height and columns >= 2 * width
    return _resize(image, height, width=width, rule=cv2.INTER_AREA if far else cv2.INTER_LINEAR)


def _resize(image: Image, height: int, *, width: int, rule: int) -> Image:
    """Resize an image of any number of channels by a rule of OpenCV."""

    def change(part: Image) -> Image:
        return np.asarray(cv2.resize(part, (width, height), interpolation=rule), dtype=part.dtype)

    return by_channels(image, change)


def by_channels(image: Image, change: Callable[[Image], Image]) -> Image:
    """Return an image that OpenCV changed, which takes few channels and drops a single one's axis.

    Args:
        image: (H, W, C).
        change: A function of OpenCV.
    """
    count = image.shape[2]
    if count == len(COLORS):
        return change(image)
    parts = [
        change(np.ascontiguousarray(image[:, :, at : at + OPENCV_CHANNELS]))
        for at in range(0, count, OPENCV_CHANNELS)
    ]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)


def resample(image: Image, height: int, *, width: int, rule: Resample) -> Image:
    """Resize an image by the rule of a card: as the network's authors do.

    Args:
        image: (H, W, C); uint8 with three colors for Pillow's filters.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
        rule: See `InputSpec.resample`.
    """
    if rule == "halving":
        return resize(image, height, width=width)
    if image.shape[:2] == (height, width):
        return image
    if rule == "linear":
        return _resize(image, height, width=width, rule=cv2.INTER_LINEAR)
    whole = Pillow.fromarray(image)
    return np.asarray(whole.resize((width, height), PILLOW_FILTERS[rule]), dtype=np.uint8)


def resize_mask(mask: Mask, height: int, *, width: int) -> Mask:
    """Resize a mask; each pixel takes the class of the nearest."""
    return np.asarray(
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8
    )


def to_batch(images: Sequence[Image], spec: InputSpec) -> Batch:
    """Return images of any sizes as one batch of the network's input size.

    Where the card says "pad", the padding has the mean color, which is zero once normalized.

    Args:
        images: Each (H, W, C) of the channels and the type of the network; colors are
            blue-green-red.
        spec: Size, fit, channels and mean of the network's input.

    Returns:
        (N, H, W, C) of the network's type; colors are red-green-blue.
    """
    channels = len(spec.channels)
    batch = np.empty((len(images), spec.height, spec.width, channels), spec.dtype)
    for image, target in zip(images, batch, strict=True):
        height, width = fitted_size(spec, image.shape[0], width=image.shape[1])
        if (height, width) != (spec.height, spec.width):
            target[:] = spec.neutral
        sized = resample(neutralized(image, spec), height, width=width, rule=spec.resample)
        target[:height, :width] = cv2.cvtColor(sized, cv2.COLOR_BGR2RGB) if spec.is_color else sized
    return batch


def fitted_size(spec: InputSpec, height: int, *, width: int) -> tuple[int, int]:
    """Return the height and width that an image takes in the network's input, from the top left."""
    if spec.fit == "stretch":
        return spec.height, spec.width
    scale = min(spec.height / height, spec.width / width)
    return max(1, min(spec.height, round(height * scale))), max(
        1, min(spec.width, round(width * scale))
    )
