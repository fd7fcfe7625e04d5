"""Labels of maps: rasters of ids on any grid, and polygons in any reference system."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.datasets.annotations import class_of
from segdeploy.datasets.mask_formats import IdTable, look_up
from segdeploy.errors import DataError, MissingExtraError
from segdeploy.imaging.raster import DAMAGE, SETTINGS, Place
from segdeploy.system.budget import check_budget

try:
    import pyogrio
    import rasterio
    import rasterio.features
    import rasterio.warp
    import shapely
    from affine import Affine
    from pyogrio.errors import DataLayerError, DataSourceError
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window
except ImportError as error:
    raise MissingExtraError("pyogrio", "geo") from error  # noqa: EM101 - a name, not a message

VECTORS: Mapping[str, bytes] = {".gpkg": b"SQLite format 3\0", ".geojson": b"{", ".json": b"{"}
"""How files of polygons begin, by their extensions. GDAL goes by the content alone, and reads
formats that name other files and addresses."""

FIELDS = ("label", "name", "class")
"""Fields in which the class of a polygon is looked for, in this order."""

AREAS = ("Polygon", "MultiPolygon")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A window of a map.

    Attributes:
        place: Where the whole map lies; None where it does not say.
        size: Height and width of the whole map, in pixels.
        row: First row of the window.
        column: First column.
        height: Rows.
        width: Columns.
    """

    place: Place | None
    size: tuple[int, int]
    row: int
    column: int
    height: int
    width: int

    @property
    def transform(self) -> Affine:
        """Return the affine map from the window's columns and rows to coordinates."""
        assert self.place is not None, "it was checked"
        a, b, c, d, e, f = self.place.transform
        x = c + a * self.column + b * self.row
        y = f + d * self.column + e * self.row
        return Affine(a, b, x, d, e, y)


@dataclass(frozen=True, kw_only=True)
class RasterLabels:
    """Ids in a raster.

    Attributes:
        path: The raster, of one band.
        table: What each id means.
    """

    path: Path
    table: IdTable

    def read(self, grid: Grid) -> Mask:
        """Return the labels of a window, (H, W) uint8; 255 where the raster has none.

        Raises:
            DataError: It cannot be read, or has no place and another size than the map.
        """
        try:
            with (
                rasterio.Env(**SETTINGS),
                rasterio.open(self.path.resolve(), driver="GTiff") as file,
            ):
                ids, known = self._read(file, grid)
        except DAMAGE as error:
            if isinstance(error, DataError):
                raise
            msg = f"{self.path} is not a raster of labels that can be read ({error}); check it"
            raise DataError(msg) from error
        mask = np.full(ids.shape, IGNORE_INDEX, np.uint8)
        if known.any():
            mask[known] = look_up(ids[known][None], self.table, self.path)[0]
        return mask

    def _read(self, file: Any, grid: Grid) -> tuple[Mask, Any]:  # noqa: ANN401 - no types
        """Return ids, and where there are some."""
        if file.count != 1 or file.dtypes[0] != "uint8":
            msg = (
                f"{self.path} holds {file.count} bands of {file.dtypes[0]}; labels are one band of"
                " ids in uint8"
            )
            raise DataError(msg)
        place = grid.place
        same_size = (file.height, file.width) == grid.size
        if place is None or not place.crs or file.crs is None:
            if not same_size:
                msg = (
                    f"{self.path} is {file.width}x{file.height} and its image"
                    f" {grid.size[1]}x{grid.size[0]}, without a common place on earth; make both"
                    " the same size"
                )
                raise DataError(msg)
        elif (
            not same_size
            or file.crs.to_wkt() != place.crs
            or (tuple(file.transform)[:6] != place.transform)
        ):
            with WarpedVRT(
                file,
                crs=place.crs,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                add_alpha=True,
            ) as warped:
                return warped.read(1), warped.read(2) > 0
        window = Window(grid.column, grid.row, grid.width, grid.height)
        return file.read(1, window=window), file.read_masks(1, window=window) > 0


@dataclass(frozen=True, kw_only=True)
class VectorLabels:
    """Polygons, of which the later ones lie on top.

    Attributes:
        path: GeoPackage or GeoJSON.
        classes: Class of each label, 255 for what is not labeled.
        background: Class of what no polygon covers.
    """

    path: Path
    classes: Mapping[str, int]
    background: int

    def read(self, grid: Grid) -> Mask:
        """Return the labels of a window, (H, W) uint8.

        Raises:
            DataError: The file cannot be read, or a polygon has an unknown label.
        """
        if grid.place is None:
            msg = f"an image has no place on earth, where {self.path} has polygons; use rasters"
            raise DataError(msg)
        crs = grid.place.crs
        shapes, labels, tree = _polygons(self.path, self.path.stat().st_mtime_ns, crs)
        corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
        frame = shapely.Polygon([grid.transform @ corner for corner in corners])
        found = sorted(tree.query(frame).tolist())
        size = (grid.height, grid.width)
        if not found:
            return np.full(size, self.background, np.uint8)
        burned = [(shapes[at], self._class(labels[at])) for at in found]
        with rasterio.Env(**SETTINGS):
            return np.asarray(
                rasterio.features.rasterize(
                    burned,
                    out_shape=size,
                    transform=grid.transform,
                    fill=self.background,
                    dtype="uint8",
                ),
                dtype=np.uint8,
            )

    def _class(self, label: str) -> int:
        try:
            return class_of(label, self.classes)
        except (ValueError, KeyError) as error:
            msg = f"a polygon in {self.path} is wrong: {error.args[0]}"
            raise DataError(msg) from error


@lru_cache(maxsize=4)
def _polygons(path: Path, _: int, crs: str) -> tuple[Any, list[str], shapely.STRtree]:
    """Return the polygons of a file in another reference system, their labels, and an index.

    Args:
        path: The file.
        _: When it was changed.
        crs: WKT of the reference system; "" for the file's own.
    """
    size = path.stat().st_size
    check_budget(f"{path} is a file of {size} bytes", 4 * size, size=size, error=DataError)
    with path.open("rb") as file:
        start = file.read(16).lstrip()
    if not start.startswith(VECTORS[path.suffix.lower()]):
        msg = f"{path} is not a file of polygons; use GeoPackage or GeoJSON"
        raise DataError(msg)
    try:
        with rasterio.Env(**SETTINGS):
            info = pyogrio.read_info(path)
            field = next((name for name in FIELDS if name in info["fields"]), None)
            if field is None:
                msg = f"the polygons of {path} have no field {' or '.join(FIELDS)}; add one"
                raise DataError(msg)
            _meta, _fids, geometry, (values,) = pyogrio.raw.read(path, columns=[field])
            shapes = shapely.from_wkb(geometry)
            if crs and info["crs"]:
                shapes = _converted(shapes, info["crs"], crs)
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError, *DAMAGE) as error:
        if isinstance(error, DataError):
            raise
        msg = f"{path} is not a file of polygons that can be read ({error}); check it"
        raise DataError(msg) from error
    kinds = {one.geom_type for one in shapes if one is not None and not one.is_empty}
    if others := sorted(kinds - set(AREAS)):
        msg = f"{path} holds a {others[0]}, which has no area; use polygons"
        raise DataError(msg)
    return shapes, [str(value) for value in values], shapely.STRtree(shapes)


def _converted(shapes: Any, source: str, target: str) -> Any:  # noqa: ANN401 - shapely's arrays
    coordinates = shapely.get_coordinates(shapes)
    xs, ys = rasterio.warp.transform(source, target, coordinates[:, 0], coordinates[:, 1])
    return shapely.set_coordinates(shapes, np.stack([xs, ys], axis=1))
