"""Zones: the shares inside polygons, worked out by hand, and files that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy.errors import ConfigError
from segdeploy.video.zones import Zone, ZoneMeter, read_zones, zones_of
from tests.helpers.cards import make_classes

CLASSES = make_classes("road", "car")
SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]


def write(path: Path, *zones: object) -> Path:
    """Write a file of zones."""
    path.write_text(json.dumps({"zones": zones}))
    return path


def test_shares_count_the_pixels_inside_the_polygon_only(tmp_path: Path) -> None:
    """The left half of a 4x4 zone is road, and cars outside of it do not count."""
    mask = np.ones((10, 10), np.uint8)
    mask[:4, :2] = 0
    mask[0, 3] = 255
    meter = ZoneMeter(
        read_zones(write(tmp_path / "z.json", {"name": "a", "polygon": SQUARE})), CLASSES
    )

    assert meter.measure(mask) == {"a": {"road": 8 / 16, "car": 7 / 16}}


def test_polygon_is_scaled_from_the_size_in_which_it_was_drawn() -> None:
    """A zone drawn in a photo fits the stream, which is smaller."""
    zone = Zone(name="a", polygon=((0, 0), (400, 0), (400, 400), (0, 400)), size=(1000, 1000))
    mask = np.zeros((10, 10), np.uint8)
    mask[2:4, :4] = 1

    assert ZoneMeter([zone], CLASSES).measure(mask) == {"a": {"road": 0.5, "car": 0.5}}


def test_zone_outside_the_image_has_no_shares() -> None:
    """It is no error: another camera may see it."""
    zone = Zone(name="a", polygon=((50, 50), (60, 50), (60, 60)))

    shares = ZoneMeter([zone], CLASSES).measure(np.zeros((10, 10), np.uint8))

    assert shares == {"a": {"road": 0, "car": 0}}


def test_zones_take_no_more_memory_than_they_cover() -> None:
    """A file of some kilobytes can hold a thousand zones, each of a frame of many megapixels."""
    small = [Zone(name=str(n), polygon=((n, 0), (n + 2, 0), (n + 2, 2), (n, 2))) for n in range(99)]
    large = [replace(zone, polygon=((0, 0), (1e9, 0), (1e9, 1e9), (0, 1e9))) for zone in small]
    mask = np.zeros((4000, 4000), np.uint8)

    assert ZoneMeter(small, CLASSES).measure(mask)["98"] == {"road": 1, "car": 0}
    with pytest.raises(ConfigError, match="99 zones cover 1584000000 pixels"):
        ZoneMeter(large, CLASSES).measure(mask)


def test_zones_belong_to_a_camera_or_to_all() -> None:
    """Each camera has its own image, in which others' polygons mean nothing."""
    zones = [
        Zone(name=name, camera=camera, polygon=((0, 0), (1, 0), (1, 1)))
        for name, camera in (("a", "door"), ("b", "yard"), ("c", ""))
    ]

    assert [zone.name for zone in zones_of(zones, "door")] == ["a", "c"]


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ({"name": "a", "polygon": SQUARE[:2]}, "length >= 3"),
        ({"name": "", "polygon": SQUARE}, "printable"),
        ({"name": "a\x1b[2J", "polygon": SQUARE}, "printable"),
        ({"name": "a", "polygon": [*SQUARE, [1e999, 0]]}, "finite"),
        ({"name": "a", "polygon": [*SQUARE, [1]]}, "polygon"),
        ({"name": "a", "polygon": SQUARE, "size": [0, 5]}, "size"),
        ({"name": "a", "polygon": SQUARE, "colour": "red"}, "unknown"),
        ({"polygon": SQUARE}, "missing"),
    ],
)
def test_wrong_zones_are_refused_with_their_place(
    tmp_path: Path, zone: dict[str, object], problem: str
) -> None:
    """A typing error must not watch another part of the image."""
    with pytest.raises(ConfigError, match=problem):
        read_zones(write(tmp_path / "z.json", zone))


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"[]", b'{"zones": []}', b"[" * 100_000])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever it is, the message names the file."""
    path = tmp_path / "z.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"z\.json holds no zones"):
        read_zones(path)


def test_two_zones_of_one_name_are_refused(tmp_path: Path) -> None:
    """One would hide the other in reports."""
    zone = {"name": "a", "polygon": SQUARE}

    with pytest.raises(ConfigError, match="two zones of one camera are called a"):
        read_zones(write(tmp_path / "z.json", zone, {**zone, "camera": ""}))
    assert (
        len(
            read_zones(write(tmp_path / "z.json", {**zone, "camera": "b"}, {**zone, "camera": "c"}))
        )
        == 2
    )
