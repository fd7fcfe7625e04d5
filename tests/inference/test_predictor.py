"""Images to masks: `Predictor`, and `segdeploy.load` with its result."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdeploy
from segdeploy.arrays import Batch, Image, NetworkOutput
from segdeploy.backends.loading import load_backend
from segdeploy.card import Fit, LabelClass
from segdeploy.errors import DataError, ModelError
from segdeploy.imaging.io import read_ids, read_image, write_image
from segdeploy.inference.predictor import Predictor, Result
from tests.helpers.cards import make_card

CLASSES = (LabelClass(name="dark", color=(0, 0, 0)), LabelClass(name="red", color=(255, 0, 0)))


class RednessBackend:
    """A backend that returns class 1 where red is over 128; it records the shapes of batches."""

    device = "test"

    def __init__(self, fit: Fit = "stretch") -> None:
        self.card = make_card(16, 24, classes=CLASSES, fit=fit)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> NetworkOutput:
        self.shapes.append(batch.shape)
        red = batch[..., 0].astype(np.float32) - 128
        return np.stack([-red, red], axis=1)


def half_red(height: int, width: int) -> Image:
    """Return a black image whose right half is red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 2] = 255
    return image


def test_mask_has_the_size_of_its_image() -> None:
    """And the classes that the network returned."""
    mask = Predictor(RednessBackend()).mask(half_red(32, 48))

    assert mask.shape == (32, 48)
    assert not mask[:, :23].any()
    assert mask[:, 25:].all()


def test_images_of_different_sizes_take_one_call() -> None:
    """Each mask is that of its image alone."""
    images = [half_red(32, 48), half_red(7, 90), half_red(100, 10)]
    fits: tuple[Fit, ...] = ("stretch", "pad")
    for fit in fits:
        backend = RednessBackend(fit)

        masks = Predictor(backend).masks(images)

        assert backend.shapes == [(3, 16, 24, 3)]
        for image, mask in zip(images, masks, strict=True):
            np.testing.assert_array_equal(mask, Predictor(RednessBackend(fit)).mask(image))


@pytest.mark.parametrize(
    ("image", "description"),
    [
        (np.zeros((8, 9, 3), np.float32), r"float32 of shape \(8, 9, 3\)"),
        (np.zeros((8, 9), np.uint8), r"uint8 of shape \(8, 9\)"),
        (np.zeros((3, 8, 9), np.uint8), r"uint8 of shape \(3, 8, 9\)"),
        (np.zeros((8, 9, 4), np.uint8), r"uint8 of shape \(8, 9, 4\)"),
        (np.zeros((1, 8, 9, 3), np.uint8), r"uint8 of shape \(1, 8, 9, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), r"uint8 of shape \(0, 9, 3\)"),
        ([[1, 2, 3]], "a list"),
    ],
)
def test_other_arrays_are_refused(image: Any, description: str) -> None:
    """Values in [0, 1] would be black, and planar data an image of three rows."""
    backend = RednessBackend()

    with pytest.raises(
        DataError, match=f"the image is {description}; pass .H, W, 3. uint8, blue-green-red"
    ):
        Predictor(backend).mask(image)

    assert backend.shapes == []


def test_no_image_makes_no_call() -> None:
    """An empty folder must not become an empty batch."""
    backend = RednessBackend()

    assert Predictor(backend).masks([]) == []
    assert backend.shapes == []


def test_card_is_that_of_the_backend() -> None:
    backend = RednessBackend()

    assert Predictor(backend).card is backend.card


@pytest.fixture
def result() -> Result:
    """Return a result of 4x6 pixels with a square of 2x2 that is red."""
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:4] = 1
    return Result(image=np.full((4, 6, 3), 100, np.uint8), mask=mask, classes=CLASSES)


def test_array_and_path_give_the_mask_of_the_predictor(artifacts: Path, tmp_path: Path) -> None:
    """From a file of any kind."""
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    write_image(tmp_path / "street.png", image)
    network = segdeploy.load(artifacts / "best.onnx", device="cpu", threads=1)

    expected = Predictor(load_backend(artifacts / "best.onnx", device="cpu", threads=1)).mask(image)

    np.testing.assert_array_equal(network(image).mask, expected)
    np.testing.assert_array_equal(network(str(tmp_path / "street.png")).mask, expected)
    assert network.card.architecture == "unet"
    assert network.device == "onnxruntime CPUExecutionProvider"


def test_overlay_mixes_image_and_class_colors(result: Result) -> None:
    """Half of 100 and half of red, which is 0, 0, 255 in BGR."""
    assert result.overlay(legend=False)[1, 2].tolist() == [50, 50, 178]
    assert result.overlay(opacity=0, legend=False)[1, 2].tolist() == [100, 100, 100]


def test_polygons_are_the_regions(result: Result) -> None:
    """The corners of the square, and the dark region with the square as its hole."""
    dark, red = result.polygons()

    assert (dark.index, dark.area, len(dark.holes)) == (0, 20, 1)
    assert sorted(map(tuple, red.outline.tolist())) == [(2, 1), (2, 3), (4, 1), (4, 3)]


def test_older_name_of_the_image_still_works(result: Result) -> None:
    assert result.picture is result.image


def test_overlay_and_mask_are_saved(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "overlay.png")
    result.save_mask(str(tmp_path / "mask.png"))

    np.testing.assert_array_equal(read_image(tmp_path / "overlay.png"), result.overlay())
    np.testing.assert_array_equal(read_ids(tmp_path / "mask.png"), result.mask)


def test_missing_files_are_reported(artifacts: Path) -> None:
    with pytest.raises(ModelError, match=r"no file none\.onnx"):
        segdeploy.load("none.onnx")
    with pytest.raises(DataError, match=r"none\.png"):
        segdeploy.load(artifacts / "best.onnx", device="cpu")("none.png")


def test_import_alone_costs_nothing() -> None:
    """A script that needs the version does not wait for numpy."""
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
