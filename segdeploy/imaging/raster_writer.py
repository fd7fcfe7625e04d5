"""Write maps as cloud-optimized GeoTIFF: tiled, compressed, with smaller copies and their place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.imaging.raster import DAMAGE, SETTINGS, Place
from segdeploy.imaging.row_file import Pixels, StoredRows
from segdeploy.system.files import cannot_write, replacing, temporary_folder

# isort: split
# `raster` says which extra installs it.
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp

BLOCK = 512
"""Side of a tile, in pixels."""

OPAQUE = 4
"""Bands of colors with opacity."""


@dataclass(frozen=True, kw_only=True)
class MapFormat:
    """What the numbers of a map mean.

    Attributes:
        nodata: Number of a pixel without data; None for colors, which have opacity.
        classes: Classes of a class map, with colors and names; empty for anything else.
    """

    nodata: int | None = None
    classes: Sequence[LabelClass] = ()


def write_map(path: Path, pixels: Pixels | StoredRows, place: Place, kind: MapFormat) -> None:
    """Write a map, whole or not at all.

    Args:
        path: Name of the file, which ends in .tif.
        pixels: (H, W, C) uint8, of which some rows at a time are read; red, green, blue and
            opacity.
        place: Where it lies.
        kind: What its numbers mean.

    Raises:
        OutputError: The file cannot be written.
    """
    height, width, count = pixels.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": count,
        "dtype": "uint8",
        "crs": place.crs or None,
        "transform": Affine(*place.transform),
        "nodata": kind.nodata,
        "photometric": "RGB" if count >= 3 else "MINISBLACK",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "IF_SAFER",
    }
    with replacing(path) as part, temporary_folder(path.parent) as folder:
        try:
            # The smaller copies are made in the folder, which goes even if the process is killed.
            with rasterio.Env(**SETTINGS, CPL_TMPDIR=str(folder)):
                stored = folder / "map.tif"
                with rasterio.open(stored, "w", **profile) as file:
                    _describe(file, place, kind)
                    for start in range(0, height, BLOCK):
                        rows = pixels[start : start + BLOCK]
                        window = ((start, start + len(rows)), (0, width))
                        file.write(np.ascontiguousarray(rows.transpose(2, 0, 1)), window=window)
                rasterio.shutil.copy(
                    stored,
                    part,
                    driver="COG",
                    blocksize=BLOCK,
                    compress="DEFLATE",
                    level=6,
                    # The smaller copies of a class map must hold classes, not means of them.
                    overview_resampling="NEAREST" if kind.classes else "AVERAGE",
                    bigtiff="IF_SAFER",
                )
        except DAMAGE as error:
            raise cannot_write(path, error) from error


def _describe(file: rasterio.io.DatasetWriter, place: Place, kind: MapFormat) -> None:
    """Set the colors and the names of what a map holds."""
    if place.is_point:
        file.update_tags(AREA_OR_POINT="Point")
    if file.count == OPAQUE:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    if kind.classes:
        file.write_colormap(1, {at: (*entry.color, 255) for at, entry in enumerate(kind.classes)})
        names = {f"CLASS_{at}": entry.name for at, entry in enumerate(kind.classes)}
        file.update_tags(1, **names)
