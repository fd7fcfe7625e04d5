"""Areas are those on the ellipsoid, whatever the projection shows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio")

from segdeploy.imaging.map_areas import measure, write_areas
from segdeploy.imaging.raster import Place
from tests.helpers.cards import make_classes
from tests.helpers.maps import PLACE

CLASSES = make_classes("road", "car")


def area(place: Place, height: int, width: int) -> float:
    """Return the area of the only class of a map."""
    found = measure(np.zeros((height, width), np.uint8), place, CLASSES)["classes"][0]
    assert found["pixels"] == height * width
    return found["square_meters"]


def test_the_whole_earth() -> None:
    """WGS 84's surface, 4 pi R_q^2 with the authalic radius of 6,371,007.181 m, in degrees."""
    place = Place(crs="EPSG:4326", transform=(1.0, 0.0, -180.0, 0.0, -1.0, 90.0))

    assert area(place, 180, 360) == pytest.approx(4 * np.pi * 6371007.1809**2, rel=1e-9)


def test_a_scale_is_undone() -> None:
    """On its central meridian, UTM shows lengths smaller by 0.9996."""
    place = Place(crs="EPSG:32632", transform=(10.0, 0.0, 499500.0, 0.0, -10.0, 5000000.0))

    assert area(place, 100, 100) == pytest.approx(1e6 / 0.9996**2, rel=1e-6)


def test_web_maps_are_not_taken_at_their_word() -> None:
    """At 60 degrees north, Web Mercator shows areas four times too large (on the sphere)."""
    place = Place(crs="EPSG:3857", transform=(10.0, 0.0, 0.0, 0.0, -10.0, 8399738.0))

    assert area(place, 100, 100) == pytest.approx(1e6 / 4, rel=0.01)


def test_classes_are_counted_where_they_lie() -> None:
    """In degrees a pixel in the north is smaller, and what has no class is counted too."""
    mask = np.full((100, 100), 255, np.uint8)
    mask[:50, :30], mask[50:, 70:] = 0, 1
    place = Place(crs="EPSG:4326", transform=(0.5, 0.0, 10.0, 0.0, -0.5, 80.0))

    found = measure(mask, place, CLASSES)

    north, south = found["classes"]
    assert north["pixels"] == south["pixels"] == 1500
    assert 3 * north["square_meters"] < 2 * south["square_meters"]
    assert found["without_class"]["pixels"] == 7000


@pytest.mark.parametrize("crs", ["", 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_unknown_places_have_no_areas(tmp_path: Path, crs: str) -> None:
    """Their pixels are counted."""
    write_areas(
        tmp_path / "a.json", np.zeros((9, 9), np.uint8), Place(crs=crs, transform=PLACE), CLASSES
    )

    assert '"square_meters": null' in (tmp_path / "a.json").read_text()
