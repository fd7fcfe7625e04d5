"""Outlines and run lengths become pixels."""

import numpy as np
import numpy.typing as npt

from segdeploy.scores import Mask

Ring = npt.NDArray[np.float64]
"""Corners of a closed outline, (n, 2), x and y in pixels; the first pixel's centre is at 0.5, 0.5."""


def fill_ring(mask: Mask, ring: Ring, value: int) -> None:
    """Write a value into every pixel whose centre lies inside an outline; where it crosses itself, twice inside is outside.

    OpenCV's fillPoly paints the pixels under the outline too: a square of 10 by 10 pixels gets 121 of them. Here each row is cut
    at the outline, and between the cuts lies what is inside.

    Args:
        mask: (H, W) uint8, written into.
        ring: The outline, which may leave the mask.
        value: What is written.
    """
    height, width = mask.shape
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    # A row is crossed by an edge if its middle lies between the edge's ends.
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.intp)
    count = last - first
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    at = x[edge] + (row + 0.5 - y[edge]) / (next_y[edge] - y[edge]) * (next_x[edge] - x[edge])
    column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.intp)
    order = np.lexsort((column, row))
    for line, start, stop in zip(row[order][::2].tolist(), column[order][::2].tolist(), column[order][1::2].tolist(), strict=True):
        mask[line, start:stop] = value


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
    if (least := min(lengths, default=0)) < 0:
        msg = f"a run length is {least}"
        raise ValueError(msg)
    if sum(lengths) != mask.size:
        msg = f"the run lengths cover {sum(lengths)} pixels of {mask.size}"
        raise ValueError(msg)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask.shape[::-1]).T
    mask[inside] = value
