"""GeoTIFF by windows: the pixels of any other reader, no data, and the place."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

pytest.importorskip("rasterio")

import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from segdeploy.card import InputSpec, Intensity
from segdeploy.errors import DataError, MissingFileError
from segdeploy.imaging.header import has_place
from segdeploy.imaging.io import read_image
from segdeploy.imaging.raster import Place, Raster, convert, is_geographic
from tests.helpers.maps import PLACE, write_map

PLAIN = InputSpec(height=32, width=32, mean=(0.5, 0.25, 0.125), std=(1.0, 1.0, 1.0))
"""A usual network; its neutral color is 128, 64, 32 (red, green, blue)."""

FIVE = replace(
    PLAIN,
    mean=(0.0,) * 5,
    std=(1.0,) * 5,
    channels=("a", "b", "c", "d", "e"),
    dtype="float32",
    intensity=Intensity(rule="range", low=(10.0,) * 5, high=(20.0,) * 5),
)


def noise(height: int, width: int, count: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (height, width, count)).astype(dtype)


def rows_of(raster: Raster, step: int = 7) -> np.ndarray:
    starts = range(0, raster.height, step)
    return np.concatenate([raster.read(min(step, raster.height - at)) for at in starts])


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"interleave": "band"},
        {"tiled": False, "blockysize": 3},
        {"compress": "lzw", "predictor": 2},
        {"bigtiff": "yes"},
        {"dtype": "uint16"},
    ],
)
def test_rows_are_those_of_any_other_reader(tmp_path: Path, profile: dict[str, str]) -> None:
    """Blue-green-red from the top, however the file is stored; 16 bits become their upper 8."""
    pixels = noise(150, 90)
    if profile.get("dtype") == "uint16":
        pixels = pixels.astype(np.uint16) * 257
    write_map(tmp_path / "a.tif", pixels, **profile)

    raster = Raster(tmp_path / "a.tif", PLAIN)

    expected = (pixels >> 8 if pixels.dtype == np.uint16 else pixels)[:, :, ::-1]
    np.testing.assert_array_equal(rows_of(raster), expected)
    if pixels.dtype == np.uint8:
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)
    assert not raster.has_gaps
    assert has_place(tmp_path / "a.tif")


def test_gray_and_palettes_become_colors(tmp_path: Path) -> None:
    """As for small images."""
    gray = noise(40, 50, 1)
    write_map(tmp_path / "gray.tif", gray)
    write_map(tmp_path / "palette.tif", gray % 2)
    with rasterio.open(tmp_path / "palette.tif", "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 1: (200, 100, 50, 255)})

    for name in ("gray", "palette"):
        path = tmp_path / f"{name}.tif"
        np.testing.assert_array_equal(rows_of(Raster(path, PLAIN)), read_image(path))


def test_place_is_that_of_the_file(tmp_path: Path) -> None:
    """Reference system and grid; a plain TIFF has none."""
    write_map(tmp_path / "a.tif", noise(40, 50))
    write_map(tmp_path / "b.tif", noise(40, 50), crs=None, transform=None)

    place = Raster(tmp_path / "a.tif", PLAIN).place

    assert place is not None
    assert rasterio.crs.CRS.from_wkt(place.crs).to_epsg() == 32632
    assert place.transform == PLACE
    assert Raster(tmp_path / "b.tif", PLAIN).place is None
    assert not has_place(tmp_path / "b.tif")


@pytest.mark.parametrize("kind", ["number", "opacity", "mask"])
def test_pixels_without_data_are_neutral(tmp_path: Path, kind: str) -> None:
    """Their stored colors must not reach the network, which would smear them over neighbors."""
    pixels = noise(60, 70)
    gap = np.zeros((60, 70), np.bool_)
    gap[10:20, 30:40] = True
    path = tmp_path / "a.tif"
    if kind == "number":
        pixels[gap] = 0
        pixels[0, 0] = (0, 5, 0)
        write_map(path, pixels, nodata=0)
    elif kind == "opacity":
        alpha = np.where(gap, 0, 255).astype(np.uint8)
        write_map(path, np.dstack([pixels, alpha]))
        with rasterio.open(path, "r+") as file:
            kinds = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
            file.colorinterp = kinds
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write_map(path, pixels)
            with rasterio.open(path, "r+") as file:
                file.write_mask(~gap)
    raster = Raster(path, PLAIN)

    image = raster.read(25)
    valid = np.concatenate([raster.valid(5), raster.valid(20)])

    np.testing.assert_array_equal(valid, ~gap[:25])
    assert (image[gap[:25]] == (32, 64, 128)).all()
    np.testing.assert_array_equal(image[valid], pixels[:25, :, ::-1][valid])


def test_bands_of_any_type_keep_their_numbers(tmp_path: Path) -> None:
    """A number that means no data, in one band alone, becomes none, and the pixel is still one."""
    pixels = noise(40, 50, 5, "float32") + 0.5
    pixels[3, 4] = -9999
    pixels[5, 6, 2] = -9999
    write_map(tmp_path / "a.tif", pixels, nodata=-9999)
    raster = Raster(tmp_path / "a.tif", FIVE)

    image = raster.read(40)

    valid = raster.valid(40)
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    assert (image[3, 4] == 10).all()
    assert np.isnan(image[5, 6, 2])
    image[5, 6, 2] = pixels[5, 6, 2]
    np.testing.assert_array_equal(image[valid], pixels[valid])


def test_a_view_is_stretched_alike_everywhere(tmp_path: Path) -> None:
    """Strips of one raster must not differ where they meet."""
    pixels = np.broadcast_to(np.arange(100, dtype=np.float32)[:, None, None], (100, 50, 5))
    write_map(tmp_path / "a.tif", pixels, nodata=-9999)
    raster = Raster(tmp_path / "a.tif", FIVE)

    top = raster.view(raster.read(50), 0)
    bottom = raster.view(raster.read(50), 50)

    assert top.dtype == np.uint8
    assert top[49, 0, 0] in range(124, 128)
    assert int(bottom[0, 0, 0]) - int(top[49, 0, 0]) in {2, 3}


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """One sentence each."""
    path = tmp_path / "a.tif"
    with pytest.raises(MissingFileError, match=r"there is no .*a\.tif"):
        Raster(path, PLAIN)
    write_map(path, noise(40, 50, 5, "uint16"), photometric="minisblack")
    with pytest.raises(DataError, match="has 5 bands of uint16"):
        Raster(path, PLAIN)
    write_map(path, noise(300, 300), compress=None)
    path.write_bytes(path.read_bytes()[:-50000])
    with pytest.raises(DataError, match="use a complete copy"):
        rows_of(Raster(path, PLAIN))
    path.write_bytes(b"<VRTDataset/>")
    with pytest.raises(DataError, match="use a complete copy"):
        Raster(path, PLAIN)


def test_control_points_alone_are_refused(tmp_path: Path) -> None:
    """Results would lose their place without a word."""
    path = tmp_path / "a.tif"
    points = [
        GroundControlPoint(row=r, col=c, x=9 + c / 100, y=45 - r / 100)
        for r, c in ((0, 0), (0, 50), (40, 0), (40, 50))
    ]
    write_map(path, noise(40, 50), transform=None, gcps=points)

    with pytest.raises(DataError, match="gdalwarp"):
        Raster(path, PLAIN)


def test_files_beside_a_raster_are_not_opened(tmp_path: Path) -> None:
    """GDAL would follow them to any file or address."""
    path = tmp_path / "a.tif"
    write_map(path, noise(40, 50))
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand>"
        "</PAMDataset>"
    )
    (tmp_path / "a.tif.msk").write_bytes(b"<VRTDataset rasterXSize='50' rasterYSize='40'/>")

    assert not Raster(path, PLAIN).has_gaps


def test_coordinates_in_other_systems() -> None:
    """The central meridian of zone 32 is 9 degrees; longitude comes first."""
    place = Place(crs="EPSG:32632", transform=PLACE)

    x, y = convert(place, np.array([1.0]), np.array([2.0]), "")
    longitude, latitude = convert(place, np.array([0.0]), np.array([0.0]), "EPSG:4326")

    assert (x[0], y[0]) == (500010, 4999980)
    assert longitude[0] == pytest.approx(9, abs=1e-9)
    assert 45 < latitude[0] < 46
    assert not is_geographic(place)
    with pytest.raises(DataError, match="cannot be converted"):
        convert(place, np.array([0.0]), np.array([0.0]), "EPSG:999999")
