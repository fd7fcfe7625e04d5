"""Polygons of COCO and labelme become masks, and malformed JSON becomes a message."""

import base64
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segdeploy import datasets
from segdeploy.errors import DataError

SQUARE = [[1, 1], [5, 1], [5, 5], [1, 5]]
INNER = [[2, 2], [4, 2], [4, 4], [2, 4]]


def flat(ring: list[list[int]]) -> list[int]:
    """COCO writes corners in one row."""
    return [value for corner in ring for value in corner]


def coco(data: Path, objects: list[dict[str, Any]], **others: Any) -> np.ndarray:
    """Write a COCO dataset of one image of 8x6 pixels and return its mask."""
    (data / "images").mkdir(exist_ok=True)
    (data / "annotations").mkdir(exist_ok=True)
    (data / "images/val").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(data / "images/val/a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}],
        "annotations": [{"image_id": 1, "category_id": 1, **annotation} for annotation in objects],
        **others,
    }
    (data / "annotations/instances_val.json").write_text(json.dumps(content))
    return datasets.load("coco", data, "val")[0].mask


def test_smaller_objects_cover_larger_ones(tmp_path: Path) -> None:
    """The order in the file does not matter; a driver behind glass is smaller than the car."""
    mask = coco(
        tmp_path,
        [
            {"segmentation": [flat(INNER)], "area": 4, "category_id": 2},
            {"segmentation": [flat(SQUARE)], "area": 16},
        ],
    )

    assert mask[1:5, 1:5].tolist() == [[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]]
    assert (mask != 0).sum() == 16


def test_polygons_of_one_object_are_united(tmp_path: Path) -> None:
    """As in pycocotools: a car behind a pole is two polygons, and overlapping ones make no hole."""
    mask = coco(tmp_path, [{"segmentation": [[0, 0, 2, 0, 2, 6, 0, 6], [1, 0, 4, 0, 4, 6, 1, 6]]}])

    assert (mask[:, :4] == 1).all()
    assert (mask[:, 4:] == 0).all()


def test_crowd_is_drawn_from_run_lengths_with_its_holes(tmp_path: Path) -> None:
    """Crowds are run lengths, down the columns of 6 pixels."""
    mask = coco(
        tmp_path, [{"segmentation": {"counts": [6, 2, 2, 2, 36], "size": [6, 8]}, "iscrowd": 1}]
    )

    assert mask[:, 1].tolist() == [1, 1, 0, 0, 1, 1]
    assert mask.sum() == 4


def test_names_of_categories_are_mended(tmp_path: Path) -> None:
    """A card holds no no-break space; two names that look alike are one class."""
    mask = coco(
        tmp_path,
        [{"segmentation": [flat(SQUARE)]}, {"segmentation": [flat(INNER)], "category_id": 2}],
        categories=[{"id": 1, "name": "traffic\u00a0light"}, {"id": 2, "name": "traffic light\r"}],
    )

    classes = datasets.load("coco", tmp_path, "val").classes
    assert [entry.name for entry in classes] == ["background", "traffic light"]
    assert (mask == 1).sum() == 16


def test_class_map_groups_categories(tmp_path: Path) -> None:
    """Without a class of that name, the background is not labeled."""
    (tmp_path / "classes.toml").write_text(
        'ignore = "bus"\n[[classes]]\nname = "vehicle"\nlabel = ["car", "truck"]\n'
    )

    mask = coco(
        tmp_path,
        [{"segmentation": [flat(SQUARE)]}, {"segmentation": [flat(INNER)], "category_id": 2}],
    )

    assert mask[1:5, 1:5].tolist() == [
        [0, 0, 0, 0],
        [0, 255, 255, 0],
        [0, 255, 255, 0],
        [0, 0, 0, 0],
    ]
    assert (mask == 255).sum() == 48 - 12


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"categories": [{"id": 1, "name": "\t"}]}, r"number 0 .*the name is '\\t', of which"),
        (
            {"images": [{"id": 1, "file_name": "a.png", "height": 6}]},
            "'images', number 0 .*there is no 'width'",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png", "height": 60000, "width": 60000}]},
            "60000x60000",
        ),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 3}]}, "3x0"),
        (
            {"images": [{"id": 1, "file_name": "a.png", "height": 6, "width": True}]},
            "an image's size is 'True' by '6'",
        ),
        (
            {
                "images": [
                    {"id": i, "file_name": f"{i}/a.png", "height": 6, "width": 8} for i in (1, 2)
                ]
            },
            r"two images, 1/a\.png and 2/a\.png, are the file a\.png",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 7, "segmentation": []}]},
            "'annotations', number 0 .*category_id is 7, which is not the id of a category",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4]]}]},
            "a polygon has 4 numbers",
        ),
        (
            {
                "annotations": [
                    {"image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}
                ]
            },
            "a polygon has 7 numbers",
        ),
        (
            {
                "annotations": [
                    {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 1e9, 0, 0, 9]]}
                ]
            },
            "a polygon leaves",
        ),
        (
            {
                "annotations": [
                    {
                        "image_id": 1,
                        "category_id": 1,
                        "segmentation": [[0, 0, float("nan"), 0, 0, 9]],
                    }
                ]
            },
            "a polygon leaves",
        ),
        (
            {
                "annotations": [
                    {
                        "image_id": 1,
                        "category_id": 1,
                        "segmentation": {"counts": "~~", "size": [6, 8]},
                    }
                ]
            },
            "packed run lengths",
        ),
        (
            {
                "annotations": [
                    {
                        "image_id": 1,
                        "category_id": 1,
                        "segmentation": {"counts": [9]},
                    }
                ]
            },
            "cover 9 pixels of 48",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": []}]},
            "a box and no outline",
        ),
        (
            {"categories": [{"id": i, "name": f"c{i}"} for i in range(300)]},
            "there are 300 labels",
        ),
        (
            {"categories": [{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}]},
            "two categories have the id 1",
        ),
        (
            {
                "annotations": [
                    {"image_id": [1], "category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]]}
                ]
            },
            r"an id is \[1\]",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": 3}]},
            "segmentation is '3', and must be polygons or run lengths",
        ),
        ({"categories": 3}, "'categories' is not a list of objects"),
    ],
)
def test_malformed_coco_is_reported(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    """With the file and what is wrong in it."""
    with pytest.raises(DataError, match=rf"instances_val\.json.*{sentence}"):
        coco(tmp_path, [], **changed)


def test_undivided_coco_is_split_at_random(tmp_path: Path) -> None:
    """One file for all, as most tools export it."""
    (tmp_path / "images").mkdir()
    names = [f"{number}.png" for number in range(10)]
    for name in names:
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / name)
    images = [
        {"id": number, "file_name": name, "height": 6, "width": 8}
        for number, name in enumerate(names)
    ]
    (tmp_path / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]})
    )

    train, val = (datasets.load("coco", tmp_path, split) for split in ("train", "val"))

    assert (len(train), len(val)) == (8, 2)
    assert not set(train.names) & set(val.names)


def labelme(data: Path, shapes: list[dict[str, Any]], **others: Any) -> np.ndarray:
    """Write a labelme dataset of one image of 8x6 pixels and return its mask."""
    (data / "train").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(data / "train/a.png")
    (data / "classes.toml").write_text(
        '[[classes]]\nname = "background"\n[[classes]]\nname = "car"\n[[classes]]\nname = "bus"\n'
    )
    (data / "train/a.json").write_text(
        json.dumps({"imageHeight": 6, "imageWidth": 8, "shapes": shapes, **others})
    )
    return datasets.load("labelme", data, "train")[0].mask


def test_later_shape_covers_and_background_is_a_hole(tmp_path: Path) -> None:
    """labelme's own converters draw in the order of the file."""
    mask = labelme(
        tmp_path, [{"label": "car", "points": SQUARE}, {"label": "_background_", "points": INNER}]
    )

    assert mask[1:5, 1:5].tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]


def png(stamp: np.ndarray) -> str:
    """Pack a mask as labelme does."""
    buffer = io.BytesIO()
    Image.fromarray(stamp).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_all_kinds_of_areas_are_drawn(tmp_path: Path) -> None:
    """A rectangle has any two opposite corners; a mask is a PNG and its first and last pixel."""
    stamp = np.array([[True, False], [False, True]])
    mask = labelme(
        tmp_path,
        [
            {"label": "car", "points": [[3, 6], [0, 0]], "shape_type": "rectangle"},
            {"label": "bus", "points": [[6, 3], [6, 5]], "shape_type": "circle"},
            {
                "label": "__ignore__",
                "points": [[0, 0], [1, 1]],
                "shape_type": "mask",
                "mask": png(stamp),
            },
        ],
    )

    # A circle with radius 2 covers 12 pixels: all but the corners of a square of 4.
    assert mask[1:5, 4:8].tolist() == [[0, 2, 2, 0], [2, 2, 2, 2], [2, 2, 2, 2], [0, 2, 2, 0]]
    assert mask[:2, :3].tolist() == [[255, 1, 1], [1, 255, 1]]


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"label": "tram", "points": SQUARE}, "the label 'tram' belongs to no class"),
        (
            {"label": "car", "points": SQUARE[:2], "shape_type": "line"},
            "is a 'line', which has no area",
        ),
        ({"label": "car", "points": SQUARE[:2]}, "a polygon has 4 numbers"),
        (
            {"label": "car", "points": [["a", 1], [2, 3], [4, 5]]},
            "shape number 0 .car.: could not convert string to float: 'a'",
        ),
        ({"label": "car", "points": [[0, 0], [1e300, 1], [2, 2]]}, "a polygon leaves"),
        ({"label": "car", "points": [[10**400, 0], [1, 1], [2, 2]]}, "too large"),
        ({"label": "car"}, "there is no 'points'"),
        (
            {"label": "car", "points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "////"},
            "the mask of a shape is not an image",
        ),
        (
            {
                "label": "car",
                "points": [[0, 0], [2, 2]],
                "shape_type": "mask",
                "mask": png(np.ones((2, 2), bool)),
            },
            "another size",
        ),
        (
            {
                "label": "car",
                "points": [[7, 5], [8, 6]],
                "shape_type": "mask",
                "mask": png(np.ones((2, 2), bool)),
            },
            "leaves the image",
        ),
    ],
)
def test_malformed_labelme_is_reported(
    shape: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    """With the file and what is wrong in it."""
    with pytest.raises(DataError, match=rf"(?s)a\.json is not a labelme file.*{sentence}"):
        labelme(tmp_path, [shape])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 300)
    | st.floats()
    | st.sampled_from(["car", "polygon", "mask", "circle", "rectangle", "", "a.png"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                [
                    "label",
                    "points",
                    "shape_type",
                    "mask",
                    "id",
                    "name",
                    "image_id",
                    "category_id",
                    "segmentation",
                    "counts",
                    "area",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(images=json_values, categories=json_values, annotations=json_values)
def test_any_json_is_coco_or_reported(
    images: object,
    categories: object,
    annotations: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No content of a file causes a traceback."""
    with suppress(DataError):
        coco(
            tmp_path_factory.mktemp("coco"),
            [],
            images=images,
            categories=categories,
            annotations=annotations,
        )


@given(shapes=st.lists(json_values, max_size=4) | json_values, height=st.integers(-1, 9))
def test_any_json_is_labelme_or_reported(
    shapes: Any, height: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No content of a file causes a traceback."""
    with suppress(DataError):
        labelme(tmp_path_factory.mktemp("labelme"), shapes, imageHeight=height)


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    """It would exhaust the stack."""
    labelme(tmp_path, [])
    (tmp_path / "train/a.json").write_text("[" * 200_000)

    with pytest.raises(DataError, match="is not JSON"):
        datasets.load("labelme", tmp_path, "train")[0]
