"""The mean output over augmented copies of an image, worked out by hand."""

import numpy as np
import pytest

from segdeploy.arrays import Batch, Image, NetworkOutput
from segdeploy.backends.names import AUGMENTATIONS
from segdeploy.backends.tta import AugmentedBackend
from segdeploy.errors import ConfigError
from segdeploy.inference.predictor import Predictor
from tests.helpers.cards import make_card


class SlantedBackend:
    """Logits are the red and green of every fourth pixel, with 100 more for red in the left half.

    It records the shapes of its batches.
    """

    device = "test"

    def __init__(self, *, dynamic: bool = False, output: str = "logits") -> None:
        self.card = make_card(
            16, 32, classes=("red", "green"), stride=4, dynamic=dynamic, output=output
        )
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> NetworkOutput:
        self.shapes.append(batch.shape)
        logits = batch[:, ::4, ::4, :2].transpose(0, 3, 1, 2).astype(np.float32)
        logits[:, 0, :, : logits.shape[3] // 2] += 100
        return logits


def green_and_red() -> Image:
    """Return an image, BGR, whose left half is green and whose right half is red."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 1] = image[:, 16:, 2] = 60
    return image


def test_no_augmentation_returns_the_output_unchanged() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)

    output = AugmentedBackend(SlantedBackend(), ()).run(batch)

    np.testing.assert_array_equal(output, SlantedBackend().run(batch))


def test_flip_cancels_what_depends_on_the_side() -> None:
    """100 more for red on the left in one of two copies is 50 on both sides; 60 of green leads."""
    plain, flipped = (
        Predictor(AugmentedBackend(SlantedBackend(), augmentations)).mask(green_and_red())
        for augmentations in ((), ("flip",))
    )

    assert not plain.any()
    assert flipped[:, :14].all()
    assert not flipped[:, 18:].any()


def test_output_of_the_mirror_image_is_flipped_back() -> None:
    """The mean of both outputs for one bright column."""
    batch = np.zeros((1, 16, 32, 3), np.uint8)
    batch[:, :, 4, 1] = 80

    output = AugmentedBackend(SlantedBackend(), ("flip",)).run(batch)

    # The network samples every fourth column from the first on. Column 4 becomes column 27 of the
    # mirror image, which it does not sample.
    assert output[0, 1, 0].tolist() == [0, 40, 0, 0, 0, 0, 0, 0]
    assert output[0, 0, 0].tolist() == [50] * 8


def test_sizes_are_multiples_of_the_stride() -> None:
    """0.75 and 1.25 times 16x32, each also flipped; the output has the size of the largest one."""
    network = SlantedBackend(dynamic=True)

    output = AugmentedBackend(network, AUGMENTATIONS).run(np.zeros((3, 16, 32, 3), np.uint8))

    assert network.shapes == [(3, 16, 32, 3)] * 2 + [(3, 12, 24, 3)] * 2 + [(3, 20, 40, 3)] * 2
    assert output.shape == (3, 2, 5, 10)


@pytest.mark.parametrize(
    ("network", "augmentations", "sentence"),
    [
        (SlantedBackend(), ("scales",), "images of 16x32 only; export it with --dynamic"),
        (SlantedBackend(output="classes"), ("flip",), "returns classes, which have no mean"),
    ],
)
def test_unsupported_augmentation_is_refused(
    network: SlantedBackend, augmentations: tuple[str, ...], sentence: str
) -> None:
    """Before the first image."""
    with pytest.raises(ConfigError, match=sentence):
        AugmentedBackend(network, augmentations)
