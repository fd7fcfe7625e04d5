"""The preview shows what training sees."""

import cv2
import numpy as np
from click.testing import CliRunner

from segdeploy import datasets
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import ConfigError
from segdeploy.train.augmentation import Augmentation
from segdeploy.train.preview import GAP, LINE_HEIGHT, augmented_epochs, contact_sheet, preview
from segdeploy.train.recipe import Recipe


def test_draws_a_sheet(tiny_camvid, tmp_path):
    """Twelve images of 24x32, four in a row."""
    output = tmp_path / "sheet.png"

    result = CliRunner().invoke(
        preview, [str(tiny_camvid), "--width", "64", "--output", str(output)]
    )

    assert result.exit_code == 0, result.output
    height, width, _ = cv2.imread(str(output)).shape
    assert width == GAP + 4 * (64 + GAP)
    assert height > 3 * (GAP + 48 + LINE_HEIGHT)
    assert "12 images of camvid train" in result.stderr


def test_draws_what_the_first_epochs_see(tiny_camvid, tmp_path):
    """To the pixel: the random numbers are those of a training with this recipe."""
    samples = datasets.load("camvid", tiny_camvid, "train")
    recipe = Recipe(imgsz=(24, 32), seed=5)

    original, _, second = augmented_epochs(samples, 7, recipe, epochs=2)

    image, mask = Augmentation(recipe).apply(
        samples[7].image, samples[7].mask, np.random.default_rng((5, 1, 7))
    )
    assert np.array_equal(original.image, samples[7].image)
    assert np.array_equal(second.image, image)
    assert np.array_equal(second.mask, mask)


def test_augmented_rows_start_with_the_image(tiny_camvid, tmp_path):
    """Six images in rows of three: two originals, each with two epochs."""
    output = tmp_path / "sheet.png"

    result = CliRunner().invoke(
        preview,
        [
            str(tiny_camvid),
            "--augmented",
            "--count",
            "6",
            "--columns",
            "3",
            "--output",
            str(output),
        ],
    )

    assert result.exit_code == 0, result.output
    assert "6 images" in result.stderr


def test_unknown_split_is_an_error(tiny_camvid):
    """The message lists the splits."""
    result = CliRunner().invoke(preview, [str(tiny_camvid), "--split", "test"])

    assert isinstance(result.exception, ConfigError)
    assert "train, val" in str(result.exception)


CLASSES = (LabelClass(name="red", color=(255, 0, 0)), LabelClass(name="blue", color=(0, 0, 255)))


CLASS_MAP_FILE = 2 * GAP + 3 * LINE_HEIGHT


def sample(index, height=20, width=40, name="name"):
    return Sample(
        image=np.full((height, width, 3), 100, np.uint8),
        mask=np.full((height, width), index, np.uint8),
        name=name,
    )


def test_images_lie_in_rows():
    """Three images in two columns: the third begins the second row."""
    sheet = contact_sheet(
        [sample(0), sample(1), sample(1)], CLASSES, columns=2, width=40, opacity=1
    )

    row = GAP + 20 + LINE_HEIGHT
    assert sheet.shape == (2 * row + CLASS_MAP_FILE, 3 * GAP + 80, 3)
    assert sheet[GAP, GAP].tolist() == [0, 0, 255]
    assert sheet[GAP + 19, 2 * GAP + 79].tolist() == [255, 0, 0]
    assert sheet[row + GAP, GAP].tolist() == [255, 0, 0]


def test_images_of_all_sizes_get_one_width():
    """A tall image makes its row taller."""
    sheet = contact_sheet(
        [sample(0), sample(1, height=80, width=40)], CLASSES, columns=2, width=40, opacity=1
    )

    assert len(sheet) == GAP + 80 + LINE_HEIGHT + CLASS_MAP_FILE
    assert sheet[GAP + 79, 2 * GAP + 40].tolist() == [255, 0, 0]


def test_a_long_name_keeps_its_end():
    """Frames differ in their last digits.

    A name as long as a file system allows fits too.
    """
    long, short = (
        contact_sheet([sample(0, name=name)], CLASSES, columns=1, width=60, opacity=1)
        for name in ("x" * 250 + "7", "7")
    )

    assert long.shape == short.shape
    assert not np.array_equal(long, short)


def test_a_legend_of_150_classes_fits():
    """ADE20K's names take many lines."""
    classes = tuple(
        LabelClass(name=f"class number {index}", color=(index, 0, 0)) for index in range(150)
    )

    sheet = contact_sheet([sample(0)], classes, columns=4, width=320, opacity=0.5)

    assert len(sheet) > 30 * LINE_HEIGHT
