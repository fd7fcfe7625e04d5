"""From Python: load a file, call it with an image, look at what comes back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segdeploy
from segdeploy.backends.loading import load_backend
from segdeploy.card import LabelClass
from segdeploy.errors import DataError, ModelError
from segdeploy.imaging.io import read_ids, read_image, write_image
from segdeploy.inference.predictor import Predictor, Result

CLASSES = (LabelClass(name="dark", color=(0, 0, 0)), LabelClass(name="red", color=(255, 0, 0)))


@pytest.fixture
def result() -> Result:
    """An image of 4x6 of which a square of 2x2 is red."""
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:4] = 1
    return Result(image=np.full((4, 6, 3), 100, np.uint8), mask=mask, classes=CLASSES)


def test_picture_and_path_give_the_predictors_mask(artifacts: Path, tmp_path: Path) -> None:
    """No second way from an image to a mask."""
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    write_image(tmp_path / "street.png", image)
    network = segdeploy.load(artifacts / "best.onnx", device="cpu", threads=1)

    expected = Predictor(load_backend(artifacts / "best.onnx", device="cpu", threads=1)).mask(image)

    np.testing.assert_array_equal(network(image).mask, expected)
    np.testing.assert_array_equal(network(str(tmp_path / "street.png")).mask, expected)
    assert network.card.architecture == "unet"
    assert network.device == "onnxruntime CPUExecutionProvider"


def test_overlay_mixes_the_classes_colors(result: Result) -> None:
    """Half of 100 and half of red, which is 0, 0, 255 in OpenCV's order."""
    assert result.overlay(legend=False)[1, 2].tolist() == [50, 50, 178]
    assert result.overlay(opacity=0, legend=False)[1, 2].tolist() == [100, 100, 100]


def test_polygons_are_the_regions(result: Result) -> None:
    """The square's corners, and the dark around it with the square as its hole."""
    dark, red = result.polygons()

    assert (dark.index, dark.area, len(dark.holes)) == (0, 20, 1)
    assert sorted(map(tuple, red.outline.tolist())) == [(2, 1), (2, 3), (4, 1), (4, 3)]


def test_overlay_and_mask_are_saved(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "overlay.png")
    result.save_mask(str(tmp_path / "mask.png"))

    np.testing.assert_array_equal(read_image(tmp_path / "overlay.png"), result.overlay())
    np.testing.assert_array_equal(read_ids(tmp_path / "mask.png"), result.mask)


def test_what_is_not_there_is_told(artifacts: Path) -> None:
    with pytest.raises(ModelError, match=r"no file none\.onnx"):
        segdeploy.load("none.onnx")
    with pytest.raises(DataError, match=r"none\.png"):
        segdeploy.load(artifacts / "best.onnx", device="cpu")("none.png")


def test_import_alone_costs_nothing() -> None:
    """Who asks for the version need not wait for numpy."""
    code = (
        "import sys, segdeploy; segdeploy.__version__; print(sorted({'numpy', 'cv2', 'onnxruntime',"
        " 'torch'} & set(sys.modules)))"
    )

    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        segdeploy.lode  # noqa: B018 - the access itself is tested
