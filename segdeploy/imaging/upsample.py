"""The exact argmax of bilinearly upsampled logits, without upsampling every class.

Between four neighboring logits each interpolated value is a convex combination of these four
corners. So a class that is best at all four is best in the whole cell between them, and in a mixed
cell a class can be best only if its largest corner reaches the largest of all classes' smallest
corners: nearly always two classes are left, and only they are upsampled, in those cells only. Where
the logits lie far apart, each cell is cut into parts first, whose corners bound the values in the
same way and more closely.

The numbers are those of torch.nn.functional.interpolate(mode="bilinear", align_corners=False):
half-pixel centers in float32.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask
from segdeploy.imaging.candidates import MANY, contenders_of, in_turn, possible_classes

Planes = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Sides = tuple[Indices, Indices]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# Logits of one class compared at once: few enough to stay in a core's cache.
BLOCK = 1 << 15
# Pixels of mixed cells upsampled at once: so many that the overhead of numpy's calls does not
# count; with an eighth as many it was measured to.
PORTION = 1 << 19
# Measured on 2 AVX2 cores, in units of one class upsampled in one pixel by OpenCV: one class in one
# pixel of a mixed cell, and comparing one class at the corners of a mixed cell.
CONTENDER_COST = 10
CORNERS_COST = 25
# Pixels along a side of a part, about: fewer make more corners to compare, more make more pixels to
# upsample. Measured as above.
PART = 16
# Cells sampled along each side to detect noise.
SAMPLED_CELLS = 16


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How the pixels along one side lie between the logits along it.

    A cell lies between two logits, or is one of several equal parts of that; beyond the first and
    the last logit it lies beside one only. The ends of all cells are a row of points: logits, and
    the ends of parts between them. Every cell has the same number of slots, of which its pixels
    take as many as there are.

    Attributes:
        margin: Cells before the first logit, and as many beyond the last.
        logits: The logit at the near and at the far side of each cell, or of the cell that it is a
            part of, (cells,) each.
        points: The points at its near and far side, (cells,) each.
        cell: Cell of each pixel, (pixels,).
        slots: Slots of each cell.
        pixel_slots: Which of all slots each pixel takes, (pixels,), rising.
        weights: Weight of the logit at the far side in each slot, (slots, cells), in [0, 1].
        used: Which cells hold a pixel, (cells,).
    """

    margin: int
    logits: Sides
    points: Sides
    cell: Indices
    slots: int
    pixel_slots: Indices
    weights: Floats
    used: Flags

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.used)

    def pick(self) -> slice | Indices:
        """Return which of all slots are pixels: a slice wherever possible, which is faster."""
        first, last = int(self.pixel_slots[0]), int(self.pixel_slots[-1])
        contiguous = last - first == len(self.pixel_slots) - 1
        return slice(first, last + 1) if contiguous else self.pixel_slots


@lru_cache(maxsize=16)
def make_axis(size: int, covered: float, pixels: int, parts: int = 1) -> Axis:
    """Return how pixels lie between logits.

    Args:
        size: Number of logits along the side.
        covered: How many of them, from the first, the pixels cover: all, unless the image was
            padded.
        pixels: Number of pixels along the side.
        parts: Cells from one logit to the next.
    """
    # Half of the pixels between two logits lie beyond each outer logit.
    margin = (parts + 1) // 2
    last = (size - 1) * parts
    half = np.float32(0.5)
    scale = np.float32(covered) / np.float32(pixels)
    center = scale * (np.arange(pixels, dtype=np.float32) + half) - half
    below = np.floor(center)
    part = np.minimum((center - below) * parts, parts - 1).astype(np.intp)
    cell = np.clip(below.astype(np.intp) * parts + part + margin, 0, last + 2 * margin - 1)
    weight = np.where((cell >= margin) & (cell < last + margin), center - below, 0)
    counts = np.bincount(cell, minlength=last + 2 * margin)
    slots = int(counts.max())
    slot = np.arange(pixels) - (np.cumsum(counts) - counts)[cell]
    # The first cell is cut off at its near side, so that at integer ratios the slots of all pixels
    # are contiguous.
    slot[cell == cell[0]] += slots - counts[cell[0]]
    weights = np.zeros((slots, len(counts)), np.float32)
    weights[slot, cell] = weight
    point = np.arange(len(counts)) - margin
    near = point.clip(0, last)
    within = (point >= 0) & (point < last)
    return Axis(
        margin=margin,
        logits=(near // parts, near // parts + within),
        points=(near, (point + 1).clip(0, last)),
        cell=cell,
        slots=slots,
        pixel_slots=cell * slots + slot,
        weights=weights,
        used=counts > 0,
    )


def best_class(planes: Planes) -> Mask:
    """Return the argmax of (K, h, w) numbers, (h, w) uint8; of equals, the first."""
    flat = planes.reshape(len(planes), -1)
    labels = np.zeros(flat.shape[1], np.uint8)
    for start in range(0, len(labels), BLOCK):
        part = slice(start, start + BLOCK)
        best = flat[0, part].copy()
        better = np.empty(len(best), np.uint8)
        for index in range(1, len(flat)):
            np.greater(flat[index, part], best, out=better.view(np.bool_))
            np.maximum(flat[index, part], best, out=best)
            # Indices rise, so the largest index that was ever better is the last one.
            np.multiply(better, np.uint8(index), out=better)
            np.maximum(labels[part], better, out=labels[part])
    return labels.reshape(planes.shape[1:])


def upsampled_mask(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Mask:
    """Return the best class of every pixel, (height, width) uint8; of equals, the first.

    Args:
        planes: (K, h, w) finite logits, K at most 255.
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.
        covered: Rows and columns of logits that the mask covers, from the top left corner; (h, w)
            covers all of them.
    """
    _, h, w = planes.shape
    if (h, w) == (height, width) and covered[0] == h and covered[1] == w:
        return best_class(planes)
    down, across = (
        max(1, round(pixels / logits / PART))
        for pixels, logits in zip((height, width), covered, strict=True)
    )
    # Elsewhere, the search takes as long as comparing all classes.
    if len(planes) >= MANY and down * across > 1:
        possible = possible_classes(planes, best_class(planes))
        if len(possible) < len(planes):
            mask = upsampled_mask(planes[possible], height, width=width, covered=covered)
            return np.asarray(cv2.LUT(mask, np.resize(possible, 256).astype(np.uint8)), np.uint8)
    rows, columns = make_axis(h, covered[0], height, down), make_axis(w, covered[1], width, across)
    points = _points(planes, down, across)
    if _is_noise(points, rows, columns):
        return upsampled_mask_by_class(planes, height, width=width, covered=covered)
    around = rows.margin, rows.margin, columns.margin, columns.margin
    near = cv2.copyMakeBorder(best_class(points), *around, cv2.BORDER_REPLICATE)
    label = near[:-1, :-1]
    mixed = (label != near[:-1, 1:]) | (label != near[1:, :-1]) | (label != near[1:, 1:])
    cells = np.flatnonzero(mixed & rows.used[:, None] & columns.used)
    slots = np.empty((rows.cells, rows.slots, columns.cells, columns.slots), np.uint8)
    # Repeated by hand: numpy broadcasts along the last axis ten times slower.
    repeated = label.repeat(columns.slots, axis=1)
    slots[:] = repeated.reshape(rows.cells, 1, columns.cells, columns.slots)
    _fill_mixed_cells(planes, points, cells, rows, columns, slots)
    flat = slots.reshape(rows.cells * rows.slots, -1)
    return np.ascontiguousarray(flat[rows.pick()][:, columns.pick()])


def _points(planes: Planes, down: int, across: int) -> Planes:
    """Return the values at the corners of all cells, (K, points down, points across).

    Args:
        planes: (K, h, w) logits.
        down: Cells from one logit to the next below it.
        across: Cells from one logit to the next on its right.
    """
    k, h, w = planes.shape
    if across > 1:
        left, right = planes[:, :, :-1, None], planes[:, :, 1:, None]
        between = left + (right - left) * (np.arange(across, dtype=np.float32) / across)
        between = between.reshape(k, h, (w - 1) * across)
        planes = np.concatenate([between, planes[:, :, -1:]], axis=2)
    if down > 1:
        above, below = planes[:, :-1, None], planes[:, 1:, None]
        between = above + (below - above) * (np.arange(down, dtype=np.float32) / down)[:, None]
        between = between.reshape(k, (h - 1) * down, planes.shape[2])
        planes = np.concatenate([between, planes[:, -1:]], axis=1)
    return planes


def _is_noise(points: Planes, rows: Axis, columns: Axis) -> bool:
    """Return whether it is less work to upsample every plane, estimated from a sample of cells.

    It is where many classes contend in many cells.
    """
    down, across = (np.flatnonzero(axis.used) for axis in (rows, columns))
    down, across = (used[:: max(1, len(used) // SAMPLED_CELLS)] for used in (down, across))
    sample = (down[:, None] * columns.cells + across).ravel()
    contenders = contenders_of(_corners(points, sample, rows.points, columns.points))
    others = np.count_nonzero(contenders, axis=0) - 1
    comparing = len(points) * CORNERS_COST / (rows.slots * columns.slots)
    return bool(others.mean() * CONTENDER_COST + (others > 0).mean() * comparing > len(points))


def _corners(planes: Planes, cells: Indices, rows: Sides, columns: Sides) -> Planes:
    """Return the values at the corners of n cells, (K, 4, n): two above and two below.

    Args:
        planes: (K, h, w) logits, or the values at all points.
        cells: Flat indices of the cells.
        rows: Rows of the planes above and below each row of cells.
        columns: Columns of the planes on the left and on the right of each column of cells.
    """
    down, across = np.divmod(cells, len(columns[0]))
    width = planes.shape[2]
    corners = np.stack([row[down] * width + column[across] for row in rows for column in columns])
    return planes.reshape(len(planes), -1).take(corners, axis=1)


def _fill_mixed_cells(
    planes: Planes, points: Planes, cells: Indices, rows: Axis, columns: Axis, slots: Mask
) -> None:
    """Write the best class into every slot of the mixed cells.

    Args:
        planes: (K, h, w) logits.
        points: Values at the corners of all cells.
        cells: Flat indices of the mixed cells.
        rows: How pixels lie down the image.
        columns: How pixels lie across the image.
        slots: (cells down, slots down, cells across, slots across) uint8, written to.
    """
    # A cell's slots of one row are copied as one number, many times faster than byte by byte.
    kind = "u" if columns.slots in {1, 2, 4, 8} else "V"
    runs = slots.reshape(-1, columns.slots).view(np.dtype(f"{kind}{columns.slots}")).ravel()
    step = max(16, PORTION // max(rows.slots * columns.slots, len(planes)))
    for start in range(0, len(cells), step):
        some = cells[start : start + step]
        contenders = contenders_of(_corners(points, some, rows.points, columns.points))
        order = np.argsort(-np.count_nonzero(contenders, axis=0), kind="stable")
        some = some[order]
        down, across = np.divmod(some, columns.cells)
        corners = _corners(planes, some, rows.logits, columns.logits)
        labels = _best_in_slots(
            corners, contenders[:, order], rows.weights[:, down], columns.weights[:, across]
        )
        blocks = np.ascontiguousarray(labels.reshape(-1, len(some)).T).view(runs.dtype)
        runs[
            (down * rows.slots * columns.cells + across)[:, None]
            + np.arange(rows.slots) * columns.cells
        ] = blocks


def _best_in_slots(corners: Planes, contenders: Flags, down: Floats, across: Floats) -> Mask:
    """Return the best class in every slot of n cells.

    Each contender is upsampled as its lead over the cell's first one, so that two contenders cost
    one interpolation.

    Args:
        corners: Logits at the cells' corners, (K, 4, n).
        contenders: Which classes contend, (K, n); the cells with most of them come first.
        down: Weight of the lower corners, (slots down, n).
        across: Weight of the right corners, (slots across, n).

    Returns:
        (slots down, slots across, n) uint8.
    """
    first, *others = in_turn(contenders)
    every = np.arange(contenders.shape[1])
    origin = corners[first, :, every].T
    labels = np.empty((len(down), len(across), len(every)), np.uint8)
    labels[:] = first
    most: Floats | np.float32 = np.float32(0)
    for index in others:
        n = len(index)
        lead = _interpolate(
            corners[index, :, every[:n]].T - origin[:, :n], down[:, :n], across[:, :n]
        )
        most = most if isinstance(most, np.float32) else most[:, :, :n]
        better = (lead > most).view(np.uint8)
        better *= index.astype(np.uint8)
        np.maximum(labels[:, :, :n], better, out=labels[:, :, :n])
        most = np.maximum(lead, most, out=lead)
    return labels


def _interpolate(corners: Floats, down: Floats, across: Floats) -> Floats:
    """Return the values in the slots between corners, (4, n): (slots down, slots across, n)."""
    top_left, top_right, bottom_left, bottom_right = corners
    top = top_left + (top_right - top_left) * across
    bottom = bottom_left + (bottom_right - bottom_left) * across
    value = (bottom - top) * down[:, None]
    value += top
    return np.asarray(value, dtype=np.float32)


def upsampled_mask_by_class(
    planes: Planes, height: int, *, width: int, covered: tuple[float, float]
) -> Mask:
    """Return what `upsampled_mask` does by upsampling every plane with OpenCV, for noisy logits.

    OpenCV computes a pixel's position between the logits in double precision and torch in single;
    where that decides, two classes are tied.
    """
    best = upsample_plane(planes[0], height, width=width, covered=covered)
    plane, labels, better = (
        np.empty_like(best),
        np.zeros((height, width), np.uint8),
        np.empty((height, width), np.uint8),
    )
    for index in range(1, len(planes)):
        plane = upsample_plane(planes[index], height, width=width, covered=covered, into=plane)
        cv2.compare(plane, best, cv2.CMP_GT, dst=better)
        cv2.max(best, plane, dst=best)
        cv2.max(labels, np.bitwise_and(better, np.uint8(index), out=better), dst=labels)
    return labels


def upsample_plane(
    plane: Floats,
    height: int,
    *,
    width: int,
    covered: tuple[float, float],
    into: Floats | None = None,
) -> Floats:
    """Return one plane upsampled with OpenCV, (height, width).

    Args:
        plane: (h, w) logits.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
        covered: Rows and columns of logits that the result covers, from the top left corner.
        into: Array that is reused for the result where all logits are covered.
    """
    if covered == plane.shape:
        return np.asarray(
            cv2.resize(plane, (width, height), dst=into, interpolation=cv2.INTER_LINEAR),
            dtype=np.float32,
        )
    # The last pixels read one logit beyond those that are covered; farther ones are not needed.
    near = plane[: ceil(covered[0] + 0.5), : ceil(covered[1] + 0.5)]
    down, across = height / covered[0], width / covered[1]
    if (round(near.shape[0] * down), round(near.shape[1] * across)) == near.shape:
        # OpenCV copies where the result has the input's size, whatever the factors are.
        blended = _blend(_blend(near, height, covered[0]).T, width, covered[1]).T
        # A copy even of one row or column, which numpy calls contiguous as it is: OpenCV does not
        # write into an array of turned strides.
        return np.array(blended, dtype=np.float32, order="C")
    whole = cv2.resize(near, None, fx=across, fy=down, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(whole[:height, :width], dtype=np.float32)


def _blend(plane: Floats, pixels: int, covered: float) -> Floats:
    """Return the rows of a plane interpolated at `pixels` positions, of which it covers a part."""
    position = ((np.arange(pixels) + 0.5) * covered / pixels - 0.5).clip(0, len(plane) - 1)
    above = position.astype(np.int64)
    weight = (position - above)[:, None]
    blended = (1 - weight) * plane[above] + weight * plane[np.minimum(above + 1, len(plane) - 1)]
    return np.ascontiguousarray(blended, dtype=np.float32)
