"""Images to masks: `Predictor`."""

from typing import Any

import numpy as np
import pytest

from segdeploy.arrays import Batch, Image, NetworkOutput
from segdeploy.card import Fit, LabelClass
from segdeploy.errors import DataError
from segdeploy.inference.predictor import Predictor
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
