"""Colors and sharpness, on a processor and on a device."""

import numpy as np
import pytest
import torch

from segdeploy.train.augmentation import Tint, apply_tint, apply_tint_to_rgb, draw_tint, turn
from segdeploy.train.augmentation_gpu import tint_all
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

OFF = Recipe(color=0.0, hue=0.0, blur=0.0)


def picture(*, height: int = 20, width: int = 30) -> np.ndarray:
    """Random colors that no change drives out of range."""
    return np.random.default_rng(1).integers(60, 160, (height, width, 3), dtype=np.uint8)


def on_device(image: np.ndarray, tint: Tint) -> np.ndarray:
    """The same change as a device makes it, blue-green-red again."""
    batch = torch.from_numpy(image[None, :, :, ::-1].copy())
    return tint_all(batch, torch.tensor([tint.numbers()], dtype=torch.float64))[0].numpy()[
        :, :, ::-1
    ]


def test_what_is_switched_off_changes_nothing() -> None:
    """An amount of 0 is exact, on both."""
    tint = draw_tint(OFF, np.random.default_rng(0))

    assert tint == Tint()
    np.testing.assert_array_equal(apply_tint(picture(), tint), picture())
    np.testing.assert_array_equal(on_device(picture(), tint), picture())


def test_a_third_of_a_circle_changes_the_colors_places() -> None:
    """Blue becomes green, green red and red blue; grays stay, at any angle."""
    np.testing.assert_allclose(turn(1 / 3), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(turn(0.1) @ np.ones(3), np.ones(3))
    image = picture()

    np.testing.assert_array_equal(apply_tint(image, Tint(hue=1 / 3)), image[:, :, [2, 0, 1]])


@pytest.mark.parametrize(
    ("tint", "expected"),
    [
        (Tint(brightness=1.5), (150, 75, 120)),
        (Tint(blue=1.5, red=0.5), (150, 50, 40)),
        # The mean of the one color's channels is 76.7: 76.7 + 0.5 (v - 76.7).
        (Tint(contrast=0.5), (88, 63, 78)),
        # Its gray is 0.114 * 100 + 0.587 * 50 + 0.299 * 80 = 64.7.
        (Tint(saturation=0.0), (65, 65, 65)),
    ],
)
def test_each_number_does_what_it_says(tint: Tint, expected: tuple[int, int, int]) -> None:
    """Blue, green, red of one color."""
    image = np.full((8, 8, 3), (100, 50, 80), np.uint8)

    assert tuple(apply_tint(image, tint)[0, 0].tolist()) == expected


@pytest.mark.parametrize(
    "tint",
    [
        Tint(),
        Tint(blue=1.2, red=0.7, contrast=0.8, saturation=0.6, hue=0.1),
        Tint(green=0.9, blur=1.0),
    ],
)
def test_the_order_of_colors_is_turned_by_the_same_matrix(tint: Tint) -> None:
    """A worker saves a pass over the image.

    The colors are those that a preview shows, but for halves that OpenCV rounds either way.
    """
    turned = apply_tint_to_rgb(picture(), tint).astype(int)

    assert np.abs(turned - apply_tint(picture(), tint)[:, :, ::-1]).max() <= 1


@pytest.mark.parametrize(
    "tint",
    [
        Tint(brightness=1.2),
        Tint(blue=1.1, red=0.9),
        Tint(saturation=0.7),
        Tint(blur=1.2),
        Tint(contrast=0.8),
    ],
)
def test_device_and_processor_make_nearly_the_same_of_it(tint: Tint) -> None:
    """Two libraries; the mean that contrast leaves alone is of gray in the one and of all channels
    in the other.
    """
    image = np.repeat(picture()[:, :, :1], 3, axis=2) if tint.contrast != 1 else picture()

    assert np.abs(apply_tint(image, tint).astype(int) - on_device(image, tint)).max() <= 2


def test_device_changes_each_picture_by_its_own_tint() -> None:
    """The second image of a batch is left alone, whatever happens to the first."""
    images = torch.from_numpy(np.stack([picture(), picture()]))
    tints = torch.tensor(
        [Tint(brightness=0.5, hue=0.3, blur=1.0).numbers(), Tint().numbers()], dtype=torch.float64
    )

    changed = tint_all(images, tints)

    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(changed[1], images[1])
    assert changed[0].float().mean() < 0.6 * images[0].float().mean()


def test_amounts_stay_within_the_recipe() -> None:
    """A blur comes as often as asked for, and the hue turns both ways."""
    random = np.random.default_rng(0)
    tints = [draw_tint(Recipe(color=0.3, hue=0.1, blur=0.25), random) for _ in range(400)]

    assert all(
        0.7 <= value <= 1.3
        for tint in tints
        for value in (tint.brightness, tint.contrast, tint.saturation)
    )
    assert all(0.9 <= value <= 1.1 for tint in tints for value in (tint.blue, tint.green, tint.red))
    assert min(tint.hue for tint in tints) < -0.08
    assert max(tint.hue for tint in tints) < 0.1
    assert 70 < sum(tint.blur > 0 for tint in tints) < 130
    assert all(tint.blur == 0 or 0.3 <= tint.blur <= 1.5 for tint in tints)
