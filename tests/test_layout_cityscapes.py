"""Cityscapes: test has no truth, and answers go back as original ids."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.datasets.cityscapes import CLASSES, LABEL_IDS
from segdeploy.errors import DataError


def save(path: Path, pixels: np.ndarray) -> None:
    """Write a picture or numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_every_original_id_has_its_meaning() -> None:
    """34 ids and 255 are known; 7 is road, 33 bicycle; caravan, trailer and license plate are not labelled; 34 is foreign."""
    assert sum(index >= 0 for index in LABEL_IDS.table) == 35
    assert [LABEL_IDS.table[identity] for identity in (7, 8, 11, 24, 26, 31, 33)] == [0, 1, 2, 11, 13, 16, 18]
    assert [LABEL_IDS.table[identity] for identity in (0, 4, 9, 29, 30, 255)] == [255] * 6
    assert LABEL_IDS.table[34] < 0


def test_test_split_is_pictures_alone(tmp_path: Path) -> None:
    """What lies in gtFine/test is a placeholder, which would score as truth."""
    save(tmp_path / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", np.zeros((4, 6, 3), np.uint8))
    save(tmp_path / "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", np.full((4, 6), 7, np.uint8))

    files = datasets.load("cityscapes", tmp_path, "test")

    assert list(files.names) == ["berlin_000000_000019"]
    assert (files[0].mask == 255).all()
    assert files[0].mask.shape == (4, 6)


def test_city_without_labels_is_found(tmp_path: Path) -> None:
    """Half an archive unpacked."""
    for city in ("aachen", "bochum"):
        save(tmp_path / f"leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png", np.zeros((4, 6, 3), np.uint8))
    save(tmp_path / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", np.full((4, 6), 7, np.uint8))

    with pytest.raises(DataError, match=r"bochum_000000_000019_leftImg8bit\.png has no counterpart"):
        datasets.load("cityscapes", tmp_path, "train")


def test_colors_of_void_are_not_the_nearest_class(tmp_path: Path) -> None:
    """Ground and guard rail have colors near those of classes, and are not labelled."""
    colors = [(81, 0, 81), (180, 165, 180), (0, 0, 90), (0, 0, 70), (130, 62, 126), (60, 200, 255)]
    save(tmp_path / "train/img/1.png", np.zeros((1, 6, 3), np.uint8))
    save(tmp_path / "train/label/1.png", np.array([colors], np.uint8))

    mask = datasets.load("cityscapes", tmp_path, "train")[0].mask

    names = [None if value == 255 else CLASSES[value].name for value in mask[0]]
    assert names == [None, None, None, "truck", "road", None]
