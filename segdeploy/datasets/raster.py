"""Outlines and run lengths become pixels."""

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.scores import Mask

Ring = npt.NDArray[np.float64]
"""Corners of a closed outline, (n, 2), x and y in pixels; the first pixel's centre is at 0.5, 0.5."""

FINER = 4
BITS = 4
MAX_SAMPLES = 16 * 1024 * 1024


def fill_ring(mask: Mask, ring: Ring, value: int) -> None:
    """Write a value into every pixel whose centre lies inside an outline, up to an eighth of a pixel.

    OpenCV fills the pixels under the outline too, which makes everything half a pixel fatter; so it draws four times larger, and
    every fourth sample is taken.

    Args:
        mask: (H, W) uint8, written into.
        ring: The outline, which may leave the mask.
        value: What is written.
    """
    limits = np.array(mask.shape[::-1])
    left, top = np.clip(np.floor(ring.min(0)), 0, limits).astype(int)
    right, bottom = np.clip(np.ceil(ring.max(0)), 0, limits).astype(int)
    if left >= right or top >= bottom:
        return
    rows = max(1, MAX_SAMPLES // (FINER * FINER * (right - left)))
    for start in range(top, bottom, rows):
        stop = min(start + rows, bottom)
        fine = np.zeros(((stop - start) * FINER, (right - left) * FINER), np.uint8)
        corners = np.round((ring - (left, start)) * (FINER << BITS)).astype(np.int32)
        cv2.fillPoly(fine, [corners], 1, shift=BITS)
        mask[start:stop, left:right][fine[FINER // 2 :: FINER, FINER // 2 :: FINER] == 1] = value


def circle(center: tuple[float, float], edge: tuple[float, float]) -> Ring:
    """Give the outline of a circle through a point, with corners a pixel apart."""
    radius = float(np.hypot(edge[0] - center[0], edge[1] - center[1]))
    angles = np.linspace(0, 2 * np.pi, max(16, round(2 * np.pi * radius)), endpoint=False)
    return np.asarray(center) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def run_lengths(text: str) -> list[int]:
    """Unpack the run lengths that pycocotools packs into text: groups of five bits from 48, each the change against the last but one.

    Raises:
        ValueError: It is no such text.
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            msg = f"{letter!r} stands where packed run lengths go on"
            raise ValueError(msg)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def fill_runs(mask: Mask, lengths: list[int], value: int) -> None:
    """Write a value into every second run of pixels, down the columns from left to right.

    Args:
        mask: (H, W) uint8, written into.
        lengths: Pixels outside, inside, outside ..., H * W in all.
        value: What is written.

    Raises:
        ValueError: A length is negative or their sum is another.
    """
    if min(lengths, default=0) < 0 or sum(lengths) != mask.size:
        msg = f"the run lengths cover {sum(lengths)} pixels of {mask.size}"
        raise ValueError(msg)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask.shape[::-1]).T
    mask[inside] = value
