"""Polygons are the class map: GDAL rasterizes them back, and simplified ones have no gaps."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyogrio")
pytest.importorskip("shapely")

import pyogrio
import shapely

from segdeploy.errors import DataError
from segdeploy.imaging.map_polygons import (
    find_polygons,
    simplified,
    with_all_corners,
    write_polygons,
)
from segdeploy.imaging.raster import Place
from tests.helpers.cards import make_classes
from tests.helpers.maps import PLACE, blobs, rasterized

CLASSES = make_classes("a", "b", "c", "d")
UTM = Place(crs="EPSG:32632", transform=PLACE)


def with_gaps(mask: np.ndarray) -> np.ndarray:
    mask[:10, :7] = 255
    mask[30:40, 30:40] = 255
    return mask


MASKS = {
    "noise": with_gaps(np.random.default_rng(1).integers(0, 4, (50, 60), dtype=np.uint8)),
    "blobs": with_gaps(blobs(120, 150, 4)),
    "island": np.pad(np.pad(np.ones((1, 1), np.uint8), 3, constant_values=0), 2, constant_values=1),
}


@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
@pytest.mark.parametrize("name", MASKS)
def test_gdal_rasterizes_polygons_back(tmp_path: Path, name: str, ending: str) -> None:
    """To the pixel: holes, islands, and regions that touch at corners."""
    path, mask = tmp_path / f"a.{ending}", MASKS[name]

    write_polygons(path, mask, UTM, classes=CLASSES)

    np.testing.assert_array_equal(rasterized(path, *mask.shape, tmp_path / "b.tif"), mask)


@pytest.mark.parametrize("name", ["noise", "blobs", "island"])
def test_polygons_are_valid_and_cover_their_classes(name: str) -> None:
    """As OGC's Simple Features defines it, which QGIS checks too."""
    mask = MASKS[name]

    polygons, indices = find_polygons(mask, 4)

    assert shapely.is_valid(polygons).all()
    areas = np.bincount(indices, shapely.area(polygons), minlength=4)
    np.testing.assert_array_equal(areas, np.bincount(mask[mask < 4], minlength=4))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [1, 3])
def test_simplified_polygons_have_no_gaps(seed: int, tolerance: float) -> None:
    """Neighbors keep their common borders, and each class its region."""
    polygons, indices = find_polygons(with_gaps(blobs(200, 260, 4, seed=seed, size=16)), 4)
    noded = with_all_corners(polygons)

    simple = simplified(noded, indices, tolerance)

    assert shapely.coverage_is_valid(simple)
    assert shapely.is_valid(simple).all()
    assert len(shapely.get_coordinates(simple)) < 0.7 * len(shapely.get_coordinates(polygons))
    for index in range(4):
        before, after = (shapely.union_all(some[indices == index]) for some in (noded, simple))
        both = shapely.area(shapely.intersection(before, after))
        assert both >= 0.98 * shapely.area(shapely.union(before, after))


def test_regions_that_would_vanish_are_left_as_they_are() -> None:
    """Of noise nothing can be removed without a loss."""
    polygons, indices = find_polygons(MASKS["noise"], 4)
    noded = with_all_corners(polygons)

    simple = simplified(noded, indices, 5)

    assert shapely.equals(simple, noded).all()


def test_corners_of_neighbors_are_added() -> None:
    """Below two regions lies one whose upper side is straight: it gets the corner between them."""
    mask = np.array([[0, 1], [2, 2]], np.uint8)

    polygons, _ = find_polygons(mask, 3)
    noded = with_all_corners(polygons)

    assert not shapely.coverage_is_valid(polygons)
    assert shapely.coverage_is_valid(noded)
    assert sorted(len(shapely.get_coordinates(one)) for one in noded) == [5, 5, 6]
    assert shapely.equals(noded, polygons).all()


def test_small_regions_are_left_out(tmp_path: Path) -> None:
    """Each polygon says how many pixels it is."""
    write_polygons(tmp_path / "a.geojson", MASKS["blobs"], UTM, classes=CLASSES, min_area=30)

    document = json.loads((tmp_path / "a.geojson").read_text())

    found = [feature["properties"] for feature in document["features"]]
    assert min(one["pixels"] for one in found) >= 30
    assert {one["name"] for one in found} <= {"a", "b", "c", "d"}
    assert all(one["name"] == "abcd"[one["class"]] for one in found)


@pytest.mark.parametrize("simplify", [0, 1])
def test_degrees_keep_neighbors_together(tmp_path: Path, simplify: float) -> None:
    """A straight border in meters is curved in degrees; numbers are rounded, to a millimeter."""
    mask = blobs(80, 90, 4)

    write_polygons(
        tmp_path / "a.geojson", mask, UTM, classes=CLASSES, simplify=simplify, crs="EPSG:4326"
    )

    document = json.loads((tmp_path / "a.geojson").read_text())
    polygons = np.array([shapely.from_geojson(json.dumps(one)) for one in document["features"]])
    assert "crs" not in document
    assert shapely.coverage_is_valid(polygons, gap_width=1e-8)
    west, south, east, north = shapely.total_bounds(polygons)
    assert (west, north) == pytest.approx((9, 45.1534), abs=1e-3)
    assert (east - west, north - south) == pytest.approx((0.01144, 0.0072), rel=0.01)


@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
def test_a_map_without_classes_has_no_polygons(tmp_path: Path, ending: str) -> None:
    """The file is there all the same."""
    path = tmp_path / f"a.{ending}"

    write_polygons(
        path, np.full((5, 6), 255, np.uint8), UTM, classes=CLASSES, simplify=1, crs="EPSG:4326"
    )

    assert pyogrio.read_info(path)["features"] == 0


def test_an_unknown_system_is_refused(tmp_path: Path) -> None:
    """One sentence, and no file."""
    with pytest.raises(DataError, match="EPSG:999"):
        write_polygons(tmp_path / "a.gpkg", MASKS["blobs"], UTM, classes=CLASSES, crs="EPSG:999999")

    assert not list(tmp_path.iterdir())
