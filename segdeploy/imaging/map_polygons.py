"""Polygons of a map's classes, as GeoPackage and GeoJSON; wraps shapely and pyogrio."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.errors import MissingExtraError
from segdeploy.imaging.raster import Place, convert, regions
from segdeploy.system.files import cannot_write, replacing, temporary_folder

try:
    import pyogrio
    import shapely
    from pyogrio.errors import DataSourceError
except ImportError as error:
    raise MissingExtraError("pyogrio", "geo") from error  # noqa: EM101 - a name, not a message

DRIVERS: Mapping[str, str] = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
"""GDAL's name of each format, by the extension of a file."""

LAYER = "classes"

DEGREES = "EPSG:4326"
"""The only system of GeoJSON (RFC 7946, section 4); older readers take others too."""

LEAST_IOU = 0.98
"""Of the polygons of each class, before and after they are simplified."""

SMALLEST = 0.5**0.5
"""Tolerance up to which no corner is removed, in pixels: the smallest triangle of three corners of
pixels is half a pixel."""

NEXT = 0.8
"""Share of a tolerance that is tried next."""

Corners = npt.NDArray[np.int64]
Polygons = npt.NDArray[np.object_]


def write_polygons(
    path: Path,
    mask: Mask,
    place: Place,
    *,
    classes: Sequence[LabelClass],
    min_area: int = 1,
    simplify: float = 0.0,
    crs: str = "",
) -> None:
    """Write the regions of a class map, each with its class, name and pixels; whole or not at all.

    Args:
        path: Name of the file, whose extension is one of `DRIVERS`.
        mask: Classes, (H, W) uint8, which may be a memory map; 255 has no regions.
        place: Where it lies.
        classes: Classes in the order of the mask's indices.
        min_area: Regions of fewer pixels are left out.
        simplify: Pixels by which outlines may move, see `simplified`; 0 keeps every corner.
        crs: Coordinate reference system of the polygons; "" for the map's own.

    Raises:
        DataError: There is no way from the map's system into the other.
        OutputError: The file cannot be written.
    """
    polygons, indices = find_polygons(mask, len(classes), min_area=min_area)
    pixels = np.round(shapely.area(polygons)).astype(np.int64)
    if simplify or crs:
        # A line that is straight in one system is curved in another, so neighbors need all corners
        # of their common borders in any other than the map's own.
        polygons = with_all_corners(polygons)
    if simplify:
        polygons = simplified(polygons, indices, simplify)
    coordinates = shapely.get_coordinates(polygons)
    x, y = convert(place, coordinates[:, 0], coordinates[:, 1], crs)
    polygons = shapely.set_coordinates(polygons, np.stack([x, y], axis=1))
    names = np.array([entry.name for entry in classes], dtype=object)
    driver = DRIVERS[path.suffix.lower()]
    with replacing(path) as part, temporary_folder(path.parent) as folder:
        # GDAL wants the extension of the format.
        whole = folder / f"map{path.suffix.lower()}"
        try:
            pyogrio.raw.write(
                whole,
                shapely.to_wkb(polygons),
                field_data=[indices, names[indices], pixels],
                fields=["class", "name", "pixels"],
                layer=LAYER,
                driver=driver,
                geometry_type="Polygon",
                crs=crs or place.crs or None,
                **_driver_options(driver, crs),
            )
        except (DataSourceError, RuntimeError) as error:
            raise cannot_write(path, error) from error
        whole.replace(part)


def _driver_options(driver: str, crs: str) -> dict[str, str]:
    """Return GDAL's options: what older readers know, and millimeters in degrees."""
    if driver == "GPKG":
        return {"VERSION": "1.3"}
    return {"RFC7946": "YES", "COORDINATE_PRECISION": "9"} if crs == DEGREES else {}


def find_polygons(
    mask: Mask, classes: int, *, min_area: int = 1
) -> tuple[Polygons, npt.NDArray[np.int32]]:
    """Return the regions of a class map, in pixels from the upper left corner, and their classes.

    Args:
        mask: Classes, (H, W) uint8; values from `classes` on have no regions.
        classes: Number of classes.
        min_area: Regions of fewer pixels are left out.
    """
    rings: list[Corners] = []
    counts: list[int] = []
    indices: list[int] = []
    for geometry, value in regions(mask):
        if value < classes:
            outlines = [np.array(ring, np.int64) for ring in geometry["coordinates"]]
            rings += outlines
            counts.append(len(outlines))
            indices.append(value)
    polygons = _polygons(rings, counts)
    found = np.array(indices, np.int32)
    large = shapely.area(polygons) > min_area - 0.5
    return polygons[large], found[large]


def _polygons(rings: Sequence[Corners], counts: Sequence[int]) -> Polygons:
    """Return polygons from closed rings, of which each polygon has a number."""
    coordinates = np.concatenate([np.empty((0, 2)), *rings])
    return _from_arrays(
        coordinates, [len(ring) for ring in rings], np.concatenate([[0], np.cumsum(counts)])
    )


def _from_arrays(
    coordinates: npt.NDArray[np.float64],
    lengths: Sequence[int] | npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> Polygons:
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.asarray(
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, coordinates, (ends, offsets.astype(np.int64))
        ),
        dtype=object,
    )


def simplified(polygons: Polygons, indices: npt.NDArray[np.int32], tolerance: float) -> Polygons:
    """Return polygons with fewer corners, without gaps and overlaps between neighbors.

    Corners are removed whose triangle with their neighbors is smaller than the square of the
    tolerance (Visvalingam and Whyatt 1993). It is made smaller until every class keeps an
    IoU of `LEAST_IOU`: thin and small regions lose the most.

    Args:
        polygons: In pixels, with all corners of their common borders.
        indices: Class of each.
        tolerance: In pixels.
    """
    before = shapely.area(polygons)
    while tolerance > SMALLEST:
        simpler = np.asarray(shapely.coverage_simplify(polygons, tolerance), dtype=object)
        # What polygons keep of themselves is no more than what their class keeps.
        shared = shapely.area(shapely.intersection(polygons, simpler))
        either = before + shapely.area(simpler) - shared
        if (np.bincount(indices, shared) >= LEAST_IOU * np.bincount(indices, either)).all():
            return simpler
        tolerance *= NEXT
    return polygons


def with_all_corners(polygons: Polygons) -> Polygons:
    """Return polygons of pixels whose common borders have the same corners on both sides.

    A region has corners where its own outline turns; where two of its neighbors meet at a straight
    side of it, it has none, and a simplified neighbor would leave a gap there.
    """
    if not len(polygons):
        return polygons
    _, coordinates, (ends, offsets) = shapely.to_ragged_array(polygons)
    points = np.round(coordinates).astype(np.int64)
    ring = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    is_last = np.append(ring[1:] != ring[:-1], True)
    following = np.where(is_last[:, None], points, np.roll(points, -1, axis=0))
    counts = np.ones(len(points), np.int64)
    first = np.zeros(len(points), np.int64)
    step = np.ones(len(points), np.int64)
    size = int(points.max()) + 2
    # All corners along each row, and along each column: those between the ends of a side are new.
    tables = [np.unique(points[:, 1] * size + points[:, 0]), np.unique(points @ [size, 1])]
    for along, table in enumerate(tables):
        fixed = 1 - along
        side = (points[:, fixed] == following[:, fixed]) & ~is_last
        low, high = (
            points[side][:, fixed] * size + end(points[side][:, along], following[side][:, along])
            for end in (np.minimum, np.maximum)
        )
        start, stop = np.searchsorted(table, low, "right"), np.searchsorted(table, high, "left")
        forward = points[side][:, along] < following[side][:, along]
        counts[side] += stop - start
        step[side] = np.where(forward, 1, -1)
        first[side] = np.where(forward, start, stop - 1) + along * len(tables[0])
    # After each old corner its new ones follow.
    origin = np.repeat(np.arange(len(points)), counts)
    begins = np.cumsum(counts) - counts
    number = np.arange(len(origin)) - begins[origin]
    corners = np.concatenate(
        [
            np.stack([tables[0] % size, tables[0] // size], axis=1),
            np.stack([tables[1] // size, tables[1] % size], axis=1),
        ]
    )
    at = np.where(number > 0, first[origin] + (number - 1) * step[origin], 0)
    noded = np.where((number > 0)[:, None], corners[at], points[origin])
    return _from_arrays(
        noded.astype(np.float64), np.add.reduceat(counts, ends[:-1]), np.asarray(offsets)
    )
