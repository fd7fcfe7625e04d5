"""Annotations are valid for readers of their formats, also those of an interrupted run."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.formats.coco import Coco
from segdeploy.errors import OutputError
from segdeploy.imaging.io import write_image
from segdeploy.imaging.polygons import fill_ring
from segdeploy.video.annotations import (
    class_shares,
    coco_file,
    geojson,
    incremental_file,
    json_lines,
)
from segdeploy.video.frames import Frame, SegmentedFrame

CLASSES = (LabelClass(name="road", color=(200, 100, 0)), LabelClass(name="car", color=(0, 0, 255)))


def masks() -> list[Mask]:
    random = np.random.default_rng(0)
    return [random.choice(np.array([0, 1, 255], np.uint8), size=(12, 17)) for _ in range(3)]


def segmented(index: int, mask: Mask) -> SegmentedFrame:
    frame = Frame(image=np.zeros((*mask.shape, 3), np.uint8), index=index, seconds=index / 25)
    return SegmentedFrame(
        frame=frame, mask=mask, confidence=None, drawn={}, stage_seconds={"infer": 0.0125}
    )


@pytest.mark.parametrize("runs", [True, False])
def test_coco_is_read_back_to_the_pixel(tmp_path: Path, *, runs: bool) -> None:
    """By our reader of COCO's datasets, with holes and pixels that touch at corners, as polygons
    and as run lengths.
    """
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    given = masks()

    with coco_file(
        tmp_path / "annotations" / "val.json", CLASSES, lambda index: f"{index}.png", as_rle=runs
    ) as write:
        for index, mask in enumerate(given):
            write_image(
                tmp_path / "images" / "val" / f"{index}.png", np.zeros((*mask.shape, 3), np.uint8)
            )
            write(segmented(index, mask))

    index = Coco().index(tmp_path, "val")
    assert [entry.name for entry in index.classes] == ["background", "road", "car"]
    for pair, mask in zip(index.pairs, given, strict=True):
        np.testing.assert_array_equal(index.mask_format.read(pair), (mask + 1).astype(np.uint8))


def test_annotations_have_areas_and_boxes(tmp_path: Path) -> None:
    """By hand: a car of 2 by 3 pixels with its corner at (4, 1) on a road."""
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 4:6] = 1
    for runs in (False, True):
        with coco_file(tmp_path / "a.json", CLASSES, str, as_rle=runs) as write:
            write(segmented(7, mask))

        content = json.loads((tmp_path / "a.json").read_text())
        road, car = content["annotations"]
        assert (road["category_id"], road["area"], road["bbox"]) == (1, 42, [0, 0, 8, 6])
        assert (car["category_id"], car["area"], car["bbox"]) == (2, 6, [4, 1, 2, 3])
        assert content["images"] == [{"id": 7, "file_name": "7", "height": 6, "width": 8}]
        assert [entry["name"] for entry in content["categories"]] == ["road", "car"]


def test_geojson_is_filled_back_to_the_pixel() -> None:
    """Closed rings, holes behind the outline, in pixels."""
    mask = masks()[0]
    again = np.full(mask.shape, 255, np.uint8)

    for feature in json.loads(geojson(mask, CLASSES))["features"]:
        region = np.zeros(mask.shape, np.uint8)
        for value, ring in zip([1, *[0] * 99], feature["geometry"]["coordinates"], strict=False):
            assert ring[0] == ring[-1]
            fill_ring(region, np.array(ring[:-1], float), value)
        assert feature["properties"]["area"] == region.sum()
        again[region == 1] = [entry.name for entry in CLASSES].index(feature["properties"]["class"])

    np.testing.assert_array_equal(again, mask)


def test_json_line_describes_a_frame(tmp_path: Path) -> None:
    """By hand: of eight pixels four are road and one is car."""
    with json_lines(tmp_path / "a.jsonl", CLASSES, lambda index: f"{index}.jpg") as write:
        write(segmented(5, np.array([[0, 0, 0, 0], [1, 255, 255, 255]], np.uint8)))
        write(segmented(6, np.zeros((1, 1), np.uint8)))

    first, second = (json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines())
    assert first == {
        "frame": 5,
        "name": "5.jpg",
        "seconds": 0.2,
        "width": 4,
        "height": 2,
        "shares": {"road": 0.5, "car": 0.125},
        "milliseconds": {"infer": 12.5},
    }
    assert second["shares"] == {"road": 1, "car": 0}


def test_shares_add_up() -> None:
    """Whatever the size."""
    mask = np.random.default_rng(0).integers(0, 2, (333, 777)).astype(np.uint8)

    assert sum(class_shares(mask, CLASSES).values()) == pytest.approx(1, abs=1e-5)


def interrupted(path: Path, frames: int) -> None:
    with coco_file(path, CLASSES, str, as_rle=True) as write:
        for index in range(frames):
            write(segmented(index, np.zeros((2, 2), np.uint8)))
        raise KeyboardInterrupt


def test_interrupted_file_is_complete(tmp_path: Path) -> None:
    """It has the finished frames and can be read; without any there is no file."""
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "two.json", 2)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "none.json", 0)

    assert len(json.loads((tmp_path / "two.json").read_text())["images"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["two.json"]


def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """The message has the path."""
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(OutputError, match="cannot create the folder"),
        incremental_file(tmp_path / "file" / "a.jsonl"),
    ):
        pass


def test_names_that_are_not_utf8_are_whole_in_json(tmp_path: Path) -> None:
    """As old archives hold them: readers get the file's name back, byte for byte."""
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    frame = segmented(0, np.zeros((2, 3), np.uint8))

    with coco_file(tmp_path / "a.json", CLASSES, lambda _: name, as_rle=True) as write:
        write(frame)
    with json_lines(tmp_path / "a.jsonl", CLASSES, lambda _: name) as write:
        write(frame)

    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert [image["file_name"] for image in content["images"]] == [name]
    assert json.loads((tmp_path / "a.jsonl").read_text("utf-8"))["name"] == name


def test_geojson_follows_the_right_hand_rule() -> None:
    """RFC 7946, 3.1.6; by hand: a square with a hole of one pixel."""
    mask = np.zeros((3, 3), np.uint8)
    mask[1, 1] = 255

    (feature,) = json.loads(geojson(mask, CLASSES))["features"]

    outline, hole = feature["geometry"]["coordinates"]
    assert sorted(outline[:4]) == [[0, 0], [0, 3], [3, 0], [3, 3]]
    assert sorted(hole[:4]) == [[1, 1], [1, 2], [2, 1], [2, 2]]
    areas = [
        sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2 for ring in (outline, hole)
    ]
    assert areas == [9, -1]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file")
def test_what_was_written_before_the_disk_was_full_is_kept(tmp_path: Path) -> None:
    """Lines of hours of work; the message has the name of the file."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path, part = tmp_path / "a.jsonl", tmp_path / "a.jsonl.part"

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with (
            pytest.raises(OutputError, match=rf"File too large.*what was done is in {part}"),
            incremental_file(path) as write,
        ):
            write("a line\n" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not path.exists()
    assert part.read_text().startswith("a line\n" * 1000)


@pytest.mark.parametrize(("min_area", "areas"), [(1, [6, 1]), (2, [6]), (7, [])])
def test_small_regions_are_left_out(tmp_path: Path, min_area: int, areas: list[int]) -> None:
    """Specks of a few pixels fill an annotation tool; a region of just that size stays."""
    mask = np.full((6, 8), 255, np.uint8)
    mask[0, 0], mask[2:4, 2:5] = 1, 1
    path = tmp_path / "a.json"
    frame = Frame(image=np.zeros((6, 8, 3), np.uint8), index=0, seconds=0.0)
    result = SegmentedFrame(frame=frame, mask=mask, confidence=None, drawn={}, stage_seconds={})

    with coco_file(path, CLASSES, str, as_rle=False, min_area=min_area) as write:
        write(result)
    features = json.loads(geojson(mask, CLASSES, min_area=min_area))["features"]

    assert [entry["area"] for entry in json.loads(path.read_text())["annotations"]] == areas
    assert [feature["properties"]["area"] for feature in features] == areas
