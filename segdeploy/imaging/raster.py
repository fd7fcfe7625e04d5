"""GeoTIFF read by windows: pixels as the network takes them, where there are none, and the place.

Wraps rasterio. Only what the TIFF itself holds is read: a file beside it (.aux.xml, .ovr, .msk) may
name any other file or address, which GDAL would open.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image, Mask
from segdeploy.card import COLORS, InputSpec
from segdeploy.errors import DataError, MissingExtraError, MissingFileError
from segdeploy.imaging.bands import BandSelection, StoredBands, select
from segdeploy.imaging.contrast import STRETCH
from segdeploy.system.budget import check_budget

try:
    import rasterio
    import rasterio.features
    import rasterio.warp
    from rasterio._err import CPLE_BaseError
    from rasterio.enums import ColorInterp, MaskFlags
    from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
    from rasterio.windows import Window
except ImportError as error:
    raise MissingExtraError("rasterio", "geo") from error  # noqa: EM101 - a name, not a message

MAX_SIDE = 1_000_000
MAX_PIXELS = 20_000_000_000
"""Larger rasters are refused: their results would fill the disk."""

SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
}
"""Settings of GDAL: no files beside the raster are opened."""

CACHE = "128"
"""Megabytes of decoded blocks that GDAL keeps, unless the user says so; its own rule is a share of
the machine's memory."""

os.environ.setdefault("GDAL_CACHEMAX", CACHE)

DAMAGE = (RasterioError, CPLE_BaseError, CRSError, ValueError, OverflowError, UnicodeError)
"""What rasterio raises for a damaged file."""

LOOKED_AT = 1024
"""Rows and columns, at most, that are read to stretch a view."""

Valid = npt.NDArray[np.bool_]
"""(H, W), whether a pixel holds data."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the pixels of a raster lie on earth.

    Attributes:
        crs: Coordinate reference system as WKT; "" where the file names none.
        transform: Columns and rows to coordinates: x = a column + b row + c, and y = d column + e
            row + f, as (a, b, c, d, e, f).
        is_point: Whether the file counts coordinates from the centers of pixels.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    is_point: bool = False


class Raster:
    """A raster whose windows are read as a network takes them.

    Attributes:
        height: In pixels.
        width: In pixels.
        place: Where it lies; None where the file does not say.
        has_gaps: Whether pixels may be without data.
    """

    def __init__(self, path: Path, spec: InputSpec) -> None:
        """Read the header.

        Args:
            path: A TIFF.
            spec: What the network takes.

        Raises:
            DataError: There is no such file, it cannot be read, has too many pixels, lies on earth
                by control points alone, or does not hold the network's bands.
        """
        if not path.is_file():
            msg = f"there is no {path}; check the name"
            raise MissingFileError(msg)
        self._path = path
        self._spec = spec
        self._row = 0
        self._valid: list[Valid] = []
        with self._refusing():
            # An absolute path is never an address, nor the name of an archive.
            self._file = rasterio.open(path.resolve(), driver="GTiff")
            self.height, self.width = self._file.height, self._file.width
            self._check_size()
            self._bands = self._needed_bands()
            flags = self._file.mask_flag_enums[self._bands[0] - 1]
            self._has_mask = MaskFlags.per_dataset in flags
            self._nodata = self._file.nodata if MaskFlags.nodata in flags else None
            self.place = self._read_place()
        is_float = np.dtype(self._file.dtypes[0]).kind == "f"
        self.has_gaps = self._has_mask or self._nodata is not None or is_float
        self._limits: npt.NDArray[np.float64] | None = None

    def read(self, count: int) -> Image:
        """Return the next rows, (count, width, C); pixels without data have the neutral color.

        Raises:
            DataError: The file is damaged.
        """
        start, self._row = self._row, self._row + count
        pixels, valid = self.window(start, 0, height=count, width=self.width)
        if self.has_gaps:
            self._valid.append(np.ones((count, self.width), np.bool_) if valid is None else valid)
        return pixels

    def skip(self, count: int) -> None:
        """Leave out the next rows."""
        assert not self._valid, "nothing was read"
        self._row += count

    def valid(self, count: int) -> Valid:
        """Return which pixels of the next rows hold data, (count, W), each once after `read`.

        It is for rasters that have gaps.
        """
        rows = np.concatenate(self._valid)
        self._valid = [rows[count:]]
        return rows[:count]

    def window(
        self, row: int, column: int, *, height: int, width: int
    ) -> tuple[Image, Valid | None]:
        """Return a window as the network takes it, and which pixels hold data.

        A pixel without data has the neutral color, so that it does not bleed into its neighbors.

        Args:
            row: First row.
            column: First column.
            height: Rows, all of them inside the raster.
            width: Columns, likewise.

        Returns:
            (height, width, C) pixels, and where there is data; None for everywhere.

        Raises:
            DataError: The file is damaged, or its numbers do not fit the network.
        """
        window = Window(column, row, width, height)
        with self._refusing():
            planes = self._file.read(self._bands, window=window)
            valid = self._find_valid(planes, window)
            image = self._as_taken(_interleaved(planes))
        if valid is not None:
            neutral = self._spec.neutral
            image[~valid] = neutral[::-1] if self._spec.is_color else neutral
        return image, valid

    def stored(self, row: int, column: int, *, height: int, width: int) -> StoredBands:
        """Return all bands of a window as they are stored, of a raster that is not plain colors.

        Raises:
            DataError: The file is damaged.
        """
        with self._refusing():
            planes = self._file.read(window=Window(column, row, width, height))
            return self._stored(_interleaved(planes))

    def view(self, image: Image, row: int) -> Image:  # noqa: ARG002 - other images need it
        """Return what is drawn upon: usual colors themselves, anything else stretched.

        Each band is stretched between percentiles of the whole raster, so that its parts fit.

        Args:
            image: A part of the raster as `read` returns it.
            row: Its first row.

        Returns:
            (H, W, 3) uint8, blue-green-red.
        """
        if self._spec.is_plain:
            return image
        shown = [2, 1, 0] if image.shape[2] >= len(COLORS) else [0, 0, 0]
        if self._spec.is_color:
            shown = [0, 1, 2]
        low, high = self._stretch()[:, shown]
        unit = (image[:, :, shown].astype(np.float32) - low) / np.maximum(high - low, 1e-6)
        gray = np.nan_to_num(unit, nan=0.0).clip(0, 1) * 255
        return np.asarray(gray.round(), dtype=np.uint8)

    def _stretch(self) -> npt.NDArray[np.float64]:
        """Return the numbers of each channel that are shown as black and as white, (2, C)."""
        if self._limits is None:
            step = max(1, -(-max(self.height, self.width) // LOOKED_AT))
            size = (-(-self.height // step), -(-self.width // step))
            with self._refusing():
                small = self._file.read(self._bands, out_shape=(len(self._bands), *size))
            image = self._as_taken(_interleaved(small))
            gaps = np.isnan(image) if image.dtype.kind == "f" else np.zeros(image.shape, np.bool_)
            if self._nodata is not None:
                gaps |= image == self._nodata
            numbers = np.where(gaps, np.nan, image.astype(np.float64)).reshape(-1, image.shape[2])
            with warnings.catch_warnings():
                # A band without any data has no percentiles.
                warnings.simplefilter("ignore", RuntimeWarning)
                self._limits = np.nan_to_num(np.nanpercentile(numbers, STRETCH, axis=0))
        return self._limits

    def _check_size(self) -> None:
        if max(self.height, self.width) > MAX_SIDE or self.height * self.width > MAX_PIXELS:
            msg = (
                f"{self._path} has {self.width} x {self.height} pixels, more than {MAX_PIXELS:,} or"
                f" {MAX_SIDE:,} along a side; cut it"
            )
            raise DataError(msg)
        rows, columns = self._file.block_shapes[0]
        size = sum(np.dtype(kind).itemsize for kind in self._file.dtypes)
        check_budget(
            f"{self._path} is stored in blocks of {columns} x {rows} pixels, each of which is"
            " decoded as a whole; store it in tiles (gdal_translate -co TILED=YES)",
            prod((rows, columns, size)),
            size=self._path.stat().st_size,
            error=DataError,
        )

    def _needed_bands(self) -> list[int]:
        """Return the numbers of the bands that are read, from 1.

        Raises:
            DataError: There are others than the network takes.
        """
        kinds = self._file.colorinterp
        usual = [at for at, kind in enumerate(kinds, 1) if kind is not ColorInterp.alpha]
        if not self._spec.is_plain:
            return list(range(1, len(kinds) + 1))
        colors = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        if set(colors) <= set(kinds):
            usual = [kinds.index(color) + 1 for color in colors]
        elif len(usual) == len(COLORS):
            usual = usual[::-1]
        dtypes = {self._file.dtypes[at - 1] for at in usual}
        if len(usual) not in {1, len(COLORS)} or not dtypes <= {"uint8", "uint16"}:
            msg = (
                f"{self._path} has {len(usual)} bands of {', '.join(sorted(dtypes))}, and the"
                " network takes red, green and blue; use rasters as it was trained on"
            )
            raise DataError(msg)
        return usual

    def _read_place(self) -> Place | None:
        crs, transform = self._file.crs, self._file.transform
        if self._file.gcps[0] and transform.is_identity:
            msg = (
                f"{self._path} lies on earth by control points and not by a grid; warp it first"
                " (gdalwarp)"
            )
            raise DataError(msg)
        if crs is None and transform.is_identity:
            return None
        return Place(
            crs=crs.to_wkt() if crs else "",
            transform=tuple(transform)[:6],
            is_point=self._file.tags().get("AREA_OR_POINT") == "Point",
        )

    def _find_valid(self, planes: npt.NDArray[Any], window: Window) -> Valid | None:
        """Return which pixels hold data: not opaque, or no data in all bands, is none.

        A number in one band alone that means no data becomes NaN, where the type has that.
        """
        valid: Valid | None = None
        if self._has_mask:
            valid = self._file.read_masks(self._bands[0], window=window) > 0
        elif self._nodata is not None and not np.isnan(self._nodata):
            present = planes != _as_type(self._nodata, planes.dtype)
            valid = present.any(axis=0)
            if planes.dtype.kind == "f":
                planes[~present] = np.nan
        if planes.dtype.kind == "f":
            finite = np.isfinite(planes).any(axis=0)
            valid = finite if valid is None else valid & finite
        return None if valid is None or valid.all() else valid

    def _stored(self, pixels: npt.NDArray[Any]) -> StoredBands:
        kinds = self._file.colorinterp
        return StoredBands(
            pixels=pixels,
            usual=tuple(at for at, kind in enumerate(kinds) if kind is not ColorInterp.alpha),
            names=tuple(text or "" for text in self._file.descriptions),
        )

    def _as_taken(self, pixels: npt.NDArray[Any]) -> Image:
        """Return the pixels of the needed bands as the network takes them."""
        if not self._spec.is_plain:
            selection = BandSelection.of(self._spec)
            return select(self._stored(pixels), selection, name=str(self._path))
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        if len(self._bands) == len(COLORS):
            return pixels
        if self._file.colorinterp[self._bands[0] - 1] is not ColorInterp.palette:
            return np.repeat(pixels, len(COLORS), axis=2)
        table = np.zeros((256, len(COLORS)), np.uint8)
        for value, color in self._file.colormap(self._bands[0]).items():
            table[value] = color[2::-1]
        return np.asarray(table[pixels[:, :, 0]], dtype=np.uint8)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings(), rasterio.Env(**SETTINGS):
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                yield
        except DAMAGE as error:
            if isinstance(error, DataError):
                raise
            reason = " ".join(str(error.__cause__ or error).split())
            msg = f"{self._path} is not a raster that can be read ({reason}); use a complete copy"
            raise DataError(msg) from error


def _as_type(number: float, dtype: np.dtype[Any]) -> np.generic | float:
    """Return a number as one of the type, which is compared faster, where it is one."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not number.is_integer() or not limits.min <= number <= limits.max:
            return number
    made: np.generic = dtype.type(number)
    return made


def _interleaved(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (C, H, W) planes as (H, W, C)."""
    if planes.dtype in {np.dtype(kind) for kind in ("uint8", "uint16", "float32")}:
        # Several times as fast as NumPy's copy.
        return np.asarray(cv2.merge(list(planes))).reshape(*planes.shape[1:], len(planes))
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def convert(place: Place, columns: Numbers, rows: Numbers, crs: str) -> tuple[Numbers, Numbers]:
    """Return coordinates of places in a raster, given in pixels, in another reference system.

    Args:
        place: Where the raster lies.
        columns: Pixels from the left edge, of any shape.
        rows: Pixels from the upper edge, of the same shape.
        crs: Reference system, such as "EPSG:4326" (longitude before latitude); "" for the raster's.

    Raises:
        DataError: One of the two systems is unknown, or has no way into the other.
    """
    a, b, c, d, e, f = place.transform
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    if not crs:
        return x, y
    try:
        with rasterio.Env(**SETTINGS):
            xs, ys = rasterio.warp.transform(place.crs, crs, x.ravel(), y.ravel())
    except DAMAGE as error:
        msg = f"the map's place cannot be converted to {crs!r} ({error}); use the raster's own"
        raise DataError(msg) from error
    return np.asarray(xs, np.float64).reshape(x.shape), np.asarray(ys, np.float64).reshape(y.shape)


def is_geographic(place: Place) -> bool:
    """Return whether coordinates are degrees of longitude and latitude."""
    return bool(rasterio.crs.CRS.from_user_input(place.crs).is_geographic)


def regions(mask: Mask) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Find the regions of a mask: pixels of one value that touch each other at their sides.

    Args:
        mask: (H, W) uint8, which may be a memory map.

    Yields:
        The polygon of each, a geometry of GeoJSON in pixels from the upper left corner; its value.
    """
    for geometry, value in rasterio.features.shapes(mask, connectivity=4):
        yield geometry, int(value)
