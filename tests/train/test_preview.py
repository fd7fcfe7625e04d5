"""The preview shows what training sees."""

import cv2
import numpy as np
from click.testing import CliRunner

from segdeploy import datasets
from segdeploy.errors import ConfigError
from segdeploy.train.augmentation import augment
from segdeploy.train.preview import GAP, LINE, epochs, preview
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
    assert height > 3 * (GAP + 48 + LINE)
    assert "12 images of camvid train" in result.stderr


def test_draws_what_the_first_epochs_see(tiny_camvid, tmp_path):
    """To the pixel: the same chance decides as in a training with this recipe."""
    samples = datasets.load("camvid", tiny_camvid, "train")
    recipe = Recipe(imgsz=(24, 32), seed=5)

    original, _, second = epochs(samples, 7, recipe, 2)

    image, mask = augment(
        samples[7].image, samples[7].mask, recipe, np.random.default_rng((5, 1, 7))
    )
    assert np.array_equal(original.image, samples[7].image)
    assert np.array_equal(second.image, image)
    assert np.array_equal(second.mask, mask)


def test_augmented_rows_begin_with_the_picture(tiny_camvid, tmp_path):
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


def test_an_unknown_split_is_told(tiny_camvid):
    """With those that there are."""
    result = CliRunner().invoke(preview, [str(tiny_camvid), "--split", "test"])

    assert isinstance(result.exception, ConfigError)
    assert "train, val" in str(result.exception)
