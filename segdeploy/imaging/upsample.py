"""The best class of every pixel from logits at the network's own size, exactly, without building the enlarged planes.

Between four neighboring logits each bilinearly enlarged value is a convex combination of these
four corners. So a class that is best at all four is best in the whole cell between them, and in a
mixed cell a class can be best only if its largest corner reaches the largest of all classes'
smallest corners: nearly always two classes are left, and only they are enlarged, in those cells
only. Where the logits lie far apart, each cell is cut into parts first, whose corners bound the
values in the same way and more closely.

The numbers are those of torch.nn.functional.interpolate(mode="bilinear", align_corners=False):
half-pixel centres in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask

Planes = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# Logits of one class looked at at once: few enough to stay in a core's cache.
BLOCK = 1 << 15
# Pixels of mixed cells enlarged at once: so many that numpy's calls do not count, which they did up
# to an eighth of it.
PORTION = 1 << 19
# Measured on 2 AVX2 cores, in units of one class enlarged in one pixel by OpenCV: one class in one
# pixel of a mixed cell, and to look at one class in the corners of a mixed cell.
CONTENDER_COST = 10
CORNERS_COST = 25
# Pixels along a side of a part, about: fewer make more corners to look at, more make more pixels to
# enlarge. Measured as above.
PART = 16
# Cells looked at along each side to tell noise.
SAMPLED_CELLS = 16


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How the pixels along one side lie between the logits along it.

    A cell lies between two logits, or is one of several equal parts of that; before the first and
    behind the last logit there is only that one. The ends of all parts are a row of points, logits
    and those between them. Every cell is given the same number of slots, and its pixels take as
    many of them as there are.

    Attributes:
        margin: Cells before the first logit, and as many behind the last.
        before: Logit at the near side of each cell or of what it is a part of, (cells,).
        after: Logit at the far side, (cells,).
        near: Point at the near side of each cell, (cells,).
        far: Point at its far side, (cells,).
        cell: Cell of each pixel, (pixels,).
        weight: Weight of the logit at the far side in each pixel, (pixels,), in [0, 1].
        slots: Slots of each cell.
        place: Which of all slots each pixel takes, (pixels,), rising.
        weights: Weight of the logit at the far side in each slot, (slots, cells).
        used: Which cells hold a pixel, (cells,).
    """

    margin: int
    before: Indices
    after: Indices
    near: Indices
    far: Indices
    cell: Indices
    weight: Floats
    slots: int
    place: Indices
    weights: Floats
    used: Flags

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.before)

    def pick(self) -> slice | Indices:
        """Which of all slots are pixels: a slice wherever it can be one, which is faster."""
        first, last = int(self.place[0]), int(self.place[-1])
        return slice(first, last + 1) if last - first == len(self.place) - 1 else self.place


@lru_cache(maxsize=16)
def axis(size: int, covered: float, pixels: int, parts: int = 1) -> Axis:
    """Lay pixels between logits.

    Args:
        size: Number of logits along the side.
        covered: How many of them, from the first, the pixels cover; all of them but for a padded
            image.
        pixels: Number of pixels along the side.
        parts: Cells from one logit to the next.
    """
    # Half a cell of pixels lies beyond the outer logits.
    margin = (parts + 1) // 2
    last = (size - 1) * parts
    one_half = np.float32(0.5)
    centre = (
        np.float32(covered) / np.float32(pixels) * (np.arange(pixels, dtype=np.float32) + one_half)
        - one_half
    )
    below = np.floor(centre)
    part = np.minimum((centre - below) * parts, parts - 1).astype(np.intp)
    cell = np.clip(below.astype(np.intp) * parts + part + margin, 0, last + 2 * margin - 1)
    weight = np.where((cell >= margin) & (cell < last + margin), centre - below, 0).astype(
        np.float32
    )
    counts = np.bincount(cell, minlength=last + 2 * margin)
    slots = int(counts.max())
    slot = np.arange(pixels) - (np.cumsum(counts) - counts)[cell]
    # The first cell is cut off at its near side: at whole ratios all pixels' slots follow each
    # other then.
    slot[cell == cell[0]] += slots - counts[cell[0]]
    weights = np.zeros((slots, len(counts)), np.float32)
    weights[slot, cell] = weight
    point = np.arange(len(counts)) - margin
    near = point.clip(0, last)
    within = (point >= 0) & (point < last)
    return Axis(
        margin=margin,
        before=near // parts,
        after=near // parts + within,
        near=near,
        far=(point + 1).clip(0, last),
        cell=cell,
        weight=weight,
        slots=slots,
        place=cell * slots + slot,
        weights=weights,
        used=counts > 0,
    )


def best_class(planes: Planes) -> Mask:
    """Return the index of the largest of (K, h, w) numbers, the first one of equals, as (h, w) uint8."""
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
            np.maximum(
                labels[part], np.multiply(better, np.uint8(index), out=better), out=labels[part]
            )
    return labels.reshape(planes.shape[1:])


def enlarged_mask(planes: Planes, height: int, *, width: int, covered: tuple[float, float]) -> Mask:
    """Return the best class of every pixel, (height, width) uint8.

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
    rows, columns = axis(h, covered[0], height, down), axis(w, covered[1], width, across)
    points = _points(planes, down, across)
    if _is_noise(points, rows, columns):
        return mask_by_class(planes, height, width=width, covered=covered)
    around = rows.margin, rows.margin, columns.margin, columns.margin
    near = cv2.copyMakeBorder(best_class(points), *around, cv2.BORDER_REPLICATE)
    label = near[:-1, :-1]
    mixed = (label != near[:-1, 1:]) | (label != near[1:, :-1]) | (label != near[1:, 1:])
    cells = np.flatnonzero(mixed & rows.used[:, None] & columns.used)
    slots = np.empty((rows.cells, rows.slots, columns.cells, columns.slots), np.uint8)
    slots[:] = label.repeat(columns.slots, axis=1).reshape(
        rows.cells, 1, columns.cells, columns.slots
    )
    _settle(planes, points, cells, rows, columns, slots)
    flat = slots.reshape(rows.cells * rows.slots, -1)
    return np.ascontiguousarray(flat[rows.pick()][:, columns.pick()])


def _points(planes: Planes, down: int, across: int) -> Planes:
    """Return the values at the corners of all cells, which have so many parts from one logit to the next: (K, points, points)."""
    k, h, w = planes.shape
    if across > 1:
        left, right = planes[:, :, :-1, None], planes[:, :, 1:, None]
        between = left + (right - left) * (np.arange(across, dtype=np.float32) / across)
        planes = np.concatenate(
            [between.reshape(k, h, (w - 1) * across), planes[:, :, -1:]], axis=2
        )
    if down > 1:
        above, below = planes[:, :-1, None], planes[:, 1:, None]
        between = above + (below - above) * (np.arange(down, dtype=np.float32) / down)[:, None]
        planes = np.concatenate(
            [between.reshape(k, (h - 1) * down, planes.shape[2]), planes[:, -1:]], axis=1
        )
    return planes


def _is_noise(points: Planes, rows: Axis, columns: Axis) -> bool:
    """Return whether so many classes contend in so many cells that to enlarge all planes is less work; some cells speak for all."""
    down, across = (np.flatnonzero(one.used) for one in (rows, columns))
    down, across = (
        down[:: max(1, len(down) // SAMPLED_CELLS)],
        across[:: max(1, len(across) // SAMPLED_CELLS)],
    )
    sample = (down[:, None] * columns.cells + across).ravel()
    rivals = np.count_nonzero(_contenders(_bounds(points, sample, rows, columns)), axis=0) - 1
    look = len(points) * CORNERS_COST / (rows.slots * columns.slots)
    return bool(rivals.mean() * CONTENDER_COST + (rivals > 0).mean() * look > len(points))


def _corners(planes: Planes, cells: Indices, rows: Axis, columns: Axis) -> Planes:
    """Return the logits around n cells, (K, 4, n): top left, top right, bottom left, bottom right."""
    down, across = np.divmod(cells, columns.cells)
    return _taken(
        planes,
        (rows.before[down], rows.after[down]),
        (columns.before[across], columns.after[across]),
    )


def _bounds(points: Planes, cells: Indices, rows: Axis, columns: Axis) -> Planes:
    """Return the values at the corners of n cells, between which all values in a cell lie, (K, 4, n)."""
    down, across = np.divmod(cells, columns.cells)
    return _taken(
        points, (rows.near[down], rows.far[down]), (columns.near[across], columns.far[across])
    )


def _taken(
    planes: Planes, rows: tuple[Indices, Indices], columns: tuple[Indices, Indices]
) -> Planes:
    places = np.stack([row * planes.shape[2] + column for row in rows for column in columns])
    return planes.reshape(len(planes), -1).take(places, axis=1)


def _contenders(corners: Planes) -> Flags:
    """Return which classes can be best somewhere in each cell, (K, n).

    Their largest corner reaches the largest smallest one.
    """
    return np.asarray(corners.max(1) >= corners.min(1).max(0))


def _settle(
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
    # A cell's slots in one row move as one number, which is many times faster than byte by byte.
    runs = slots.reshape(-1, columns.slots).view(_run_type(columns.slots)).ravel()
    step = max(16, PORTION // max(rows.slots * columns.slots, len(planes)))
    for start in range(0, len(cells), step):
        some = cells[start : start + step]
        contenders = _contenders(_bounds(points, some, rows, columns))
        order = np.argsort(-np.count_nonzero(contenders, axis=0), kind="stable")
        some = some[order]
        down, across = np.divmod(some, columns.cells)
        corners = _corners(planes, some, rows, columns)
        labels = _contest(
            corners, contenders[:, order], rows.weights[:, down], columns.weights[:, across]
        )
        blocks = np.ascontiguousarray(labels.reshape(-1, len(some)).T).view(runs.dtype)
        runs[
            (down * rows.slots * columns.cells + across)[:, None]
            + np.arange(rows.slots) * columns.cells
        ] = blocks


def _run_type(length: int) -> np.dtype[np.generic]:
    return np.dtype(f"u{length}") if length in {1, 2, 4, 8} else np.dtype(f"V{length}")


def _contest(corners: Planes, contenders: Flags, down: Floats, across: Floats) -> Mask:
    """Find the best class in every slot of n cells.

    Each contender is enlarged as its lead over the cell's first one, so that two contenders cost
    one enlargement.

    Args:
        corners: Logits at the cells' corners, (K, 4, n).
        contenders: Which classes contend, (K, n); the cells with most of them come first.
        down: Weight of the lower corners, (slots down, n).
        across: Weight of the right corners, (slots across, n).

    Returns:
        (slots down, slots across, n) uint8.
    """
    first, *others = _rounds(contenders)
    every = np.arange(contenders.shape[1])
    origin = corners[first, :, every].T
    labels = np.empty((len(down), len(across), len(every)), np.uint8)
    labels[:] = first
    most: Floats | np.float32 = np.float32(0)
    for index in others:
        n = len(index)
        lead = _enlarge(corners[index, :, every[:n]].T - origin[:, :n], down[:, :n], across[:, :n])
        most = most if isinstance(most, np.float32) else most[:, :, :n]
        better = (lead > most).view(np.uint8)
        better *= index.astype(np.uint8)
        np.maximum(labels[:, :, :n], better, out=labels[:, :, :n])
        most = np.maximum(lead, most, out=lead)
    return labels


def _rounds(contenders: Flags) -> Iterator[Indices]:
    """Return the first contender of each cell, then the second of those cells that have one, and so on, each time by rising class."""
    counts = np.count_nonzero(contenders, axis=0)
    classes = np.nonzero(contenders.T)[1]
    starts = np.cumsum(counts) - counts
    for turn in range(counts.max()):
        yield classes[starts[: np.count_nonzero(counts > turn)] + turn]


def _enlarge(corners: Floats, down: Floats, across: Floats) -> Floats:
    """Interpolate between corners (4, n).

    The value in every slot, (slots down, slots across, n).
    """
    top_left, top_right, bottom_left, bottom_right = corners
    top = top_left + (top_right - top_left) * across
    bottom = bottom_left + (bottom_right - bottom_left) * across
    value = (bottom - top) * down[:, None]
    value += top
    return np.asarray(value, dtype=np.float32)


def mask_by_class(planes: Planes, height: int, *, width: int, covered: tuple[float, float]) -> Mask:
    """Return what `enlarged_mask` gives by enlarging every plane with OpenCV.

    For answers that look like noise.

    OpenCV finds a pixel's place between the logits in double precision and torch in single; two
    classes are tied where that decides.
    """
    best = enlarge_plane(planes[0], height, width=width, covered=covered)
    plane, labels, better = (
        np.empty_like(best),
        np.zeros((height, width), np.uint8),
        np.empty((height, width), np.uint8),
    )
    for index in range(1, len(planes)):
        plane = enlarge_plane(planes[index], height, width=width, covered=covered, into=plane)
        cv2.compare(plane, best, cv2.CMP_GT, dst=better)
        cv2.max(best, plane, dst=best)
        cv2.max(labels, np.bitwise_and(better, np.uint8(index), out=better), dst=labels)
    return labels


def enlarge_plane(
    plane: Floats,
    height: int,
    *,
    width: int,
    covered: tuple[float, float],
    into: Floats | None = None,
) -> Floats:
    """Enlarge one plane, (h, w), of which (height, width) pixels cover a part, with OpenCV.

    Args:
        plane: (h, w) logits.
        height: Height of what is given, in pixels.
        width: Its width, in pixels.
        covered: Rows and columns of logits that it covers, from the top left corner.
        into: Memory that is used again where all logits are covered.
    """
    if covered == plane.shape:
        return np.asarray(
            cv2.resize(plane, (width, height), dst=into, interpolation=cv2.INTER_LINEAR),
            dtype=np.float32,
        )
    # Pixels of the last logits that are covered at all look at one more; what lies farther would be
    # enlarged for nothing.
    near = plane[: ceil(covered[0] + 0.5), : ceil(covered[1] + 0.5)]
    down, across = height / covered[0], width / covered[1]
    if (round(near.shape[0] * down), round(near.shape[1] * across)) == near.shape:
        # OpenCV takes an answer of the input's size for a copy, whatever the factors say.
        return np.ascontiguousarray(_blend(_blend(near, height, covered[0]).T, width, covered[1]).T)
    whole = cv2.resize(near, None, fx=across, fy=down, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(whole[:height, :width], dtype=np.float32)


def _blend(plane: Floats, pixels: int, covered: float) -> Floats:
    """Enlarge the rows of a plane, of which `pixels` cover a part, bilinearly."""
    place = ((np.arange(pixels) + 0.5) * covered / pixels - 0.5).clip(0, len(plane) - 1)
    above = place.astype(np.int64)
    weight = (place - above)[:, None]
    blended = (1 - weight) * plane[above] + weight * plane[np.minimum(above + 1, len(plane) - 1)]
    return np.ascontiguousarray(blended, dtype=np.float32)
