"""COCO's JSON is found where tools put it, and images by the names that tools give them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.datasets.checks.class_map_proposal import propose_class_map
from segdeploy.datasets.checks.detect import detect_layout
from segdeploy.datasets.formats.coco_files import find_images, plain_name
from segdeploy.errors import DataError


def write_images(folder: Path, files: list[str]) -> None:
    """Write images of 8x6 pixels, each of a gray of its own."""
    for number, file in enumerate(files):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, number, number)).save(path)


def write_json(path: Path, names: list[str]) -> None:
    """Write annotations of images: the first has one pixel of a car, the second two, and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(len(names))
    content = {
        "images": [
            {"id": number, "file_name": names[number], "height": 6, "width": 8}
            for number in numbers
        ],
        "categories": [{"id": 0, "name": "car"}],
        "annotations": [
            {
                "image_id": number,
                "category_id": 0,
                "segmentation": [[0, 0, number + 1, 0, number + 1, 1, 0, 1]],
            }
            for number in numbers
        ],
    }
    path.write_text(json.dumps(content))


def cars(data: Path, split: str) -> dict[int, int]:
    """Return the pixels of cars by the gray of the image."""
    samples = datasets.load("coco", data, split)
    return {
        int(sample.image[0, 0, 0]): int((sample.mask == 1).sum())
        for sample in (samples[index] for index in range(len(samples)))
    }


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_default.json", "images"),
        ("result.json", "images"),
        ("labels.json", "data"),
        ("_annotations.coco.json", "."),
    ],
)
def test_exports_of_tools_are_found(tmp_path: Path, annotations: str, images: str) -> None:
    """Of CVAT, Label Studio, FiftyOne and Roboflow, as they are unpacked."""
    names = [f"{number}.png" for number in range(5)]
    write_images(tmp_path / images, names)
    write_json(tmp_path / annotations, names)

    assert detect_layout(tmp_path).name == "coco"
    assert "car" in propose_class_map(tmp_path)
    assert {**cars(tmp_path, "train"), **cars(tmp_path, "val")} == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}


@pytest.mark.parametrize(
    ("train", "val", "images"),
    [
        ("annotations/instances_Train.json", "annotations/instances_Validation.json", "images/{}"),
        ("annotations/instances_train.json", "annotations/instances_val.json", "images"),
        ("train/labels.json", "val/labels.json", "{}/data"),
    ],
)
def test_splits_of_tools_are_found(tmp_path: Path, train: str, val: str, images: str) -> None:
    """CVAT's subsets, and splits whose images lie in one folder, of which each names its own."""
    for name, split, file in (("Train", train, "a.png"), ("Validation", val, "b.png")):
        folder = name if "instances_T" in train else split.split("/")[0]
        write_images(tmp_path / images.format(folder), [file])
        write_json(tmp_path / split, [file])

    assert (cars(tmp_path, "train"), cars(tmp_path, "val")) == ({0: 1}, {0: 1})


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a/0.png", "b/0.png"], ["a/0.png", "b/0.png"]),
        (["a/0.png", "a_0.png"], ["a/0.png", "a_0.png"]),
        (["a\\0.png", "b\\1.png"], ["a/0.png", "b/1.png"]),
        (["images/0.png", "images/1.png"], ["0.png", "1.png"]),
        (["./0.png", "../../../label-studio/media/1.png"], ["0.png", "1.png"]),
        (["C:\\data\\day\\0.png", "/srv/data/night/0.png"], ["day/0.png", "night/0.png"]),
        (["/data/local-files/?d=day/0.png", "1.png"], ["day/0.png", "night/1.png"]),
        (["x/0.png", "0.png"], ["x/0.png", "0.png"]),
        (["0.png", "0.jpg"], ["0.png", "0.jpg"]),
    ],
)
def test_images_are_found_by_the_names_of_tools(
    tmp_path: Path, names: list[str], files: list[str]
) -> None:
    """Each image gets its own objects, also where two have one name or one stem."""
    write_images(tmp_path / "images" / "val", files)
    write_json(tmp_path / "annotations" / "val.json", names)

    assert cars(tmp_path, "val") == {0: 1, 1: 2}
    assert len(set(datasets.load("coco", tmp_path, "val").names)) == 2


def test_a_file_of_another_name_is_not_taken_for_a_missing_one() -> None:
    """Only what no name is exactly that of, and only if there is no doubt."""
    files = {name: Path(name) for name in ("0.png", "a/1.png", "b/1.png")}

    assert find_images(["a/0.png", "0.png", "1.png", "9.png"], files) == {"0.png": "0.png"}
    with pytest.raises(ValueError, match=r"two images, x/0\.png and y/0\.png, are"):
        find_images(["x/0.png", "y/0.png"], files)


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A file elsewhere is neither read nor named as the counterpart."""
    write_images(tmp_path, ["secret.png", "data/images/0.png", "data/images/1.png"])
    write_json(tmp_path / "data" / "annotations.json", ["../../secret.png", "0.png", "1.png"])

    assert plain_name("../..//./etc/passwd") == "etc/passwd"
    with pytest.raises(DataError, match=r"data/images/secret\.png has no counterpart"):
        datasets.load("coco", tmp_path / "data", "train")


@pytest.mark.parametrize("size", [[8, 6], [12, 4], [6], "no", [6, 8.5], [[6], 8]])
def test_run_lengths_of_another_size_are_refused(tmp_path: Path, size: object) -> None:
    """Where height and width are exchanged their number is right, and they draw stripes."""
    write_images(tmp_path / "images/val", ["0.png"])
    path = tmp_path / "annotations/val.json"
    write_json(path, ["0.png"])
    content = json.loads(path.read_text())
    runs = {"counts": [6, 2, 40], "size": [6, 8]}
    content["annotations"][0]["segmentation"] = runs
    path.write_text(json.dumps(content))
    assert cars(tmp_path, "val") == {0: 2}

    runs["size"] = size
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="annotations"):
        cars(tmp_path, "val")


def test_a_zigzag_over_a_high_image_is_refused(tmp_path: Path) -> None:
    """Some kilobytes would cross a thousand million rows."""
    write_images(tmp_path / "images/val", ["0.png"])
    path = tmp_path / "annotations/val.json"
    write_json(path, ["0.png"])
    content = json.loads(path.read_text())
    content["images"][0] |= {"height": 1_000_000, "width": 1}
    zigzag = np.tile([0, 0, 1, 1_000_000], 500).tolist()
    content["annotations"][0]["segmentation"] = [zigzag]
    path.write_text(json.dumps(content))

    samples = datasets.layout("coco").index(tmp_path, "val")

    with pytest.raises(DataError, match="crosses 1000000000 rows"):
        samples.mask_format.read(samples.pairs[0])
