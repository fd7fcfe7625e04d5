"""One image or many, each mask has its image's size."""

import numpy as np
import pytest

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import DataError
from segdeploy.inference.predictor import Predictor


class Brightness:
    """A backend that sees class 1 where red is over 128, and counts its calls."""

    def __init__(self, fit="stretch"):
        spec = InputSpec(height=16, width=24, mean=(0, 0, 0), std=(1, 1, 1), fit=fit)
        self.card = ModelCard(
            architecture="fake",
            classes=(
                LabelClass(name="dark", color=(0, 0, 0)),
                LabelClass(name="red", color=(9, 9, 9)),
            ),
            input=spec,
        )
        self.device = "fake"
        self.shapes = []

    def run(self, batch):
        self.shapes.append(batch.shape)
        red = batch[..., 0].astype(np.float32) - 128
        return np.stack([-red, red], axis=1)


def half_red(height, width):
    """The right half is red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 2] = 255
    return image


def test_a_mask_has_its_pictures_size():
    """And says what the network saw."""
    mask = Predictor(Brightness()).mask(half_red(32, 48))

    assert mask.shape == (32, 48)
    assert not mask[:, :23].any()
    assert mask[:, 25:].all()


def test_pictures_of_different_sizes_take_one_call():
    """The network is called once a batch, and each mask is that of its image alone."""
    images = [half_red(32, 48), half_red(7, 90), half_red(100, 10)]
    for fit in ("stretch", "pad"):
        backend = Brightness(fit)

        masks = Predictor(backend).masks(images)

        assert backend.shapes == [(3, 16, 24, 3)]
        for image, mask in zip(images, masks, strict=True):
            np.testing.assert_array_equal(mask, Predictor(Brightness(fit)).mask(image))


@pytest.mark.parametrize(
    ("picture", "found"),
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
def test_what_is_no_picture_is_told(image, found):
    """Numbers in [0, 1] become black, and planes an image three rows high.

    Both were answered without a word.
    """
    backend = Brightness()

    with pytest.raises(
        DataError, match=f"the image is {found}; give .H, W, 3. uint8, blue-green-red"
    ):
        Predictor(backend).mask(image)

    assert backend.shapes == []


def test_no_picture_takes_no_call():
    """An empty folder must not reach the network as an empty batch."""
    backend = Brightness()

    assert Predictor(backend).masks([]) == []
    assert backend.shapes == []


def test_the_card_is_the_backends():
    """One card, wherever it is asked for."""
    backend = Brightness()

    assert Predictor(backend).card is backend.card
