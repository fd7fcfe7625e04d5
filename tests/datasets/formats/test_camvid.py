"""CamVid's original 701 images: 32 colors become 11 classes, and the splits are SegNet's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.datasets.formats.camvid import CLASSES, split_of
from segdeploy.errors import DataError


def draw(data: Path, names: list[str], color: tuple[int, int, int] = (128, 128, 128)) -> None:
    """Draw images and masks of one color."""
    for folder, ending in (("701_StillsRaw_full", ""), ("LabeledApproved_full", "_L")):
        (data / folder).mkdir(exist_ok=True)
        for name in names:
            Image.new("RGB", (4, 2), color).save(data / folder / f"{name}{ending}.png")


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((192, 0, 128), "Building"),
        ((0, 128, 64), "Building"),
        ((64, 192, 0), "Building"),
        ((0, 0, 64), "Pole"),
        ((128, 0, 192), "Road"),
        ((64, 192, 128), "Pavement"),
        ((128, 128, 192), "Pavement"),
        ((192, 192, 0), "Tree"),
        ((0, 64, 64), "SignSymbol"),
        ((64, 128, 192), "Car"),
        ((192, 128, 192), "Car"),
        ((192, 128, 64), "Pedestrian"),
        ((64, 128, 64), "Pedestrian"),
        ((192, 0, 192), "Bicyclist"),
        ((0, 0, 0), None),
    ],
)
def test_color_of_the_32_becomes_its_class(
    color: tuple[int, int, int], name: str | None, tmp_path: Path
) -> None:
    """The merge is MathWorks'; black is void."""
    draw(tmp_path, ["0006R0_f00930"], color)

    mask = datasets.load("camvid", tmp_path, "train")[0].mask

    assert np.unique(mask).tolist() == [
        255 if name is None else [entry.name for entry in CLASSES].index(name)
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0001TP_006690", "train"),
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0001TP_010380", "test"),
        ("0006R0_f00930", "train"),
        ("0016E5_00390", "train"),
        ("0016E5_07920", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f00000", "test"),
    ],
)
def test_split_is_segnets(name: str, split: str) -> None:
    """The last frame of each part and the first of the next."""
    assert split_of(name) == split


def test_lists_take_precedence_over_sequences(tmp_path: Path) -> None:
    """A list of names is followed; whole paths and two columns are usual in them."""
    draw(tmp_path, ["0001TP_006690", "0001TP_008550", "my_own"])
    (tmp_path / "val.txt").write_text(
        "/SegNet/CamVid/val/my_own.png /SegNet/CamVid/valannot/my_own.png\n\n0001TP_006690.png\n"
    )

    assert list(datasets.load("camvid", tmp_path, "val").names) == ["0001TP_006690", "my_own"]


def test_missing_image_of_a_list_is_named(tmp_path: Path) -> None:
    """A list of another copy must not shrink the split unnoticed."""
    draw(tmp_path, ["0001TP_006690"])
    (tmp_path / "train.txt").write_text("0001TP_006690\n0001TP_006720\n")

    with pytest.raises(DataError, match=r"train\.txt names 0001TP_006720"):
        datasets.load("camvid", tmp_path, "train")


@pytest.mark.parametrize("name", ["holiday", "0001TP_x", "0001TP_", "0016E5_f-3"])
def test_unknown_name_without_lists_is_refused(name: str, tmp_path: Path) -> None:
    """Its split is not known."""
    draw(tmp_path, [name])

    with pytest.raises(DataError, match=f"{name} is not a name of CamVid's sequences"):
        datasets.load("camvid", tmp_path, "train")


def test_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """For example an image named train.txt."""
    draw(tmp_path, ["0001TP_006690"])
    (tmp_path / "train.txt").write_bytes(b"\xff\xd8\xff\xe0")

    with pytest.raises(DataError, match="is not a list of names"):
        datasets.load("camvid", tmp_path, "train")
