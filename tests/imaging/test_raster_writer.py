"""Maps are written so that GDAL itself, of another version, reads all that they hold."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio")

from segdeploy.errors import OutputError
from segdeploy.imaging.raster import Place
from segdeploy.imaging.raster_writer import MapFormat, write_map
from tests.helpers.cards import make_classes
from tests.helpers.maps import PLACE, info, read_map

UTM = Place(crs="EPSG:32632", transform=PLACE)
ROTATED = Place(crs="EPSG:25832", transform=(3.0, 4.0, 500000.0, 4.0, -3.0, 5000000.0))
DEGREES = Place(crs="EPSG:4326", transform=(0.1, 0.0, -180.0, 0.0, -0.1, 90.0))
CLASSES = make_classes("road", "car <b>", "Weg ü")


@pytest.mark.parametrize("place", [UTM, ROTATED, DEGREES, Place(crs="", transform=PLACE)])
def test_a_class_map_has_place_colors_and_names(tmp_path: Path, place: Place) -> None:
    """And smaller copies that hold classes, not means of them."""
    path = tmp_path / "a.tif"
    mask = np.random.default_rng(0).integers(0, 3, (700, 1100, 1), dtype=np.uint8)
    mask[:9] = 255

    write_map(path, mask, place, MapFormat(nodata=255, classes=CLASSES))

    np.testing.assert_array_equal(read_map(path), mask)
    seen = info(path)
    a, b, c, d, e, f = place.transform
    assert seen["geoTransform"] == [c, a, b, f, d, e]
    assert place.crs.removeprefix("EPSG:") in seen.get("coordinateSystem", {}).get("wkt", "")
    assert seen["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    (band,) = seen["bands"]
    assert band["noDataValue"] == 255
    assert band["colorTable"]["entries"][:3] == [[*entry.color, 255] for entry in CLASSES]
    assert band["metadata"][""] == {"CLASS_0": "road", "CLASS_1": "car <b>", "CLASS_2": "Weg ü"}
    assert band["overviews"][0]["size"] == [550, 350]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_coordinates_of_centers_stay(tmp_path: Path) -> None:
    """A grid that names the centers of its pixels covers the same ground."""
    place = Place(crs="EPSG:32632", transform=PLACE, is_point=True)

    write_map(tmp_path / "a.tif", np.zeros((20, 30, 1), np.uint8), place, MapFormat(nodata=0))

    seen = info(tmp_path / "a.tif")
    assert seen["geoTransform"] == [500000, 10, 0, 5000000, 0, -10]
    assert seen["metadata"][""]["AREA_OR_POINT"] == "Point"


def test_colors_have_opacity(tmp_path: Path) -> None:
    """Where there is no data, a viewer shows what lies below."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)

    write_map(tmp_path / "a.tif", pixels, UTM, MapFormat())

    np.testing.assert_array_equal(read_map(tmp_path / "a.tif"), pixels)
    bands = info(tmp_path / "a.tif")["bands"]
    assert [band["colorInterpretation"] for band in bands] == ["Red", "Green", "Blue", "Alpha"]


def test_a_map_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Neither a part of it nor GDAL's temporary files."""
    (tmp_path / "a.tif").mkdir()

    with pytest.raises(OutputError):
        write_map(tmp_path / "a.tif", np.zeros((9, 9, 1), np.uint8), UTM, MapFormat())

    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]
