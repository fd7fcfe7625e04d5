"""Cityscapes: ids, the test split without masks, and masks beside images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.cli.main import main
from segdeploy.datasets.formats.cityscapes import CLASSES, COLORS, LABEL_IDS
from segdeploy.datasets.index import Pair
from segdeploy.datasets.mask_formats import RightHalf
from segdeploy.errors import DataError


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an image or ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_every_original_id_has_its_meaning() -> None:
    """34 ids and 255 are known: 7 is road, 33 bicycle; caravan and trailer are not labeled."""
    assert sum(index >= 0 for index in LABEL_IDS.table) == 35
    assert [LABEL_IDS.table[identity] for identity in (7, 8, 11, 24, 26, 31, 33)] == [
        0,
        1,
        2,
        11,
        13,
        16,
        18,
    ]
    assert [LABEL_IDS.table[identity] for identity in (0, 4, 9, 29, 30, 255)] == [255] * 6
    assert LABEL_IDS.table[34] < 0


def test_test_split_has_no_masks(tmp_path: Path) -> None:
    """The files in gtFine/test are placeholders, and would falsify a score."""
    save(
        tmp_path / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png",
        np.zeros((4, 6, 3), np.uint8),
    )
    save(
        tmp_path / "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png",
        np.full((4, 6), 7, np.uint8),
    )

    files = datasets.load("cityscapes", tmp_path, "test")

    assert list(files.names) == ["berlin_000000_000019"]
    assert (files[0].mask == 255).all()
    assert files[0].mask.shape == (4, 6)


def test_city_without_labels_is_found(tmp_path: Path) -> None:
    """A partly unpacked archive."""
    for city in ("aachen", "bochum"):
        save(
            tmp_path / f"leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png",
            np.zeros((4, 6, 3), np.uint8),
        )
    save(
        tmp_path / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
        np.full((4, 6), 7, np.uint8),
    )

    with pytest.raises(
        DataError, match=r"bochum_000000_000019_leftImg8bit\.png has no counterpart"
    ):
        datasets.load("cityscapes", tmp_path, "train")


def test_colors_of_void_are_not_the_nearest_class(tmp_path: Path) -> None:
    """Ground and guard rail have colors near those of classes, and are not labeled."""
    colors = [(81, 0, 81), (180, 165, 180), (0, 0, 90), (0, 0, 70), (130, 62, 126), (60, 200, 255)]
    save(tmp_path / "train/img/1.png", np.zeros((1, 6, 3), np.uint8))
    save(tmp_path / "train/label/1.png", np.array([colors], np.uint8))

    mask = datasets.load("cityscapes", tmp_path, "train")[0].mask

    names = [None if value == 255 else CLASSES[value].name for value in mask[0]]
    assert names == [None, None, None, "truck", "road", None]


def halves(tmp_path: Path, right: np.ndarray, *, quality: int) -> None:
    """Write a file as Kaggle's pairs are: gray noise at the left, and this at the right."""
    left = np.random.default_rng(1).integers(0, 256, right.shape, dtype=np.uint8)
    (tmp_path / "train").mkdir()
    Image.fromarray(np.hstack([left, right])).save(tmp_path / "train/1.jpg", quality=quality)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_mask_beside_its_image_may_be_a_jpeg(tmp_path: Path, quality: int) -> None:
    """All classes in slanted stripes of 14 pixels, whose colors JPEG blends."""
    rows, columns = np.mgrid[:256, :256]
    stripes = (columns + rows // 4) // 14 % len(CLASSES)
    halves(
        tmp_path, np.array([entry.color for entry in CLASSES], np.uint8)[stripes], quality=quality
    )

    mask = datasets.load("cityscapes", tmp_path, "train")[0].mask

    assert (mask[mask != 255] == stripes[mask != 255]).mean() > 0.9
    assert (mask != 255).mean() > 0.7


def test_photographs_are_not_masks(tmp_path: Path) -> None:
    """The halves of any photograph could be read as an image and a mask."""
    rows, columns = np.mgrid[:256, :256]
    sunset = np.dstack([np.full_like(rows, 250), 255 - rows // 2, columns // 2 + 60]).astype(
        np.uint8
    )
    halves(tmp_path, sunset, quality=95)

    with pytest.raises(
        DataError, match=r"of the right half of .*1\.jpg has no class's color.*--dataset"
    ):
        datasets.load("cityscapes", tmp_path, "train")[0]
    with pytest.raises(SystemExit) as exit_:
        main(["data", "check", str(tmp_path), "--dataset", "cityscapes", "--json"])
    assert exit_.value.code == 3


@pytest.mark.slow
@pytest.mark.parametrize("place", ["camvid/train", "carvana/train", "idd_lite/leftImg8bit/train/0"])
def test_real_photographs_are_not_masks(real: Path, place: str) -> None:
    """Gray roads and walls have colors near those of classes; single photographs may pass."""
    folder = real / "data" / place
    photographs = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in {".jpg", ".png"} and "label" not in path.name
    )[::4]
    mask_format = RightHalf(colors=COLORS)

    refused = [path for path in photographs if is_refused(mask_format, path)]

    assert len(refused) >= 0.95 * len(photographs) > 0


def is_refused(mask_format: RightHalf, path: Path) -> bool:
    """Return whether a file is refused as image and mask side by side."""
    try:
        mask_format.read(Pair(name=path.stem, image=path, mask=path))
    except DataError as fault:
        return "photograph" in str(fault) or "even number" in str(fault)
    return False
