"""Which classes can be the best one somewhere between their logits: in a cell, and at all.

Between four neighboring logits each interpolated value is a convex combination of these corners. So
a class can be best there only if its largest corner reaches the smallest one of every other class,
for example of those that are best at a corner. Where one class is best at all four, no other is. To
find the classes that are best nowhere, the largest logit of each in a tile of cells is enough, and
the smallest of these bounds there.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

MANY = 32
"""Number of classes from which on the search costs less than it saves, on two AVX-512 cores."""

TILE = 8
"""Logits along a side of a tile: fewer bound the values more closely, more are found sooner."""

SLACK = 1e-5
"""Share of the largest value by which a class may miss the bound: more than rounding errors."""


def possible_classes(planes: Floats, best: Mask) -> Indices:
    """Return the classes that can be best somewhere between the logits, rising.

    Args:
        planes: (K, h, w) finite logits.
        best: The best class at each of them, (h, w).
    """
    cells, bounds = _mixed_bounds(planes, best)
    winners = np.flatnonzero(np.bincount(best.ravel(), minlength=len(planes)))
    if not len(cells):
        return winners
    height, width = best.shape
    down, across = range(0, height, TILE), range(0, width, TILE)
    least = np.full((len(down), len(across)), np.inf, np.float32)
    np.minimum.at(least, (cells // width // TILE, cells % width // TILE), bounds)
    largest = _tile_maxima(planes)
    slack = SLACK * max(float(np.abs(largest).max()), float(np.abs(bounds).max()))
    reaches = np.any(largest >= least - slack, axis=(1, 2))
    reaches[winners] = True
    return np.flatnonzero(reaches)


def _mixed_bounds(planes: Floats, best: Mask) -> tuple[Indices, Floats]:
    """Return the cells in which several classes are best at a corner, and a bound of each.

    Returns:
        The flat index of the logit above and left of each cell, and the value that some class has
        at least anywhere in the cell.
    """
    height, width = best.shape
    rows, columns = np.arange(height), np.arange(width)
    below, right = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
    mixed = (best != best[below]) | (best != best[:, right]) | (best != best[below][:, right])
    cells = np.flatnonzero(mixed)
    down, across = np.divmod(cells, width)
    corners = [
        row * width + column for row in (down, below[down]) for column in (across, right[across])
    ]
    flat, winners = planes.reshape(len(planes), -1), best.ravel()
    bounds = np.full(len(cells), -np.inf, np.float32)
    for corner in corners:
        winner = winners[corner]
        values = np.stack([flat[winner, other] for other in corners])
        np.maximum(bounds, values.min(axis=0), out=bounds)
    return cells, bounds


def _tile_maxima(planes: Floats) -> Floats:
    """Return the largest logit of each class in each tile of cells, (K, tiles down, tiles across).

    The logits around a tile's last cells belong to it as well.
    """
    return _maxima(_maxima(planes, axis=1), axis=2)


def _maxima(planes: Floats, *, axis: int) -> Floats:
    """Return the largest of each tile's values along an axis, and of the first one behind it."""
    lines = np.moveaxis(planes, axis, 0)
    largest = lines[::TILE].copy()
    for offset in range(1, TILE + 1):
        others = lines[offset::TILE]
        np.maximum(largest[: len(others)], others, out=largest[: len(others)])
    return np.moveaxis(largest, 0, axis)


def contenders_of(corners: Floats) -> Flags:
    """Return which classes can be best somewhere in each of n cells, (K, n).

    Their largest corner reaches the largest of all classes' smallest corners.
    """
    return np.asarray(corners.max(1) >= corners.min(1).max(0))


def in_turn(contenders: Flags) -> Iterator[Indices]:
    """Yield the first contender of each cell, then the second of those that have one, and so on.

    The contenders of a cell rise, and the cells with most of them come first.
    """
    counts = np.count_nonzero(contenders, axis=0)
    classes = np.nonzero(contenders.T)[1]
    starts = np.cumsum(counts) - counts
    for turn in range(counts.max()):
        yield classes[starts[: np.count_nonzero(counts > turn)] + turn]
