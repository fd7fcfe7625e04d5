"""Small maps, and Debian's GDAL as a judge that shares no code with ours."""

import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

PLACE = (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
"""Ten meters a pixel, in UTM zone 32N."""


def write_map(path: Path, pixels: np.ndarray, **profile: Any) -> None:
    """Write (H, W, C) pixels as a GeoTIFF: in UTM zone 32N, in tiles, unless told otherwise."""
    height, width, count = pixels.shape
    options = {
        "driver": "GTiff",
        "crs": "EPSG:32632",
        "transform": Affine(*PLACE),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        "photometric": "RGB" if count >= 3 else "MINISBLACK",
        "dtype": str(pixels.dtype),
    }
    size = {"height": height, "width": width, "count": count}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **{**options, **size, **profile}) as file:
            file.write(pixels.transpose(2, 0, 1))


def read_map(path: Path) -> np.ndarray:
    """Return the pixels of a map, (H, W, C)."""
    with rasterio.open(path) as file:
        return file.read().transpose(1, 2, 0)


def blobs(height: int, width: int, count: int, *, seed: int = 0, size: float = 6) -> np.ndarray:
    """Return a class map of round regions of several classes, (H, W) uint8."""
    random = np.random.default_rng(seed)
    fields = [
        cv2.GaussianBlur(random.random((height, width), np.float32), (0, 0), size)
        for _ in range(count)
    ]
    return np.argmax(fields, axis=0).astype(np.uint8)


def gdal(program: str, *arguments: str | Path) -> str:
    """Return the output of one of Debian's programs of GDAL, or skip the test without it."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install gdal-bin)")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def info(path: Path) -> dict[str, Any]:
    """Return what `gdalinfo` says about a map."""
    return json.loads(gdal("gdalinfo", "-json", path))


def rasterized(polygons: Path, height: int, width: int, out: Path) -> np.ndarray:
    """Return the class map that `gdal_rasterize` makes of polygons in the system of `PLACE`."""
    west, north = PLACE[2], PLACE[5]
    out.unlink(missing_ok=True)
    gdal(
        "gdal_rasterize",
        *("-q", "-a", "class", "-ot", "Byte", "-init", "255", "-tr", "10", "10", "-te"),
        *map(str, (west, north - 10 * height, west + 10 * width, north)),
        polygons,
        out,
    )
    return read_map(out)[:, :, 0]
