"""Areas of the classes of a map, in square meters on the earth's ellipsoid."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.card import LabelClass
from segdeploy.errors import DataError
from segdeploy.imaging.raster import Place, convert, is_geographic
from segdeploy.system.files import write_text

CELL = 64
"""Side of the cells, in pixels, in which all pixels are taken as of one area."""

Numbers = npt.NDArray[np.float64]


def write_areas(path: Path, mask: Mask, place: Place, classes: Sequence[LabelClass]) -> None:
    """Write the area of each class as JSON, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, json.dumps(measure(mask, place, classes), indent=2) + "\n")


def measure(mask: Mask, place: Place, classes: Sequence[LabelClass]) -> dict[str, Any]:
    """Return pixels and area of each class, as values of JSON.

    A projection shows most areas too large or too small, and degrees are none at all; so pixels are
    measured on the ellipsoid.

    Args:
        mask: Classes, (H, W) uint8, which may be a memory map.
        place: Where it lies; areas are null where that is unknown.
        classes: Classes in the order of the mask's indices.
    """
    height, width = mask.shape
    pixel_areas = _pixel_areas(height, width, place)
    cells = -(-width // CELL)
    offsets = (np.arange(width) // CELL * 256).astype(np.int32)
    pixels = np.zeros(256, np.int64)
    areas = np.zeros(256)
    for row in range(0, height, CELL):
        band = mask[row : row + CELL]
        counts = np.bincount((band + offsets).ravel(), minlength=256 * cells).reshape(cells, 256)
        pixels += counts.sum(axis=0)
        if pixel_areas is not None:
            areas += pixel_areas[row // CELL] @ counts
    known = pixel_areas is not None
    return {
        "crs": place.crs or None,
        "classes": [
            {
                "name": entry.name,
                "pixels": int(pixels[at]),
                "square_meters": round(float(areas[at]), 3) if known else None,
            }
            for at, entry in enumerate(classes)
        ],
        "without_class": {
            "pixels": int(pixels[IGNORE_INDEX]),
            "square_meters": round(float(areas[IGNORE_INDEX]), 3) if known else None,
        },
    }


def _pixel_areas(height: int, width: int, place: Place) -> Numbers | None:
    """Return the area of a pixel in each cell, in square meters; None where it is unknown.

    The corners of cells are projected so that areas are kept: of a grid of degrees by a cylinder,
    in which it is a grid again, and of any other onto a plane that touches its middle.
    """
    if not place.crs:
        return None
    rows = np.minimum(np.arange(0, height + CELL, CELL), height).astype(np.float64)
    columns = np.minimum(np.arange(0, width + CELL, CELL), width).astype(np.float64)
    across, down = np.meshgrid(np.unique(columns), np.unique(rows))
    try:
        x, y = convert(place, across, down, _equal_area(place, height, width))
    except DataError:
        return None
    # The shoelace formula over the corners of each cell.
    first = (x[1:, 1:] - x[:-1, :-1]) * (y[1:, :-1] - y[:-1, 1:])
    second = (x[1:, :-1] - x[:-1, 1:]) * (y[1:, 1:] - y[:-1, :-1])
    areas = np.abs(first - second) / 2
    if not np.isfinite(areas).all():
        return None
    sizes = np.outer(np.diff(np.unique(rows)), np.diff(np.unique(columns)))
    return np.asarray(areas / sizes, dtype=np.float64)


def _equal_area(place: Place, height: int, width: int) -> str:
    """Return a projection that keeps areas around the middle of a map."""
    middle = np.array([[width / 2]]), np.array([[height / 2]])
    longitude, latitude = (float(values[0, 0]) for values in convert(place, *middle, "EPSG:4326"))
    if is_geographic(place):
        return f"+proj=cea +lon_0={longitude} +datum=WGS84 +units=m +over"
    return f"+proj=laea +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m"
