"""Contrast: views of images of any bands and bits, for screens and for what is drawn on them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image
from segdeploy.card import COLORS, InputSpec

STRETCH = (2.0, 98.0)
"""Percentiles that are shown as black and white where an image is made visible."""

LOOKED_AT = 1 << 20
"""Numbers of a band of which percentiles are taken; more would take long and change little."""


def stretched(image: Image, shown: tuple[int, ...] = ()) -> Image:
    """Return a view of an image for the eye, whatever its numbers are.

    Each band is stretched between its 2nd and 98th percentile.

    Args:
        image: (H, W, C) of any type.
        shown: Indices of the channels that are shown as red, green and blue, or of a single one,
            as gray; empty for the first three, or the first of less.

    Returns:
        (H, W, 3) uint8, blue-green-red.
    """
    count = image.shape[2]
    chosen = shown or ((0, 1, 2) if count >= 3 else (0,))
    planes = [_stretched_band(image[:, :, at]) for at in chosen[::-1]]
    return np.dstack(planes * (3 // len(planes)))


def as_color(image: Image, shown: tuple[int, ...] = ()) -> Image:
    """Return a usual image itself, and a stretched view of one whose type or channels are others.

    For where no card says what an image is.
    """
    is_usual = image.dtype == np.uint8 and image.shape[2] == len(COLORS) and not shown
    return image if is_usual else stretched(image, shown)


def view(image: Image, spec: InputSpec, shown: tuple[int, ...] = ()) -> Image:
    """Return what is drawn upon: a usual image itself, and a stretched view of any other."""
    if spec.is_plain and not shown:
        return image
    return stretched(image[:, :, ::-1] if spec.is_color else image, shown)


def _stretched_band(band: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    step = max(1, int((band.size / LOOKED_AT) ** 0.5))
    sample = band[::step, ::step]
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, STRETCH) if sample.size else (0.0, 1.0)
    unit = (band.astype(np.float32) - low) / max(float(high - low), 1e-6)
    return (np.nan_to_num(unit, nan=0.0).clip(0, 1) * 255).round().astype(np.uint8)
